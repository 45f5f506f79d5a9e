//! What other nodes wrote, as this one heard it: conversations in which several nodes write messages by turns are judged
//! without a look too.
//!
//! It is a guess like all that is [known](crate::known): proved by the heads when something is written.

use chat_core::event::{Event, EventKind};
use chat_core::id::{ConversationId, Position};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of so many conversations; beyond that all of it is forgotten, and looked at once more.
const MAX: usize = 50_000;

/// For each conversation a stretch of messages: where it begins, and where it ends.
#[derive(Default)]
pub(super) struct News(Mutex<HashMap<ConversationId, (Position, Position)>>);

impl News {
    fn stretches(&self) -> MutexGuard<'_, HashMap<ConversationId, (Position, Position)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what follows a place.
    pub fn add(&self, conversation: ConversationId, after: Position, events: &[Event]) {
        let Some(last) = events.last().map(Event::position) else {
            return;
        };
        let mut stretches = self.stretches();
        // Everything else changes what the judge looks at.
        if !events
            .iter()
            .all(|event| matches!(event.kind, EventKind::MessageNew(_)))
        {
            stretches.remove(&conversation);
            return;
        }
        if stretches.len() >= MAX {
            stretches.clear();
        }
        let stretch = stretches.entry(conversation).or_insert((after, after));
        if stretch.1 != after {
            stretch.0 = after;
        }
        stretch.1 = last;
    }

    /// Takes out what was heard of a conversation.
    pub fn take(&self, conversation: ConversationId) -> Option<(Position, Position)> {
        self.stretches().remove(&conversation)
    }
}
