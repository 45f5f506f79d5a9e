//! Conversations, members and the inbox.

use crate::id::{ConversationId, Position, Revision, Seq, Timestamp, UserId};
use crate::message::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A name that this version does not know; kept as it came, so that it can be passed on.
            Unknown(String),
        }

        impl $name {
            /// Its name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(name) => name,
                }
            }

            /// The value of a name on the wire.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($text => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }

            /// Every value that this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Ok(Self::from_name(&text))
            }
        }
    };
}
pub(crate) use open_enum;

open_enum! {
    /// What kind of conversation.
    ConversationKind {
        /// Two users, or one with notes to self; fixed, found by the unordered pair.
        Direct = "direct",
        /// Members are added by admins.
        Group = "group",
        /// As a group; when public, anyone authenticated may see its title and join.
        Channel = "channel",
    }
}

open_enum! {
    /// What a member may do: owner > admin > member.
    Role {
        /// Touches admins, deletes the conversation, hands over ownership.
        Owner = "owner",
        /// Adds and removes members, redacts messages.
        Admin = "admin",
        /// Writes and reads.
        Member = "member",
    }
}

open_enum! {
    /// From where on a member reads the log.
    HistoryVisibility {
        /// From their own join.
        Joined = "joined",
        /// From the first event.
        All = "all",
    }
}

/// A conversation as its members see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Direct, group or channel.
    pub kind: ConversationKind,
    /// What to call it; a direct conversation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A channel that anyone authenticated may join.
    #[serde(default, skip_serializing_if = "is_false")]
    pub public: bool,
    /// From where on a member reads.
    pub history: HistoryVisibility,
    /// The host's own data: at most 4 KiB and 32 keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Members now.
    pub member_count: u64,
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// A member with what to show of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// The seq at which this membership began.
    pub joined: Seq,
    /// Display data that the host gave: at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<Value>,
}

/// A user's own view of one conversation, true at `head`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxEntry {
    /// The conversation.
    pub conversation: Conversation,
    /// The head of the log when this was read: later events are not yet in it.
    pub head: Position,
    /// One's own role.
    pub role: Role,
    /// The seq of one's own join.
    pub joined: Seq,
    /// The newest message that is visible to one, tombstones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
    /// 0 to 999, or 1000 for more.
    pub unread: u64,
    /// One's own read mark.
    pub read: Seq,
    /// One's own delivered mark.
    pub delivered: Seq,
    /// Whether one muted it.
    pub muted: bool,
    /// Whether one archived it.
    pub archived: bool,
    /// The revision at which marks, mute, archive or membership last changed.
    pub revision: Revision,
    /// The members of a direct conversation; empty for the other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// A member's marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Whose.
    pub user: UserId,
    /// Read up to here.
    pub read: Seq,
    /// Delivered up to here.
    pub delivered: Seq,
}
