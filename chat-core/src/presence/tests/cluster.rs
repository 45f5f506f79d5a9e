//! A cluster whose time, store and broker are moved by hand.

use super::super::*;
use std::collections::VecDeque;

pub const SECOND: Duration = Duration::from_secs(1);

/// A cluster whose time is moved by hand.
pub struct Cluster {
    pub start: Instant,
    pub now: Instant,
    pub nodes: Vec<Option<Presence>>,
    /// When each lease runs out; a lease that ran out stays listed, as the store's contract says.
    pub leases: BTreeMap<NodeId, Instant>,
    /// Nodes that the store does not answer.
    pub cut_from_store: BTreeSet<usize>,
    pub broker: Broker,
    /// Every change that was told on a node.
    pub told: Vec<(usize, String, bool)>,
    pub verified: Vec<(usize, bool)>,
    pub rung: usize,
}

#[derive(Default)]
pub struct Broker {
    pub under_way: VecDeque<(Instant, usize, NodeId, PresenceBell)>,
    /// Of 100 bells so many are lost, and so many come twice.
    pub lost: u64,
    pub twice: u64,
    /// Bells take up to so many milliseconds.
    pub delay: u64,
    pub random: u64,
}

impl Broker {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    pub fn carry(&mut self, now: Instant, to: usize, from: NodeId, bell: &PresenceBell) {
        if self.below(100) < self.lost {
            return;
        }
        let copies = if self.below(100) < self.twice { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.below(self.delay + 1));
            self.under_way.push_back((now + delay, to, from, bell.clone()));
        }
    }

    pub fn next(&mut self, now: Instant) -> Option<(usize, NodeId, PresenceBell)> {
        let at = self.under_way.iter().position(|(due, ..)| *due <= now)?;
        let (_, to, from, bell) = self.under_way.remove(at)?;
        Some((to, from, bell))
    }
}

pub fn id(node: usize) -> NodeId {
    NodeId::from_parts(1, [u8::try_from(node).unwrap(); 10])
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

impl Cluster {
    pub fn new() -> Self {
        let start = Instant::now();
        let mut cluster = Self {
            start,
            now: start,
            nodes: Vec::new(),
            leases: BTreeMap::new(),
            cut_from_store: BTreeSet::new(),
            broker: Broker::default(),
            told: Vec::new(),
            verified: Vec::new(),
            rung: 0,
        };
        (0..3).for_each(|_| cluster.start());
        cluster.run(8 * SECOND);
        cluster.told.clear();
        cluster.verified.clear();
        cluster
    }

    pub fn start(&mut self) {
        let node = self.nodes.len();
        let presence = Presence::new(id(node), PresenceTimes::default(), 48 * 1024, self.now, self.wall());
        self.nodes.push(Some(presence));
        self.input(node, Input::Tick);
    }

    /// The store's time: a thousand milliseconds when the cluster starts.
    pub fn wall(&self) -> Timestamp {
        Timestamp(1_000 + u64::try_from((self.now - self.start).as_millis()).unwrap())
    }

    pub fn input(&mut self, node: usize, input: Input) {
        let Some(presence) = &mut self.nodes[node] else { return };
        let mut effects = Vec::new();
        presence.handle(input, self.now, &mut effects);
        assert!(presence.deadline() > self.now, "what was due is done");
        for effect in effects {
            self.carry_out(node, effect);
        }
    }

    pub fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Publish(Bell::Presence(bell)) => {
                self.rung += 1;
                for to in (0..self.nodes.len()).filter(|to| *to != node) {
                    self.broker.carry(self.now, to, id(node), &bell);
                }
            }
            Effect::Publish(bell) => panic!("presence rings only bells of presence: {bell:?}"),
            Effect::Changed(signal) => self.told.push((node, signal.user.to_string(), signal.online)),
            Effect::RenewLease if self.cut_from_store.contains(&node) => self.input(node, Input::LeaseFailed),
            Effect::RenewLease => {
                self.leases.insert(id(node), self.now + 10 * SECOND);
                let lease = |(node, until): (&NodeId, &Instant)| Lease {
                    node: *node,
                    remaining: until.saturating_duration_since(self.now),
                    at: self.wall(),
                };
                let others = self.leases.iter().filter(|(other, _)| **other != id(node));
                let leases = others.map(lease).collect();
                self.input(node, Input::Leases(leases));
            }
            Effect::Verified(is_verified) => self.verified.push((node, is_verified)),
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some((to, from, bell)) = self.broker.next(self.now) {
                self.input(to, Input::Bell(from, bell));
            }
            let nodes = self.nodes.iter().flatten().map(Presence::deadline);
            let bells = self.broker.under_way.iter().map(|(due, ..)| *due);
            let next = nodes.chain(bells).min().unwrap_or(end);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for node in 0..self.nodes.len() {
                let is_due = |presence: &Presence| presence.deadline() <= self.now;
                if self.nodes[node].as_ref().is_some_and(is_due) {
                    self.input(node, Input::Tick);
                }
            }
        }
        self.now = end;
    }

    pub fn connect(&mut self, node: usize, name: &str) {
        self.input(node, Input::Connected(user(name)));
        self.run(Duration::ZERO);
    }

    pub fn disconnect(&mut self, node: usize, name: &str) {
        self.input(node, Input::Disconnected(user(name)));
        self.run(Duration::ZERO);
    }

    /// What each living node says of a user.
    pub fn states(&self, name: &str) -> Vec<bool> {
        let living = self.nodes.iter().flatten();
        living.map(|node| node.state_of(&user(name), self.now).online).collect()
    }

    pub fn state(&self, node: usize, name: &str) -> PresenceSignal {
        self.nodes[node].as_ref().unwrap().state_of(&user(name), self.now)
    }

    pub fn told(&mut self) -> Vec<(usize, String, bool)> {
        std::mem::take(&mut self.told)
    }
}
