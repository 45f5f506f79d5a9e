//! What there is to tell those who watch users: presence and display data, the latest of each, in order.
//!
//! Many change at once when a node goes; so whoever notices only puts it here, and one task tells it.

use chat_protocol::signal::{Signal, SignalKey};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The news that nobody was told yet: at most two of each user who is watched here.
#[derive(Debug, Default)]
pub(crate) struct News {
    waiting: Mutex<Waiting>,
    /// Wakes the task that tells them.
    pub(crate) some: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<SignalKey>,
    latest: BTreeMap<SignalKey, (u64, Signal)>,
    last: u64,
}

impl News {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts news behind all others, or in the place of older ones of their key.
    pub(crate) fn push(&self, signal: Signal) {
        let mut waiting = self.waiting();
        waiting.last += 1;
        let (number, key) = (waiting.last, signal.key());
        if waiting.latest.insert(key.clone(), (number, signal)).is_none() {
            waiting.order.push_back(key);
        }
        drop(waiting);
        self.some.notify_one();
    }

    /// The next news and their number: of two about one user the higher one counts.
    pub(crate) fn next(&self) -> Option<(u64, Signal)> {
        let mut waiting = self.waiting();
        let key = waiting.order.pop_front()?;
        waiting.latest.remove(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting().latest.len()
    }

    /// The number of the last news: what is known now is no older.
    pub(crate) fn last(&self) -> u64 {
        self.waiting().last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::Timestamp;
    use chat_protocol::signal::PresenceSignal;

    fn presence(name: &str, online: bool) -> Signal {
        Signal::Presence(PresenceSignal {
            user: name.parse().unwrap(),
            online,
            as_of: Timestamp(1),
        })
    }

    #[test]
    fn news_come_in_order_the_latest_of_each_user() {
        let news = News::default();
        for (name, online) in [("ana", true), ("ben", true), ("ana", false)] {
            news.push(presence(name, online));
        }
        assert_eq!(news.last(), 3);
        assert_eq!(news.next(), Some((3, presence("ana", false))));
        news.push(presence("ana", true));
        assert_eq!(news.next(), Some((2, presence("ben", true))));
        assert_eq!(news.next(), Some((4, presence("ana", true))));
        assert_eq!(news.next(), None);
    }
}
