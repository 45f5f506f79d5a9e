//! Where this node's own ids and jitter come from: the operating system, or a seed that makes a run repeatable.

use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
#[derive(Debug)]
pub(crate) enum Entropy {
    System,
    Seeded { seed: u64, drawn: AtomicU64 },
}

impl Entropy {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded {
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        match self {
            Self::System => uuid::Uuid::new_v4().into_bytes(),
            Self::Seeded { seed, drawn } => {
                let mut hash = Sha256::new();
                hash.update(seed.to_be_bytes());
                hash.update(drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hash.finalize()[..16]);
                bytes
            }
        }
    }

    /// Ten bytes for an id; none of the bits that a version-4 UUID fixes.
    pub(crate) fn for_id(&self) -> [u8; 10] {
        let bytes = self.bytes();
        let mut random = [0; 10];
        random[..6].copy_from_slice(&bytes[..6]);
        random[6..].copy_from_slice(&bytes[12..]);
        random
    }

    /// A number below `bound`; zero for a bound of zero.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.bytes()[..6]);
        u64::from_be_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}
