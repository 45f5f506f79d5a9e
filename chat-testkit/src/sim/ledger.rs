//! What users asked for and what came of it: what the judgement holds the log to.

use crate::random::Random;
use chat_core::frame::Stored;
use chat_core::id::{CommandId, ConversationId, Seq, UserId};
use chat_core::message::Content;
use std::sync::{Arc, Mutex, MutexGuard};

/// What is known of all users' doings; a cheap handle.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
pub(super) struct Book {
    pub given: Vec<Given>,
    pub marks: Vec<Marked>,
    /// Conversations that somebody made, whether or not it came to something.
    pub conversations: Vec<ConversationId>,
    texts: u64,
}

/// A durable command that somebody gave.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub seat: Arc<str>,
    pub name: &'static str,
    pub conversation: ConversationId,
    pub id: CommandId,
    /// For a direct conversation, which may exist already under another id.
    pub opens_direct: bool,
    pub stored: Option<Stored>,
}

/// A mark whose setting was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Marked {
    pub user: UserId,
    pub conversation: ConversationId,
    pub joined: Seq,
    pub seq: Seq,
    pub is_read: bool,
}

impl Ledger {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no panic while the lock is held")
    }

    /// A text that nobody else ever writes.
    pub fn text(&self, random: &mut Random) -> Content {
        let mut book = self.book();
        book.texts += 1;
        let filler = if random.chance(0.1) {
            random.below(200..3_000)
        } else {
            random.below(0..40)
        };
        Content::text(format!("t{} {}", book.texts, "x".repeat(filler as usize)))
    }
}
