//! `cargo xtask sim`: hands its options to the simulator of chat-testkit.

use crate::child;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// What the simulator is asked.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    pub seeds: u64,
    /// The first seed; one failing seed is repeated by `--seeds 1 --seed SEED`.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Plant each known bug in turn and count those the general workload catches.
    #[arg(long)]
    pub planted: bool,
    /// Further arguments, for the simulator itself.
    #[arg(last = true)]
    pub rest: Vec<String>,
}

/// Builds and runs the simulator.
pub fn run(workspace: &Workspace, options: &Options) -> Outcome {
    cargo(workspace, "run", options, |command| {
        command.arg("--").args(["--seeds", &options.seeds.to_string()]);
        if let Some(seed) = options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if options.planted {
            command.arg("--planted");
        }
        command.args(&options.rest);
    })
}

/// Builds the simulator only.
pub fn build(workspace: &Workspace, options: &Options) -> Outcome {
    cargo(workspace, "build", options, |_| {})
}

fn cargo(
    workspace: &Workspace,
    verb: &str,
    options: &Options,
    arguments: impl FnOnce(&mut std::process::Command),
) -> Outcome {
    let mut command = workspace.cargo(&[verb, "--quiet", "--release", "-p", "chat-testkit", "--features", "sim"]);
    command.args(["--bin", "sim"]);
    if options.planted {
        // A target directory of its own: another cfg would rebuild everything, and everything again afterwards.
        command.env("CARGO_TARGET_DIR", workspace.target.join("planted"));
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        command.env("RUSTFLAGS", format!("{flags} --cfg chat_planted").trim_start());
    }
    arguments(&mut command);
    child::run(&mut command, None)
}
