//! Where ids and waits come from: the system, or a seed and the runtime’s clock, so that a simulation repeats.

use chat_protocol::id::{CommandId, ConversationId, MessageId};
use std::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// The source of a client’s ids.
#[derive(Debug)]
pub(crate) struct Entropy(Source);

#[derive(Debug)]
enum Source {
    System,
    /// Guards the state of the generator; held for one step.
    Seeded {
        state: Mutex<u64>,
        start: Instant,
    },
}

impl Entropy {
    pub(crate) fn system() -> Self {
        Self(Source::System)
    }

    /// Everything from this seed; the time in an id counts from here by the runtime’s clock.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Source::Seeded {
            state: Mutex::new(seed),
            start: Instant::now(),
        })
    }

    /// A number that decides waits.
    pub(crate) fn number(&self) -> u64 {
        match &self.0 {
            Source::System => Uuid::now_v7().as_u64_pair().1,
            Source::Seeded { state, .. } => step(&mut state.lock().expect("no panic while the lock is held")),
        }
    }

    pub(crate) fn message_id(&self) -> MessageId {
        let (at_ms, random) = self.parts();
        MessageId::from_parts(at_ms, random)
    }

    pub(crate) fn command_id(&self) -> CommandId {
        let (at_ms, random) = self.parts();
        CommandId::from_parts(at_ms, random)
    }

    pub(crate) fn conversation_id(&self) -> ConversationId {
        let (at_ms, random) = self.parts();
        ConversationId::from_parts(at_ms, random)
    }

    /// The time and the random bytes of an id.
    fn parts(&self) -> (u64, [u8; 10]) {
        let mut random = [0; 10];
        match &self.0 {
            Source::System => {
                // Ordered within the process, by the counter that the library keeps beside the time.
                let (high, low) = Uuid::now_v7().as_u64_pair();
                random[..2].copy_from_slice(&u16::try_from(high & 0xffff).expect("16 bits").to_be_bytes());
                random[2..].copy_from_slice(&low.to_be_bytes());
                (high >> 16, random)
            }
            Source::Seeded { state, start } => {
                let mut state = state.lock().expect("no panic while the lock is held");
                random[..8].copy_from_slice(&step(&mut state).to_be_bytes());
                random[8..].copy_from_slice(&step(&mut state).to_be_bytes()[..2]);
                let at_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                (at_ms, random)
            }
        }
    }
}

/// SplitMix64 (Steele and others 2014).
fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seed_gives_the_same_ids_again() {
        let ids = |seed| {
            let entropy = Entropy::seeded(seed);
            (entropy.message_id(), entropy.command_id(), entropy.conversation_id())
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        let entropy = Entropy::seeded(3);
        assert_ne!(entropy.message_id(), entropy.message_id());
    }

    #[test]
    fn system_ids_are_version_7_and_in_order() {
        let entropy = Entropy::system();
        let ids: Vec<MessageId> = (0..100).map(|_| entropy.message_id()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].as_uuid().get_version_num(), 7);
    }
}
