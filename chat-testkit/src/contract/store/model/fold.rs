//! What follows from a log, event by event: an own reading of it, which no store's code knows.

use crate::contract::store::scene::assert_chained;
use chat_core::conversation::{HistoryVisibility, Role};
use chat_core::event::{Event, EventKind};
use chat_core::id::{Position, Seq, UserId};
use chat_core::message::{Message, Reaction};
use std::collections::BTreeMap;

/// A conversation as its log tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fold {
    pub head: Position,
    pub shows_all: bool,
    pub is_deleted: bool,
    /// Role and join of everybody who is a member.
    pub members: BTreeMap<UserId, (Role, Seq)>,
    /// Join and end of everybody who was one.
    pub former: BTreeMap<UserId, (Seq, Seq)>,
    /// By the seq of their creation, as they were last shown.
    pub messages: BTreeMap<Seq, Message>,
    /// By the same seqs, what must have become of them.
    pub became: BTreeMap<Seq, Became>,
}

/// What must have become of a message by all that was done to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Became {
    pub version: u64,
    pub changed: Seq,
    pub edited: Option<Seq>,
    pub is_deleted: bool,
    /// In the order of first use, and of choice.
    pub reactions: Vec<(String, Vec<UserId>)>,
}

impl Fold {
    pub fn of(events: &[Event]) -> Self {
        let mut fold = Self::default();
        events.iter().for_each(|event| fold.add(event));
        fold
    }

    /// The next event, which must follow the one before and count the members as they are.
    pub fn add(&mut self, event: &Event) {
        self.head = assert_chained(self.head, std::slice::from_ref(event));
        let seq = event.seq;
        if let Some(message) = event.kind.message() {
            self.messages.insert(message.seq, message.clone());
            self.became.entry(message.seq).or_default().come(event);
        }
        let count = match &event.kind {
            EventKind::ConversationCreated(created) => {
                self.shows_all = created.conversation.history == HistoryVisibility::All;
                for member in &created.members {
                    self.members.insert(member.user.clone(), (member.role.clone(), seq));
                }
                None
            }
            EventKind::ConversationDeleted(_) => {
                let users: Vec<UserId> = self.members.keys().cloned().collect();
                users.iter().for_each(|user| self.end(user, seq));
                self.is_deleted = true;
                None
            }
            EventKind::MemberJoined(joined) => {
                let member = &joined.member;
                self.former.remove(&member.user);
                self.members.insert(member.user.clone(), (member.role.clone(), seq));
                Some(joined.member_count)
            }
            EventKind::MemberLeft(left) => {
                self.end(&left.user, seq);
                Some(left.member_count)
            }
            EventKind::MemberRemoved(removed) => {
                self.end(&removed.user, seq);
                Some(removed.member_count)
            }
            EventKind::MemberRoleChanged(changed) => {
                if changed.role == Role::Owner {
                    let owner = self.members.values_mut().find(|(role, _)| *role == Role::Owner);
                    owner.into_iter().for_each(|(role, _)| *role = Role::Admin);
                }
                self.members.get_mut(&changed.user).unwrap().0 = changed.role.clone();
                None
            }
            _ => None,
        };
        assert!(
            count.is_none_or(|count| count == self.members.len() as u64),
            "members at {seq}: {:?}",
            self.members
        );
    }

    fn end(&mut self, user: &UserId, seq: Seq) {
        let (_, joined) = self.members.remove(user).unwrap();
        self.former.insert(user.clone(), (joined, seq));
    }

    /// The first and the last seq that a user may see; nothing for a stranger.
    pub fn sees(&self, user: &UserId) -> Option<(Seq, Option<Seq>)> {
        let member = self.members.get(user).map(|(_, joined)| (*joined, None));
        let former = || self.former.get(user).map(|(joined, end)| (*joined, Some(*end)));
        let (joined, end) = member.or_else(former)?;
        Some((if self.shows_all { Seq(1) } else { joined }, end))
    }

    /// Whether an event is not for somebody who sees that much: it shows a message from before, or what was written
    /// into it since.
    pub fn hides(&self, event: &Event, (from, end): (Seq, Option<Seq>)) -> bool {
        let Some(message) = event.kind.message() else {
            return event.seq < from;
        };
        let became = &self.became[&message.seq];
        let edited_since = end.is_some() && became.edited > end && !became.is_deleted;
        event.seq < from || message.seq < from || edited_since
    }

    /// How many messages by others, not deleted, are between a read mark and the head.
    pub fn unread(&self, user: &UserId, from: Seq, read: Seq) -> u64 {
        let later = self.messages.range(from.max(read.next())..).map(|(_, message)| message);
        let counts =
            |message: &&Message| !self.became[&message.seq].is_deleted && message.sender.as_ref() != Some(user);
        later.filter(counts).count() as u64
    }

    /// Every message as it was last shown is what must have become of it.
    pub fn assert_messages(&self) {
        for (seq, message) in &self.messages {
            let became = &self.became[seq];
            let told = (
                message.version,
                message.changed,
                message.is_deleted(),
                message.edited_at.is_some(),
            );
            assert_eq!(
                told,
                (
                    became.version,
                    became.changed,
                    became.is_deleted,
                    became.edited.is_some()
                ),
                "{message:?}"
            );
            assert_eq!(message.content.is_none(), became.is_deleted);
            let reactions = became.reactions.iter().map(|(emoji, users)| Reaction {
                emoji: emoji.clone(),
                count: users.len() as u64,
                users: users.iter().take(5).cloned().collect(),
            });
            assert_eq!(message.reactions, reactions.collect::<Vec<_>>());
        }
    }
}

impl Became {
    fn come(&mut self, event: &Event) {
        self.changed = event.seq;
        match &event.kind {
            EventKind::MessageNew(_) => self.version = 1,
            EventKind::MessageUpdated(_) => {
                self.version += 1;
                self.edited = Some(event.seq);
            }
            EventKind::MessageDeleted(_) => {
                self.version += 1;
                self.is_deleted = true;
                self.reactions.clear();
            }
            EventKind::ReactionAdded(added) => {
                let user = event.actor.clone().unwrap();
                match self.reactions.iter_mut().find(|(emoji, _)| *emoji == added.emoji) {
                    Some((_, users)) => users.push(user),
                    None => self.reactions.push((added.emoji.clone(), vec![user])),
                }
            }
            EventKind::ReactionRemoved(removed) => {
                let mut of_emoji = self.reactions.iter_mut().filter(|(emoji, _)| *emoji == removed.emoji);
                of_emoji
                    .next()
                    .unwrap()
                    .1
                    .retain(|user| event.actor.as_ref() != Some(user));
                self.reactions.retain(|(_, users)| !users.is_empty());
            }
            _ => unreachable!("no other event is about a message"),
        }
    }
}
