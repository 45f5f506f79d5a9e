//! Seeded randomness: the same seed, the same run.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014): one number of state, good enough to choose what goes wrong, never for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, which must not be empty.
    pub fn below(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % (range.end - range.start)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let uniform = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        uniform < probability
    }

    /// Some time of the range, by microseconds.
    pub fn between(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let spread = range.end().saturating_sub(*range.start()).as_micros();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX - 1);
        *range.start() + Duration::from_micros(self.below(0..spread + 1))
    }

    /// Ten bytes for an id.
    pub fn bytes(&mut self) -> [u8; 10] {
        let (one, two) = (self.bits().to_be_bytes(), self.bits().to_be_bytes());
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&one);
        bytes[8..].copy_from_slice(&two[..2]);
        bytes
    }

    /// A generator for somebody else, so that the runs of two do not depend on each other's pace.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence_and_chances_are_about_what_they_say() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        assert!((0..100).all(|_| one.bits() == two.bits()));
        let hits = (0..10_000).filter(|_| one.chance(0.3)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
        assert!((0..100).all(|_| (5..9).contains(&one.below(5..9))));
        assert!(!one.chance(0.0) && one.chance(1.0));
    }
}
