//! Events: the durable changes of a conversation's log, as they travel.

use crate::conversation::{Conversation, Member, Role};
use crate::id::{CommandId, ConversationId, Position, Seq, Tag, Timestamp, UserId};
use crate::message::Message;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

/// One durable change in a conversation's log.
///
/// It carries what it names as it is *now*: a replayed `message:new` brings the message with later edits, or its
/// tombstone. A reader keeps, of two copies of a message, the one with the higher `changed`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose log.
    pub conversation: ConversationId,
    /// Its place in the log.
    pub seq: Seq,
    /// The tag at this seq.
    pub tag: Tag,
    /// The id of the command that made it.
    pub id: CommandId,
    /// Who did it; nobody when the host did.
    pub actor: Option<UserId>,
    /// When it was stored, by the clock of the store's transaction.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The position that a reader has after this event.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            tag: self.tag,
        }
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $variant { $($(#[$fdoc])* pub $field: $type,)* }

            impl From<$variant> for EventKind {
                fn from(kind: $variant) -> Self {
                    Self::$variant(kind)
                }
            }
        )+

        /// What happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum EventKind {
            $($(#[$doc])* $variant($variant),)+
            /// A kind that this version does not know, kept whole: a client moves its cursor, a node passes it on.
            Unknown(UnknownKind),
        }

        impl EventKind {
            /// The names of all kinds that this version knows.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Its name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)+
                    Self::Unknown(unknown) => &unknown.name,
                }
            }

            /// Reads the data of a kind; a name that is not known keeps its data.
            pub(crate) fn decode(name: &str, data: Map<String, Value>) -> Result<Self, serde_json::Error> {
                Ok(match name {
                    $($name => Self::$variant(<$variant as Deserialize>::deserialize(Value::Object(data))?),)+
                    other => Self::Unknown(UnknownKind { name: other.to_owned(), data }),
                })
            }

            fn serialize_data<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$variant(data) => map.serialize_entry("data", data),)+
                    Self::Unknown(unknown) => map.serialize_entry("data", &unknown.data),
                }
            }
        }
    };
}

events! {
    /// The first event of every log.
    ConversationCreated = "conversation:created" {
        /// The conversation as it is now.
        conversation: Conversation,
        /// The first members.
        members: Vec<Member>,
    }
    /// Title or meta changed.
    ConversationUpdated = "conversation:updated" {
        /// The conversation as it is now.
        conversation: Conversation,
    }
    /// The conversation ended; the last event of its log.
    ConversationDeleted = "conversation:deleted" {}
    /// Somebody became a member.
    MemberJoined = "member:joined" {
        /// Who.
        member: Member,
        /// Members after this event.
        member_count: u64,
    }
    /// Somebody left by themselves; their last event.
    MemberLeft = "member:left" {
        /// Who.
        user: UserId,
        /// Members after this event.
        member_count: u64,
    }
    /// Somebody was removed; their last event.
    MemberRemoved = "member:removed" {
        /// Who.
        user: UserId,
        /// Members after this event.
        member_count: u64,
    }
    /// A role changed; with `owner` the former owner became an admin.
    MemberRoleChanged = "member:role" {
        /// Whose.
        user: UserId,
        /// The role now.
        role: Role,
    }
    /// Somebody wrote.
    MessageNew = "message:new" {
        /// The message as it is now.
        message: Message,
    }
    /// A message was edited.
    MessageUpdated = "message:updated" {
        /// The message as it is now.
        message: Message,
    }
    /// A message was deleted.
    MessageDeleted = "message:deleted" {
        /// The tombstone.
        message: Message,
    }
    /// A reaction came; the event's actor chose it.
    ReactionAdded = "reaction:added" {
        /// The emoji.
        emoji: String,
        /// The message as it is now.
        message: Message,
    }
    /// A reaction went; the event's actor took it away.
    ReactionRemoved = "reaction:removed" {
        /// The emoji.
        emoji: String,
        /// The message as it is now.
        message: Message,
    }
}

impl EventKind {
    /// The message that the event carries, if it carries one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::MessageNew(e) => Some(&e.message),
            Self::MessageUpdated(e) => Some(&e.message),
            Self::MessageDeleted(e) => Some(&e.message),
            Self::ReactionAdded(e) => Some(&e.message),
            Self::ReactionRemoved(e) => Some(&e.message),
            Self::ConversationCreated(_)
            | Self::ConversationUpdated(_)
            | Self::ConversationDeleted(_)
            | Self::MemberJoined(_)
            | Self::MemberLeft(_)
            | Self::MemberRemoved(_)
            | Self::MemberRoleChanged(_)
            | Self::Unknown(_) => None,
        }
    }
}

/// An event kind of a newer version, or of the host's future.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownKind {
    /// Its name on the wire.
    pub name: String,
    /// Its data as it came.
    pub data: Map<String, Value>,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(8 + usize::from(self.actor.is_some())))?;
        map.serialize_entry("type", "event")?;
        map.serialize_entry("event", self.kind.name())?;
        map.serialize_entry("conversation", &self.conversation)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("tag", &self.tag)?;
        map.serialize_entry("id", &self.id)?;
        if let Some(actor) = &self.actor {
            map.serialize_entry("actor", actor)?;
        }
        map.serialize_entry("at", &self.at)?;
        self.kind.serialize_data(&mut map)?;
        map.end()
    }
}

/// Events that a viewer may not see, or that retention removed: the log goes on after `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Whose log.
    pub conversation: ConversationId,
    /// The first seq that is left out.
    pub from: Seq,
    /// The last seq that is left out.
    pub to: Seq,
    /// The tag at `to`.
    pub tag: Tag,
}
