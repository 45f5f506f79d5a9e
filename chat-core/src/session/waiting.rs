//! Signals that wait for one session's socket: the latest of each key, bounded; pure.

use bytes::Bytes;
use chat_protocol::signal::SignalKey;
use std::collections::BTreeMap;

/// When a signal is written, and dropped when there is no room: first what is over soon anyway, then what can be read
/// again, and among these the oldest.
type Turn = (u8, u64);

/// Signals that wait. When they are too many, or too large, the first in turn are dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    by_turn: BTreeMap<Turn, (SignalKey, Bytes)>,
    turns: BTreeMap<SignalKey, Turn>,
    next: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Waiting {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            by_turn: BTreeMap::new(),
            turns: BTreeMap::new(),
            next: 0,
            bytes: 0,
            count_max,
            bytes_max,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, in the order in which it is written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.by_turn.values().map(|(_, bytes)| bytes)
    }

    /// Takes a signal in place of an earlier one of its key; answers how many were dropped for want of room.
    pub(crate) fn push(&mut self, key: SignalKey, bytes: Bytes) -> usize {
        self.remove(&key);
        let turn = (rank(&key), self.next);
        self.next += 1;
        self.bytes += bytes.len();
        self.turns.insert(key.clone(), turn);
        self.by_turn.insert(turn, (key, bytes));
        let mut dropped = 0;
        while self.by_turn.len() > self.count_max || self.bytes > self.bytes_max {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    /// Forgets what waits of a key.
    pub(crate) fn remove(&mut self, key: &SignalKey) {
        let turn = self.turns.remove(key);
        if let Some((_, bytes)) = turn.and_then(|turn| self.by_turn.remove(&turn)) {
            self.bytes -= bytes.len();
        }
    }

    /// The first in turn.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let (_, (key, bytes)) = self.by_turn.pop_first()?;
        self.turns.remove(&key);
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Drops all; answers how many that were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.by_turn.len();
        self.by_turn.clear();
        self.turns.clear();
        self.bytes = 0;
        count
    }
}

fn rank(key: &SignalKey) -> u8 {
    match key {
        SignalKey::Typing(..) | SignalKey::Unknown(_) => 0,
        SignalKey::Marks(..) => 1,
        SignalKey::Presence(_) | SignalKey::Display(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::{ConversationId, UserId};

    fn user(n: usize) -> UserId {
        UserId::new(format!("user {n}")).unwrap()
    }

    fn typing(n: usize) -> SignalKey {
        SignalKey::Typing(ConversationId::from_parts(1, [1; 10]), user(n))
    }

    fn waits(waiting: &Waiting) -> String {
        let all: Vec<u8> = waiting.iter().flat_map(|bytes| bytes.to_vec()).collect();
        assert_eq!(waiting.bytes(), all.len());
        assert_eq!(waiting.turns.len(), waiting.by_turn.len());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn beyond_the_bounds_the_oldest_is_dropped_first_what_is_over_soon_anyway() {
        let mut waiting = Waiting::new(4, 6);
        assert_eq!(waiting.push(SignalKey::Presence(user(0)), "P".into()), 0);
        for (n, text) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(waiting.push(typing(n), text.into()), 0);
        }
        assert_eq!(
            waiting.push(typing(0), "A".into()),
            0,
            "in place of its own earlier one"
        );
        assert_eq!(waits(&waiting), "bcAP");
        assert_eq!(waiting.push(typing(3), "d".into()), 1, "too many");
        assert_eq!(waits(&waiting), "cAdP");
        assert_eq!(
            waiting.push(SignalKey::Presence(user(1)), "QQQQ".into()),
            2,
            "too large"
        );
        assert_eq!(waits(&waiting), "dPQQQQ");
        assert_eq!(
            waiting.push(SignalKey::Display(user(1)), "1234567".into()),
            4,
            "nothing may be larger than all"
        );
        assert_eq!(waits(&waiting), "");
    }

    #[test]
    fn three_thousand_who_type_are_as_many_as_the_bound() {
        let mut waiting = Waiting::new(512, 64 * 1024);
        for n in 0..3_000 {
            waiting.push(typing(n), vec![b'x'; 200].into());
        }
        assert_eq!(waiting.iter().count(), 64 * 1024 / 200);
        assert_eq!(waiting.clear(), 64 * 1024 / 200);
        assert!(waiting.is_empty());
    }
}
