//! Signals: what has no seq. The latest wins per key; one may be lost and is sent again as state.

use crate::id::{ConversationId, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

/// Something without a seq.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// A member types, or stopped.
    Typing(TypingSignal),
    /// A user came or went.
    Presence(PresenceSignal),
    /// A member's marks moved.
    Marks(MarksSignal),
    /// What to show of a user changed.
    Display(DisplaySignal),
    /// A signal that this version does not know; ignored by clients.
    Unknown {
        /// Its name on the wire.
        name: String,
        /// Its data as it came.
        data: Map<String, Value>,
    },
}

/// A member types, or stopped; without a renewal it ends after 6 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingSignal {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Typing or not.
    pub active: bool,
}

/// Whether a user has a connection anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceSignal {
    /// Who.
    pub user: UserId,
    /// On any node.
    pub online: bool,
    /// How fresh the news is: an older time says that a node has not been heard of for a while.
    pub as_of: Timestamp,
}

/// A member's marks. Marks only grow: of what a signal and a list say, the higher is the newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksSignal {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Read up to here.
    pub read: Seq,
    /// Delivered up to here.
    pub delivered: Seq,
}

/// What to show of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisplaySignal {
    /// Who.
    pub user: UserId,
    /// The host's display data: at most 1 KiB.
    pub display: Value,
}

impl Signal {
    /// The names of all signals that this version knows.
    pub const NAMES: &'static [&'static str] = &["typing", "presence", "marks", "display"];

    /// Its name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Typing(_) => "typing",
            Self::Presence(_) => "presence",
            Self::Marks(_) => "marks",
            Self::Display(_) => "display",
            Self::Unknown { name, .. } => name,
        }
    }

    /// What it is about: of two signals with one key only the later counts.
    pub fn key(&self) -> SignalKey {
        match self {
            Self::Typing(s) => SignalKey::Typing(s.conversation, s.user.clone()),
            Self::Presence(s) => SignalKey::Presence(s.user.clone()),
            Self::Marks(s) => SignalKey::Marks(s.conversation, s.user.clone()),
            Self::Display(s) => SignalKey::Display(s.user.clone()),
            Self::Unknown { name, .. } => SignalKey::Unknown(name.clone()),
        }
    }
}

/// What a signal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalKey {
    /// A member's typing in a conversation.
    Typing(ConversationId, UserId),
    /// A user's presence.
    Presence(UserId),
    /// A member's marks in a conversation.
    Marks(ConversationId, UserId),
    /// A user's display data.
    Display(UserId),
    /// Unknown signals of one name.
    Unknown(String),
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", "signal")?;
        map.serialize_entry("signal", self.name())?;
        match self {
            Self::Typing(data) => map.serialize_entry("data", data)?,
            Self::Presence(data) => map.serialize_entry("data", data)?,
            Self::Marks(data) => map.serialize_entry("data", data)?,
            Self::Display(data) => map.serialize_entry("data", data)?,
            Self::Unknown { data, .. } => map.serialize_entry("data", data)?,
        }
        map.end()
    }
}
