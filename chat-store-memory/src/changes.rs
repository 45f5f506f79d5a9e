//! What changed, in the order in which it did: the ground for horizons.

use chat_core::id::{ConversationId, UserId};
use std::collections::{BTreeMap, HashMap};

/// Something of which a reader of changes is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Changed {
    /// Its log grew.
    Conversation(ConversationId),
    /// Their revision rose.
    User(UserId),
}

/// Numbers every change; of each thing only the last one is kept.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    last: u64,
    in_order: BTreeMap<u64, Changed>,
    numbers: HashMap<Changed, u64>,
}

impl ChangeLog {
    pub(crate) fn note(&mut self, changed: Changed) {
        self.last += 1;
        if let Some(before) = self.numbers.insert(changed.clone(), self.last) {
            self.in_order.remove(&before);
        }
        self.in_order.insert(self.last, changed);
    }

    /// The number of the last change.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// What changed after that number, in order.
    pub(crate) fn since(&self, number: u64) -> impl Iterator<Item = (u64, &Changed)> {
        let after = number.saturating_add(1);
        self.in_order.range(after..).map(|(number, changed)| (*number, changed))
    }
}
