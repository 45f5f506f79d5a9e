//! What ran, how it went and how long it took; the table at the end.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a part ends: it holds, or it stopped.
pub type Outcome = Result<(), Stop>;

/// Why a part did not pass.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong; the sentence says what and, where known, what to do.
    Failed(String),
    /// The part could not be had here. Not a failure, but never silent.
    NotRun(String),
}

impl Stop {
    /// A failure with its sentence.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Stop::Failed(sentence.into())
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Failed(sentence) => f.write_str(sentence),
            Stop::NotRun(reason) => write!(f, "not run: {reason}"),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// Whether a part's seconds count as compilation in the totals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Building only.
    Compile,
    /// Everything else.
    Run,
}

/// The parts that ran so far, in order.
#[derive(Default)]
pub struct Report {
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    kind: Kind,
    took: Duration,
    outcome: Outcome,
}

impl Report {
    /// Runs one part, announces it and keeps its outcome; returns whether it passed.
    pub fn part(&mut self, name: &'static str, kind: Kind, run: impl FnOnce() -> Outcome) -> bool {
        eprintln!("\n── {name}");
        let start = Instant::now();
        let outcome = run();
        match &outcome {
            Ok(()) => {}
            Err(Stop::Failed(sentence)) => eprintln!("{name}: FAILED: {sentence}"),
            Err(Stop::NotRun(reason)) => eprintln!("{name}: not run: {reason}"),
        }
        let passed = outcome.is_ok();
        self.parts.push(Part {
            name,
            kind,
            took: start.elapsed(),
            outcome,
        });
        passed
    }

    /// Keeps a part that was left out on purpose or for want of something.
    pub fn not_run(&mut self, name: &'static str, reason: impl Into<String>) {
        self.parts.push(Part {
            name,
            kind: Kind::Run,
            took: Duration::ZERO,
            outcome: Err(Stop::NotRun(reason.into())),
        });
    }

    /// Prints the table and turns the outcomes into the exit code. What did not run stands in the last lines.
    pub fn finish(self) -> ExitCode {
        println!("\n{}", self.table());
        if self
            .parts
            .iter()
            .any(|part| matches!(part.outcome, Err(Stop::Failed(_))))
        {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    fn table(&self) -> String {
        let width = self
            .parts
            .iter()
            .map(|part| part.name.len())
            .max()
            .unwrap_or(0)
            .max("compilation".len());
        let mut lines = Vec::new();
        for Part {
            name, took, outcome, ..
        } in &self.parts
        {
            let word = match outcome {
                Ok(()) => "ok",
                Err(Stop::Failed(_)) => "FAILED",
                Err(Stop::NotRun(_)) => "not run",
            };
            lines.push(format!("{name:width$}  {word:7}  {:7.1} s", took.as_secs_f64()));
        }
        for (name, kind) in [("compilation", Kind::Compile), ("the rest", Kind::Run)] {
            let total: Duration = self
                .parts
                .iter()
                .filter(|part| part.kind == kind)
                .map(|part| part.took)
                .sum();
            lines.push(format!("{name:width$}  {:7}  {:7.1} s", "total", total.as_secs_f64()));
        }
        for Part { name, outcome, .. } in &self.parts {
            if let Err(Stop::Failed(sentence)) = outcome {
                lines.push(format!("FAILED: {name}, {sentence}"));
            }
        }
        for Part { name, outcome, .. } in &self.parts {
            if let Err(Stop::NotRun(reason)) = outcome {
                lines.push(format!("NOT RUN: {name}, {reason}"));
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_stands_in_the_last_lines() {
        let mut report = Report::default();
        report.not_run("peers", "no python");
        assert!(!report.part("tests", Kind::Run, || Err(Stop::failed("two tests failed"))));
        assert!(report.part("links", Kind::Run, || Ok(())));
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.last(), Some(&"NOT RUN: peers, no python"));
        assert_eq!(lines[lines.len() - 2], "FAILED: tests, two tests failed");
    }

    #[test]
    fn a_part_that_did_not_run_is_no_failure_and_a_failed_one_is() {
        let mut report = Report::default();
        report.not_run("peers", "no python");
        assert_eq!(report.finish(), ExitCode::SUCCESS);
        let mut report = Report::default();
        report.part("tests", Kind::Run, || Err(Stop::failed("two tests failed")));
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }
}
