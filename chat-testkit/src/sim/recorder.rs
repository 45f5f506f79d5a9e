//! What happened, in order: hashed always, kept when asked for.

use super::{Counts, Run};
use chat_core::Clock;
use chat_core::id::{ConversationId, Timestamp};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::time::Instant;

/// After so many violations of one run further ones are counted, not kept.
const VIOLATIONS_MAX: usize = 20;

/// The day on which every simulation begins: in 2025.
const BEGIN: Timestamp = Timestamp(1_750_000_000_000);

/// What must hold, whatever goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// G1: what was acknowledged is in the store's log, under its id and at its place.
    NoAckedLoss,
    /// G2: an id is once in a log, what was written once is there once, and an application sees each event once.
    OnceOnly,
    /// G3: seqs 1..N with chained tags; every reader sees them in that order, without gaps but those it is told of.
    OneOrder,
    /// Each connection carries one gapless stretch of each log, from where its client stood.
    ExactWire,
    /// G4: after a while of quiet every client has everything, as it is now, or was told to begin anew.
    ResumeComplete,
    /// Marks only grow.
    MarksGrow,
    /// G7: nothing after a removal reaches the removed, and nothing of theirs is stored.
    RemovalExact,
    /// Two devices of one user show the same inbox, which is the store's.
    DevicesAgree,
    /// G11: the count of unread messages is the function of log and mark.
    UnreadIsAFunction,
    /// Every durable command gets its definite answer.
    OutboxDrained,
    /// Once everything is healed, every client is connected and in step again.
    ComesToRest,
    /// No task panics.
    NoPanic,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen, and when.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// Takes down what happens. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Recorder(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    start: Instant,
    hasher: DefaultHasher,
    line: String,
    trace: Option<Vec<String>>,
    violations: Vec<Violation>,
}

impl Recorder {
    pub fn new(trace: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            start: Instant::now(),
            hasher: DefaultHasher::new(),
            line: String::new(),
            trace: trace.then(Vec::new),
            violations: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the lock is never poisoned: no panic inside")
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms()
    }

    /// The time of day in the simulation.
    pub fn now(&self) -> Timestamp {
        Timestamp(BEGIN.0 + self.now_ms())
    }

    /// Something happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        state.line.clear();
        let now_ms = state.now_ms();
        write!(state.line, "{now_ms:>6} {what}").expect("a string takes everything");
        state.hasher.write(state.line.as_bytes());
        if let Some(trace) = &mut state.trace {
            trace.push(state.line.clone());
        }
    }

    /// Something happened that should not.
    pub fn violated(&self, invariant: Invariant, what: String) {
        self.note(format_args!("VIOLATION {invariant:?}: {what}"));
        let mut state = self.lock();
        let at = state.now_ms();
        if state.violations.len() < VIOLATIONS_MAX {
            let what = format!("at {at} ms: {what}");
            state.violations.push(Violation { invariant, what });
        }
    }

    pub fn into_run(self, seed: u64, counts: Counts) -> Run {
        let mut state = self.lock();
        Run {
            seed,
            history: state.hasher.finish(),
            violations: std::mem::take(&mut state.violations),
            counts,
            trace: state.trace.take().unwrap_or_default(),
        }
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The one clock of engines and store.
impl Clock for Recorder {
    fn now(&self) -> Timestamp {
        Recorder::now(self)
    }
}

/// An id by its last digits: enough to tell the few of one run apart.
pub(super) struct Short<'a>(pub &'a ConversationId);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, low) = self.0.as_uuid().as_u64_pair();
        write!(f, "c{:04x}", low & 0xffff)
    }
}
