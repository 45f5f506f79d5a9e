//! The figures as a table and as JSON.

use super::round::Figures;
use super::{KINDS, Kind, Load};
use crate::figures::{median, shown};
use crate::load::Shape;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// One line: what is measured, its unit, and how to read it out of the figures.
type Row = (&'static str, &'static str, fn(&Figures) -> f64);

const ROWS: [Row; 5] = [
    ("server CPU per delivery", "µs", |figures| figures.cpu),
    ("deliveries", "1/s", |figures| figures.per_second),
    ("latency, median", "ms", |figures| figures.median),
    ("latency, 99 of 100", "ms", |figures| figures.p99),
    ("bytes of an event", "B", |figures| figures.bytes),
];

/// What was measured, ready to be shown.
pub(super) struct Report {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    load: String,
    unit: &'static str,
    /// In the order of [`Kind::ALL`]: the median of the rounds.
    values: [f64; KINDS],
    /// Of the mounted one to ours, and of ours to each bare server: the median of the ratios within the rounds.
    ratios: [f64; KINDS - 1],
}

impl Report {
    pub fn of(shape: Shape, time: Duration, loads: &[Load]) -> Self {
        let rounds = loads.first().map_or(0, |load| load.rounds.len());
        let title = format!(
            "fanout: {} conversations of {} members, one connection each; medians of {rounds} rounds of {} s",
            shape.conversations,
            shape.members,
            time.as_secs()
        );
        let lines = loads.iter().flat_map(|load| {
            ROWS.map(|(name, unit, read)| {
                let of = |kind: usize| median(load.rounds.iter().map(|round| read(&round[kind])));
                let ratio =
                    |of: usize, to: usize| median(load.rounds.iter().map(|round| read(&round[of]) / read(&round[to])));
                Line {
                    name,
                    load: load.name.clone(),
                    unit,
                    values: std::array::from_fn(of),
                    ratios: [ratio(1, 0), ratio(0, 2), ratio(0, 3)],
                }
            })
        });
        Self {
            title,
            lines: lines.collect(),
        }
    }

    pub fn table(&self) -> String {
        let mut out = format!("{}\n", self.title);
        let mut load = "";
        for line in &self.lines {
            if load != line.load {
                load = &line.load;
                let names = Kind::ALL.map(|kind| format!("{:>10}", kind.name())).concat();
                let ratios = ["mounted/ours", "ours/direct", "ours/queued"].map(|ratio| format!("{ratio:>14}"));
                let _ = writeln!(out, "\n{load}\n{:32}{names}{}", "", ratios.concat());
            }
            let label = format!("  {}, {}", line.name, line.unit);
            let values = line.values.map(|value| format!("{:>10}", shown(value)));
            let ratios = line.ratios.map(|ratio| format!("{ratio:>14.2}"));
            let _ = writeln!(out, "{label:32}{}{}", values.concat(), ratios.concat());
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// `ratio` is ours to *direct*, the lower floor.
    pub fn json(&self) -> Value {
        let rows = self.lines.iter().map(|line| {
            let [ours, mounted, direct, queued] = line.values;
            json!({
                "name": line.name, "load": line.load, "unit": line.unit, "ours": ours, "mounted": mounted,
                "baselines": { "direct": direct, "queued": queued }, "ratio": line.ratios[1],
            })
        });
        json!({ "bench": "fanout", "rows": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let figures = |cpu| Figures {
            cpu,
            per_second: 1.0,
            median: 1.0,
            p99: 1.0,
            bytes: 1.0,
        };
        // The second round met a busy machine: everything cost ten times as much.
        let rounds = [(4.0, 2.0), (40.0, 20.0), (6.0, 3.0)];
        let load = Load {
            name: "paced".to_owned(),
            drive: super::super::Drive::Paced { rate: 1 },
            rounds: rounds
                .map(|(ours, bare)| [ours, ours, bare, bare].map(figures))
                .to_vec(),
        };
        let shape = Shape {
            conversations: 1,
            members: 1,
        };
        let report = Report::of(shape, Duration::from_secs(1), &[load]);
        assert_eq!(
            (report.lines[0].values, report.lines[0].ratios),
            ([6.0, 6.0, 3.0, 3.0], [1.0, 2.0, 2.0])
        );
        assert_eq!(report.json()["rows"][0]["ratio"], 2.0);
        assert!(report.table().contains("2.00"));
    }
}
