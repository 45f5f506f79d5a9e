//! Which topics this node wants to hear: counted by listener, dropped with a linger.

use crate::backplane::Topic;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Interest {
    topics: Mutex<BTreeMap<Topic, Wanted>>,
    /// Wakes the task that tells the backplane.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    count: usize,
    since_zero: Option<Instant>,
    told: bool,
}

/// What to tell the backplane.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) listen: Vec<Topic>,
    pub(crate) unlisten: Vec<Topic>,
}

impl Interest {
    fn topics(&self) -> MutexGuard<'_, BTreeMap<Topic, Wanted>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.topics().len()
    }

    pub(crate) fn want(&self, topic: Topic) {
        let mut topics = self.topics();
        let wanted = topics.entry(topic).or_default();
        wanted.count += 1;
        wanted.since_zero = None;
        if !wanted.told {
            self.changed.notify_one();
        }
    }

    pub(crate) fn release(&self, topic: Topic) {
        if let Some(wanted) = self.topics().get_mut(&topic) {
            wanted.count = wanted.count.saturating_sub(1);
            if wanted.count == 0 {
                wanted.since_zero = Some(Instant::now());
            }
        }
    }

    /// What is not told yet, and what nobody has wanted for the linger.
    pub(crate) fn orders(&self, linger: Duration) -> Orders {
        let mut orders = Orders::default();
        self.topics().retain(|topic, wanted| {
            if wanted.since_zero.is_some_and(|since| since.elapsed() >= linger) {
                if wanted.told {
                    orders.unlisten.push(*topic);
                }
                return false;
            }
            if !wanted.told {
                orders.listen.push(*topic);
            }
            true
        });
        orders
    }

    /// Has the backplane told of these topics once more.
    pub(crate) fn tell_again(&self, which: impl Fn(Topic) -> bool) {
        for (topic, wanted) in self.topics().iter_mut() {
            wanted.told &= !which(*topic);
        }
        self.changed.notify_one();
    }

    /// The backplane listens to it now.
    pub(crate) fn told(&self, topic: Topic) {
        if let Some(wanted) = self.topics().get_mut(&topic) {
            wanted.told = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_topic_is_kept_for_a_linger_after_its_last_listener() {
        let (interest, topic, linger) = (Interest::default(), Topic::Users(1), Duration::from_secs(30));
        interest.want(topic);
        interest.want(topic);
        assert_eq!(interest.orders(linger).listen, [topic]);
        interest.told(topic);
        interest.release(topic);
        interest.release(topic);
        assert_eq!(interest.orders(linger), Orders::default());
        interest.want(topic);
        interest.release(topic);
        tokio::time::advance(linger).await;
        assert_eq!(interest.orders(linger).unlisten, [topic]);
    }
}
