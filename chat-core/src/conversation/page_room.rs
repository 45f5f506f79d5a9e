//! How much goes into one page.

use chat_protocol::conversation::InboxEntry;
use chat_protocol::event::{Event, EventKind};
use chat_protocol::frame::LogItem;
use chat_protocol::message::Message;
use serde::Serialize;
use std::io;

/// What is left of a page: so many items, about so many bytes, at least one.
///
/// Bytes are those of the JSON form, roughly: a page's bound is there to keep frames small, not to count exactly.
#[derive(Debug, Clone, Copy)]
pub struct PageRoom {
    items: usize,
    bytes: usize,
    first: bool,
}

impl PageRoom {
    /// A page of this size.
    pub fn new(limit: usize, bytes: usize) -> Self {
        Self {
            items: limit.max(1),
            bytes,
            first: true,
        }
    }

    /// Whether no further item can go in, whatever its size.
    pub fn is_spent(&self) -> bool {
        self.items == 0 || (!self.first && self.bytes == 0)
    }

    /// Takes a message into the page, or says that it has to wait for the next one.
    pub fn take_message(&mut self, message: &Message) -> bool {
        self.take(message_bytes(message))
    }

    /// Takes an item of a log into the page, or says that it has to wait for the next one.
    pub fn take_item(&mut self, item: &LogItem) -> bool {
        self.take(match item {
            LogItem::Event(event) => event_bytes(event),
            LogItem::Skip(_) => ENVELOPE,
        })
    }

    /// Takes an inbox entry into the page, or says that it has to wait for the next one.
    pub fn take_entry(&mut self, entry: &InboxEntry) -> bool {
        self.take(json_bytes(entry))
    }

    fn take(&mut self, bytes: usize) -> bool {
        if self.items == 0 || (!self.first && bytes > self.bytes) {
            self.items = 0; // nothing may slip in behind what did not fit
            return false;
        }
        self.first = false;
        self.items -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Ids, numbers and keys of an event or a message.
const ENVELOPE: usize = 240;

fn event_bytes(event: &Event) -> usize {
    match (event.kind.message(), &event.kind) {
        (Some(message), _) => ENVELOPE + message_bytes(message),
        (None, EventKind::ConversationDeleted(_)) => ENVELOPE,
        (None, _) => json_bytes(event),
    }
}

fn message_bytes(message: &Message) -> usize {
    let content = message.content.as_ref().map_or(0, |content| {
        let meta = content.meta.as_ref().map_or(0, json_bytes);
        let attachments = if content.attachments.is_empty() {
            0
        } else {
            json_bytes(&content.attachments)
        };
        content.kind.len() + content.text.as_deref().map_or(0, str::len) + meta + attachments
    });
    let reactions = if message.reactions.is_empty() {
        0
    } else {
        json_bytes(&message.reactions)
    };
    ENVELOPE + content + reactions
}

fn json_bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // An error could only come from a map without text keys; then the rest is not counted.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_always_fits_and_nothing_slips_in_behind_what_did_not() {
        let mut budget = PageRoom::new(10, 100);
        assert!(budget.take(1_000));
        assert!(budget.is_spent());
        assert!(!budget.take(1));

        let mut budget = PageRoom::new(10, 100);
        assert!(budget.take(60));
        assert!(!budget.take(60));
        assert!(!budget.take(1));
    }

    #[test]
    fn a_page_ends_at_its_limit() {
        let mut budget = PageRoom::new(2, 100);
        assert!(budget.take(1));
        assert!(budget.take(1));
        assert!(budget.is_spent());
        assert!(!budget.take(1));
        assert!(PageRoom::new(0, 0).take(5));
    }
}
