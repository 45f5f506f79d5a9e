//! What waits for one session's socket: one line, in order, bounded; pure.
//!
//! Events in it are only a shortcut: when it is full they are dropped and the log is read again. Replies are never
//! dropped; their number is bounded by the commands in flight, because the session reads no further command while too
//! many wait. Signals are kept apart, the latest per key, until the socket takes them: they have bounds of their own.

use super::waiting::Waiting;
use crate::delivery::Memory;
use crate::limits::Limits;
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
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer to what the client sent: never dropped, and counted.
    Reply,
    /// Something else that is never dropped, such as the rest of a frame.
    Kept,
    /// A shortcut for this log, and the position before it.
    Event(ConversationId, Position),
}

/// Whether a page of a log would find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// Too much waits here already; the socket gives room.
    Full,
    /// The node has no memory for it; others give room, and nobody says so.
    NoMemory,
}

#[derive(Debug)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// How much of the first item the socket has taken.
    taken: usize,
    bytes: usize,
    replies: usize,
    signals: Waiting,
    bytes_max: usize,
    frames_max: usize,
    memory: Arc<Memory>,
}

impl Queue {
    pub(crate) fn new(limits: &Limits, memory: Arc<Memory>) -> Self {
        Self {
            items: VecDeque::new(),
            taken: 0,
            bytes: 0,
            replies: 0,
            signals: Waiting::new(limits.session_signals_max, limits.session_signal_bytes_max),
            bytes_max: limits.session_queue_bytes_max,
            frames_max: limits.session_queue_frames_max,
            memory,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.signals.is_empty()
    }

    /// All that waits, signals included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.signals.bytes()
    }

    /// How many replies wait.
    pub(crate) fn replies(&self) -> usize {
        self.replies
    }

    /// Whether a page of the log would find room, whatever its size: so at most half of the bound and one page wait.
    pub(crate) fn room(&self) -> Room {
        let own = self.bytes <= self.bytes_max / 2 && self.items.len() <= self.frames_max / 2;
        // What is left of the node's memory is kept for those who have nothing waiting.
        let no_memory = match self.is_empty() {
            true => self.memory.is_full(),
            false => !self.memory.is_roomy(),
        };
        match own || self.is_empty() {
            false => Room::Full,
            true if no_memory => Room::NoMemory,
            true => Room::Free,
        }
    }

    /// Takes what must not be dropped, a reply or not.
    pub(crate) fn push_kept(&mut self, bytes: Bytes, kind: Kind) {
        let bytes = self.counted(bytes);
        self.push(Item { bytes, kind });
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
            kind: Kind::Event(conversation, before),
        });
        true
    }

    /// Takes a page of a log that follows a position; `false` when there is no room.
    #[must_use]
    pub(crate) fn push_page(&mut self, conversation: ConversationId, before: Position, bytes: Bytes) -> bool {
        // By the rule by which the page was asked for: were it stricter, the same page would be asked for at once.
        if self.room() != Room::Free {
            return false;
        }
        let bytes = self.counted(bytes);
        self.push(Item {
            bytes,
            kind: Kind::Event(conversation, before),
        });
        true
    }

    /// Counts bytes that are only this session's.
    pub(crate) fn counted(&self, bytes: Bytes) -> Bytes {
        self.memory.counted(bytes)
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.bytes.len();
        self.replies += usize::from(item.kind == Kind::Reply);
        self.items.push_back(item);
    }

    /// Keeps the latest signal of its key, as long as there is room; answers how many were dropped.
    pub(crate) fn push_signal(&mut self, key: SignalKey, bytes: Bytes) -> usize {
        if self.memory.is_full() {
            self.signals.remove(&key);
            return 1;
        }
        self.signals.push(key, bytes)
    }

    /// Drops the signals that wait; answers how many that were.
    pub(crate) fn drop_signals(&mut self) -> usize {
        self.signals.clear()
    }

    /// Takes the rest of a frame of which the socket has taken `taken` bytes; only when nothing is before it.
    pub(crate) fn push_rest(&mut self, bytes: Bytes, taken: usize, kind: Kind) {
        debug_assert!(self.items.is_empty());
        self.push(Item { bytes, kind });
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
            match item.kind {
                Kind::Event(conversation, before) if index > begun => {
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
    pub(crate) fn slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        for (index, item) in self.items.iter().take(SLICES_MAX).enumerate() {
            let from = if index == 0 { self.taken } else { 0 };
            slices.push(IoSlice::new(&item.bytes[from..]));
        }
        let left = SLICES_MAX - slices.len();
        slices.extend(self.signals.iter().take(left).map(|bytes| IoSlice::new(bytes)));
    }

    /// The socket has taken so many bytes of what [`slices`](Self::slices) gave.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while let Some(item) = self.items.front() {
            let rest = item.bytes.len() - self.taken;
            if written < rest {
                self.bytes -= written;
                self.taken += written;
                return;
            }
            written -= rest;
            self.bytes -= rest;
            self.taken = 0;
            self.replies -= usize::from(item.kind == Kind::Reply);
            self.items.pop_front();
        }
        while written > 0 {
            let Some(bytes) = self.signals.pop() else { return };
            if written < bytes.len() {
                return self.push_rest(bytes, written, Kind::Kept);
            }
            written -= bytes.len();
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

    fn limits(bytes_max: usize, frames_max: usize) -> Limits {
        Limits {
            session_queue_bytes_max: bytes_max,
            session_queue_frames_max: frames_max,
            ..Limits::default()
        }
    }

    fn queue(bytes_max: usize, frames_max: usize) -> Queue {
        Queue::new(&limits(bytes_max, frames_max), Memory::new(10_000))
    }

    fn written(queue: &mut Queue) -> Vec<u8> {
        let mut slices = Vec::new();
        queue.slices(&mut slices);
        slices.iter().flat_map(|s| s.to_vec()).collect()
    }

    #[test]
    fn what_waits_leaves_in_the_order_in_which_it_came() {
        let mut queue = queue(100, 10);
        queue.push_kept(Bytes::from_static(b"re"), Kind::Reply);
        assert!(queue.push_event(conversation(1), at(0), Bytes::from_static(b"ev")));
        queue.push_kept(Bytes::from_static(b"ply"), Kind::Reply);
        assert_eq!(written(&mut queue), b"reevply");
        queue.advance(3);
        assert_eq!(written(&mut queue), b"vply");
        queue.advance(4);
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.replies()), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_events_and_keeps_replies_and_what_is_half_written() {
        let mut queue = queue(10, 10);
        assert!(queue.push_event(conversation(1), at(6), Bytes::from_static(b"seven")));
        queue.advance(1);
        assert!(queue.push_event(conversation(1), at(7), Bytes::from_static(b"eight")));
        queue.push_kept(Bytes::from_static(b"reply"), Kind::Reply);
        assert!(!queue.push_event(conversation(2), at(2), Bytes::from_static(b"three")));
        assert_eq!(queue.memory.used(), b"reply".len());
        let dropped = queue.drop_events();
        assert_eq!(dropped, BTreeMap::from([(conversation(1), at(7))]));
        assert_eq!(written(&mut queue), b"evenreply");
    }

    #[test]
    fn of_two_signals_with_one_key_the_latest_is_written() {
        let mut queue = queue(10, 10);
        let key = SignalKey::Presence(UserId::new("ana").unwrap());
        queue.push_signal(key.clone(), Bytes::from_static(b"old"));
        queue.push_signal(key, Bytes::from_static(b"new"));
        assert_eq!(written(&mut queue), b"new");
    }

    fn typing(n: usize) -> SignalKey {
        SignalKey::Typing(conversation(1), UserId::new(format!("user {n}")).unwrap())
    }

    #[test]
    fn a_signal_stays_the_latest_of_its_key_until_the_socket_takes_it() {
        let mut queue = queue(100, 10);
        queue.push_kept(Bytes::from_static(b"reply"), Kind::Reply);
        for n in 0..2 {
            queue.push_signal(typing(n), Bytes::from(format!("old{n}")));
        }
        assert_eq!(written(&mut queue), b"replyold0old1");
        queue.push_signal(typing(0), Bytes::from_static(b"new0"));
        assert_eq!(
            written(&mut queue),
            b"replyold1new0",
            "what was only offered to it is replaced"
        );
        queue.advance(b"replyol".len());
        queue.push_signal(typing(1), Bytes::from_static(b"new1"));
        assert_eq!(written(&mut queue), b"d1new0new1", "what it has begun goes on");
        assert_eq!((queue.bytes(), queue.replies()), (10, 0));
        queue.advance(10);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn only_replies_count_as_such() {
        let mut queue = queue(100, 10);
        queue.push_rest(Bytes::from_static(b"rest"), 1, Kind::Kept);
        queue.push_kept(Bytes::from_static(b"entries"), Kind::Kept);
        assert!(queue.push_event(conversation(1), at(0), Bytes::from_static(b"event")));
        for n in 0..20 {
            queue.push_signal(typing(n), Bytes::from_static(b"x"));
        }
        assert_eq!(queue.replies(), 0);
        queue.advance(b"restentriesevent".len() - 1 + 10);
        assert_eq!(queue.replies(), 0);
        queue.push_kept(Bytes::from_static(b"reply"), Kind::Reply);
        assert_eq!(queue.replies(), 1);
    }

    #[test]
    fn signals_are_bounded_and_give_way_when_the_node_has_no_memory() {
        let mut limits = limits(100, 10);
        limits.session_signals_max = 5;
        let memory = Memory::new(1_000);
        let mut queue = Queue::new(&limits, memory.clone());
        let dropped: usize = (0..8)
            .map(|n| queue.push_signal(typing(n), Bytes::from(n.to_string())))
            .sum();
        assert_eq!((dropped, queue.bytes()), (3, 5));
        assert_eq!(written(&mut queue), b"34567");
        let full = memory.counted(Bytes::from(vec![0; 950]));
        assert_eq!(queue.push_signal(typing(7), Bytes::from_static(b"new")), 1);
        assert_eq!(queue.push_signal(typing(8), Bytes::from_static(b"new")), 1);
        assert_eq!(written(&mut queue), b"3456", "nothing old is left in place of the new");
        drop(full);
        assert_eq!(queue.drop_signals(), 4);
        assert!(queue.is_empty());
    }
}
