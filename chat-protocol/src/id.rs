//! Identifiers and positions: every id that travels, in its one spelling.
//!
//! A UUID travels as 36 lower-case characters with hyphens, in both codecs; any other spelling and the nil UUID are
//! refused, so that two spellings never name one thing.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 36 lower-case characters of a UUID, or the nil UUID.
    #[error("an id must be a UUID of 36 lower-case characters, not nil")]
    Uuid,
    /// Not 1–128 bytes of UTF-8 without control characters.
    #[error("a user id must be 1 to 128 bytes without control characters")]
    User,
    /// Not 16 lower-case hex digits.
    #[error("a tag must be 16 lower-case hex digits")]
    Tag,
}

fn parse_uuid(text: &str) -> Result<Uuid, IdError> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if text.len() != 36 || !lower {
        return Err(IdError::Uuid);
    }
    let uuid = Uuid::try_parse(text).map_err(|_| IdError::Uuid)?;
    if uuid.is_nil() { Err(IdError::Uuid) } else { Ok(uuid) }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID; `None` for the nil UUID, which names nothing.
            pub const fn new(uuid: Uuid) -> Option<Self> {
                if uuid.is_nil() { None } else { Some(Self(uuid)) }
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// An id from 16 random bytes and the time in milliseconds since 1970, as UUIDv7 (RFC 9562, 5.7).
            pub fn from_parts(at_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(at_ms, &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// Names a conversation; brought by whoever creates it.
    ConversationId
}
uuid_id! {
    /// Names a message and the command that sends it; minted by the sending client before the first attempt.
    MessageId
}
uuid_id! {
    /// Names a durable command and the event that it makes; for `message:send` it is the message's id.
    CommandId
}
uuid_id! {
    /// Names one client's attachment to the engine, over any number of connections.
    SessionId
}
uuid_id! {
    /// Names one incarnation of a store's log: cursors of another epoch mean nothing.
    Epoch
}
uuid_id! {
    /// Names one run of a node.
    NodeId
}

impl From<MessageId> for CommandId {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

impl From<CommandId> for MessageId {
    fn from(id: CommandId) -> Self {
        Self(id.0)
    }
}

/// The host's own opaque name for a user: 1–128 bytes of UTF-8 without controls, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The longest user id in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks and wraps the host's name for a user.
    ///
    /// # Errors
    /// [`IdError::User`] when it is empty, over 128 bytes, or holds a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::BYTES_MAX || text.chars().any(char::is_control) {
            return Err(IdError::User);
        }
        Ok(Self(text.into()))
    }

    /// The text as the host wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &*self.0)
    }
}

impl FromStr for UserId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(text).map_err(de::Error::custom)
    }
}

/// The largest number that travels: integers above it lose their last digit in JavaScript.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The next one; behind the last there is none.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before, at least zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An event's place in its conversation's log: 1, 2, 3 … without gaps.
    Seq
}
number! {
    /// Counts the changes of one user's inbox that the log does not carry: marks, mute, archive, membership.
    Revision
}
number! {
    /// Milliseconds since 1970 UTC.
    Timestamp
}

/// 64 bits chained from event to event, by which a log that went another way is noticed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// The tag before the first event of every log.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

impl FromStr for Tag {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !lower {
            return Err(IdError::Tag);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| IdError::Tag)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A place in one conversation's log within an epoch that both sides know: the last seq seen and its tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The last seq; zero before the first event.
    pub seq: Seq,
    /// The tag at that seq.
    pub tag: Tag,
}

impl Position {
    /// Before the first event of every log.
    pub const START: Self = Self {
        seq: Seq::ZERO,
        tag: Tag::ZERO,
    };
}
