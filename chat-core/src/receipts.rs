//! Receipts on their way: one for each member and conversation, the latest, once an interval.

use chat_protocol::id::{ConversationId, UserId};
use chat_protocol::signal::MarksSignal;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Receipts {
    waiting: Mutex<BTreeMap<(ConversationId, UserId), MarksSignal>>,
    /// Wakes the task that signals them.
    pub(crate) some: Notify,
}

impl Receipts {
    pub(crate) fn push(&self, marks: MarksSignal) {
        let key = (marks.conversation, marks.user.clone());
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, marks);
        self.some.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn take(&self) -> BTreeMap<ConversationId, Vec<MarksSignal>> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut by_conversation: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((conversation, _), marks) in waiting {
            by_conversation.entry(conversation).or_default().push(marks);
        }
        by_conversation
    }
}
