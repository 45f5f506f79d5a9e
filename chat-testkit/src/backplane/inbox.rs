//! What is under way to one node: bounded, in the order in which it arrives.

use bytes::Bytes;
use chat_core::backplane::Rung;
use std::collections::BTreeMap;
use tokio::time::Instant;

const BELLS_MAX: usize = 4096;
const BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// By the time of arrival, then in the order of publishing.
    bells: BTreeMap<(Instant, u64), Bytes>,
    bytes: usize,
    owes_resync: bool,
}

/// What a node hears next.
pub(super) enum Next {
    Now(Rung),
    At(Instant),
    Nothing,
}

impl Inbox {
    /// Whether there was room; if not, the node is told that it missed something.
    pub(super) fn push(&mut self, due: Instant, number: u64, bell: Bytes) -> bool {
        if self.bells.len() >= BELLS_MAX || self.bytes + bell.len() > BYTES_MAX {
            self.owes_resync = true;
            return false;
        }
        self.bytes += bell.len();
        self.bells.insert((due, number), bell);
        true
    }

    pub(super) fn owe_resync(&mut self) {
        self.owes_resync = true;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn pop(&mut self, now: Instant) -> Next {
        if std::mem::take(&mut self.owes_resync) {
            return Next::Now(Rung::Resync);
        }
        match self.bells.first_entry() {
            Some(first) if first.key().0 <= now => {
                let bell = first.remove();
                self.bytes -= bell.len();
                Next::Now(Rung::Bell(bell))
            }
            Some(later) => Next::At(later.key().0),
            None => Next::Nothing,
        }
    }
}
