//! Chance that follows from a seed.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): one number of state, good enough to choose faults.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True as often as `chance` says, from 0 to 1.
    pub(super) fn is_below(&mut self, chance: f64) -> bool {
        const ONE: f64 = (1_u64 << 53) as f64;
        ((self.next() >> 11) as f64 / ONE) < chance
    }

    /// Some time of the range, by microseconds.
    pub(super) fn between(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let spread = range.end().saturating_sub(*range.start()).as_micros();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX - 1);
        *range.start() + Duration::from_micros(self.next() % (spread + 1))
    }
}
