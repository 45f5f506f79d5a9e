//! The users of this node: who is connected, who just dropped, and the version of it all.

use super::Digest;
use crate::bell::PresenceBell;
use chat_protocol::id::UserId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Own {
    users: BTreeMap<UserId, Stay>,
    /// Those of `users` who are in their grace, by its end.
    leaving: BTreeSet<(Instant, UserId)>,
    /// Counts the changes of `users`.
    pub(super) version: u64,
    pub(super) digest: Digest,
}

#[derive(Debug)]
enum Stay {
    Connected(usize),
    Grace(Instant),
}

impl Own {
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn has(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }

    /// Whether this user came, rather than came back or came once more.
    pub(super) fn connected(&mut self, user: &UserId) -> bool {
        match self.users.get_mut(user) {
            Some(Stay::Connected(count)) => {
                *count += 1;
                false
            }
            Some(Stay::Grace(until)) => {
                self.leaving.remove(&(*until, user.clone()));
                self.users.insert(user.clone(), Stay::Connected(1));
                false
            }
            None => {
                self.users.insert(user.clone(), Stay::Connected(1));
                self.changed(user);
                true
            }
        }
    }

    pub(super) fn disconnected(&mut self, user: &UserId, grace_ends: Instant) {
        match self.users.get_mut(user) {
            Some(Stay::Connected(count)) if *count > 1 => *count -= 1,
            Some(stay @ Stay::Connected(_)) => {
                *stay = Stay::Grace(grace_ends);
                self.leaving.insert((grace_ends, user.clone()));
            }
            // Nobody disconnects who was not connected; were it so, the grace that runs would be the right one.
            Some(Stay::Grace(_)) | None => {}
        }
    }

    /// Takes out one user whose grace is over.
    pub(super) fn expired(&mut self, now: Instant) -> Option<UserId> {
        if self.deadline()? > now {
            return None;
        }
        let (_, user) = self.leaving.pop_first()?;
        self.users.remove(&user);
        self.changed(&user);
        Some(user)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.leaving.first().map(|(until, _)| *until)
    }

    /// All users, in as many bells as it takes with so many bytes of users in each; at least one.
    pub(super) fn all(&self, part_bytes: usize) -> impl Iterator<Item = PresenceBell> {
        let mut lists = vec![Vec::new()];
        let mut bytes = 0;
        for user in self.users.keys() {
            // In JSON a byte may need a backslash before it; then two quotes and a comma.
            let user_bytes = 2 * user.as_str().len() + 3;
            if bytes > 0 && bytes + user_bytes > part_bytes {
                lists.push(Vec::new());
                bytes = 0;
            }
            bytes += user_bytes;
            if let Some(list) = lists.last_mut() {
                list.push(user.clone());
            }
        }
        let parts = u32::try_from(lists.len()).unwrap_or(u32::MAX);
        let (version, digest) = (self.version, self.digest);
        (0..parts).zip(lists).map(move |(part, users)| PresenceBell::All {
            version,
            digest,
            part,
            parts,
            users,
        })
    }

    fn changed(&mut self, user: &UserId) {
        self.version += 1;
        self.digest.toggle(user);
    }
}
