//! The digest of a set of users, whatever the order in which they came.

use chat_protocol::id::UserId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names a set of users in 64 bits: the exclusive or of their hashes, so that coming and going are one step each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(u64);

impl Digest {
    /// The one that takes the most room.
    pub const LONGEST: Self = Self(u64::MAX);

    /// The digest of one user.
    pub fn of(user: &UserId) -> Self {
        let hash = Sha256::digest(user.as_str());
        let first = hash.first_chunk().expect("a SHA-256 has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    /// The digest of these users, each counted once.
    pub fn of_all<'a>(users: impl IntoIterator<Item = &'a UserId>) -> Self {
        let mut digest = Self::default();
        users.into_iter().for_each(|user| digest.toggle(user));
        digest
    }

    /// Takes a user in, or out when they were in.
    pub fn toggle(&mut self, user: &UserId) {
        self.0 ^= Self::of(user).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_sets_apart_and_not_their_order() {
        let [ana, ben] = ["ana", "ben"].map(|name| UserId::new(name).unwrap());
        assert_eq!(Digest::of_all([&ana, &ben]), Digest::of_all([&ben, &ana]));
        assert_ne!(Digest::of_all([&ana]), Digest::of_all([&ben]));
        let mut digest = Digest::of_all([&ana, &ben]);
        digest.toggle(&ana);
        assert_eq!(digest, Digest::of(&ben));
        digest.toggle(&ben);
        assert_eq!(digest, Digest::default());
    }
}
