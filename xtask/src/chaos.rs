//! `cargo xtask chaos`: builds the server and the proof in release, finds the broker's program, and hands over its options.

use crate::child;
use crate::programs::Programs;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// What the proof is asked.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How long.
    #[arg(long, default_value_t = 2)]
    pub minutes: u64,
    /// What rings between the nodes: `redis`, `nats`, `postgres` or `none`.
    #[arg(long, default_value = "redis")]
    pub backplane: String,
    /// What chance follows; a new seed unless given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// One story instead of many: `rolling` or `storm`.
    #[arg(long)]
    pub scenario: Option<String>,
    /// Let the database acknowledge what it has not written; passes only if the checker finds what was lost.
    #[arg(long)]
    pub planted: bool,
    /// The figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Builds and runs the proof.
pub fn run(workspace: &Workspace, options: &Options) -> Outcome {
    build(workspace)?;
    run_built(workspace, options)
}

/// Builds the proof and the server only.
pub fn build(workspace: &Workspace) -> Outcome {
    let release = ["build", "--quiet", "--release"];
    child::run(
        workspace
            .cargo(&release)
            .args(["-p", "examples", "--bin", "chat-server"]),
        None,
    )?;
    child::run(workspace.cargo(&release).args(["-p", "chaos"]), None)
}

/// Runs it; everything that it starts is in its process group, and ends with it.
pub fn run_built(workspace: &Workspace, options: &Options) -> Outcome {
    let release = workspace.target.join("release");
    let program = |name: &str| release.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let mut command = std::process::Command::new(program("chaos"));
    command.arg("--server").arg(program("chat-server"));
    command.arg("--folder").arg(workspace.target.join("chaos"));
    command.args([
        "--minutes",
        &options.minutes.to_string(),
        "--backplane",
        &options.backplane,
    ]);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(scenario) = &options.scenario {
        command.args(["--scenario", scenario]);
    }
    if options.planted {
        command.arg("--planted");
    }
    if options.json {
        command.arg("--json");
    }
    let broker = match options.backplane.as_str() {
        "redis" => Some("redis-server"),
        "nats" => Some("nats-server"),
        _ => None,
    };
    if let Some(broker) = broker {
        Programs::find_one(workspace, broker)?.tell(&mut command);
    }
    child::run(&mut command, None)
}
