//! Turns a tree into a value, strictly: a struct only from a map with no unknown field, an integer only from an
//! integer below 2^53. An error names the field by its path.

use super::tree::Tree;
use crate::id::NUMBER_MAX;
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;
use std::fmt;

/// Reads one value of a tree.
#[derive(Clone, Copy)]
pub(super) struct Strict<'t, 'a> {
    tree: &'t Tree<'a>,
    unknown_fields: bool,
}

impl<'t, 'a> Strict<'t, 'a> {
    pub(super) fn new(tree: &'t Tree<'a>) -> Self {
        Self {
            tree,
            unknown_fields: false,
        }
    }

    pub(super) fn ignoring_unknown_fields(tree: &'t Tree<'a>) -> Self {
        Self {
            tree,
            unknown_fields: true,
        }
    }

    fn inner(self, tree: &'t Tree<'a>) -> Self {
        Self { tree, ..self }
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::new(format!("must be {what}, not {}", self.tree.noun()))
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Unsigned(value) if *value <= NUMBER_MAX => visitor.visit_u64(*value),
            Tree::Unsigned(_) => Err(Fault::new("must be below 2^53")),
            _ => Err(self.expected("a whole number")),
        }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Text(text) => visitor.visit_str(text),
            _ => Err(self.expected("a string")),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// Path and sentence; the path is built on the way out.
    path: String,
    message: String,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            message: message.into(),
        }
    }

    fn within(mut self, outer: &str) -> Self {
        self.path = match self.path.chars().next() {
            None => outer.to_owned(),
            Some('[') => format!("{outer}{}", self.path),
            Some(_) => format!("{outer}.{}", self.path),
        };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").within(field)
    }
}

/// A peer's own word, cut and escaped, for a sentence about it.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

impl<'de> Deserializer<'de> for Strict<'_, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Unsigned(_) => self.integer(visitor),
            Tree::Negative(value) if value.unsigned_abs() <= NUMBER_MAX => visitor.visit_i64(*value),
            Tree::Negative(_) => Err(Fault::new("must be above -2^53")),
            Tree::Float(value) => visitor.visit_f64(*value),
            Tree::Text(_) => self.text(visitor),
            Tree::List(items) => visitor.visit_seq(Items {
                strict: self,
                items,
                next: 0,
            }),
            Tree::Map(fields) => visitor.visit_map(Fields {
                strict: self,
                fields,
                next: 0,
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.integer(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::List(_) => self.deserialize_any(visitor),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree {
            Tree::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.expected("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Tree::Map(fields) = self.tree
            && !self.unknown_fields
            && let Some((key, _)) = fields.iter().find(|(key, _)| !known.contains(&&**key))
        {
            return Err(Fault::new(format!("has no field {}", shown(key))));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

struct Items<'t, 'a> {
    strict: Strict<'t, 'a>,
    items: &'t [Tree<'a>],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        let index = self.next;
        self.next += 1;
        seed.deserialize(self.strict.inner(item))
            .map(Some)
            .map_err(|fault| fault.within(&format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'t, 'a> {
    strict: Strict<'t, 'a>,
    fields: &'t [(Cow<'a, str>, Tree<'a>)],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, _)) = self.fields.get(self.next) else {
            return Ok(None);
        };
        seed.deserialize((&**key).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, value) = &self.fields[self.next];
        self.next += 1;
        seed.deserialize(self.strict.inner(value))
            .map_err(|fault| match shown(key) {
                quoted if quoted.trim_matches('"') == key => fault.within(key),
                quoted => fault.within(&quoted),
            })
    }
}
