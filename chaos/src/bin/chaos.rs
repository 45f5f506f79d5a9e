//! The black-box proof as a program; `cargo xtask chaos` builds what it needs and runs it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program speaks to whoever started it.

use chaos::checker::Fault;
use chaos::scenario::Scenario;
use chaos::stage::{Kind, Problem, Setting};
use chaos::{crew, hands, run};
use chat_testkit::postgres::PostgresError;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Breaks everything between real servers and clients, and checks that nothing was lost, doubled or reordered.
#[derive(Debug, Parser)]
struct Options {
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
    /// A folder for histories, outboxes and logs; what is in it is removed.
    #[arg(long)]
    folder: PathBuf,
    /// How long.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// What rings between the nodes.
    #[arg(long, value_enum, default_value = "redis")]
    backplane: Kind,
    /// What chance follows; a new one unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// One story instead of many.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Let the database acknowledge what it has not written, and hold only if that is found.
    #[arg(long)]
    planted: bool,
    /// The figures as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == hands::SUBCOMMAND) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return ended(
            runtime
                .and_then(|runtime| runtime.block_on(crew::serve()))
                .map_err(Problem::from),
        );
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    ended(
        runtime
            .map_err(Problem::from)
            .and_then(|runtime| runtime.block_on(prove(options))),
    )
}

fn ended(outcome: Result<(), Problem>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("chaos: {problem}");
            match problem.downcast_ref() {
                // Whoever started this may know where they come from.
                Some(PostgresError::Missing { .. }) => ExitCode::from(3),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn prove(options: Options) -> Result<(), Problem> {
    let seed = options.seed.unwrap_or_else(|| chaos::history::now_ms() % 1_000_000);
    let story = options.scenario.map_or("chaos", Scenario::name);
    let folder = options
        .folder
        .join(format!("{story}-{}-{seed}", options.backplane.name()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let setting = Setting {
        server: options.server,
        nodes: 3,
        broker: options.backplane,
        folder: folder.clone(),
        processes: 4,
        // Two thirds of the clients may hang on one node that stands still: the others are to be enough for the bar.
        pace_ms: 250,
        stays_ms: Some(30_000),
        files: true,
        writers_apart: false,
        loses_acked: options.planted,
    };
    let proof = async {
        match options.scenario {
            None => run::run(&setting, options.minutes, seed).await,
            Some(scenario) => scenario.play(&setting, seed).await,
        }
    };
    eprintln!(
        "seed {seed}, backplane {}; histories in {}",
        options.backplane.name(),
        folder.display()
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Whatever ends it: everything that was started ends with the run, which is dropped here.
    let report = tokio::select! {
        biased;
        _ = terminate.recv() => return Err("told to stop".into()),
        _ = interrupt.recv() => return Err("told to stop".into()),
        report = proof => report?,
    };
    match options.json {
        true => println!("{}", report.json()),
        false => println!("{report}"),
    }
    match (report.is_good(), options.planted) {
        (_, true) if report.verdict.count(Fault::LostAcked) > 0 => Ok(()),
        (_, true) => Err("the planted bug was not found".into()),
        (true, false) => Ok(()),
        (false, false) => Err(format!("seed {seed} did not hold").into()),
    }
}
