//! Reads MessagePack into a tree.
//!
//! Any width of a number, string, list or map is taken, not only the shortest. A length is never believed: more items
//! than bytes that are left ends the reading before anything is allocated. Binary, extension types, keys that are not
//! strings, NaN and infinities have no place in the model and are refused; 0xc1 is no MessagePack.

use super::tree::{Reading, Tree, has_duplicate};
use crate::code::ErrorCode;
use std::borrow::Cow;

type Unreadable = Cow<'static, str>;

pub(super) fn read<'a>(bytes: &'a [u8], reading: &mut Reading) -> Result<Tree<'a>, Unreadable> {
    let mut input = Input { rest: bytes };
    let tree = value(&mut input, 1, reading)?;
    if input.rest.is_empty() {
        Ok(tree)
    } else {
        Err("bytes follow the frame".into())
    }
}

/// One value's first bytes: a scalar whole, or the length of what follows.
enum Head<'a> {
    Scalar(Tree<'a>),
    /// What the model has no place for, and why.
    Foreign(&'static str),
    List(usize),
    Map(usize),
}

/// A value; if it is a list or map, it is at `depth`.
fn value<'a>(input: &mut Input<'a>, depth: usize, reading: &mut Reading) -> Result<Tree<'a>, Unreadable> {
    Ok(match input.head()? {
        Head::Scalar(tree) => tree,
        Head::Foreign(why) => {
            reading.refuse(ErrorCode::InvalidArgument, why);
            Tree::Null
        }
        Head::List(length) => {
            let mut items = Vec::new();
            let mut left = length;
            if reading.allows_depth(depth) {
                while left > 0 && reading.allows_value(depth) {
                    items.push(value(input, depth + 1, reading)?);
                    left -= 1;
                }
            }
            input.skip(left)?;
            Tree::List(items)
        }
        Head::Map(length) => {
            let mut fields = Vec::new();
            let mut left = length;
            if reading.allows_depth(depth) {
                while left > 0 && reading.allows_value(depth) {
                    left -= 1;
                    match input.head()? {
                        Head::Scalar(Tree::Text(key)) => fields.push((key, value(input, depth + 1, reading)?)),
                        head => {
                            reading.refuse(ErrorCode::InvalidArgument, "a key of a map must be a string");
                            input.skip(head.children() + 1)?;
                        }
                    }
                }
            }
            input.skip(left * 2)?;
            if has_duplicate(&fields) {
                return Err("a key comes twice in a map".into());
            }
            Tree::Map(fields)
        }
    })
}

impl Head<'_> {
    /// How many values follow that belong to this one.
    fn children(&self) -> usize {
        match self {
            Self::Scalar(_) | Self::Foreign(_) => 0,
            Self::List(length) => *length,
            Self::Map(length) => length * 2,
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the frame ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        Ok(self.take(N)?.try_into().expect("take gives as many as asked"))
    }

    fn length(&mut self, width: u8) -> Result<usize, Unreadable> {
        Ok(match width {
            1 => usize::from(self.bytes::<1>()?[0]),
            2 => usize::from(u16::from_be_bytes(self.bytes()?)),
            _ => usize::try_from(u32::from_be_bytes(self.bytes()?)).map_err(|_| "a length is too large")?,
        })
    }

    /// A count of items that take at least `each` bytes.
    fn checked(&self, length: usize, each: usize) -> Result<usize, Unreadable> {
        if length > self.rest.len() / each {
            return Err("a length is larger than what is left".into());
        }
        Ok(length)
    }

    fn text(&mut self, length: usize) -> Result<Head<'a>, Unreadable> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8")?;
        Ok(Head::Scalar(Tree::Text(Cow::Borrowed(text))))
    }

    fn list(&self, length: usize) -> Result<Head<'a>, Unreadable> {
        self.checked(length, 1).map(Head::List)
    }

    fn map(&self, length: usize) -> Result<Head<'a>, Unreadable> {
        self.checked(length, 2).map(Head::Map)
    }

    fn foreign(&mut self, length: usize, why: &'static str) -> Result<Head<'a>, Unreadable> {
        self.take(length)?;
        Ok(Head::Foreign(why))
    }

    fn float(value: f64) -> Head<'a> {
        if value.is_finite() {
            Head::Scalar(Tree::Float(value))
        } else {
            Head::Foreign("NaN and infinities are not taken")
        }
    }

    fn signed(value: i64) -> Head<'a> {
        Head::Scalar(u64::try_from(value).map_or(Tree::Negative(value), Tree::Unsigned))
    }

    /// Reads one value's head (the MessagePack specification, "Formats").
    fn head(&mut self) -> Result<Head<'a>, Unreadable> {
        const BINARY: &str = "binary is not taken: ids, text and tokens are strings";
        const EXTENSION: &str = "extension types are not taken";
        let unsigned = |value| Head::Scalar(Tree::Unsigned(value));
        let [first] = self.bytes()?;
        Ok(match first {
            0x00..=0x7f => unsigned(u64::from(first)),
            0x80..=0x8f => self.map(usize::from(first & 0x0f))?,
            0x90..=0x9f => self.list(usize::from(first & 0x0f))?,
            0xa0..=0xbf => self.text(usize::from(first & 0x1f))?,
            0xc0 => Head::Scalar(Tree::Null),
            0xc1 => return Err("0xc1 is no MessagePack".into()),
            0xc2 => Head::Scalar(Tree::Bool(false)),
            0xc3 => Head::Scalar(Tree::Bool(true)),
            0xc4..=0xc6 => {
                let length = self.length(1 << (first - 0xc4))?;
                self.foreign(length, BINARY)?
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (first - 0xc7))?;
                self.foreign(length.saturating_add(1), EXTENSION)?
            }
            0xca => Self::float(f64::from(f32::from_be_bytes(self.bytes()?))),
            0xcb => Self::float(f64::from_be_bytes(self.bytes()?)),
            0xcc => unsigned(u64::from(u8::from_be_bytes(self.bytes()?))),
            0xcd => unsigned(u64::from(u16::from_be_bytes(self.bytes()?))),
            0xce => unsigned(u64::from(u32::from_be_bytes(self.bytes()?))),
            0xcf => unsigned(u64::from_be_bytes(self.bytes()?)),
            0xd0 => Self::signed(i64::from(i8::from_be_bytes(self.bytes()?))),
            0xd1 => Self::signed(i64::from(i16::from_be_bytes(self.bytes()?))),
            0xd2 => Self::signed(i64::from(i32::from_be_bytes(self.bytes()?))),
            0xd3 => Self::signed(i64::from_be_bytes(self.bytes()?)),
            0xd4..=0xd8 => self.foreign(1 + (1 << (first - 0xd4)), EXTENSION)?,
            0xd9..=0xdb => {
                let length = self.length(1 << (first - 0xd9))?;
                self.text(length)?
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (first - 0xdc))?;
                self.list(length)?
            }
            0xde | 0xdf => {
                let length = self.length(2 << (first - 0xde))?;
                self.map(length)?
            }
            0xe0..=0xff => Self::signed(i64::from(first.cast_signed())),
        })
    }

    /// Passes over values with all that is in them, without recursion.
    fn skip(&mut self, values: usize) -> Result<(), Unreadable> {
        let mut left = values;
        while left > 0 {
            // Every length was checked against what is left, so the sum stays far below the largest number.
            left = left - 1 + self.head()?.children();
        }
        Ok(())
    }
}
