//! `bench append`: what storing and reading cost, ours beside the plain way on the same database.
//!
//! * `load`, `drive`: who sends, and the proof that what was acknowledged is stored
//! * `plain`, `ours`: the two ways
//! * `writes`, `reads`: what is measured, round by round
//! * `place`, `fsync`: the databases and the disk under them

mod drive;
mod fsync;
mod load;
mod ours;
mod place;
mod plain;
mod reads;
mod writes;

use crate::report::Report;
use place::Place;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// Anything that ends a measurement without a figure.
pub type Failure = Box<dyn Error + Send + Sync>;

/// On what ours and the plain way store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// Nothing: the engine alone, without a plain way beside it.
    Memory,
    /// A file in a temporary directory.
    Sqlite,
    /// A cluster that is there.
    Postgres,
}

/// Which half is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Storing.
    Writes,
    /// Pages, resume, reconcile.
    Reads,
}

/// On what, how much and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// On what ours and the plain way store.
    #[arg(long)]
    store: StoreKind,
    /// A first figure in a few minutes, with fewer messages to read among.
    #[arg(long)]
    quick: bool,
    /// The figures as one JSON object.
    #[arg(long)]
    json: bool,
    /// Only one half.
    #[arg(long)]
    part: Option<Part>,
    /// A PostgreSQL in which databases may be created.
    #[arg(long, env = "CHAT_POSTGRES_URL")]
    postgres_url: Option<String>,
    /// Its postmaster, when it runs on this machine: without it there are no figures of its CPU.
    #[arg(long, env = "CHAT_POSTGRES_PID")]
    postgres_pid: Option<u32>,
    /// Where SQLite's files are made; the system's place for temporary files unless told.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Rounds of writes; 3 when quick, else 7.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement of writes; 3 when quick, else 5.
    #[arg(long)]
    seconds: Option<u64>,
    /// Messages in the conversation whose history is read; 200,000 when quick, else 1,000,000.
    #[arg(long)]
    messages: Option<u64>,
    /// Unread messages in nine more conversations of the reader; 20,000 when quick, else 1,000,000.
    #[arg(long)]
    unread: Option<u64>,
    /// Filling ends after so many seconds, and the rows say how far it came; 120 when quick, else 900.
    #[arg(long)]
    fill_seconds: Option<u64>,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 7 })
    }

    /// Of each measurement of writes.
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 3 } else { 5 }))
    }

    fn messages(&self) -> u64 {
        self.messages.unwrap_or(if self.quick { 200_000 } else { 1_000_000 })
    }

    fn unread(&self) -> u64 {
        self.unread.unwrap_or(if self.quick { 20_000 } else { 1_000_000 })
    }

    fn fill_time(&self) -> Duration {
        Duration::from_secs(self.fill_seconds.unwrap_or(if self.quick { 120 } else { 900 }))
    }
}

/// Measures and prints.
///
/// # Errors
/// When a database does not answer, something acknowledged is not stored, or a read finds other than what is there.
pub fn run(options: &Options) -> Result<(), Failure> {
    // As every server of `bench fanout`.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(options))?;
    Ok(report.print(options.json)?)
}

async fn measure(options: &Options) -> Result<Report, Failure> {
    let place = Place::of(options)?;
    let notes = fsync::notes(&place).await;
    let mut rows = Vec::new();
    if options.part != Some(Part::Reads) {
        rows.extend(writes::measure(options, &place).await?);
    }
    if options.part != Some(Part::Writes) {
        rows.extend(reads::measure(options, &place).await?);
    }
    let (rounds, seconds) = (options.rounds(), options.time().as_secs());
    let of_writes = match options.part {
        Some(Part::Reads) => String::new(),
        Some(Part::Writes) | None => format!(": writes are medians of {rounds} rounds of {seconds} s"),
    };
    Ok(Report {
        bench: "append",
        title: format!("append on {:?}{of_writes}", options.store),
        notes,
        rows,
    })
}
