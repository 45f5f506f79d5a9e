//! What a store tells the judge, and what the judge tells the store.

use super::row::{FirstMember, LogRow};
use crate::store::{Actor, AppendItem, Prior, Refusal};
use chat_protocol::command::{Command, ConversationCreate};
use chat_protocol::conversation::{Conversation, ConversationKind, Role};
use chat_protocol::frame::Stored;
use chat_protocol::id::{MessageId, Position, Seq, Timestamp, UserId};
use chat_protocol::message::{Content, Message};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the judge has to know; a store loads it under the conversation's lock, for each item anew.
///
/// Only what [`touches`] names needs to be loaded; the rest stays at its default.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Now, by the store's clock.
    pub at: Timestamp,
    /// What stands under the item's id in this conversation.
    pub prior: Option<Prior>,
    /// The conversation; absent when it never existed, there and `deleted` when it ended.
    pub conversation: Option<ConversationFacts>,
    /// The actor as a member now; read in a statement after the one that looked the id up.
    pub actor: Option<MemberFacts>,
    /// The role of [`Touches::user`] as a member now.
    pub user: Option<Role>,
    /// The message of [`Touches::message`], with its reactions.
    pub message: Option<Message>,
    /// The seq of the message of [`Touches::reply_to`].
    pub reply_to: Option<Seq>,
    /// Whether the actor has put [`Touches::emoji`] on the message.
    pub reacted: bool,
    /// The first answer of the direct conversation between [`Touches::pair`], when there is one that was not deleted.
    pub direct: Option<Stored>,
    /// In how many conversations each of [`Touches::joining`] is a member now.
    pub inboxes: BTreeMap<UserId, u64>,
}

/// The conversation as the judge needs it.
#[derive(Debug, Clone)]
pub struct ConversationFacts {
    /// As it is now.
    pub conversation: Conversation,
    /// Where its log ends.
    pub head: Position,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Who owns it; a conversation that the host made may have nobody.
    pub owner: Option<UserId>,
}

/// A member as the judge needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    /// What they may do.
    pub role: Role,
    /// The first seq that they may see, by [`visibility`](super::visibility).
    pub visible_from: Seq,
}

/// What an item touches, so that a store loads no more than the judge needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touches<'a> {
    /// The user that the command names.
    pub user: Option<&'a UserId>,
    /// The message that the command changes.
    pub message: Option<MessageId>,
    /// The message that the new message answers.
    pub reply_to: Option<MessageId>,
    /// The reaction.
    pub emoji: Option<&'a str>,
    /// The users of a direct conversation in their order; one user twice for notes to self.
    pub pair: Option<(UserId, UserId)>,
    /// Those who would become members.
    pub joining: Vec<UserId>,
}

/// What an item touches.
pub fn touches(item: &AppendItem) -> Touches<'_> {
    let none = Touches::default();
    match &item.command {
        Command::MessageSend(c) => Touches {
            reply_to: c.reply_to,
            ..none
        },
        Command::MessageEdit(c) => Touches {
            message: Some(c.message),
            ..none
        },
        Command::MessageDelete(c) => Touches {
            message: Some(c.message),
            ..none
        },
        Command::ReactionAdd(c) => Touches {
            message: Some(c.message),
            emoji: Some(&c.emoji),
            ..none
        },
        Command::ReactionRemove(c) => Touches {
            message: Some(c.message),
            emoji: Some(&c.emoji),
            ..none
        },
        Command::ConversationCreate(c) => Touches {
            pair: pair(&item.actor, c),
            joining: first_members(&item.actor, c).into_iter().map(|m| m.user).collect(),
            ..none
        },
        Command::ConversationJoin(_) => Touches {
            joining: item.actor.user().cloned().into_iter().collect(),
            ..none
        },
        Command::MemberAdd(c) => Touches {
            user: Some(&c.user),
            joining: vec![c.user.clone()],
            ..none
        },
        Command::MemberRemove(c) => Touches {
            user: Some(&c.user),
            ..none
        },
        Command::MemberRole(c) => Touches {
            user: Some(&c.user),
            ..none
        },
        _ => none,
    }
}

/// The creator and those they name, each once; the creator owns what is not direct.
pub(super) fn first_members(actor: &Actor, create: &ConversationCreate) -> Vec<FirstMember> {
    let creator_role = match create.kind {
        ConversationKind::Direct => Role::Member,
        _ => Role::Owner,
    };
    let creator = actor.user().map(|user| (user, creator_role));
    let named = create.members.iter().map(|user| (user, Role::Member));
    let mut members: Vec<FirstMember> = Vec::with_capacity(create.members.len() + 1);
    for (user, role) in creator.into_iter().chain(named) {
        if members.iter().all(|member| member.user != *user) {
            members.push(FirstMember {
                user: user.clone(),
                role,
            });
        }
    }
    members
}

fn pair(actor: &Actor, create: &ConversationCreate) -> Option<(UserId, UserId)> {
    if create.kind != ConversationKind::Direct {
        return None;
    }
    let mut users: Vec<UserId> = first_members(actor, create).into_iter().map(|m| m.user).collect();
    users.sort();
    match users.as_slice() {
        [alone] => Some((alone.clone(), alone.clone())),
        [one, other] => Some((one.clone(), other.clone())),
        _ => None,
    }
}

/// What the judge says.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It was there: write nothing, give the first answer again.
    Duplicate(Stored),
    /// Write nothing.
    Refused(Refusal),
    /// Append the row and do the writes, in their order, in one transaction.
    Write(Box<Change>),
}

/// A row for the log and what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The whole row, chained to the head.
    pub row: LogRow,
    /// What changes beside the log; each is done at the row's seq and time.
    pub writes: Vec<Write>,
}

/// One thing that changes beside the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The conversation comes into being; its `member_count` is what the memberships make it.
    CreateConversation {
        /// As it is from the start.
        conversation: Conversation,
        /// The users by whom a direct one is found.
        pair: Option<(UserId, UserId)>,
    },
    /// What is given replaces what was there.
    UpdateConversation {
        /// The title.
        title: Option<String>,
        /// The meta, whole.
        meta: Option<Map<String, Value>>,
    },
    /// The conversation ended; log and ids stay, the pair of a direct one is free again.
    DeleteConversation,
    /// A membership begins at the row's seq, both marks there, neither muted nor archived; raises the user's revision.
    OpenMembership {
        /// Whose.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// The current membership ends at the row's seq; raises the user's revision.
    CloseMembership {
        /// Whose.
        user: UserId,
    },
    /// Every current membership ends at the row's seq; raises each user's revision.
    CloseEveryMembership,
    /// A member's role changes.
    SetRole {
        /// Whose.
        user: UserId,
        /// To what.
        role: Role,
    },
    /// A message comes into being.
    InsertMessage(Message),
    /// The user's read mark (and with it the delivered one) grows to the row's seq; raises no revision.
    MoveReadMark {
        /// Whose.
        user: UserId,
    },
    /// Content and version are replaced; `edited_at` is the row's time, `changed` its seq.
    EditMessage {
        /// Which.
        message: MessageId,
        /// The content now.
        content: Content,
        /// The version now.
        version: u64,
    },
    /// Content and reactions go for good; `deleted_at` is the row's time, `changed` its seq.
    EraseMessage {
        /// Which.
        message: MessageId,
        /// The version now.
        version: u64,
    },
    /// A reaction comes, the user the last of those who chose it; the message's `changed` is the row's seq.
    AddReaction {
        /// On which message.
        message: MessageId,
        /// Whose.
        user: UserId,
        /// Which.
        emoji: String,
    },
    /// A reaction goes; the message's `changed` is the row's seq.
    RemoveReaction {
        /// From which message.
        message: MessageId,
        /// Whose.
        user: UserId,
        /// Which.
        emoji: String,
    },
}
