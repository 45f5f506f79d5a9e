//! What nodes say to each other: closed, authenticated, and never needed.
//!
//! A bell only brings forward what the store would tell a few seconds later, so it may be lost, repeated or late. Its
//! receiver uses an event that is next in order and takes anything else as a reason to look. Nothing here decides or
//! sends: the rules of presence are in [`presence`](crate::presence), the door is [`Backplane`](crate::Backplane).

mod codec;
mod topic;

pub use codec::BellCodec;
pub use topic::{topic_of_conversation, topic_of_user};

use crate::presence::Digest;
use chat_protocol::event::Event;
use chat_protocol::frame::LogItem;
use chat_protocol::id::{ConversationId, Epoch, NodeId, Position, SessionId, Timestamp, UserId};
use chat_protocol::signal::{DisplaySignal, MarksSignal, PresenceSignal, Signal, TypingSignal};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

/// What a node says to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bell {
    /// The events of one batch, in order; on the conversation's topic.
    Events {
        /// Whose log.
        conversation: ConversationId,
        /// Of which incarnation.
        epoch: Epoch,
        /// The events, without gaps.
        #[serde(deserialize_with = "read_events")]
        events: Vec<Event>,
    },
    /// A log grew by more than a bell carries; on the conversation's topic.
    Head {
        /// Whose log.
        conversation: ConversationId,
        /// Of which incarnation.
        epoch: Epoch,
        /// Where it ends now.
        position: Position,
    },
    /// Typing and marks of a conversation's members; on the conversation's topic.
    #[serde(deserialize_with = "read_signals")]
    Signals(Vec<Signal>),
    /// A user's revision rose: read what is theirs again; on the user's topic.
    UserChanged {
        /// Whose.
        user: UserId,
    },
    /// What to show of a user changed; on the nodes' topic, since anybody may watch them.
    Display {
        /// Whose.
        user: UserId,
        /// The host's display data.
        display: Value,
    },
    /// A client attached: a node that holds this session with a lower attempt closes it, one that holds a higher
    /// attempt says so with its own bell; on the nodes' topic.
    Session {
        /// Which session.
        session: SessionId,
        /// The attempt that attached.
        attempt: u64,
    },
    /// The host revoked every session that a user had; on the user's topic, and again for a while.
    Revoked {
        /// Whose.
        user: UserId,
        /// When, by the store's clock: sessions that began since are none of those.
        at: Timestamp,
    },
    /// Who is on which node; on the nodes' topic.
    Presence(PresenceBell),
    /// Nothing: a node rings it to hear itself; on the nodes' topic.
    Probe {
        /// Which of its probes.
        number: u64,
    },
    /// A bell of a newer node; it is ignored. Never rung.
    #[serde(skip_deserializing)]
    Unknown,
}

/// What nodes tell each other about who is where.
///
/// Each node counts the changes of its own users with a version. A reader that missed one notices by the next version
/// or digest and asks that node for all of its users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceBell {
    /// One user came to the sender, or went.
    Changed {
        /// The sender's version after this change.
        version: u64,
        /// The digest of the sender's users after this change.
        digest: Digest,
        /// Who.
        user: UserId,
        /// Came or went.
        online: bool,
    },
    /// Where the sender stands; rung whenever its lease is renewed.
    Digest {
        /// The sender's version.
        version: u64,
        /// The digest of the sender's users.
        digest: Digest,
    },
    /// Asks one node for all of its users.
    Ask {
        /// Whom.
        node: NodeId,
    },
    /// All users of the sender, or one part of them.
    All {
        /// The sender's version when it listed them.
        version: u64,
        /// The digest of the whole list.
        digest: Digest,
        /// Which part this is, from zero.
        part: u32,
        /// How many parts there are.
        parts: u32,
        /// The users of this part.
        users: Vec<UserId>,
    },
}

impl From<PresenceBell> for Bell {
    fn from(bell: PresenceBell) -> Self {
        Self::Presence(bell)
    }
}

/// Events travel as clients see them and are read by the same reader, unknown kinds included.
fn read_events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event>, D::Error> {
    let items = <Vec<LogItem>>::deserialize(deserializer)?;
    let event = |item| match item {
        LogItem::Event(event) => Ok(event),
        LogItem::Skip(_) => Err(de::Error::custom("a skip is no event")),
    };
    items.into_iter().map(event).collect()
}

fn read_signals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Signal>, D::Error> {
    #[derive(Deserialize)]
    struct Wire {
        signal: String,
        data: Map<String, Value>,
    }
    let signals = <Vec<Wire>>::deserialize(deserializer)?;
    let read = |Wire { signal: name, data }| {
        Ok(match name.as_str() {
            "typing" => Signal::Typing(data_of::<TypingSignal>(data)?),
            "presence" => Signal::Presence(data_of::<PresenceSignal>(data)?),
            "marks" => Signal::Marks(data_of::<MarksSignal>(data)?),
            "display" => Signal::Display(data_of::<DisplaySignal>(data)?),
            _ => Signal::Unknown { name, data },
        })
    };
    signals
        .into_iter()
        .map(read)
        .collect::<Result<_, serde_json::Error>>()
        .map_err(de::Error::custom)
}

fn data_of<T: for<'de> Deserialize<'de>>(data: Map<String, Value>) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(data))
}
