//! What came of a run, for people and for programs.

use crate::checker::{Fault, Verdict};
use crate::figures::{ACKED_PER_SECOND_MIN, Figures, Spread, Windows};
use crate::nemesis::{Family, Nemesis};
use crate::run::{IN_FLIGHT_MIN, Log};
use crate::stage::{Kind, Setting};
use crate::truth::{Change, Truth};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;

/// The share of clients that is back in time.
const RESUMED_MIN: f64 = 0.99;

/// What has to go wrong in twenty minutes.
const FAULTS_MIN: [(Family, u64); 3] = [
    (Family::NodeKill, 30),
    (Family::DatabaseRestart, 6),
    (Family::Broker, 8),
];

/// Runs of so many minutes have a stretch without an outage.
const WINDOWS_MINUTES: u64 = 5;

/// Something that went wrong.
#[derive(Debug, Clone)]
pub struct Strike {
    /// What.
    pub nemesis: Nemesis,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Messages that were under way, by the histories.
    pub in_flight: usize,
}

/// Who was back after a healing.
#[derive(Debug, Clone, Copy)]
pub struct Resumed {
    /// Of so many.
    pub of: usize,
    /// So many.
    pub back: usize,
    /// When all were, or when it was no longer waited for.
    pub within_ms: u64,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was found wrong.
    pub verdict: Verdict,
    /// Bars that were missed, a sentence each.
    pub missed: Vec<String>,
    backplane: &'static str,
    seed: u64,
    acked: usize,
    minutes: f64,
    windows: Windows,
    families: BTreeMap<Family, usize>,
    strikes: Vec<Value>,
    events: usize,
    removals: usize,
    in_flight_min: usize,
    resumed: f64,
    resumed_worst: f64,
    resumed_in: Spread,
    waits: Spread,
    longest_waits: Spread,
    /// What a scenario measured, by its name and in milliseconds.
    measured: BTreeMap<&'static str, u64>,
    folder: PathBuf,
}

impl Report {
    pub(crate) fn new(
        setting: &Setting,
        seed: u64,
        figures: &Figures,
        log: Log,
        truth: &Truth,
        verdict: Verdict,
    ) -> Self {
        let rows = || truth.logs.values().flatten();
        let strikes = log.strikes.iter().map(|strike| {
            let after_ms = strike.at - log.load.start;
            json!({"after_ms": after_ms, "nemesis": format!("{:?}", strike.nemesis), "in_flight": strike.in_flight})
        });
        let mut families: BTreeMap<Family, usize> = BTreeMap::new();
        for strike in &log.strikes {
            *families.entry(strike.nemesis.family()).or_default() += 1;
        }
        let windows = figures.windows(log.load.clone(), &log.outages);
        let (back, of) = log
            .resumed
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.back, sum.1 + one.of));
        let resumed = if of == 0 { 1.0 } else { back as f64 / of as f64 };
        let share = |one: &Resumed| one.back as f64 / one.of.max(1) as f64;
        let resumed_worst = log.resumed.iter().map(share).fold(1.0, f64::min);
        let mut missed = Vec::new();
        if let Some(minutes) = log.minutes {
            let seconds = (log.load.end - log.load.start) as f64 / 1_000.0;
            let acked = figures.acked();
            if (acked as f64) < ACKED_PER_SECOND_MIN * seconds {
                missed.push(format!(
                    "acked {acked} sends in {seconds:.0} s, fewer than {ACKED_PER_SECOND_MIN} a second"
                ));
            }
            let without_broker = |family| family == Family::Broker && setting.broker == Kind::None;
            for (family, in_twenty) in FAULTS_MIN.into_iter().filter(|(family, _)| !without_broker(*family)) {
                let (count, wanted) = (families.get(&family).copied().unwrap_or(0), in_twenty * minutes / 20);
                if (count as u64) < wanted {
                    missed.push(format!("{count} {family}, {wanted} are asked for"));
                }
            }
            if windows.count == 0 && minutes >= WINDOWS_MINUTES {
                missed.push("there was no window without an outage".to_owned());
            }
        }
        for strike in log.strikes.iter().filter(|strike| strike.in_flight < IN_FLIGHT_MIN) {
            missed.push(format!(
                "{:?} hit while {} sends were in flight",
                strike.nemesis, strike.in_flight
            ));
        }
        if windows.slow > 0 {
            let Windows { slow, slowest, .. } = windows;
            let after_s = windows.slowest_after_ms / 1_000;
            missed.push(format!(
                "fewer than {ACKED_PER_SECOND_MIN} acks/s in {slow} windows without an outage, the least {slowest:.1}, from \
                 {after_s} s on"
            ));
        }
        if resumed < RESUMED_MIN {
            missed.push(format!("{:.2} % of clients resumed in time", resumed * 100.0));
        }
        Self {
            verdict,
            missed,
            backplane: setting.broker.name(),
            seed,
            acked: figures.acked(),
            minutes: (log.load.end - log.load.start) as f64 / 60_000.0,
            windows,
            families,
            strikes: strikes.collect(),
            events: rows().count(),
            removals: rows().filter(|row| matches!(row.change, Change::Ended(_))).count(),
            in_flight_min: log.strikes.iter().map(|strike| strike.in_flight).min().unwrap_or(0),
            resumed,
            resumed_worst,
            resumed_in: Spread::of(log.resumed.iter().map(|one| one.within_ms).collect()),
            waits: figures.waits(),
            longest_waits: figures.longest_waits(),
            measured: BTreeMap::new(),
            folder: setting.folder.clone(),
        }
    }

    /// Adds what a scenario measured, and holds it to its bar.
    pub(crate) fn measured(&mut self, name: &'static str, took_ms: u64, max_ms: Option<u64>) {
        self.measured.insert(name, took_ms);
        if let Some(max_ms) = max_ms.filter(|max_ms| took_ms > *max_ms) {
            self.missed
                .push(format!("{name}: {took_ms} ms, at most {max_ms} ms are allowed"));
        }
    }

    /// The longest wait of each client.
    pub(crate) fn longest_waits(&self) -> Spread {
        self.longest_waits
    }

    /// Whether everything held.
    pub fn is_good(&self) -> bool {
        self.verdict.is_clean() && self.missed.is_empty()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let faults: BTreeMap<String, usize> = self
            .families
            .iter()
            .map(|(name, count)| (name.to_string(), *count))
            .collect();
        let counters: BTreeMap<&str, u64> = Fault::ALL
            .iter()
            .map(|fault| (fault.name(), self.verdict.count(*fault)))
            .collect();
        json!({
            "backplane": self.backplane,
            "seed": self.seed,
            "minutes": self.minutes,
            "acked": self.acked,
            "acked_per_second_min": self.windows.slowest,
            "windows_without_outage": self.windows,
            "faults": faults,
            "strikes": self.strikes,
            "events": self.events,
            "removals": self.removals,
            "in_flight_min": self.in_flight_min,
            "counters": counters,
            "resumed_within_10_s": self.resumed,
            "resumed_within_10_s_worst_healing": self.resumed_worst,
            "resumed": self.resumed_in,
            "ack_wait": self.waits,
            "ack_gap_per_client": self.longest_waits,
            "measured_ms": self.measured,
            "missed": self.missed,
            "good": self.is_good(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { p50_ms, p99_ms, max_ms } = self.longest_waits;
        let waits = self.waits;
        writeln!(
            f,
            "seed {}, backplane {}, {:.1} minutes",
            self.seed, self.backplane, self.minutes
        )?;
        writeln!(
            f,
            "{} events in all logs, {} removals among them",
            self.events, self.removals
        )?;
        write!(f, "acked {} sends", self.acked)?;
        match self.windows.count {
            0 => writeln!(f)?,
            windows => writeln!(
                f,
                "; at least {:.1}/s in each of {windows} windows of ten seconds without an outage",
                self.windows.slowest
            )?,
        }
        if !self.families.is_empty() {
            let mut faults = String::new();
            for (family, count) in &self.families {
                write!(faults, "{count} {family}, ")?;
            }
            writeln!(
                f,
                "{faults}each while at least {} sends were in flight",
                self.in_flight_min
            )?;
            writeln!(
                f,
                "resumed within 10 s of each healing: {:.2} % of clients (connected, caught up, and answered), {:.2} % after the worst one; all of them in {} ms (half), {} ms (99 %), {} ms (max)",
                self.resumed * 100.0,
                self.resumed_worst * 100.0,
                self.resumed_in.p50_ms,
                self.resumed_in.p99_ms,
                self.resumed_in.max_ms
            )?;
        }
        writeln!(
            f,
            "waits for an ack: {} ms (half), {} ms (99 %), {} ms (max); the longest of each client: {p50_ms} ms (half), \
             {p99_ms} ms (99 %), {max_ms} ms (max)",
            waits.p50_ms, waits.p99_ms, waits.max_ms
        )?;
        for (name, took_ms) in &self.measured {
            writeln!(f, "{name}: {took_ms} ms")?;
        }
        for (fault, what) in &self.verdict.kept {
            writeln!(f, "VIOLATION {}: {what}", fault.name())?;
        }
        for missed in &self.missed {
            writeln!(f, "MISSED: {missed}")?;
        }
        if !self.is_good() {
            writeln!(f, "histories: {}", self.folder.display())?;
        }
        write!(f, "{}", self.verdict)
    }
}
