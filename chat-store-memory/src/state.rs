//! Everything that the store holds, and what changes it beside the log.

use crate::changes::{ChangeLog, Changed};
use crate::place::{Membership, Place};
use chat_core::conversation::{Conversation, ConversationKind};
use chat_core::conversation::{Current, InboxEntry, MarkChange, Member, raise_delivered, raise_read};
use chat_core::id::{ConversationId, MessageId, NodeId, Revision, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::{Head, InboxChange, InboxChanged, Lease};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Leases that ran out longer ago than this are forgotten.
const LEASE_FORGOTTEN_AFTER_MS: u64 = 60_000;

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) places: HashMap<ConversationId, Place>,
    /// The direct conversation of each pair, in the order of their ids.
    pub(crate) directs: HashMap<(UserId, UserId), ConversationId>,
    pub(crate) users: HashMap<UserId, User>,
    pub(crate) changes: ChangeLog,
    /// When each node's lease runs out.
    leases: BTreeMap<NodeId, Timestamp>,
}

/// What is a user's own across conversations.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) revision: Revision,
    pub(crate) display: Option<Value>,
    /// Of which they are a member now.
    pub(crate) conversations: BTreeSet<ConversationId>,
}

impl State {
    pub(crate) fn place(&self, conversation: ConversationId) -> Option<&Place> {
        self.places.get(&conversation)
    }

    pub(crate) fn head(&self, conversation: ConversationId) -> Option<Head> {
        Some(Head {
            conversation,
            position: self.place(conversation)?.head(),
        })
    }

    pub(crate) fn revision(&self, user: &UserId) -> Revision {
        self.users.get(user).map_or(Revision::ZERO, |user| user.revision)
    }

    /// Raises a user's revision.
    pub(crate) fn raise_revision(&mut self, user: &UserId) -> Revision {
        self.changes.note(Changed::User(user.clone()));
        let user = self.users.entry(user.clone()).or_default();
        user.revision = user.revision.next();
        user.revision
    }

    /// A member as others see them.
    pub(crate) fn shown(&self, user: &UserId, member: &Membership) -> Member {
        Member {
            user: user.clone(),
            role: member.role.clone(),
            joined: member.joined,
            display: self.display(user),
        }
    }

    fn display(&self, user: &UserId) -> Option<Value> {
        self.users.get(user)?.display.clone()
    }

    /// The user's own view of a conversation of which they are a member.
    pub(crate) fn entry(&self, user: &UserId, conversation: ConversationId) -> Option<InboxEntry> {
        let place = self.place(conversation)?;
        let member = place.member(user)?;
        let visible = place.messages.range(place.visible(member).from..);
        let is_direct = place.conversation.kind == ConversationKind::Direct;
        let members = place.members().filter(|_| is_direct);
        Some(InboxEntry {
            conversation: place.conversation.clone(),
            head: place.head(),
            role: member.role.clone(),
            joined: member.joined,
            last_message: visible.last().map(|(_, written)| written.now()),
            unread: place.unread(user, member),
            read: member.marks.read,
            delivered: member.marks.delivered,
            muted: member.muted,
            archived: member.archived,
            revision: member.revision,
            members: members.map(|(user, member)| self.shown(user, member)).collect(),
        })
    }

    pub(crate) fn set_inbox(
        &mut self,
        user: &UserId,
        conversation: ConversationId,
        change: InboxChange,
    ) -> InboxChanged {
        let Some(place) = self.places.get_mut(&conversation) else {
            return InboxChanged::NotFound;
        };
        let head = place.head().seq;
        let Some(member) = place.members.get_mut(user).filter(|member| member.ended.is_none()) else {
            return InboxChanged::NotFound;
        };
        let raised = match change {
            InboxChange::Read(to) => raise_read(&member.marks, to, head),
            InboxChange::Delivered(to) => raise_delivered(&member.marks, to, head),
            InboxChange::Muted(muted) if muted != member.muted => {
                member.muted = muted;
                MarkChange::Raised(member.marks.clone())
            }
            InboxChange::Archived(archived) if archived != member.archived => {
                member.archived = archived;
                MarkChange::Raised(member.marks.clone())
            }
            InboxChange::Muted(_) | InboxChange::Archived(_) => MarkChange::Unchanged,
        };
        let marks = match raised {
            MarkChange::Raised(marks) => marks,
            MarkChange::Unchanged => return InboxChanged::Unchanged,
            MarkChange::Ahead => return InboxChanged::Ahead,
        };
        if member.marks != marks {
            member.marks = marks.clone();
            place.marks_revision = place.marks_revision.next();
        }
        let kind = place.conversation.kind.clone();
        let member_count = place.conversation.member_count;
        let revision = self.raise_revision(user);
        if let Some(member) = self.places.get_mut(&conversation).and_then(|p| p.members.get_mut(user)) {
            member.revision = revision;
        }
        InboxChanged::Changed {
            marks,
            kind,
            member_count,
        }
    }

    pub(crate) fn renew_lease(&mut self, node: NodeId, ttl: Duration, now: Timestamp) -> Vec<Lease> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.leases.insert(node, Timestamp(now.0.saturating_add(ttl_ms)));
        self.leases
            .retain(|_, until| until.0.saturating_add(LEASE_FORGOTTEN_AFTER_MS) > now.0);
        let others = self.leases.iter().filter(|(other, _)| **other != node);
        others
            .map(|(node, until)| Lease {
                node: *node,
                remaining: Duration::from_millis(until.0.saturating_sub(now.0)),
                at: now,
            })
            .collect()
    }

    pub(crate) fn release_lease(&mut self, node: NodeId) {
        self.leases.remove(&node);
    }

    pub(crate) fn put_display(&mut self, user: &UserId, display: &Value) -> bool {
        let user = self.users.entry(user.clone()).or_default();
        if user.display.as_ref() == Some(display) {
            return false;
        }
        user.display = Some(display.clone());
        true
    }

    /// Whether two users share a conversation.
    pub(crate) fn share(&self, one: &UserId, other: &UserId) -> bool {
        let (Some(one), Some(other)) = (self.users.get(one), self.users.get(other)) else {
            return false;
        };
        !one.conversations.is_disjoint(&other.conversations)
    }
}

/// A conversation's rows are rendered with what it and its users are now.
pub(crate) struct Now<'a> {
    pub(crate) state: &'a State,
    pub(crate) place: &'a Place,
}

impl Current for Now<'_> {
    fn conversation(&self) -> Conversation {
        self.place.conversation.clone()
    }

    fn message(&self, id: MessageId) -> Option<Message> {
        self.place.written(id).map(|written| written.now())
    }

    fn display(&self, user: &UserId) -> Option<Value> {
        self.state.display(user)
    }
}
