//! From a log row to an event: what it names is shown as it is at the read.

use super::row::{LogKind, LogRow};
use crate::store::StoreError;
use chat_protocol::conversation::{Conversation, Member, Role};
use chat_protocol::event::{
    ConversationCreated, ConversationDeleted, ConversationUpdated, Event, EventKind, MemberJoined, MemberLeft,
    MemberRemoved, MemberRoleChanged, MessageDeleted, MessageNew, MessageUpdated, ReactionAdded, ReactionRemoved,
};
use chat_protocol::id::{MessageId, Seq, UserId};
use chat_protocol::message::Message;
use serde_json::Value;

/// What log rows are rendered with: things as they are at the moment of the read.
pub trait Current {
    /// The conversation.
    fn conversation(&self) -> Conversation;

    /// A message of it, or its tombstone.
    fn message(&self, id: MessageId) -> Option<Message>;

    /// What to show of a user.
    fn display(&self, user: &UserId) -> Option<Value>;
}

/// Renders a log row.
///
/// # Errors
/// [`StoreError::Corrupt`] when a message that it names is gone without a tombstone.
pub fn render(row: &LogRow, current: &impl Current) -> Result<Event, StoreError> {
    let conversation = current.conversation();
    let message = |id: &MessageId| {
        current
            .message(*id)
            .ok_or_else(|| StoreError::Corrupt(format!("a log row names message {id}, which is not there")))
    };
    let member = |user: &UserId, role: &Role, joined: Seq| Member {
        user: user.clone(),
        role: role.clone(),
        joined,
        display: current.display(user),
    };
    let id = conversation.id;
    let kind: EventKind = match &row.kind {
        LogKind::ConversationCreated { members } => ConversationCreated {
            conversation,
            members: members.iter().map(|m| member(&m.user, &m.role, row.seq)).collect(),
        }
        .into(),
        LogKind::ConversationUpdated {} => ConversationUpdated { conversation }.into(),
        LogKind::ConversationDeleted {} => ConversationDeleted {}.into(),
        LogKind::MemberJoined {
            user,
            role,
            member_count,
        } => MemberJoined {
            member: member(user, role, row.seq),
            member_count: *member_count,
        }
        .into(),
        LogKind::MemberLeft { user, member_count } => MemberLeft {
            user: user.clone(),
            member_count: *member_count,
        }
        .into(),
        LogKind::MemberRemoved { user, member_count } => MemberRemoved {
            user: user.clone(),
            member_count: *member_count,
        }
        .into(),
        LogKind::MemberRole { user, role } => MemberRoleChanged {
            user: user.clone(),
            role: role.clone(),
        }
        .into(),
        LogKind::MessageNew { message: id } => MessageNew { message: message(id)? }.into(),
        LogKind::MessageUpdated { message: id } => MessageUpdated { message: message(id)? }.into(),
        LogKind::MessageDeleted { message: id } => MessageDeleted { message: message(id)? }.into(),
        LogKind::ReactionAdded { message: id, emoji } => ReactionAdded {
            emoji: emoji.clone(),
            message: message(id)?,
        }
        .into(),
        LogKind::ReactionRemoved { message: id, emoji } => ReactionRemoved {
            emoji: emoji.clone(),
            message: message(id)?,
        }
        .into(),
        LogKind::Unknown(unknown) => EventKind::Unknown(unknown.clone()),
    };
    Ok(Event {
        conversation: id,
        seq: row.seq,
        tag: row.tag,
        id: row.id,
        actor: row.actor.user().cloned(),
        at: row.at,
        kind,
    })
}
