//! Another node as this one knows it: its lease, its users, and how sure that is.

use super::Digest;
use crate::bell::PresenceBell;
use chat_protocol::id::{Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A node is asked at most once in this time.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// A list in more parts than this is not put together: 2,048 × 1 KiB is beyond the users of a node.
const PARTS_MAX: u32 = 2_048;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) lease: PeerLease,
    pub(super) users: BTreeSet<UserId>,
    /// When `users` were last known to be right, by the store's clock.
    pub(super) as_of: Timestamp,
    /// Whether `users` are right, as far as was heard.
    pub(super) is_synced: bool,
    version: u64,
    digest: Digest,
    asked: Option<Instant>,
    list: List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerLease {
    /// It rang, but its lease was not seen: a reading of the leases may have been on its way while it started.
    Unseen,
    /// Nor was it in the first reading since.
    UnseenOnce,
    /// It holds until then, unless it is renewed.
    Holds(Instant),
    /// It was given back before it ran out: the users are coming back elsewhere and have until then.
    Released(Instant),
}

/// A list of users that comes in parts.
#[derive(Debug, Default)]
struct List {
    version: u64,
    parts: BTreeMap<u32, Vec<UserId>>,
}

/// What a bell brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// Something was missed: ask.
    Gap,
    /// These users came or went.
    Changes(BTreeSet<UserId>),
}

impl Peer {
    /// A node of which nothing was heard; at `as_of` it had no users.
    pub(super) fn new(as_of: Timestamp) -> Self {
        Self {
            lease: PeerLease::Unseen,
            users: BTreeSet::new(),
            as_of,
            is_synced: false,
            version: 0,
            digest: Digest::default(),
            asked: None,
            list: List::default(),
        }
    }

    pub(super) fn holds_until(&self) -> Option<Instant> {
        match self.lease {
            PeerLease::Holds(until) => Some(until),
            PeerLease::Unseen | PeerLease::UnseenOnce | PeerLease::Released(_) => None,
        }
    }

    pub(super) fn released_until(&self) -> Option<Instant> {
        match self.lease {
            PeerLease::Released(until) => Some(until),
            PeerLease::Unseen | PeerLease::UnseenOnce | PeerLease::Holds(_) => None,
        }
    }

    /// Takes a reading of the leases: how long this node's still holds, if it is there. Whether the node is gone.
    pub(super) fn is_over(&mut self, remaining: Option<Duration>, now: Instant, grace: Duration) -> bool {
        if let Some(remaining) = remaining {
            return remaining.is_zero();
        }
        match self.lease {
            PeerLease::Unseen => self.lease = PeerLease::UnseenOnce,
            PeerLease::UnseenOnce => return true,
            PeerLease::Holds(until) if now < until => self.lease = PeerLease::Released(now + grace),
            PeerLease::Holds(_) => return true,
            PeerLease::Released(_) => {}
        }
        false
    }

    pub(super) fn may_be_asked(&mut self, now: Instant) -> bool {
        let may = self.asked.is_none_or(|asked| asked + ASK_INTERVAL <= now);
        if may {
            self.asked = Some(now);
        }
        may
    }

    /// Takes a bell of this node, heard `at`.
    pub(super) fn hear(&mut self, bell: PresenceBell, at: Timestamp) -> Heard {
        match bell {
            PresenceBell::Changed {
                version,
                digest,
                user,
                online,
            } => self.changed(version, digest, user, online, at),
            PresenceBell::Digest { version, digest } => self.stands(version, digest, at),
            PresenceBell::All {
                version,
                digest,
                part,
                parts,
                users,
            } => {
                if parts == 0 || parts > PARTS_MAX || part >= parts || version < self.version.max(self.list.version) {
                    return Heard::Nothing;
                }
                if self.list.version < version {
                    self.list = List {
                        version,
                        parts: BTreeMap::new(),
                    };
                }
                self.list.parts.insert(part, users);
                if self.list.parts.len() < parts as usize {
                    return Heard::Nothing;
                }
                self.listed(version, digest, at)
            }
            PresenceBell::Ask { .. } if self.is_synced => Heard::Nothing,
            PresenceBell::Ask { .. } => Heard::Gap,
        }
    }

    fn changed(&mut self, version: u64, digest: Digest, user: UserId, online: bool, at: Timestamp) -> Heard {
        if version <= self.version {
            return Heard::Nothing;
        }
        let is_next = version == self.version + 1 && self.users.contains(&user) != online;
        let mut changed = self.digest;
        changed.toggle(&user);
        if !is_next || changed != digest {
            self.is_synced = false;
            return Heard::Gap;
        }
        if online {
            self.users.insert(user.clone());
        } else {
            self.users.remove(&user);
        }
        self.set_synced(version, digest, at);
        Heard::Changes(BTreeSet::from([user]))
    }

    fn stands(&mut self, version: u64, digest: Digest, at: Timestamp) -> Heard {
        if version < self.version {
            return Heard::Nothing;
        }
        if version > self.version || digest != self.digest {
            self.is_synced = false;
            return Heard::Gap;
        }
        self.set_synced(version, digest, at);
        Heard::Nothing
    }

    /// The list is whole: it replaces what was known.
    fn listed(&mut self, version: u64, digest: Digest, at: Timestamp) -> Heard {
        let list = std::mem::take(&mut self.list);
        let users: BTreeSet<UserId> = list.parts.into_values().flatten().collect();
        if Digest::of_all(&users) != digest {
            self.is_synced = false;
            return Heard::Gap;
        }
        let changes = users.symmetric_difference(&self.users).cloned().collect();
        self.users = users;
        self.set_synced(version, digest, at);
        Heard::Changes(changes)
    }

    fn set_synced(&mut self, version: u64, digest: Digest, at: Timestamp) {
        self.version = version;
        self.digest = digest;
        self.as_of = at;
        self.is_synced = true;
    }
}
