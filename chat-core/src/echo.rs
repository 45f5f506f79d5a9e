//! Whether this node hears itself through the backplane: one that is up may still be deaf, and would not know.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Of the probes that this node rang, the first that did not come back.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    unheard: Mutex<Option<Instant>>,
}

impl Echo {
    fn unheard(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A probe is rung.
    pub(crate) fn rung(&self) {
        self.unheard().get_or_insert_with(Instant::now);
    }

    /// This node heard itself.
    pub(crate) fn heard(&self) {
        *self.unheard() = None;
    }

    /// Whether a probe has been out for so long.
    pub(crate) fn is_missing(&self, patience: Duration) -> bool {
        self.unheard().is_some_and(|since| since.elapsed() >= patience)
    }
}
