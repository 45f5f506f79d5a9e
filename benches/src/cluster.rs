//! `bench cluster`: two nodes form one chat over Redis, ours and the bare servers, under the load of `bench fanout`.
//!
//! Every second member of a conversation is at the second node. Ours stores each message in a PostgreSQL that both nodes
//! share; the bare servers store nothing.

use crate::fanout::Kind;
use crate::fanout::process::Server;
use crate::fanout::round::{self, Drive, Figures};
use crate::figures;
use crate::load::Shape;
use crate::ours::SCHEMA;
use crate::report::{Bar, Better, Report, Row, Sample};
use chat_testkit::redis::PrivateRedis;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::error::Error;
use std::time::Duration;

/// Ours first, then those that it is compared with.
const KINDS: [Kind; 3] = [Kind::Ours, Kind::Direct, Kind::Queued];

/// What a node may cost beside the first of the others.
const BAR: f64 = 1.3;

/// What the smaller load delivers a second.
const STEADY: usize = 10_000;

/// What the larger load is of the best that the queued server does.
const SHARE: f64 = 0.7;

/// Messages under way in each conversation while the best of the queued server is looked for.
const WINDOW: usize = 4;

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
    /// A PostgreSQL in which a schema may be made.
    #[arg(long, env = "CHAT_POSTGRES_URL")]
    postgres_url: String,
    /// Rounds; 3 when quick, else 7.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement; 3 when quick, else 10.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start, loses, doubles or reorders something, or the system has no `/proc`.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (rounds, seconds) = if options.quick { (3, 3) } else { (7, 10) };
    let rounds = options.rounds.unwrap_or(rounds);
    let time = Duration::from_secs(options.seconds.unwrap_or(seconds));
    let redis = PrivateRedis::start()?;
    let place = Place {
        postgres: &options.postgres_url,
        redis: redis.url(),
        shape: options.shape,
    };
    figures::progress("the best of the queued server");
    let [best] = place.measure(Kind::Queued, &[Drive::Full { window: WINDOW }], time)?;
    let members = options.shape.members;
    let rates = [STEADY, (best.per_second * SHARE) as usize].map(|deliveries| (deliveries / members).max(1) as u32);
    let drives = rates.map(|rate| Drive::Paced { rate });
    // For each round the figures of each kind and load.
    let mut measured = Vec::new();
    for number in 0..rounds {
        figures::progress(&format!("round {} of {rounds}", number + 1));
        let mut round = KINDS.map(|_| None);
        for turn in 0..KINDS.len() {
            // Another one begins each round, so that none always has the moment after the pause.
            let index = (turn + number) % KINDS.len();
            round[index] = Some(place.measure(KINDS[index], &drives, time)?);
        }
        measured.push(round.map(|figures| figures.expect("every kind had its turn")));
    }
    let rows = rates.iter().enumerate().flat_map(|(load, rate)| {
        let name = format!("{} deliveries/s, {rate} messages/s", *rate as usize * members);
        let row = |label, unit, better, read: fn(&Figures) -> f64| {
            let samples: Vec<_> = measured.iter().map(|round| sample(round, load, read)).collect();
            Row::of(label, name.clone(), unit, better, &samples)
        };
        [
            row("server CPU per delivery", "µs", Better::Lower, |figures| figures.cpu).bar(Bar::Share(BAR)),
            row("deliveries", "1/s", Better::Higher, |figures| figures.per_second),
            row("latency, median", "ms", Better::Lower, |figures| figures.median),
            row("latency, 99 of 100", "ms", Better::Lower, |figures| figures.p99),
        ]
    });
    let report = Report {
        bench: "cluster",
        title: format!(
            "cluster: two nodes, {} conversations of {members} members, one connection each; medians of {rounds} rounds of \
             {} s",
            options.shape.conversations,
            time.as_secs()
        ),
        notes: vec![("best of queued", format!("{:.0} deliveries/s", best.per_second))],
        rows: rows.collect(),
    };
    Ok(report.print(options.json)?)
}

fn sample<const N: usize>(round: &[[Figures; N]; KINDS.len()], load: usize, read: fn(&Figures) -> f64) -> Sample {
    let others = KINDS.iter().zip(round).skip(1);
    Sample {
        ours: read(&round[0][load]),
        baselines: others
            .map(|(kind, figures)| (kind.name(), read(&figures[load])))
            .collect(),
    }
}

/// Where the nodes meet.
struct Place<'a> {
    postgres: &'a str,
    redis: String,
    shape: Shape,
}

impl Place<'_> {
    fn measure<const N: usize>(
        &self,
        kind: Kind,
        drives: &[Drive; N],
        time: Duration,
    ) -> Result<[Figures; N], Box<dyn Error>> {
        let mut more = vec!["--redis", &self.redis];
        if kind == Kind::Ours {
            self.forget()?;
            more.extend(["--postgres", self.postgres]);
        }
        let first = Server::start(kind, self.shape, &[&more[..], &["--first"]].concat())?;
        let second = Server::start(kind, self.shape, &more)?;
        let figures = round::measure(kind, self.shape, &[first, second], drives, time)?;
        if kind == Kind::Ours {
            self.forget()?;
        }
        Ok(figures)
    }

    /// Every round of ours begins with an empty log.
    fn forget(&self) -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let mut connection = PgConnection::connect(self.postgres).await?;
            let drop = format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
            connection.close().await
        })?)
    }
}
