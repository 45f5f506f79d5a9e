//! `bench fanout`: every server in turn, round after round, under the same load; the medians side by side.
//!
//! The machine is never quiet, so figures of one moment are compared with figures of the same moment: a round loads
//! each server once, a ratio is taken within its round, and the median of the rounds is shown.

mod client;
pub(crate) mod process;
mod report;
pub(crate) mod round;

use crate::figures;
use crate::load::Shape;
use process::Server;
use report::Report;
use round::{Drive, Figures};
use std::error::Error;
use std::time::Duration;

/// How many servers there are.
const KINDS: usize = 4;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The engine on the memory store.
    Ours,
    /// The same, mounted in axum.
    Mounted,
    /// The bare server that writes from the sender's task.
    Direct,
    /// The bare server with a channel and a task per connection.
    Queued,
}

impl Kind {
    const ALL: [Self; KINDS] = [Self::Ours, Self::Mounted, Self::Direct, Self::Queued];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Mounted => "mounted",
            Self::Direct => "direct",
            Self::Queued => "queued",
        }
    }
}

/// How much and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A first figure in about two minutes.
    #[arg(long)]
    quick: bool,
    /// The figures as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shape: Shape,
    /// Messages a second in all conversations together, where the load is paced.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Messages under way in each conversation, where the load is full.
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// Rounds; 5 when quick, else 9.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement; 3 when quick, else 10.
    #[arg(long)]
    seconds: Option<u64>,
}

/// One load on every server, round by round.
struct Load {
    name: String,
    drive: Drive,
    /// For each round the figures of each kind, in the order of [`Kind::ALL`].
    rounds: Vec<[Figures; KINDS]>,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start, loses, doubles or reorders something, or the system has no `/proc`.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (rounds, seconds) = if options.quick { (5, 3) } else { (9, 10) };
    let rounds = options.rounds.unwrap_or(rounds);
    let time = Duration::from_secs(options.seconds.unwrap_or(seconds));
    let (rate, window) = (options.rate, options.window);
    let mut loads = [
        (format!("paced, {rate} messages/s"), Drive::Paced { rate }),
        (
            format!("full, {window} messages under way in each conversation"),
            Drive::Full { window },
        ),
    ]
    .map(|(name, drive)| Load {
        name,
        drive,
        rounds: Vec::new(),
    });
    for number in 0..rounds {
        figures::progress(&format!("round {} of {rounds}", number + 1));
        let mut of_round = Vec::new();
        for turn in 0..Kind::ALL.len() {
            // Another one begins each round, so that none always has the moment after the pause.
            let kind = Kind::ALL[(turn + number) % Kind::ALL.len()];
            let drives = loads.each_ref().map(|load| load.drive);
            let server = Server::start(kind, options.shape, &[])?;
            of_round.push((kind, round::measure(kind, options.shape, &[server], &drives, time)?));
        }
        for (index, load) in loads.iter_mut().enumerate() {
            load.rounds.push(Kind::ALL.map(|kind| {
                let (_, figures) = of_round
                    .iter()
                    .find(|(of, _)| *of == kind)
                    .expect("every kind had its turn");
                figures[index]
            }));
        }
    }
    let report = Report::of(options.shape, time, &loads);
    figures::print(&if options.json {
        report.json().to_string()
    } else {
        report.table()
    })?;
    Ok(())
}
