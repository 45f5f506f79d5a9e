//! Who has been heard, and when to ask: a frame of the protocol, since script in a browser never sees WebSocket pings.

use std::time::{Duration, Instant};

/// What is to be done about a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Ask whether the peer is there.
    Ping,
    /// It is not.
    Dead,
}

/// Watches for silence: after `interval` it asks once, after `timeout` more without any frame the peer is dead.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    heard: Instant,
    asked: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            heard: now,
            asked: None,
        }
    }

    /// Something came: any frame is a sign of life.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// What is due now. A peer is dead only after it was asked: a process that slept through both times asks first.
    pub(crate) fn beat(&mut self, now: Instant) -> Option<Beat> {
        if now < self.deadline() {
            return None;
        }
        if self.asked.is_some() {
            return Some(Beat::Dead);
        }
        self.asked = Some(now);
        Some(Beat::Ping)
    }

    pub(crate) fn deadline(&self) -> Instant {
        match self.asked {
            None => self.heard + self.interval,
            Some(asked) => asked + self.timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_once_and_then_is_death() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heartbeat = Heartbeat::new(Duration::from_secs(25), Duration::from_secs(10), start);
        assert_eq!(heartbeat.beat(at(24)), None);
        assert_eq!(heartbeat.beat(at(25)), Some(Beat::Ping));
        assert_eq!(heartbeat.beat(at(34)), None);
        heartbeat.hear(at(34));
        assert_eq!(heartbeat.beat(at(58)), None);
        assert_eq!(heartbeat.beat(at(100)), Some(Beat::Ping), "asked first, however late");
        assert_eq!(heartbeat.deadline(), at(110));
        assert_eq!(heartbeat.beat(at(110)), Some(Beat::Dead));
    }
}
