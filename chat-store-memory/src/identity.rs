//! Epoch and secrets, derived from 32 bytes that are random, or a test's seed.

use chat_core::id::{Epoch, Timestamp};
use chat_core::store::{Secret, StoreIdentity};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// 32 bytes that nobody can guess: three random UUIDs bring 366 random bits.
pub(crate) fn random_root() -> [u8; 32] {
    let mut hasher = Sha256::new();
    for _ in 0..3 {
        hasher.update(Uuid::new_v4().as_bytes());
    }
    hasher.finalize().into()
}

pub(crate) fn seeded_root(seed: u64) -> [u8; 32] {
    derive(&seed.to_be_bytes(), "seed")
}

pub(crate) fn identity(root: &[u8], now: Timestamp) -> StoreIdentity {
    let mut random = [0; 10];
    random.copy_from_slice(&derive(root, "epoch")[..10]);
    StoreIdentity {
        epoch: Epoch::from_parts(now.0, random),
        fingerprint_key: Secret(derive(root, "fingerprint")),
        cluster_key: Secret(derive(root, "cluster")),
    }
}

fn derive(root: &[u8], purpose: &str) -> [u8; 32] {
    Sha256::new().chain_update(root).chain_update(purpose).finalize().into()
}
