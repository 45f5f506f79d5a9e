//! Reads JSON (RFC 8259) into a tree: no byte order mark, no duplicate key, nothing behind the value.

use super::tree::{Reading, Tree, has_duplicate};
use crate::id::NUMBER_MAX;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// 2^63: integers of less are taken as what they are.
const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0;

pub(super) fn read<'a>(bytes: &'a [u8], reading: &mut Reading) -> Result<Tree<'a>, Cow<'static, str>> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the frame is not UTF-8")?;
    let mut json = serde_json::Deserializer::from_str(text);
    let said = |error: serde_json::Error| Cow::Owned(format!("the frame is not JSON: {error}"));
    let tree = Node { depth: 1, reading }.deserialize(&mut json).map_err(said)?;
    json.end().map_err(said)?;
    reading.rounded = reading.rounded && has_large_integer(bytes);
    Ok(tree)
}

/// Whether a valid text holds a whole number, written without fraction and exponent, that no number of ours can be.
fn has_large_integer(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(start) = rest.iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9')) {
        let found = &rest[start..];
        let length = match found[0] {
            b'"' => string_length(found),
            _ => found
                .iter()
                .take_while(|byte| b"0123456789+-.eE".contains(byte))
                .count(),
        };
        let (found, behind) = found.split_at(length);
        rest = behind;
        let digits = found.strip_prefix(b"-").unwrap_or(found);
        if digits.iter().all(u8::is_ascii_digit) {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            if number.is_none_or(|number: u64| number > NUMBER_MAX) {
                return true;
            }
        }
    }
    false
}

/// The length of the string at the beginning, its quotes counted.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
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
        // A float, or a whole number that serde_json rounded to one.
        self.reading.rounded |= value.abs() >= INTEGERS_END;
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
