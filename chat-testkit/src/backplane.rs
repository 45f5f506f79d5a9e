//! A broker in this process: for tests with several engines, with knobs for everything that a broker may do wrong.
//!
//! On one thread under paused time it is deterministic: what is lost, late or repeated follows from the seed and the
//! order of calls. It starts no task.

mod inbox;

use crate::random::Random;
use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, BackplaneError, Rung, Topic};
use inbox::Inbox;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The broker: makes nodes, and is told how badly to carry. A cheap handle.
///
/// ```
/// # use chat_testkit::backplane::{Faults, Hub};
/// # use std::time::Duration;
/// let hub = Hub::new(42);
/// let (one, two) = (hub.node(), hub.node());
/// hub.set_faults(Faults { loss: 0.1, repeat: 0.1, delay: Duration::ZERO..=Duration::from_secs(2) });
/// two.mute(true);
/// # drop(one);
/// ```
#[derive(Debug, Clone)]
pub struct Hub(Arc<Mutex<State>>);

/// How a broker carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// How likely a bell is lost on its way to one node, from 0 to 1.
    pub loss: f64,
    /// How likely it comes twice, each copy in its own time.
    pub repeat: f64,
    /// How long it takes; bells of different delays overtake each other.
    pub delay: RangeInclusive<Duration>,
}

impl Default for Faults {
    /// At once, once, and always.
    fn default() -> Self {
        Self {
            loss: 0.0,
            repeat: 0.0,
            delay: Duration::ZERO..=Duration::ZERO,
        }
    }
}

/// What a broker did so far, counted per receiving node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bells that were published.
    pub published: u64,
    /// Copies that were taken to a node.
    pub carried: u64,
    /// Copies that were lost by chance, or because the node that listens was mute or cut off.
    pub lost: u64,
    /// Copies for which a node that does not read had no room; it is told to resync.
    pub dropped: u64,
    /// Bells that were longer than it carries, and refused.
    pub refused: u64,
    /// The longest bell that was published.
    pub longest: usize,
}

#[derive(Debug)]
struct State {
    random: Random,
    faults: Faults,
    bell_bytes_max: usize,
    carries_events: bool,
    tally: Tally,
    nodes: BTreeMap<u64, Node>,
    /// Numbers nodes, and bells in the order of their publishing.
    next: u64,
}

#[derive(Debug)]
struct Node {
    listens: BTreeSet<Topic>,
    inbox: Inbox,
    link: Link,
    arrived: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Mute,
    Cut,
}

impl Hub {
    /// A healthy broker; faults that are set later follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            faults: Faults::default(),
            bell_bytes_max: 64 * 1024,
            carries_events: true,
            tally: Tally::default(),
            nodes: BTreeMap::new(),
            next: 0,
        })))
    }

    /// A further node; give it to an engine and keep a clone for its knobs. It is gone with its last clone.
    pub fn node(&self) -> InProcessBackplane {
        let mut state = self.lock();
        let number = state.number();
        let arrived = Arc::new(Notify::new());
        state.nodes.insert(
            number,
            Node {
                listens: BTreeSet::new(),
                inbox: Inbox::default(),
                link: Link::Up,
                arrived: arrived.clone(),
            },
        );
        InProcessBackplane(Arc::new(Seat {
            hub: self.clone(),
            number,
            arrived,
        }))
    }

    /// Carries like this from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Carries no longer bells from now on; an engine asks once, when it starts.
    pub fn set_bell_bytes_max(&self, bytes: usize) {
        self.lock().bell_bytes_max = bytes;
    }

    /// Is meant for events, or only to say where logs end, as NOTIFY of PostgreSQL is.
    pub fn set_carries_events(&self, carries: bool) {
        self.lock().carries_events = carries;
    }

    /// Every node that exists is up and deaf, or hears again.
    pub fn mute_all(&self, is_mute: bool) {
        for node in self.lock().nodes.values_mut() {
            node.mute(is_mute);
        }
    }

    /// Tells every connected node that it may have missed something, as a broker does that restarted.
    pub fn resync_all(&self) {
        for node in self.lock().nodes.values_mut().filter(|node| node.link != Link::Cut) {
            node.resync();
        }
    }

    /// What it did so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the hub")
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn publish(&mut self, topic: Topic, bell: &Bytes, now: Instant) -> Result<(), BackplaneError> {
        if bell.len() > self.bell_bytes_max {
            self.tally.refused += 1;
            return Err(BackplaneError(format!("a bell of {} bytes is too long", bell.len())));
        }
        self.tally.published += 1;
        self.tally.longest = self.tally.longest.max(bell.len());
        for node in self.nodes.values_mut().filter(|node| node.listens.contains(&topic)) {
            if node.link != Link::Up || self.random.chance(self.faults.loss) {
                self.tally.lost += 1;
                continue;
            }
            let copies = if self.random.chance(self.faults.repeat) { 2 } else { 1 };
            for _ in 0..copies {
                let due = now + self.random.between(&self.faults.delay);
                self.next += 1;
                if node.inbox.push(due, self.next, bell.clone()) {
                    self.tally.carried += 1;
                } else {
                    self.tally.dropped += 1;
                }
            }
            node.arrived.notify_one();
        }
        Ok(())
    }
}

impl Node {
    fn mute(&mut self, is_mute: bool) {
        match (self.link, is_mute) {
            (Link::Up, true) => self.link = Link::Mute,
            (Link::Mute, false) => self.link = Link::Up,
            (Link::Up | Link::Mute | Link::Cut, _) => {}
        }
    }

    fn resync(&mut self) {
        self.inbox.owe_resync();
        self.arrived.notify_one();
    }
}

/// A node's end of a [`Hub`]. A cheap handle: clones are the same node.
#[derive(Debug, Clone)]
pub struct InProcessBackplane(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    hub: Hub,
    number: u64,
    arrived: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.lock().nodes.remove(&self.number);
    }
}

impl InProcessBackplane {
    /// Up but deaf: what it publishes reaches nobody, it hears nothing, and nobody notices; or as before. A node
    /// that is cut off stays so.
    pub fn mute(&self, is_mute: bool) {
        self.with(|node| node.mute(is_mute));
    }

    /// The broker forgets what this node listens to, and nobody notices.
    pub fn forget(&self) {
        self.with(|node| node.listens.clear());
    }

    /// Cuts it off: what is under way to it is lost, and it knows.
    pub fn cut(&self) {
        self.with(|node| {
            node.link = Link::Cut;
            node.inbox.clear();
        });
    }

    /// Connects it again: it listens as before, and is told that it may have missed something.
    pub fn restore(&self) {
        self.with(|node| {
            if node.link == Link::Cut {
                node.link = Link::Up;
                node.resync();
            }
        });
    }

    /// What it listens to now.
    pub fn topics(&self) -> BTreeSet<Topic> {
        self.with(|node| node.listens.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut state = self.0.hub.lock();
        act(state
            .nodes
            .get_mut(&self.0.number)
            .expect("a node stays until its last handle is dropped"))
    }
}

#[async_trait]
impl Backplane for InProcessBackplane {
    fn name(&self) -> &'static str {
        "in-process"
    }

    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        match self.with(|node| node.link) {
            Link::Up => {
                let mut hub = self.0.hub.lock();
                let rung = bells
                    .iter()
                    .map(|(topic, bell)| hub.publish(*topic, bell, Instant::now()));
                // One that is refused keeps no other from being rung.
                rung.fold(Ok(()), Result::and)
            }
            Link::Mute => Ok(()),
            Link::Cut => Err(BackplaneError("this node is cut off".to_owned())),
        }
    }

    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.with(|node| node.listens.insert(topic));
        Ok(())
    }

    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.with(|node| node.listens.remove(&topic));
        Ok(())
    }

    async fn recv(&self) -> Rung {
        loop {
            // Nothing is awaited between taking a bell and returning it, so a dropped call loses none.
            let next = self.with(|node| node.inbox.pop(Instant::now()));
            match next {
                inbox::Next::Now(rung) => return rung,
                inbox::Next::At(due) => tokio::select! {
                    biased;
                    () = self.0.arrived.notified() => {}
                    () = sleep_until(due) => {}
                },
                inbox::Next::Nothing => self.0.arrived.notified().await,
            }
        }
    }

    fn is_alive(&self) -> bool {
        self.with(|node| node.link != Link::Cut)
    }

    fn bell_bytes_max(&self) -> usize {
        self.0.hub.lock().bell_bytes_max
    }

    fn carries_events(&self) -> bool {
        self.0.hub.lock().carries_events
    }
}
