//! A rate with a burst: a bucket that leaks at a steady rate, kept as one point in time (the generic cell rate
//! algorithm, ITU-T I.371). Pure: the caller brings the time.

use std::time::{Duration, Instant};

/// How much may be done: `rate` a second in the long run, `burst` at once.
#[derive(Debug, Clone)]
pub struct Budget {
    rate_per_second: u32,
    burst: u32,
    /// When everything taken will have been given back; in the past or never set when the budget is whole.
    whole_at: Option<Instant>,
}

impl Budget {
    /// A whole budget. A rate of zero is taken for one.
    pub fn new(rate_per_second: u32, burst: u32) -> Self {
        Self {
            rate_per_second: rate_per_second.max(1),
            burst,
            whole_at: None,
        }
    }

    /// Takes `n`, if they are there; otherwise takes nothing.
    ///
    /// # Errors
    /// How long to wait until `n` are there. More than the burst never are: then it is how long the excess takes.
    pub fn take(&mut self, n: u32, now: Instant) -> Result<(), Duration> {
        let whole_after = self.whole_after(now) + self.time_for(n);
        match whole_after.checked_sub(self.time_for(self.burst)) {
            Some(excess) if !excess.is_zero() => Err(excess),
            _ => {
                self.whole_at = now.checked_add(whole_after);
                Ok(())
            }
        }
    }

    /// Takes `n` whether they are there or not: what has happened is paid for afterwards.
    pub fn charge(&mut self, n: u32, now: Instant) {
        self.whole_at = now.checked_add(self.whole_after(now) + self.time_for(n));
    }

    /// When nothing is owed any more; `None` when nothing is.
    pub fn owes_until(&self, now: Instant) -> Option<Instant> {
        let debt = self.whole_after(now).checked_sub(self.time_for(self.burst))?;
        if debt.is_zero() { None } else { now.checked_add(debt) }
    }

    /// Whether nothing is missing: a whole budget can be forgotten and made anew.
    pub fn is_whole(&self, now: Instant) -> bool {
        self.whole_after(now).is_zero()
    }

    fn whole_after(&self, now: Instant) -> Duration {
        self.whole_at
            .map_or(Duration::ZERO, |whole_at| whole_at.saturating_duration_since(now))
    }

    fn time_for(&self, n: u32) -> Duration {
        Duration::from_nanos(u64::from(n) * 1_000_000_000 / u64::from(self.rate_per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_is_there_at_once_and_the_rate_ever_after() {
        let start = Instant::now();
        let mut budget = Budget::new(20, 60);
        for _ in 0..60 {
            assert_eq!(budget.take(1, start), Ok(()));
        }
        assert_eq!(budget.take(1, start), Err(50 * MS));
        assert_eq!(budget.take(1, start + 49 * MS), Err(MS));
        assert_eq!(budget.take(1, start + 50 * MS), Ok(()));
        assert_eq!(budget.take(1, start + 50 * MS), Err(50 * MS));
        let taken = (0..1000)
            .filter(|step| budget.take(1, start + step * 10 * MS).is_ok())
            .count();
        assert_eq!(taken, 198, "20 a second for 10 seconds");
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let start = Instant::now();
        let mut budget = Budget::new(1, 10);
        assert_eq!(budget.take(8, start), Ok(()));
        assert_eq!(budget.take(4, start), Err(2000 * MS));
        assert_eq!(budget.take(2, start), Ok(()));
    }

    #[test]
    fn what_was_charged_beyond_the_burst_is_owed_for_a_while() {
        let start = Instant::now();
        let mut budget = Budget::new(1000, 4000);
        budget.charge(4000, start);
        assert_eq!(budget.owes_until(start), None);
        budget.charge(500, start);
        assert_eq!(budget.owes_until(start), Some(start + 500 * MS));
        assert_eq!(budget.owes_until(start + 499 * MS), Some(start + 500 * MS));
        assert_eq!(budget.owes_until(start + 500 * MS), None);
        assert!(!budget.is_whole(start + 500 * MS));
        assert!(budget.is_whole(start + 4500 * MS));
    }
}
