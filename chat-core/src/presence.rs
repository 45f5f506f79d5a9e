//! Who is online: one node's picture of all nodes, as pure rules.
//!
//! Each node knows its own users by their connections and holds a lease in the store. Who is on which node travels by
//! bell, with a version and a digest per node, so that a lost bell is noticed and that node is asked. The leases alone
//! decide which nodes live: a silent bell makes a picture older, never emptier.
//!
//! It never awaits, rings or reads a clock: [`Presence::handle`] takes what happened and answers with [`Effect`]s.

mod digest;
mod own;
mod peer;
#[cfg(test)]
mod tests;

pub use digest::Digest;

use crate::bell::{Bell, PresenceBell};
use crate::store::Lease;
use chat_protocol::id::{NodeId, Timestamp, UserId};
use chat_protocol::signal::PresenceSignal;
use own::Own;
use peer::{Heard, Peer, PeerLease};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A node that is asked for all of its users answers at most once in this time: all nodes hear the answer.
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);

/// After a failure the lease is tried again so soon; and after this node stood still, so that sockets that died meanwhile are found
/// before others believe this node again.
const LEASE_RETRY: Duration = Duration::from_secs(1);

/// Bells of a node whose lease ran out are not believed for so long, however late the broker brings them.
const GONE_FOR: Duration = Duration::from_secs(600);

/// The times of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceTimes {
    /// How long a node's lease holds.
    pub lease_ttl: Duration,
    /// How often a node renews it, and reads those of the others.
    pub lease_interval: Duration,
    /// How long a user stays online after their last connection dropped, and after their node left in good order.
    pub grace: Duration,
    /// How long a socket may take to answer whether it lives. For so long after a node stood still until its lease was
    /// lost, who drops has no grace: nobody knows how long ago they left.
    pub answer: Duration,
}

impl Default for PresenceTimes {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(10),
            lease_interval: Duration::from_secs(4),
            grace: Duration::from_secs(10),
            answer: Duration::from_secs(10),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A connection of this user was accepted by this node.
    Connected(UserId),
    /// A connection of this user ended on this node.
    Disconnected(UserId),
    /// This node's lease was renewed, and these are the others'.
    Leases(Vec<Lease>),
    /// This node's lease could not be renewed.
    LeaseFailed,
    /// Another node rang.
    Bell(NodeId, PresenceBell),
    /// Bells may have been missed.
    Resync,
    /// Time passed: the [`deadline`](Presence::deadline) is reached.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ring on the nodes' topic.
    Publish(Bell),
    /// A user came or went, seen over all nodes: tell those who watch them.
    Changed(PresenceSignal),
    /// Renew this node's lease now and answer with [`Input::Leases`] or [`Input::LeaseFailed`].
    RenewLease,
    /// Whether other nodes still believe this node. After `false` its sockets are unverified: ping each session, so
    /// that those that died while this node was stopped or cut off are found before the lease is renewed.
    Verified(bool),
}

/// One node's picture of who is online on all nodes.
///
/// The engine owns one, feeds it under one short lock, and carries out its effects in their order.
#[derive(Debug)]
pub struct Presence {
    node: NodeId,
    times: PresenceTimes,
    /// So many bytes of users go into one bell.
    part_bytes: usize,
    clock: StoreClock,
    /// When something happened last; at rest it is every `lease_interval`.
    last: Instant,
    own: Own,
    lease: OwnLease,
    answer: Answer,
    peers: BTreeMap<NodeId, Peer>,
    /// Nodes whose lease ran out, and when that was noticed.
    gone: BTreeMap<NodeId, Instant>,
}

/// The store's time, as far as this node can tell: its own wall clock until other nodes' leases brought the store's.
#[derive(Debug, Clone, Copy)]
struct StoreClock {
    seen: Instant,
    at: Timestamp,
    /// By so much it may be later: as long as the store took to say it.
    late: Duration,
}

impl StoreClock {
    fn at(&self, now: Instant) -> Timestamp {
        let since = now.saturating_duration_since(self.seen).as_millis();
        Timestamp(self.at.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    fn at_most(&self, now: Instant) -> Timestamp {
        self.at(now + self.late)
    }
}

#[derive(Debug)]
struct OwnLease {
    /// When to ask for the next renewal.
    renew_at: Instant,
    /// When the renewal was asked for that is not answered yet.
    requested: Option<Instant>,
    /// Since when the lease is known to hold; nobody answered for this node's sockets later than that.
    renewed: Timestamp,
    standing: Standing,
    /// Until then it is not known who is still there: this node stood still.
    doubted_until: Option<Instant>,
    /// Whether leases were read at all.
    has_read: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The lease holds at least until then.
    Holds(Instant),
    /// There was none yet, or it may have run out.
    Lost,
}

/// Answers to nodes that ask for all users.
#[derive(Debug, Default)]
struct Answer {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Presence {
    /// The picture of a node that just started: nobody is here, no other node is known. So many bytes of users go into one
    /// bell.
    ///
    /// `at` is the wall clock's time at `now`. The first [`Effect::RenewLease`] comes with the first input.
    pub fn new(node: NodeId, times: PresenceTimes, part_bytes: usize, now: Instant, at: Timestamp) -> Self {
        Self {
            node,
            times,
            clock: StoreClock {
                seen: now,
                at,
                late: Duration::ZERO,
            },
            part_bytes,
            last: now,
            own: Own::default(),
            lease: OwnLease {
                renew_at: now,
                requested: None,
                renewed: at,
                standing: Standing::Lost,
                doubted_until: None,
                has_read: false,
            },
            answer: Answer::default(),
            peers: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// Users of this node who count as online, those in their grace included.
    pub fn own_count(&self) -> usize {
        self.own.len()
    }

    /// Nodes that live: those whose leases hold, and this one.
    pub fn nodes(&self) -> usize {
        1 + self.peers.values().filter_map(Peer::holds_until).count()
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Instant, effects: &mut Vec<Effect>) {
        self.pass_time(now, effects);
        match input {
            Input::Connected(user) => {
                if self.own.connected(&user) {
                    self.own_changed(user, true, now, effects);
                }
            }
            Input::Disconnected(user) => {
                let in_doubt = self.lease.doubted_until.is_some_and(|until| now < until);
                let grace = if in_doubt { Duration::ZERO } else { self.times.grace };
                self.own.disconnected(&user, now + grace);
                self.pass_time(now, effects);
            }
            Input::Leases(leases) => self.leases(&leases, now, effects),
            Input::LeaseFailed => {
                self.lease.requested = None;
                self.lease.renew_at = self.lease.renew_at.min(now + LEASE_RETRY);
            }
            Input::Bell(node, bell) => self.bell(node, bell, now, effects),
            // Only where we stand: if every node asked every other one, a broker that restarts would be flooded.
            Input::Resync => effects.push(self.standing_bell()),
            Input::Tick => {}
        }
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`], if nothing happens before.
    pub fn deadline(&self) -> Instant {
        let verified = match self.lease.standing {
            Standing::Holds(until) => Some(until),
            Standing::Lost => None,
        };
        let released = self.peers.values().filter_map(Peer::released_until).min();
        [self.own.deadline(), self.answer.due, verified, released]
            .into_iter()
            .flatten()
            .fold(self.lease.renew_at, Instant::min)
    }

    /// Whether a user is online on any node, and how fresh that is.
    ///
    /// Online is as fresh as the freshest node that has them; offline as fresh as the node that was not heard of for
    /// the longest time, and zero while a node was never heard. This node's own users are as of now while its lease
    /// holds, and as of the last renewal when it does not.
    pub fn state_of(&self, user: &UserId, now: Instant) -> PresenceSignal {
        let here = self.own.has(user).then(|| self.own_as_of(now));
        let there = self.peers.values().filter(|peer| peer.users.contains(user));
        let online = there.map(|peer| peer.as_of).chain(here).max();
        let as_of = online.unwrap_or_else(|| {
            let heard = self.peers.values().map(|peer| peer.as_of);
            heard.fold(self.clock.at(now), Timestamp::min)
        });
        PresenceSignal {
            user: user.clone(),
            online: online.is_some(),
            as_of,
        }
    }

    /// The store's time, between what it may be at the least and at the most.
    pub fn store_time(&self, now: Instant) -> (Timestamp, Timestamp) {
        (self.clock.at(now), self.clock.at_most(now))
    }

    /// Whether the other nodes still believe this one: its lease holds.
    pub fn is_verified(&self) -> bool {
        matches!(self.lease.standing, Standing::Holds(_))
    }

    /// Everything that is due at `now`.
    fn pass_time(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let pause = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        let was_lost = self.lease.has_read && !self.is_verified();
        while let Some(user) = self.own.expired(now) {
            self.own_changed(user, false, now, effects);
        }
        let is_over = |peer: &Peer| peer.released_until().is_some_and(|until| until <= now);
        for node in self.nodes_where(is_over) {
            self.forget(node, now, effects);
        }
        if self.answer.due.is_some_and(|due| due <= now) {
            self.answer_all(now, effects);
        }
        if matches!(self.lease.standing, Standing::Holds(until) if until <= now) {
            self.lease.standing = Standing::Lost;
            effects.push(Effect::Verified(false));
        }
        // Without the store alone the sockets were watched all the time, and whoever drops has their grace.
        let stood_still = pause >= self.times.lease_interval + LEASE_RETRY;
        if stood_still && self.lease.has_read && !self.is_verified() {
            if was_lost {
                effects.push(Effect::Verified(false));
            }
            self.lease.renew_at = self.lease.renew_at.max(now + LEASE_RETRY);
            // Sockets are asked after a second, and the answer takes its time.
            self.lease.doubted_until = Some(now + 2 * LEASE_RETRY + self.times.answer);
        }
        if self.lease.renew_at <= now {
            self.lease.renew_at = now + self.times.lease_interval;
            // Counted from the first request that is open: the lease holds at least from there.
            self.lease.requested.get_or_insert(now);
            effects.push(Effect::RenewLease);
        }
    }

    /// A user came to this node or left it: the others are told, and watchers if it makes a difference.
    fn own_changed(&mut self, user: UserId, online: bool, now: Instant, effects: &mut Vec<Effect>) {
        effects.push(Effect::Publish(Bell::Presence(PresenceBell::Changed {
            version: self.own.version,
            digest: self.own.digest,
            user: user.clone(),
            online,
        })));
        if !self.peers.values().any(|peer| peer.users.contains(&user)) {
            effects.push(Effect::Changed(self.state_of(&user, now)));
        }
    }

    fn own_as_of(&self, now: Instant) -> Timestamp {
        if self.is_verified() {
            self.clock.at(now)
        } else {
            self.lease.renewed
        }
    }

    fn leases(&mut self, leases: &[Lease], now: Instant, effects: &mut Vec<Effect>) {
        let before = self.lease.has_read.then_some(self.lease.renewed);
        if let Some(lease) = leases.first() {
            let asked = self.lease.requested.unwrap_or(now);
            self.clock = StoreClock {
                seen: now,
                at: lease.at,
                late: now.saturating_duration_since(asked),
            };
        }
        self.own_lease_renewed(now, effects);
        self.gone
            .retain(|_, since| now.saturating_duration_since(*since) < GONE_FOR);

        let listed: BTreeMap<NodeId, Duration> = leases.iter().map(|lease| (lease.node, lease.remaining)).collect();
        for (node, remaining) in &listed {
            if *node != self.node && !remaining.is_zero() {
                self.gone.remove(node);
                // A node that was not there at the reading before had no users then.
                let peer = self
                    .peers
                    .entry(*node)
                    .or_insert_with(|| Peer::new(before.unwrap_or_default()));
                peer.lease = PeerLease::Holds(now + *remaining);
            }
        }
        for node in self.nodes_where(|_| true) {
            let remaining = listed.get(&node).copied();
            let Some(peer) = self.peers.get_mut(&node) else {
                continue;
            };
            if peer.is_over(remaining, now, self.times.grace) {
                self.forget(node, now, effects);
            } else if remaining.is_some() && !peer.is_synced {
                self.ask(node, now, effects);
            }
        }
        // A node that did not renew in time is looked at again when its lease runs out, not up to 4 s later.
        let runs_out = self.peers.values().filter_map(Peer::holds_until).min();
        if let Some(runs_out) = runs_out.map(|until| until + Duration::from_millis(50)) {
            self.lease.renew_at = self.lease.renew_at.min(runs_out);
        }
        effects.push(self.standing_bell());
    }

    fn own_lease_renewed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let from = self.lease.requested.take().unwrap_or(now);
        self.lease.renewed = self.clock.at(from);
        self.lease.has_read = true;
        self.lease.renew_at = now + self.times.lease_interval;
        let was = self.is_verified();
        let until = from + self.times.lease_ttl;
        if until > now {
            self.lease.standing = Standing::Holds(until);
        } else {
            self.lease.renew_at = now + LEASE_RETRY;
        }
        if self.is_verified() && !was {
            effects.push(Effect::Verified(true));
        }
    }

    fn bell(&mut self, node: NodeId, bell: PresenceBell, now: Instant, effects: &mut Vec<Effect>) {
        if node == self.node {
            return;
        }
        if matches!(bell, PresenceBell::Ask { node: asked } if asked == self.node) {
            match self.answer.last {
                Some(last) if now < last + ANSWER_INTERVAL => self.answer.due = Some(last + ANSWER_INTERVAL),
                _ => self.answer_all(now, effects),
            }
        }
        if self.gone.contains_key(&node) {
            return;
        }
        let at = self.clock.at(now);
        let before = if self.lease.has_read {
            self.lease.renewed
        } else {
            Timestamp::ZERO
        };
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(before));
        match peer.hear(bell, at) {
            Heard::Nothing => {}
            Heard::Gap => self.ask(node, now, effects),
            Heard::Changes(changes) => self.peer_changed(node, changes, now, effects),
        }
    }

    /// Tells watchers of those changes on one node that make a difference over all nodes.
    fn peer_changed(&self, node: NodeId, users: BTreeSet<UserId>, now: Instant, effects: &mut Vec<Effect>) {
        for user in users {
            let others = self.peers.iter().filter(|(other, _)| **other != node);
            let elsewhere = self.own.has(&user) || others.map(|(_, peer)| peer).any(|peer| peer.users.contains(&user));
            if !elsewhere {
                effects.push(Effect::Changed(self.state_of(&user, now)));
            }
        }
    }

    fn forget(&mut self, node: NodeId, now: Instant, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.remove(&node) else { return };
        self.gone.insert(node, now);
        self.peer_changed(node, peer.users, now, effects);
    }

    fn ask(&mut self, node: NodeId, now: Instant, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.may_be_asked(now) {
            effects.push(Effect::Publish(PresenceBell::Ask { node }.into()));
        }
    }

    fn answer_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.answer = Answer {
            last: Some(now),
            due: None,
        };
        effects.extend(self.own.all(self.part_bytes).map(|bell| Effect::Publish(bell.into())));
    }

    fn standing_bell(&self) -> Effect {
        let bell = PresenceBell::Digest {
            version: self.own.version,
            digest: self.own.digest,
        };
        Effect::Publish(bell.into())
    }

    fn nodes_where(&self, is_wanted: impl Fn(&Peer) -> bool) -> Vec<NodeId> {
        let wanted = self.peers.iter().filter(|(_, peer)| is_wanted(peer));
        wanted.map(|(node, _)| *node).collect()
    }
}
