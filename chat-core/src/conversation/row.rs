//! What a log keeps: which change, by whom, of what; never content.

use crate::store::{Actor, Fingerprint, Prior};
use chat_protocol::conversation::Role;
use chat_protocol::event::{EventKind, UnknownKind};
use chat_protocol::frame::Stored;
use chat_protocol::id::{CommandId, ConversationId, MessageId, Position, Seq, Tag, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One row of a conversation's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Its place.
    pub seq: Seq,
    /// Chained from the row before.
    pub tag: Tag,
    /// The id of the command that made it; unique in the conversation.
    pub id: CommandId,
    /// Who did it.
    pub actor: Actor,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Of the command as its client sent it; dropped by an erase.
    pub fingerprint: Option<Fingerprint>,
    /// What changed.
    pub kind: LogKind,
}

impl LogRow {
    /// The position that a reader has after it.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            tag: self.tag,
        }
    }

    /// What the judge has to know of it when its id comes again.
    pub fn prior(&self, conversation: ConversationId) -> Prior {
        Prior {
            actor: self.actor.clone(),
            fingerprint: self.fingerprint,
            stored: Stored {
                conversation,
                id: self.id,
                seq: self.seq,
                tag: self.tag,
                at: self.at,
                duplicate: false,
            },
        }
    }
}

/// What a log row says changed.
///
/// A store that keeps rows outside of memory writes [`name`](LogKind::name) and [`detail`](LogKind::detail), and reads
/// them with [`from_detail`](LogKind::from_detail).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail")]
pub enum LogKind {
    /// The first row of every log.
    #[serde(rename = "conversation:created")]
    ConversationCreated {
        /// The first members and their roles.
        members: Vec<FirstMember>,
    },
    /// Title or meta changed.
    #[serde(rename = "conversation:updated")]
    ConversationUpdated {},
    /// The last row of a log.
    #[serde(rename = "conversation:deleted")]
    ConversationDeleted {},
    /// Somebody became a member.
    #[serde(rename = "member:joined")]
    MemberJoined {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
        /// Members after this row.
        member_count: u64,
    },
    /// Somebody left.
    #[serde(rename = "member:left")]
    MemberLeft {
        /// Who.
        user: UserId,
        /// Members after this row.
        member_count: u64,
    },
    /// Somebody was removed.
    #[serde(rename = "member:removed")]
    MemberRemoved {
        /// Who.
        user: UserId,
        /// Members after this row.
        member_count: u64,
    },
    /// A role changed.
    #[serde(rename = "member:role")]
    MemberRole {
        /// Whose.
        user: UserId,
        /// The role now.
        role: Role,
    },
    /// Somebody wrote.
    #[serde(rename = "message:new")]
    MessageNew {
        /// Which message.
        message: MessageId,
    },
    /// A message was edited.
    #[serde(rename = "message:updated")]
    MessageUpdated {
        /// Which message.
        message: MessageId,
    },
    /// A message was deleted.
    #[serde(rename = "message:deleted")]
    MessageDeleted {
        /// Which message.
        message: MessageId,
    },
    /// A reaction came.
    #[serde(rename = "reaction:added")]
    ReactionAdded {
        /// On which message.
        message: MessageId,
        /// Which.
        emoji: String,
    },
    /// A reaction went.
    #[serde(rename = "reaction:removed")]
    ReactionRemoved {
        /// From which message.
        message: MessageId,
        /// Which.
        emoji: String,
    },
    /// A kind that a newer version wrote: passed on as it is.
    #[serde(skip)]
    Unknown(UnknownKind),
}

/// Somebody who was there from the first row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstMember {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}

impl LogKind {
    /// Its name, the same as the event's on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::ConversationCreated { .. } => "conversation:created",
            Self::ConversationUpdated {} => "conversation:updated",
            Self::ConversationDeleted {} => "conversation:deleted",
            Self::MemberJoined { .. } => "member:joined",
            Self::MemberLeft { .. } => "member:left",
            Self::MemberRemoved { .. } => "member:removed",
            Self::MemberRole { .. } => "member:role",
            Self::MessageNew { .. } => "message:new",
            Self::MessageUpdated { .. } => "message:updated",
            Self::MessageDeleted { .. } => "message:deleted",
            Self::ReactionAdded { .. } => "reaction:added",
            Self::ReactionRemoved { .. } => "reaction:removed",
            Self::Unknown(unknown) => &unknown.name,
        }
    }

    /// Everything but the name, as a store keeps it.
    pub fn detail(&self) -> Map<String, Value> {
        if let Self::Unknown(unknown) = self {
            return unknown.data.clone();
        }
        match serde_json::to_value(self) {
            Ok(Value::Object(mut map)) => match map.remove("detail") {
                Some(Value::Object(detail)) => detail,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }

    /// Reads what a store kept; a name that this version does not know keeps its detail.
    ///
    /// # Errors
    /// When the name is known and the detail does not fit it.
    pub fn from_detail(name: &str, detail: Map<String, Value>) -> Result<Self, serde_json::Error> {
        if !EventKind::NAMES.contains(&name) {
            return Ok(Self::Unknown(UnknownKind {
                name: name.to_owned(),
                data: detail,
            }));
        }
        serde_json::from_value(json!({ "kind": name, "detail": detail }))
    }

    /// The message that it names, which a reader has to bring to [`render`](super::render).
    pub fn message(&self) -> Option<MessageId> {
        match self {
            Self::MessageNew { message }
            | Self::MessageUpdated { message }
            | Self::MessageDeleted { message }
            | Self::ReactionAdded { message, .. }
            | Self::ReactionRemoved { message, .. } => Some(*message),
            Self::ConversationCreated { .. }
            | Self::ConversationUpdated {}
            | Self::ConversationDeleted {}
            | Self::MemberJoined { .. }
            | Self::MemberLeft { .. }
            | Self::MemberRemoved { .. }
            | Self::MemberRole { .. }
            | Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<LogKind> {
        let user = UserId::new("ann").unwrap();
        let message = MessageId::from_parts(1, [1; 10]);
        let role = Role::Member;
        vec![
            LogKind::ConversationCreated {
                members: vec![FirstMember {
                    user: user.clone(),
                    role: Role::Owner,
                }],
            },
            LogKind::ConversationUpdated {},
            LogKind::ConversationDeleted {},
            LogKind::MemberJoined {
                user: user.clone(),
                role: role.clone(),
                member_count: 3,
            },
            LogKind::MemberLeft {
                user: user.clone(),
                member_count: 2,
            },
            LogKind::MemberRemoved {
                user: user.clone(),
                member_count: 1,
            },
            LogKind::MemberRole { user, role },
            LogKind::MessageNew { message },
            LogKind::MessageUpdated { message },
            LogKind::MessageDeleted { message },
            LogKind::ReactionAdded {
                message,
                emoji: "+1".to_owned(),
            },
            LogKind::ReactionRemoved {
                message,
                emoji: "+1".to_owned(),
            },
        ]
    }

    #[test]
    fn every_kind_is_read_back_as_it_was_written() {
        for kind in every_kind() {
            assert_eq!(LogKind::from_detail(kind.name(), kind.detail()).unwrap(), kind);
        }
    }

    #[test]
    fn names_are_those_of_the_events() {
        let names: Vec<_> = every_kind().iter().map(|kind| kind.name().to_owned()).collect();
        assert_eq!(names, EventKind::NAMES);
    }

    #[test]
    fn a_kind_of_a_newer_version_passes_through_and_a_broken_one_is_an_error() {
        let detail = json!({"poll": [1, 2]}).as_object().cloned().unwrap();
        let kind = LogKind::from_detail("poll:opened", detail.clone()).unwrap();
        assert_eq!((kind.name(), kind.detail()), ("poll:opened", detail.clone()));
        assert!(LogKind::from_detail("message:new", detail).is_err());
    }
}
