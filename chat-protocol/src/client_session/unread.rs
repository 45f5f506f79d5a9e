//! What happened in a conversation since its inbox entry was read, as far as the count of unread messages needs it.
//!
//! Unread is a function of the log and the read mark, but a client holds only the count at some head and the events
//! after it. This ledger keeps the seqs after that head, so that a mark set on another device, or an entry read a
//! little earlier than the newest event here, still gives the exact count; where it cannot, the caller asks the server.

use crate::id::Seq;
use std::collections::{BTreeSet, VecDeque};

/// The count stands for "more than 999" from here on.
pub(super) const UNREAD_MAX: u64 = 1000;

/// Beyond this many remembered changes the ledger starts anew at the newest one.
const CHANGES_MAX: usize = 256;

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// Everything after this seq is remembered.
    base: Seq,
    /// Messages by others that are not deleted.
    live: BTreeSet<Seq>,
    /// Deletes that took a counted message away: when, and which.
    deletes: VecDeque<(Seq, Seq)>,
    /// Messages that arrived as tombstones, whose delete is still to come in the log.
    dead: BTreeSet<Seq>,
}

impl Ledger {
    pub(super) fn starting_at(base: Seq) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The entry was replaced by one that is true at `head`.
    pub(super) fn restart(&mut self, head: Seq) {
        self.base = head;
        self.live.clear();
        self.deletes.clear();
        self.dead.retain(|seq| *seq > head);
    }

    /// A message by somebody else came; says whether it counts.
    pub(super) fn message(&mut self, seq: Seq, deleted: bool) -> bool {
        if deleted {
            self.dead.insert(seq);
            return false;
        }
        self.live.insert(seq);
        self.trim(seq);
        true
    }

    /// A message by somebody else was deleted at `at`; says whether it had been counted.
    pub(super) fn delete(&mut self, at: Seq, message: Seq) -> bool {
        if self.dead.remove(&message) {
            return false;
        }
        self.live.remove(&message);
        self.deletes.push_back((at, message));
        self.trim(at);
        true
    }

    fn trim(&mut self, head: Seq) {
        if self.live.len() + self.deletes.len() > CHANGES_MAX {
            self.base = head;
            self.live.clear();
            self.deletes.clear();
        }
    }

    /// The count after a read mark, if everything after the mark is remembered.
    pub(super) fn count_after(&self, read: Seq) -> Option<u64> {
        (read >= self.base).then(|| (self.live.range(read.next()..).count() as u64).min(UNREAD_MAX))
    }

    /// The count now, from one that was true at `head` with this read mark.
    pub(super) fn count_from(&self, unread: u64, head: Seq, read: Seq) -> Option<u64> {
        if head < self.base {
            return None;
        }
        let come = self.live.range(head.max(read).next()..).count() as u64;
        let gone = self
            .deletes
            .iter()
            .filter(|(at, message)| *at > head && *message <= head && *message > read)
            .count() as u64;
        if unread >= UNREAD_MAX && gone > 0 {
            return None;
        }
        Some((unread.saturating_sub(gone) + come).min(UNREAD_MAX))
    }
}
