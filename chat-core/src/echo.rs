//! Whether this node hears itself through the backplane: one that is up may still be deaf, and would not know.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Of those that do not come back so many are kept.
const UNHEARD_MAX: usize = 16;

/// The probes that this node rang, and how long the last that came back was under way.
#[derive(Debug, Default)]
pub(crate) struct Echo(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rung: u64,
    unheard: VecDeque<(u64, Instant)>,
    took: Duration,
}

impl Echo {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A probe is about to be rung; its number.
    pub(crate) fn ring(&self) -> u64 {
        let mut state = self.state();
        state.rung += 1;
        let number = state.rung;
        // The first of those that are missing says for how long, the last how it is now.
        state.unheard.truncate(UNHEARD_MAX - 1);
        state.unheard.push_back((number, Instant::now()));
        number
    }

    /// A probe came back; those before it are late or lost, which is the same.
    pub(crate) fn heard(&self, number: u64) {
        let mut state = self.state();
        while let Some((first, since)) = state.unheard.front().copied()
            && first <= number
        {
            state.unheard.pop_front();
            state.took = since.elapsed();
        }
    }

    /// Whether a probe has been out for so long, or the last one was.
    pub(crate) fn is_missing(&self, patience: Duration) -> bool {
        let state = self.state();
        let oldest = state.unheard.front().map(|(_, since)| since.elapsed());
        oldest.is_some_and(|out| out >= patience) || state.took >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_node_is_deaf_while_its_probe_is_missing_or_comes_late() {
        let (echo, patience) = (Echo::default(), 5 * SECOND);
        // Every 5 s one, each of which takes 8 s.
        assert_eq!((echo.ring(), echo.is_missing(patience)), (1, false));
        advance(5 * SECOND).await;
        assert_eq!((echo.ring(), echo.is_missing(patience)), (2, true));
        advance(3 * SECOND).await;
        echo.heard(1);
        assert!(echo.is_missing(patience), "it came late, and so will the next");
        advance(2 * SECOND).await;
        assert_eq!((echo.ring(), echo.is_missing(patience)), (3, true));
        // Now they come at once; what was lost before does not count.
        echo.heard(3);
        assert!(!echo.is_missing(patience));
    }

    #[tokio::test(start_paused = true)]
    async fn however_long_a_node_is_deaf_it_keeps_little_and_hears_again() {
        let echo = Echo::default();
        let rung: Vec<_> = (0..1_000).map(|_| echo.ring()).collect();
        assert_eq!(echo.state().unheard.len(), UNHEARD_MAX);
        advance(5 * SECOND).await;
        assert!(echo.is_missing(5 * SECOND));
        echo.heard(*rung.last().unwrap());
        let next = echo.ring();
        echo.heard(next);
        assert!(!echo.is_missing(5 * SECOND));
    }
}
