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
    /// When to ask whatever is heard until then.
    ask_at: Option<Instant>,
    /// Since when silence does not count.
    held: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            heard: now,
            asked: None,
            ask_at: None,
            held: None,
        }
    }

    /// From here on silence does not count, or counts again, from where it stood.
    pub(crate) fn hold(&mut self, hold: bool, now: Instant) {
        match self.held {
            None if hold => self.held = Some(now),
            Some(since) if !hold => {
                // What lies before the hold moves by its length; what lies inside it begins now.
                let length = now.saturating_duration_since(since);
                self.heard = (self.heard + length).min(now);
                self.asked = self.asked.map(|asked| (asked + length).min(now));
                self.held = None;
            }
            _ => {}
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Something came: any frame is a sign of life.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// Asks after this time, whatever is heard until then; the answer has the time that every answer has.
    pub(crate) fn ask_after(&mut self, time: Duration, now: Instant) {
        self.asked = None;
        self.ask_at = Some(now + time);
    }

    /// What is due now. A peer is dead only after it was asked: a process that slept through both times asks first.
    pub(crate) fn beat(&mut self, now: Instant) -> Option<Beat> {
        if self.is_held() || now < self.deadline() {
            return None;
        }
        if self.asked.is_some() {
            return Some(Beat::Dead);
        }
        self.ask_at = None;
        self.asked = Some(now);
        Some(Beat::Ping)
    }

    pub(crate) fn deadline(&self) -> Instant {
        match self.asked {
            None => self.ask_at.unwrap_or(self.heard + self.interval),
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

    #[test]
    fn silence_counts_only_while_it_is_not_held() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heartbeat = Heartbeat::new(Duration::from_secs(25), Duration::from_secs(10), start);
        heartbeat.hold(true, at(20));
        assert_eq!(heartbeat.beat(at(100)), None);
        heartbeat.hold(false, at(100));
        assert_eq!(heartbeat.beat(at(104)), None);
        assert_eq!(heartbeat.beat(at(105)), Some(Beat::Ping));
        heartbeat.hold(true, at(107));
        heartbeat.hold(true, at(108));
        heartbeat.hold(false, at(207));
        assert_eq!(heartbeat.beat(at(214)), None);
        assert_eq!(
            heartbeat.beat(at(215)),
            Some(Beat::Dead),
            "two seconds before, eight behind"
        );
        heartbeat.hold(true, at(215));
        heartbeat.hear(at(220));
        heartbeat.hold(false, at(230));
        assert_eq!(
            heartbeat.deadline(),
            at(255),
            "what was heard meanwhile is a sign of life"
        );
    }
}
