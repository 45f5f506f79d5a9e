//! How often users and conversations may write, over all their connections to this node.

use crate::limits::Limits;
use chat_protocol::budget::Budget;
use chat_protocol::id::{ConversationId, UserId};
use dashmap::DashMap;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Rates {
    user: (u32, u32),
    conversation: (u32, u32),
    directs: u32,
    users: DashMap<UserId, Budget>,
    conversations: DashMap<ConversationId, Budget>,
    openers: DashMap<UserId, Budget>,
    /// Who was found to be a member lately; true until the next sweep.
    members: DashMap<(ConversationId, UserId), bool>,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            user: limits.sends_per_user,
            conversation: limits.sends_per_conversation,
            directs: limits.directs_per_hour,
            users: DashMap::new(),
            conversations: DashMap::new(),
            openers: DashMap::new(),
            members: DashMap::new(),
        }
    }

    /// Takes one message's worth of a user's, or says when there is one.
    pub(crate) fn take_user(&self, user: &UserId) -> Result<(), Duration> {
        let (rate, burst) = self.user;
        let budget = || Budget::new(rate, burst);
        let now = Instant::now().into_std();
        self.users.entry(user.clone()).or_insert_with(budget).take(1, now)
    }

    /// Takes one message's worth of a conversation's, or says when there is one.
    pub(crate) fn take_conversation(&self, conversation: ConversationId) -> Result<(), Duration> {
        let (rate, burst) = self.conversation;
        let budget = || Budget::new(rate, burst);
        let now = Instant::now().into_std();
        self.conversations
            .entry(conversation)
            .or_insert_with(budget)
            .take(1, now)
    }

    /// Whether the user was a member a few seconds ago: enough to use up the conversation's rate, and for nothing else.
    pub(crate) fn was_member(&self, conversation: ConversationId, user: &UserId) -> bool {
        self.members.contains_key(&(conversation, user.clone()))
    }

    /// Remembers a member until the sweep after the next one.
    pub(crate) fn remember_member(&self, conversation: ConversationId, user: &UserId) {
        self.members.insert((conversation, user.clone()), true);
    }

    /// Takes one new direct conversation's worth, or says when there is one.
    pub(crate) fn take_direct(&self, user: &UserId) -> Result<(), Duration> {
        let now = Instant::now().into_std();
        // A budget of seconds: an hour of them at once, each direct conversation costs its share.
        let budget = || Budget::new(1, 3_600);
        self.openers
            .entry(user.clone())
            .or_insert_with(budget)
            .take(3_600 / self.directs.max(1), now)
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len() + self.conversations.len() + self.openers.len() + self.members.len()
    }

    /// Forgets whoever has not written for a while.
    pub(crate) fn sweep(&self) {
        let now = Instant::now().into_std();
        self.users.retain(|_, budget| !budget.is_whole(now));
        self.conversations.retain(|_, budget| !budget.is_whole(now));
        self.openers.retain(|_, budget| !budget.is_whole(now));
        self.members.retain(|_, is_fresh| std::mem::take(is_fresh));
    }
}
