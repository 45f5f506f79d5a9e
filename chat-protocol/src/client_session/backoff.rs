//! How long to wait before the next attempt: exponential with full jitter, so that clients which were cut together
//! do not come back together.

use std::time::Duration;

/// Numbers from a seed (SplitMix64, Steele and others 2014): the machine has no randomness of its own.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A duration between zero and `max`, both included, in whole milliseconds.
    pub(super) fn up_to(&mut self, max: Duration) -> Duration {
        let max = u64::try_from(max.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.next() % (max + 1))
    }
}

/// The wait after `failures` failures in a row: anything up to `base · 2^failures`, and never over `cap`.
pub(super) fn full_jitter(base: Duration, cap: Duration, failures: u32, random: &mut Random) -> Duration {
    let ceiling = base.saturating_mul(2_u32.saturating_pow(failures.min(31))).min(cap);
    random.up_to(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_with_failures_and_stays_under_the_cap() {
        let base = Duration::from_millis(250);
        let cap = Duration::from_secs(30);
        let mut random = Random::new(7);
        let mut longest = [Duration::ZERO; 12];
        for _ in 0..500 {
            for (failures, longest) in (0..).zip(longest.iter_mut()) {
                let wait = full_jitter(base, cap, failures, &mut random);
                assert!(wait <= cap && wait <= base * 2_u32.pow(failures));
                *longest = (*longest).max(wait);
            }
        }
        assert!(longest[0] > Duration::from_millis(200), "{longest:?}");
        assert!(longest[3] > Duration::from_millis(1_500), "{longest:?}");
        assert!(longest[11] > Duration::from_secs(28), "{longest:?}");
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
