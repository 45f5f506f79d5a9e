//! `cargo xtask chaos`: builds the server and the proof in release, finds the programs of the broker and of PostgreSQL, and
//! hands over its options.

use crate::child;
use crate::postgres;
use crate::programs::Programs;
use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;
use std::process::Command;
use std::time::Duration;

/// How long it may take beside the minutes in which things go wrong: to found, to come to rest, to read and to judge.
const BESIDE_AT_MOST: Duration = Duration::from_secs(12 * 60);

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
    let mut command = Command::new(program("chaos"));
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
    let bound = Some(Duration::from_secs(options.minutes * 60) + BESIDE_AT_MOST);
    let mut status = child::ends(&mut command, bound)?;
    if status.code() == Some(postgres::MISSING) {
        postgres::install("PostgreSQL is not there, and only root of a Debian may install its package")?;
        status = child::ends(&mut command, bound)?;
    }
    match status.success() {
        true => Ok(()),
        false => Err(Stop::failed(format!("chaos: {status}"))),
    }
}
