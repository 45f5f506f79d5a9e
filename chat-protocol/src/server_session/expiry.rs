//! When a token runs out: a warning before, no commands from then on, the end a little later.

use crate::frame::Expiring;
use std::time::{Duration, Instant};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Tell the client.
    Warn(Expiring),
    /// Close.
    End,
}

/// The life of one token.
#[derive(Debug, Clone)]
pub(super) struct Expiry {
    expires_at: Option<Instant>,
    warning: Duration,
    grace: Duration,
    warned: bool,
}

impl Expiry {
    pub(super) fn never() -> Self {
        Self {
            expires_at: None,
            warning: Duration::ZERO,
            grace: Duration::ZERO,
            warned: true,
        }
    }

    pub(super) fn at(expires_at: Instant, warning: Duration, grace: Duration) -> Self {
        Self {
            expires_at: Some(expires_at),
            warning,
            grace,
            warned: false,
        }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let at = self.expires_at?;
        if self.warned {
            at.checked_add(self.grace)
        } else {
            // An instant may not reach back that far; then the warning is due at once, and the token's end is later.
            Some(at.checked_sub(self.warning).unwrap_or(at))
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Option<Stage> {
        let at = self.expires_at?;
        if at.checked_add(self.grace).is_some_and(|end| end <= now) {
            return Some(Stage::End);
        }
        if self.warned || self.deadline()? > now {
            return None;
        }
        self.warned = true;
        let left = at.saturating_duration_since(now).as_millis();
        Some(Stage::Warn(Expiring {
            expires_in_ms: u64::try_from(left).unwrap_or(u64::MAX),
        }))
    }
}
