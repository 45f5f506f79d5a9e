//! A clock that goes on only when told, and time that stands while threads work.

use chat_core::Clock;
use chat_core::id::Timestamp;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that goes on only when told; clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at this time.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    /// Goes on by this long.
    pub fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).expect("a test advances by less than 500 million years");
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Stands at a day in 2025.
    fn default() -> Self {
        Self::at(Timestamp(1_750_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Does work that threads do, with paused time standing meanwhile.
///
/// To a runtime with paused time such work looks as if nothing was to be done: it would go on to the next deadline.
pub async fn time_stands_during<T>(work: impl Future<Output = T>) -> T {
    // Time does not go on by itself as long as a blocking task runs.
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || {
        let _ = is_done.recv();
    });
    let answer = work.await;
    drop(done);
    answer
}
