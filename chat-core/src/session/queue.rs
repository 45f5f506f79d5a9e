//! What waits for one session's socket: one line, in order, bounded; pure.
//!
//! Events in it are only a shortcut: when it is full they are dropped and the log is read again. Replies are never
//! dropped; their number is bounded by the commands in flight, because the session reads no further command while too
//! many wait. Signals are kept apart, the latest per key.

use crate::delivery::Memory;
use bytes::Bytes;
use chat_protocol::id::{ConversationId, Position};
use chat_protocol::signal::SignalKey;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

/// The most slices handed to one vectored write.
pub(crate) const SLICES_MAX: usize = 64;

#[derive(Debug)]
struct Item {
    bytes: Bytes,
    /// Whose log it is a shortcut for and the position before it; `None` for what must not be dropped.
    event: Option<(ConversationId, Position)>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// How much of the first item the socket has taken.
    taken: usize,
    bytes: usize,
    kept: usize,
    signals: BTreeMap<SignalKey, Bytes>,
    bytes_max: usize,
    frames_max: usize,
    memory: Arc<Memory>,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, frames_max: usize, memory: Arc<Memory>) -> Self {
        Self {
            items: VecDeque::new(),
            taken: 0,
            bytes: 0,
            kept: 0,
            signals: BTreeMap::new(),
            bytes_max,
            frames_max,
            memory,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.signals.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many replies wait.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Whether a page of the log would find room, whatever its size: so at most half of the bound and one page wait.
    pub(crate) fn has_room(&self) -> bool {
        let own = self.bytes <= self.bytes_max / 2 && self.items.len() <= self.frames_max / 2;
        (own || self.is_empty()) && !self.waits_for_memory()
    }

    /// Whether the node has no memory for a page here; what is left of it is kept for those who have nothing waiting.
    pub(crate) fn waits_for_memory(&self) -> bool {
        if self.is_empty() {
            self.memory.is_full()
        } else {
            !self.memory.is_roomy()
        }
    }

    /// Takes what must not be dropped.
    pub(crate) fn push_reply(&mut self, bytes: Bytes) {
        self.kept += 1;
        let bytes = self.memory.counted(bytes);
        self.push(Item { bytes, event: None });
    }

    /// Takes an event that others get too and that follows a position of a log; `false` when there is no room.
    #[must_use]
    pub(crate) fn push_event(&mut self, conversation: ConversationId, before: Position, bytes: Bytes) -> bool {
        // The first is taken whatever its size, so that nothing is too large to be sent at all.
        let full =
            self.bytes + bytes.len() > self.bytes_max || self.items.len() >= self.frames_max || self.memory.is_full();
        if full && !self.items.is_empty() {
            return false;
        }
        self.push(Item {
            bytes,
            event: Some((conversation, before)),
        });
        true
    }

    /// Takes a page of a log that follows a position; `false` when there is no room.
    #[must_use]
    pub(crate) fn push_page(&mut self, conversation: ConversationId, before: Position, bytes: Bytes) -> bool {
        // By the rule by which the page was asked for: were it stricter, the same page would be asked for at once.
        if !self.has_room() {
            return false;
        }
        let bytes = self.memory.counted(bytes);
        self.push(Item {
            bytes,
            event: Some((conversation, before)),
        });
        true
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.bytes.len();
        self.items.push_back(item);
    }

    /// Keeps the latest signal of its key.
    pub(crate) fn push_signal(&mut self, key: SignalKey, bytes: Bytes) {
        self.signals.insert(key, bytes);
    }

    /// Takes the rest of a frame of which the socket has taken `taken` bytes; only when nothing else waits.
    pub(crate) fn push_rest(&mut self, bytes: Bytes, taken: usize) {
        debug_assert!(self.items.is_empty());
        self.kept += 1;
        self.push(Item { bytes, event: None });
        self.bytes -= taken;
        self.taken = taken;
    }

    /// Drops every event that the socket has not begun to take; answers where each conversation then stands.
    pub(crate) fn drop_events(&mut self) -> BTreeMap<ConversationId, Position> {
        let mut dropped = BTreeMap::new();
        let begun = usize::from(self.taken > 0);
        let mut index = 0;
        let bytes = &mut self.bytes;
        self.items.retain(|item| {
            index += 1;
            match item.event {
                Some((conversation, before)) if index > begun => {
                    *bytes -= item.bytes.len();
                    dropped.entry(conversation).or_insert(before);
                    false
                }
                _ => true,
            }
        });
        dropped
    }

    /// What to write next, the signals last.
    pub(crate) fn slices<'a>(&'a mut self, slices: &mut Vec<IoSlice<'a>>) {
        if self.items.len() < SLICES_MAX {
            while let Some((_, bytes)) = self.signals.pop_first() {
                self.kept += 1;
                self.push(Item { bytes, event: None });
            }
        }
        for (index, item) in self.items.iter().take(SLICES_MAX).enumerate() {
            let from = if index == 0 { self.taken } else { 0 };
            slices.push(IoSlice::new(&item.bytes[from..]));
        }
    }

    /// The socket has taken so many bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(item) = self.items.front() {
            let rest = item.bytes.len() - self.taken;
            if written < rest {
                self.taken += written;
                return;
            }
            written -= rest;
            self.taken = 0;
            self.kept -= usize::from(item.event.is_none());
            self.items.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::{Seq, Tag, UserId};

    fn at(seq: u64) -> Position {
        Position {
            seq: Seq(seq),
            tag: Tag(seq),
        }
    }

    fn conversation(n: u8) -> ConversationId {
        ConversationId::from_parts(1, [n; 10])
    }

    fn written(queue: &mut Queue) -> Vec<u8> {
        let mut slices = Vec::new();
        queue.slices(&mut slices);
        slices.iter().flat_map(|s| s.to_vec()).collect()
    }

    #[test]
    fn what_waits_leaves_in_the_order_in_which_it_came() {
        let mut queue = Queue::new(100, 10, Memory::new(10_000));
        queue.push_reply(Bytes::from_static(b"re"));
        assert!(queue.push_event(conversation(1), at(0), Bytes::from_static(b"ev")));
        queue.push_reply(Bytes::from_static(b"ply"));
        assert_eq!(written(&mut queue), b"reevply");
        queue.advance(3);
        assert_eq!(written(&mut queue), b"vply");
        queue.advance(4);
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.kept()), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_events_and_keeps_replies_and_what_is_half_written() {
        let mut queue = Queue::new(10, 10, Memory::new(10_000));
        assert!(queue.push_event(conversation(1), at(6), Bytes::from_static(b"seven")));
        queue.advance(1);
        assert!(queue.push_event(conversation(1), at(7), Bytes::from_static(b"eight")));
        queue.push_reply(Bytes::from_static(b"reply"));
        assert!(!queue.push_event(conversation(2), at(2), Bytes::from_static(b"three")));
        assert_eq!(queue.memory.used(), b"reply".len());
        let dropped = queue.drop_events();
        assert_eq!(dropped, BTreeMap::from([(conversation(1), at(7))]));
        assert_eq!(written(&mut queue), b"evenreply");
    }

    #[test]
    fn of_two_signals_with_one_key_the_latest_is_written() {
        let mut queue = Queue::new(10, 10, Memory::new(10_000));
        let key = SignalKey::Presence(UserId::new("ana").unwrap());
        queue.push_signal(key.clone(), Bytes::from_static(b"old"));
        queue.push_signal(key, Bytes::from_static(b"new"));
        assert_eq!(written(&mut queue), b"new");
    }
}
