//! What was heard and not yet taken by the engine.

use super::Rung;
use bytes::Bytes;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Bells that wait at most.
const BELLS_MAX: usize = 4096;
/// Their bytes at most.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bells between whatever reads the broker, which never waits, and the engine, which may be busy: 4,096 and 16 MiB of them.
/// What finds no room is dropped, and the engine is told to look at the store instead.
///
/// For implementations of [`Backplane`](super::Backplane), whose `recv` this one is:
///
/// ```
/// # use chat_core::backplane::{Inbox, Rung};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let inbox = Inbox::default();
/// inbox.push("a bell".into());
/// inbox.resync(); // after a reconnect
/// assert_eq!(inbox.recv().await, Rung::Resync);
/// assert_eq!(inbox.recv().await, Rung::Bell("a bell".into()));
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bells: VecDeque<Bytes>,
    bytes: usize,
    owes_resync: bool,
}

impl Inbox {
    /// A bell was heard.
    pub fn push(&self, bell: Bytes) {
        let mut waiting = self.waiting();
        if waiting.bells.len() < BELLS_MAX && waiting.bytes + bell.len() <= BYTES_MAX {
            waiting.bytes += bell.len();
            waiting.bells.push_back(bell);
        } else {
            waiting.owes_resync = true;
            metrics::counter!("chat_bells_dropped_total").increment(1);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Something may have been missed.
    pub fn resync(&self) {
        self.waiting().owes_resync = true;
        self.arrived.notify_one();
    }

    /// What comes next: that something was missed before all that waits.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is awaited between taking a bell and returning it.
    pub async fn recv(&self) -> Rung {
        loop {
            if let Some(rung) = self.waiting().next() {
                return rung;
            }
            self.arrived.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("the lock is never poisoned: nothing panics under it")
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Rung> {
        if mem::take(&mut self.owes_resync) {
            return Some(Rung::Resync);
        }
        let bell = self.bells.pop_front()?;
        self.bytes -= bell.len();
        Some(Rung::Bell(bell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all that waits: the bells' bytes, and how often it was told to resync.
    fn take_all(inbox: &Inbox) -> (usize, usize) {
        let mut seen = (0, 0);
        while let Some(rung) = inbox.waiting().next() {
            match rung {
                Rung::Bell(bell) => seen.0 += bell.len(),
                Rung::Resync => seen.1 += 1,
            }
        }
        seen
    }

    #[test]
    fn what_finds_no_room_is_replaced_by_one_resync() {
        for (length, room) in [(1, BELLS_MAX), (64 * 1024, BYTES_MAX / (64 * 1024))] {
            let inbox = Inbox::default();
            for _ in 0..room {
                inbox.push(vec![0; length].into());
            }
            assert!(!inbox.waiting().owes_resync);
            inbox.push(vec![0; length].into());
            inbox.push(vec![0; length].into());
            assert_eq!(take_all(&inbox), (length * room, 1));
            inbox.push(vec![0; length].into());
            assert_eq!(take_all(&inbox), (length, 0), "there is room again");
        }
    }
}
