//! `cargo xtask bench NAME`: hands its options to the load generator of `benches`.

use crate::child;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// What is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Which bench; `fanout` is one.
    name: String,
    /// Shorter, for a first figure.
    #[arg(long)]
    quick: bool,
    /// The figures as JSON.
    #[arg(long)]
    json: bool,
    /// Further arguments, for the bench itself.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Builds and runs one bench.
pub fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let mut command = workspace.cargo(&["run", "--quiet", "--release", "-p", "benches", "--bin", "bench", "--"]);
    command.arg(&options.name);
    if options.quick {
        command.arg("--quick");
    }
    if options.json {
        command.arg("--json");
    }
    child::run(command.args(&options.rest), None)
}
