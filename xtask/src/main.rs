//! Everything that CI runs, as `cargo xtask NAME`: `check`, `test`, `sim`, `chaos` and `bench`.
//!
//! Each command is a list of parts; a part is a function that passes, fails with a sentence, or says why it could not
//! run. No part knows another. Children are started and ended only through [`child`].
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool talks

mod api;
mod bench;
mod chaos;
mod check;
mod child;
#[cfg(test)]
mod docs;
mod postgres;
mod programs;
mod report;
mod sim;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Checks, tests, simulates and measures the chat engine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Format, lints, rustdoc, dependency rules and tidiness: what needs no test run.
    Check,
    /// Every test: the workspace's own, the simulator's, and clients that nobody here wrote.
    Test(test::Options),
    /// Random worlds from seeds, over the production engine; `--planted` plants known bugs and counts those caught.
    Sim(sim::Options),
    /// Real servers and clients, and everything that may go wrong between them.
    Chaos(chaos::Options),
    /// One bench of the `benches` package, in release.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let task = Task::parse();
    if let Err(error) = child::end_all_when_told_to_stop() {
        eprintln!("xtask: no handler for Ctrl-C: {error}");
        return ExitCode::FAILURE;
    }
    let workspace = match workspace::Workspace::find() {
        Ok(workspace) => workspace,
        Err(stop) => {
            eprintln!("xtask: {stop}");
            return ExitCode::FAILURE;
        }
    };
    match task {
        Task::Check => check::run(&workspace).finish(),
        Task::Test(options) => test::run(&workspace, &options).finish(),
        Task::Sim(options) => pass_through(sim::run(&workspace, &options)),
        Task::Chaos(options) => pass_through(chaos::run(&workspace, &options)),
        Task::Bench(options) => pass_through(bench::run(&workspace, &options)),
    }
}

/// Adds no line of its own to a success, so that the child's last line stays the last line.
fn pass_through(outcome: report::Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("xtask: {stop}");
            ExitCode::FAILURE
        }
    }
}
