//! What the histories say besides right and wrong: how much was acknowledged, when, and after how long.

use crate::history::{Entry, Note};
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;

/// How long a window is in which acknowledgements are counted.
const WINDOW_MS: u64 = 10_000;

/// The least that is acknowledged a second in a window, unless there is an outage.
pub const ACKED_PER_SECOND_MIN: f64 = 50.0;

/// How far the next window is.
const STEP_MS: u64 = 1_000;

/// Collects, client by client.
#[derive(Debug, Default)]
pub struct Figures {
    /// When messages were asked for, and when they were answered; both of all clients.
    asked: Vec<u64>,
    settled: Vec<u64>,
    stored: Vec<u64>,
    /// The longest that each client waited for an answer.
    waits: Vec<u64>,
    /// Every wait.
    all_waits: Vec<u64>,
}

/// What was acknowledged in windows of ten seconds that begin a second apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Windows {
    /// How many.
    pub count: usize,
    /// How many with fewer than [`ACKED_PER_SECOND_MIN`] a second.
    pub slow: usize,
    /// The least a second in one of them.
    pub slowest: f64,
    /// Where that one begins.
    pub slowest_after_ms: u64,
}

/// Half, all but one of a hundred, and all are at most so many milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Half.
    pub p50_ms: u64,
    /// All but one of a hundred.
    pub p99_ms: u64,
    /// All.
    pub max_ms: u64,
}

impl Spread {
    /// Of these values.
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

impl Figures {
    /// Takes one client's history, with the times at which its processes were killed.
    pub fn client(&mut self, entries: &[Entry], deaths: &[u64]) {
        let mut open = HashMap::new();
        let mut longest = 0;
        for Entry { at, note } in entries {
            match note {
                Note::Asked { id, sends: true, .. } => {
                    self.asked.push(*at);
                    open.insert(*id, *at);
                }
                Note::Stored { id, .. } => {
                    if let Some(since) = open.remove(id) {
                        let wait = at.saturating_sub(since);
                        longest = longest.max(wait);
                        self.all_waits.push(wait);
                        self.stored.push(*at);
                        self.settled.push(*at);
                    }
                }
                Note::Refused { id, .. } if open.remove(id).is_some() => self.settled.push(*at),
                // Whatever the process before waited for, nobody has waited for it since its death.
                Note::Started { .. } => {
                    let death = deaths.iter().rfind(|death| **death <= *at).unwrap_or(at);
                    // A command that it could still write down is under way no earlier than that.
                    self.settled.extend(open.drain().map(|(_, asked)| asked.max(*death)));
                }
                _ => {}
            }
        }
        self.waits.push(longest);
    }

    /// Brings what all clients did into the order of time.
    pub fn sort(&mut self) {
        self.asked.sort_unstable();
        self.settled.sort_unstable();
        self.stored.sort_unstable();
    }

    /// Messages that were acknowledged.
    pub fn acked(&self) -> usize {
        self.stored.len()
    }

    /// Messages that were under way at a time; after [`sort`](Self::sort).
    pub fn in_flight(&self, at: u64) -> usize {
        before(&self.asked, at) - before(&self.settled, at)
    }

    /// The windows of a stretch of time that touch none of the outages; after [`sort`](Self::sort).
    pub fn windows(&self, during: Range<u64>, outages: &[Range<u64>]) -> Windows {
        let mut windows = Windows::default();
        let mut from = during.start;
        while from + WINDOW_MS <= during.end {
            let until = from + WINDOW_MS;
            if !outages.iter().any(|outage| outage.start < until && from < outage.end) {
                let acked = before(&self.stored, until) - before(&self.stored, from);
                let per_second = acked as f64 * 1_000.0 / WINDOW_MS as f64;
                windows.count += 1;
                windows.slow += usize::from(per_second < ACKED_PER_SECOND_MIN);
                if windows.count == 1 || per_second < windows.slowest {
                    (windows.slowest, windows.slowest_after_ms) = (per_second, from - during.start);
                }
            }
            from += STEP_MS;
        }
        windows
    }

    /// The longest wait of each client.
    pub fn longest_waits(&self) -> Spread {
        Spread::of(self.waits.clone())
    }

    /// Every wait of every client.
    pub fn waits(&self) -> Spread {
        Spread::of(self.all_waits.clone())
    }
}

fn before(sorted: &[u64], at: u64) -> usize {
    sorted.partition_point(|time| *time < at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_client::protocol::id::{CommandId, ConversationId, Position};

    fn entries() -> Vec<Entry> {
        let conversation = ConversationId::from_parts(1, [1; 10]);
        let id = |number| CommandId::from_parts(number, [2; 10]);
        let asked = |at, number| Entry {
            at,
            note: Note::Asked {
                conversation,
                id: id(number),
                sends: true,
                writes: None,
            },
        };
        let stored = |at, number| Entry {
            at,
            note: Note::Stored {
                conversation,
                id: id(number),
                by: id(number),
                position: Position::START,
            },
        };
        vec![
            asked(100, 1),
            asked(200, 2),
            stored(300, 1),
            asked(9_000, 3),
            stored(12_000, 3),
        ]
    }

    #[test]
    fn what_is_under_way_and_what_was_waited_for_follow_from_the_times() {
        let mut figures = Figures::default();
        figures.client(&entries(), &[]);
        figures.sort();
        assert_eq!(figures.acked(), 2);
        assert_eq!([150, 250, 301, 9_500].map(|at| figures.in_flight(at)), [1, 2, 1, 2]);
        assert_eq!(figures.longest_waits().max_ms, 3_000);
        assert_eq!(figures.waits().p50_ms, 200);
    }

    #[test]
    fn what_a_killed_process_waited_for_is_under_way_until_its_death() {
        let started = |at| Entry {
            at,
            note: Note::Started {
                keeps_outbox: true,
                outbox: Vec::new(),
            },
        };
        let mut entries = entries();
        entries.splice(3..3, [started(5_000)]);
        let in_flight = |deaths: &[u64], at| {
            let mut figures = Figures::default();
            figures.client(&entries, deaths);
            figures.sort();
            figures.in_flight(at)
        };
        assert_eq!([3_000, 4_999].map(|at| in_flight(&[3_000], at + 1)), [0, 0]);
        assert_eq!([in_flight(&[3_000, 6_000], 2_999), in_flight(&[], 4_999)], [1, 1]);
    }

    #[test]
    fn windows_that_touch_an_outage_do_not_count() {
        let mut figures = Figures::default();
        figures.client(&entries(), &[]);
        figures.sort();
        let all = figures.windows(0..12_000, &[]);
        assert_eq!((all.count, all.slow, all.slowest), (3, 3, 0.0));
        let without = |outage: Range<u64>| figures.windows(0..13_000, &vec![outage; 1]);
        let last = without(0..3_000);
        assert_eq!((last.count, last.slowest, last.slowest_after_ms), (1, 0.1, 3_000));
        assert_eq!(without(9_000..9_001).count, 0);
    }
}
