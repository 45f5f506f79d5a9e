//! What both codecs read into: a small tree that borrows from the input.

use crate::check::Refusal;
use crate::code::ErrorCode;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// A value as it came. Text borrows from the input where it has no escapes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Map(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// The field of a map.
    pub(super) fn field(&self, name: &str) -> Option<&Tree<'a>> {
        match self {
            Self::Map(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, for a sentence about what it should have been.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) => "a whole number",
            Self::Negative(_) => "a negative number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Unsigned(value) => Value::Number((*value).into()),
            Self::Negative(value) => Value::Number((*value).into()),
            Self::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Self::Text(value) => Value::String(value.clone().into_owned()),
            Self::List(items) => Value::Array(items.iter().map(Tree::to_value).collect()),
            Self::Map(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.clone().into_owned(), value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// How many values a frame of this many bytes may hold: enough for every valid frame (the smallest that are many are
/// cursors, with 80 bytes for four values), and few enough that memory stays within four times the input beyond a
/// fixed 256 KiB.
pub(super) const fn values_max(bytes: usize) -> usize {
    4096 + bytes / 32
}

/// What a reader keeps while it reads: bounds, and the first thing that is wrong but does not end the reading.
#[derive(Debug)]
pub(super) struct Reading {
    depth_max: usize,
    values_max: usize,
    values: usize,
    pub(super) fault: Option<Refusal>,
    /// A whole number outside 64 bits was read as a float.
    pub(super) rounded: bool,
}

impl Reading {
    pub(super) fn new(depth_max: usize, values_max: usize) -> Self {
        Self {
            depth_max,
            values_max,
            values: 0,
            fault: None,
            rounded: false,
        }
    }

    /// Whether a list or map at this depth may be read; the frame itself is at 1.
    pub(super) fn allows_depth(&mut self, depth: usize) -> bool {
        let allowed = depth <= self.depth_max;
        if !allowed {
            self.refuse(ErrorCode::InvalidArgument, "lists and maps are nested too deep");
        }
        allowed
    }

    /// Whether one more value may be kept in a list or map at this depth. The frame's own fields have room left over,
    /// so that `req` can be read behind a list that was too long.
    pub(super) fn allows_value(&mut self, depth: usize) -> bool {
        let room = if depth == 1 { 16 } else { 0 };
        let allowed = self.values < self.values_max.saturating_add(room);
        if allowed {
            self.values += 1;
        } else {
            self.refuse(ErrorCode::TooLarge, "the frame holds too many values");
        }
        allowed
    }

    /// Notes what is wrong; the first counts.
    pub(super) fn refuse(&mut self, code: ErrorCode, message: &str) {
        self.fault.get_or_insert_with(|| Refusal {
            code,
            message: message.to_owned(),
        });
    }
}

/// Whether a key comes twice.
pub(super) fn has_duplicate(fields: &[(Cow<'_, str>, Tree<'_>)]) -> bool {
    if fields.len() <= 8 {
        return fields
            .iter()
            .enumerate()
            .any(|(index, (key, _))| fields[..index].iter().any(|(other, _)| other == key));
    }
    // A peer chooses the keys, so the work must not grow with their square.
    let mut keys: Vec<&str> = fields.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
