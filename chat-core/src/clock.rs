//! The door to the wall clock. Deadlines do not pass here: they follow the runtime's clock, which tests can pause.

use chat_protocol::id::Timestamp;
use std::sync::Arc;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since 1970 UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}
