//! The figures as a table and as JSON.

use crate::figures::{self, median, shown};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub name: &'static str,
    pub load: String,
    pub unit: &'static str,
    pub better: Better,
    pub ours: f64,
    /// By name; the first is the one that the ratio is taken to.
    pub baselines: Vec<(&'static str, f64)>,
    /// Ours to the first baseline, turned so that higher is better.
    pub ratio: f64,
    pub bar: Option<Bar>,
}

/// What is to be wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// At least so many times the first baseline.
    Times(f64),
    /// At most this share of the first baseline.
    Share(f64),
    /// At most this, in the row's unit.
    Most(f64),
}

/// What a figure was in one round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub ours: f64,
    pub baselines: Vec<(&'static str, f64)>,
}

impl Row {
    /// Medians of the rounds; the ratio is taken within a round, so that both met the same machine.
    pub fn of(
        name: &'static str,
        load: impl Into<String>,
        unit: &'static str,
        better: Better,
        samples: &[Sample],
    ) -> Self {
        let names = samples.first().map_or(&[][..], |sample| &sample.baselines);
        let baselines = names.iter().enumerate().map(|(index, (name, _))| {
            let values = samples.iter().filter_map(|sample| sample.baselines.get(index));
            (*name, median(values.map(|(_, value)| *value)))
        });
        let ratio = samples.iter().filter_map(|Sample { ours, baselines }| {
            let (_, baseline) = baselines.first()?;
            Some(match better {
                Better::Higher => ours / baseline,
                Better::Lower => baseline / ours,
            })
        });
        Self {
            name,
            load: load.into(),
            unit,
            better,
            ours: median(samples.iter().map(|sample| sample.ours)),
            baselines: baselines.collect(),
            ratio: median(ratio),
            bar: None,
        }
    }

    pub fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// What part of the first baseline ours is: what is said of costs.
    fn share(&self) -> f64 {
        match self.better {
            Better::Higher => self.ratio,
            Better::Lower => 1.0 / self.ratio,
        }
    }

    /// Whether what must hold holds; unknown when there is nothing to compare with.
    fn is_kept(&self) -> Option<bool> {
        let (value, kept): (f64, fn(f64, f64) -> bool) = match self.bar? {
            Bar::Times(_) => (self.ratio, |value, bar| value >= bar),
            Bar::Share(_) => (self.share(), |value, bar| value <= bar),
            Bar::Most(_) => (self.ours, |value, bar| value <= bar),
        };
        let (Bar::Times(bar) | Bar::Share(bar) | Bar::Most(bar)) = self.bar?;
        (!value.is_nan()).then(|| kept(value, bar))
    }

    fn json(&self) -> Value {
        let baselines: Map<String, Value> = self
            .baselines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut row = json!({
            "name": self.name, "load": self.load, "unit": self.unit,
            "ours": self.ours, "baselines": baselines, "ratio": self.ratio,
        });
        if self.better == Better::Lower && !self.baselines.is_empty() {
            row["share"] = json!(self.share());
        }
        if let Some(bar) = self.bar {
            row["bar"] = match bar {
                Bar::Times(times) => json!({ "of": "ratio", "at_least": times }),
                Bar::Share(share) => json!({ "of": "share", "at_most": share }),
                Bar::Most(most) => json!({ "of": "ours", "at_most": most }),
            };
            row["bar"]["kept"] = json!(self.is_kept());
        }
        row
    }
}

/// Everything that was measured, ready to be shown.
pub(crate) struct Report {
    /// Which bench.
    pub bench: &'static str,
    pub title: String,
    /// What to know of the machine.
    pub notes: Vec<(&'static str, String)>,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn print(&self, as_json: bool) -> io::Result<()> {
        figures::print(&if as_json { self.json().to_string() } else { self.table() })
    }

    fn table(&self) -> String {
        let mut out = format!("{}\n", self.title);
        for (name, note) in &self.notes {
            let _ = writeln!(out, "{name}: {note}");
        }
        let mut load = "";
        for row in &self.rows {
            if load != row.load {
                load = &row.load;
                let _ = writeln!(out, "\n{load}\n{:42}{:>10}{:>9}  beside", "", "ours", "ratio");
            }
            let label = format!("  {}, {}", row.name, row.unit);
            let _ = write!(out, "{label:42}{:>10}{:>9}  ", shown(row.ours), shown(row.ratio));
            let beside = row
                .baselines
                .iter()
                .map(|(name, value)| format!("{name} {}", shown(*value)));
            let _ = write!(out, "{}", beside.collect::<Vec<_>>().join(", "));
            if let Some(bar) = row.bar {
                let _ = match bar {
                    Bar::Times(times) => write!(out, "; bar: at least {times} times"),
                    Bar::Share(share) => write!(out, "; bar: at most {share} times, is {}", shown(row.share())),
                    Bar::Most(most) => write!(out, "; bar: at most {most}"),
                };
                let _ = write!(
                    out,
                    "{}",
                    match row.is_kept() {
                        Some(true) => ", kept",
                        Some(false) => ", NOT KEPT",
                        None => "",
                    }
                );
            }
            out.push('\n');
        }
        out.truncate(out.trim_end().len());
        out
    }

    fn json(&self) -> Value {
        let notes: Map<String, Value> = self
            .notes
            .iter()
            .map(|(name, note)| ((*name).to_owned(), json!(note)))
            .collect();
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "bench": self.bench, "notes": notes, "rows": rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ours: f64, plain: f64) -> Sample {
        Sample {
            ours,
            baselines: vec![("plain", plain)],
        }
    }

    #[test]
    fn a_higher_ratio_is_better_for_costs_too() {
        // The second round met a busy machine.
        let rounds = [sample(10.0, 2.0), sample(1.0, 0.2), sample(12.0, 3.0)];
        let speed = Row::of("speed", "load", "1/s", Better::Higher, &rounds).bar(Bar::Times(5.0));
        let cost = Row::of("cost", "load", "ms", Better::Lower, &rounds).bar(Bar::Share(0.3));
        assert_eq!((speed.ours, speed.ratio, speed.is_kept()), (10.0, 5.0, Some(true)));
        assert_eq!((cost.ratio, cost.share(), cost.is_kept()), (0.2, 5.0, Some(false)));
        let report = Report {
            bench: "append",
            title: "title".to_owned(),
            notes: vec![("fdatasync", "100 a second".to_owned())],
            rows: vec![speed, cost],
        };
        let json = report.json();
        assert_eq!(json["rows"][0]["ratio"], 5.0);
        assert_eq!(json["rows"][0]["baselines"]["plain"], 2.0);
        assert_eq!(json["rows"][1]["share"], 5.0);
        assert_eq!(json["rows"][1]["bar"]["kept"], false);
        assert_eq!(json["notes"]["fdatasync"], "100 a second");
        assert!(
            report.table().contains("at most 0.3 times, is 5.00, NOT KEPT"),
            "{}",
            report.table()
        );
    }

    #[test]
    fn without_a_baseline_there_is_no_ratio_and_a_bar_of_our_own_is_judged() {
        let rounds = [Sample {
            ours: 31.0,
            baselines: Vec::new(),
        }];
        let row = Row::of("page", "load", "ms", Better::Lower, &rounds);
        assert!(row.json()["ratio"].is_null());
        assert_eq!(row.clone().bar(Bar::Most(30.0)).is_kept(), Some(false));
        assert_eq!(row.bar(Bar::Share(1.1)).is_kept(), None);
    }
}
