//! Reads JSON (RFC 8259) into a tree: no byte order mark, no duplicate key, nothing behind the value.

use super::tree::{Reading, Tree, has_duplicate};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

pub(super) fn read<'a>(bytes: &'a [u8], reading: &mut Reading) -> Result<Tree<'a>, Cow<'static, str>> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the frame is not UTF-8")?;
    let mut json = serde_json::Deserializer::from_str(text);
    let said = |error: serde_json::Error| Cow::Owned(format!("the frame is not JSON: {error}"));
    let tree = Node { depth: 1, reading }.deserialize(&mut json).map_err(said)?;
    json.end().map_err(said)?;
    Ok(tree)
}

/// A value; if it is a list or map, it is at `depth`.
struct Node<'r> {
    depth: usize,
    reading: &'r mut Reading,
}

impl Node<'_> {
    fn inner(&mut self) -> Node<'_> {
        Node {
            depth: self.depth + 1,
            reading: self.reading,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(u64::try_from(value).map_or(Tree::Negative(value), Tree::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        // What is not kept is skipped as `IgnoredAny`, for which serde_json does not recurse.
        if self.reading.allows_depth(self.depth) {
            while self.reading.allows_value(self.depth) {
                let Some(item) = list.next_element_seed(self.inner())? else {
                    return Ok(Tree::List(items));
                };
                items.push(item);
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let mut fields = Vec::new();
        let mut kept = self.reading.allows_depth(self.depth);
        while kept {
            kept = self.reading.allows_value(self.depth);
            if kept {
                let Some(key) = map.next_key_seed(Key)? else {
                    break;
                };
                fields.push((key, map.next_value_seed(self.inner())?));
            }
        }
        if !kept {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        }
        if has_duplicate(&fields) {
            return Err(de::Error::custom("a key comes twice in a map"));
        }
        Ok(Tree::Map(fields))
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
