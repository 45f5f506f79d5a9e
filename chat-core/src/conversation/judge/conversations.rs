//! Conversations come, change and end.

use super::Decision;
use super::members::{must_have_room, must_hold};
use crate::conversation::RuleLimits;
use crate::conversation::facts::{Facts, Write, first_members, touches};
use crate::conversation::row::LogKind;
use crate::store::{AppendItem, Refusal};
use chat_protocol::command::{ConversationCreate, ConversationUpdate};
use chat_protocol::conversation::{Conversation, ConversationKind, HistoryVisibility};

pub(super) fn create(
    facts: &Facts,
    item: &AppendItem,
    command: &ConversationCreate,
    limits: &RuleLimits,
) -> Result<Decision, Refusal> {
    if let ConversationKind::Unknown(_) = command.kind {
        return Err(Refusal::InvalidArgument("a kind is direct, group or channel"));
    }
    if let Some(HistoryVisibility::Unknown(_)) = command.history {
        return Err(Refusal::InvalidArgument("a history is joined or all"));
    }
    if command.public && command.kind != ConversationKind::Channel {
        return Err(Refusal::InvalidArgument("only a channel can be public"));
    }
    let members = first_members(&item.actor, command);
    let pair = touches(item).pair;
    if command.kind == ConversationKind::Direct {
        if command.title.is_some() {
            return Err(Refusal::InvalidArgument("a direct conversation has no title"));
        }
        if pair.is_none() {
            return Err(Refusal::InvalidArgument(
                "a direct conversation is between two users, or for one",
            ));
        }
        if let Some(mut stored) = facts.direct {
            stored.duplicate = true;
            return Ok(Decision::Exists(stored));
        }
    }
    must_hold(&command.kind, members.len() as u64, limits)?;
    for member in &members {
        must_have_room(facts, &member.user, limits)?;
    }

    let mut writes = Vec::with_capacity(members.len() + 1);
    writes.push(Write::CreateConversation {
        conversation: Conversation {
            id: command.conversation,
            kind: command.kind.clone(),
            title: command.title.clone(),
            public: command.public,
            history: command.history.clone().unwrap_or(HistoryVisibility::Joined),
            meta: command.meta.clone(),
            created_at: facts.at,
            member_count: members.len() as u64,
        },
        pair,
    });
    writes.extend(members.iter().map(|member| Write::OpenMembership {
        user: member.user.clone(),
        role: member.role.clone(),
    }));
    Ok(Decision::Write(LogKind::ConversationCreated { members }, writes))
}

pub(super) fn update(command: &ConversationUpdate) -> Result<(LogKind, Vec<Write>), Refusal> {
    if command.title.is_none() && command.meta.is_none() {
        return Err(Refusal::InvalidArgument(
            "nothing is to be changed: give a title or meta",
        ));
    }
    let update = Write::UpdateConversation {
        title: command.title.clone(),
        meta: command.meta.clone(),
    };
    Ok((LogKind::ConversationUpdated {}, vec![update]))
}

pub(super) fn delete() -> (LogKind, Vec<Write>) {
    let writes = vec![Write::CloseEveryMembership, Write::DeleteConversation];
    (LogKind::ConversationDeleted {}, writes)
}
