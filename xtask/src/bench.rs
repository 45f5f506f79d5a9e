//! `cargo xtask bench NAME`: hands its options to the load generator of `benches`.

use std::env;

use crate::child;
use crate::postgres::Postgres;
use crate::programs::Programs;
use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;

/// What is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Which bench: `fanout`, `append`, `cluster` or `bells`.
    name: String,
    /// Which store, for a bench that knows several; `postgres` starts a private PostgreSQL unless CHAT_POSTGRES_URL
    /// names one.
    #[arg(long)]
    store: Option<String>,
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
    if let Some(store) = &options.store {
        command.args(["--store", store]);
    }
    if options.quick {
        command.arg("--quick");
    }
    if options.json {
        command.arg("--json");
    }
    command.args(&options.rest);
    let brokers: &[&str] = match options.name.as_str() {
        "cluster" => &["redis-server"],
        "bells" => &["redis-server", "nats-server"],
        _ => &[],
    };
    for broker in brokers {
        Programs::find_one(workspace, broker)?.tell(&mut command);
    }
    let on_postgres = !brokers.is_empty() || options.store.as_deref() == Some("postgres");
    if !on_postgres || env::var_os("CHAT_POSTGRES_URL").is_some() {
        return child::run(&mut command, None);
    }
    let postgres = private_postgres(workspace)?;
    postgres.tell(&mut command);
    child::run(&mut command, None)
}

/// What the disk does without a database is printed beside: figures of commits mean nothing alone.
fn private_postgres(workspace: &Workspace) -> Result<Postgres, Stop> {
    let mut build = workspace.cargo(&[
        "build",
        "--quiet",
        "--release",
        "-p",
        "chat-testkit",
        "--features",
        "postgres",
    ]);
    child::run(build.args(["--bin", "private-postgres"]), None)?;
    let postgres = Postgres::start(workspace, "release")?;
    postgres.print_fsync()?;
    Ok(postgres)
}
