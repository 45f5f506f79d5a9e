//! `bench bells`: what Redis, NATS and PostgreSQL carry of the bells between nodes, and what each bell costs them.
//!
//! One backplane rings and others hear, as nodes do, without engines: the broker is measured, not what a node makes of a
//! bell. A topic has one node or several that listen, because a broker sends each of them the bell again.

use crate::cpu;
use crate::figures::{self, quantile};
use crate::report::{Better, Report, Row, Sample};
use bytes::Bytes;
use chat_backplane_nats::NatsBackplane;
use chat_backplane_redis::RedisBackplane;
use chat_core::backplane::{Backplane, Rung, Topic};
use chat_store_sqlx::PostgresOptions;
use chat_testkit::nats::PrivateNats;
use chat_testkit::redis::PrivateRedis;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Of a bell that carries a message of a few words.
const EVENT_BYTES: usize = 400;

/// Of a bell that only says where a log ends.
const HEAD_BYTES: usize = 80;

/// How many nodes listen.
const LISTENERS: [usize; 2] = [1, 4];

/// Bells a second of the smaller load, one at a time.
const STEADY: u32 = 500;

/// Bells in one call of the larger load: what waits while others are on their way.
const BATCH: usize = 32;

/// Bells of the larger load that have yet to be heard, by each who listens.
const UNDER_WAY: usize = 128;

/// What is not heard so long after the last bell is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

const TOPIC: Topic = Topic::Conversations(7);

/// Failures that cross threads.
type Failure = Box<dyn Error + Send + Sync>;

/// How much and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A first figure in about a minute.
    #[arg(long)]
    quick: bool,
    /// The figures as one JSON object.
    #[arg(long)]
    json: bool,
    /// A PostgreSQL to ring in.
    #[arg(long, env = "CHAT_POSTGRES_URL")]
    postgres_url: String,
    /// The process whose CPU time, and whose children's, is that PostgreSQL's.
    #[arg(long, env = "CHAT_POSTGRES_PID")]
    postgres_pid: u32,
}

/// Measures and prints.
///
/// # Errors
/// When a broker does not start, or loses, doubles or reorders a bell, or the system has no `/proc`.
pub fn run(options: &Options) -> Result<(), Failure> {
    let (rounds, seconds) = if options.quick { (3, 2) } else { (5, 5) };
    let time = Duration::from_secs(seconds);
    let (redis, nats) = (PrivateRedis::start()?, PrivateNats::start()?);
    let brokers = [
        Broker::Redis(&redis),
        Broker::Nats(&nats),
        Broker::Postgres(&options.postgres_url, options.postgres_pid),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut rows = Vec::new();
    for listeners in LISTENERS {
        for broker in &brokers {
            figures::progress(&format!("{}, {listeners} listening", broker.name()));
            let mut measured = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                let round = runtime.block_on(broker.measure(listeners, time))?;
                measured[0].push(round[0]);
                measured[1].push(round[1]);
            }
            let nodes = if listeners == 1 { "node" } else { "nodes" };
            let load = format!("{}, {listeners} {nodes} listening", broker.name());
            let row = |name, unit, better, load_index: usize, read: fn(&Figures) -> f64| {
                let samples: Vec<_> = measured[load_index]
                    .iter()
                    .map(|figures| alone(read(figures)))
                    .collect();
                Row::of(name, load.clone(), unit, better, &samples)
            };
            rows.extend([
                row("broker CPU per bell, one at a time", "µs", Better::Lower, 0, |round| {
                    round.cpu
                }),
                row("from ringing to hearing, median", "ms", Better::Lower, 0, |round| {
                    round.median
                }),
                row("from ringing to hearing, 99 of 100", "ms", Better::Lower, 0, |round| {
                    round.p99
                }),
                row("broker CPU per bell, in batches", "µs", Better::Lower, 1, |round| {
                    round.cpu
                }),
                row("our CPU per bell, in batches", "µs", Better::Lower, 1, |round| {
                    round.own
                }),
                row("bells in batches", "1/s", Better::Higher, 1, |round| round.per_second),
            ]);
        }
    }
    let report = Report {
        bench: "bells",
        title: format!(
            "bells: one at a time {STEADY}/s, in batches of {BATCH} as many as are heard; {EVENT_BYTES} bytes, with PostgreSQL \
             {HEAD_BYTES}; medians of {rounds} rounds of {seconds} s"
        ),
        notes: Vec::new(),
        rows,
    };
    Ok(report.print(options.json)?)
}

fn alone(ours: f64) -> Sample {
    Sample {
        ours,
        baselines: Vec::new(),
    }
}

enum Broker<'a> {
    Redis(&'a PrivateRedis),
    Nats(&'a PrivateNats),
    Postgres(&'a str, u32),
}

/// What came of one load.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// The broker's CPU time for one bell, whoever hears it, in µs.
    cpu: f64,
    /// Ours, of whoever rings and of all who hear it.
    own: f64,
    per_second: f64,
    /// From ringing to hearing, in ms.
    median: f64,
    p99: f64,
}

impl Broker<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "Redis",
            Self::Nats(_) => "NATS",
            Self::Postgres(..) => "PostgreSQL",
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Backplane>, Failure> {
        Ok(match self {
            Self::Redis(redis) => Arc::new(RedisBackplane::connect(&redis.url()).await?),
            Self::Nats(nats) => Arc::new(NatsBackplane::connect(&nats.url()).await?),
            Self::Postgres(url, _) => Arc::new(PostgresOptions::new().connect_backplane(url).await?),
        })
    }

    fn cpu(&self) -> Result<Duration, Failure> {
        Ok(match self {
            Self::Redis(redis) => redis.cpu()?,
            Self::Nats(nats) => nats.cpu()?,
            Self::Postgres(_, pid) => cpu::of_cluster(*pid)?,
        })
    }

    /// One at a time, and in batches.
    async fn measure(&self, listeners: usize, time: Duration) -> Result<[Figures; 2], Failure> {
        let ringing = self.connect().await?;
        let mut hearing = Vec::new();
        for _ in 0..listeners {
            let node = self.connect().await?;
            node.listen(TOPIC).await?;
            hearing.push(node);
        }
        heard_by_all(&*ringing, &hearing).await?;
        let steady = self.load(&ringing, &hearing, time, Load::Steady).await?;
        let batches = self.load(&ringing, &hearing, time, Load::Batches).await?;
        Ok([steady, batches])
    }

    async fn load(
        &self,
        ringing: &Arc<dyn Backplane>,
        hearing: &[Arc<dyn Backplane>],
        time: Duration,
        load: Load,
    ) -> Result<Figures, Failure> {
        let bytes = if ringing.carries_events() {
            EVENT_BYTES
        } else {
            HEAD_BYTES
        };
        let before = (self.cpu()?, cpu::own()?);
        let began = Instant::now();
        // Who hears gives back what may be rung next.
        let places = Arc::new(tokio::sync::Semaphore::new(UNDER_WAY * hearing.len()));
        let (last, _) = tokio::sync::watch::channel(None);
        let mut listening = JoinSet::new();
        for node in hearing {
            listening.spawn(hear(node.clone(), began, places.clone(), last.subscribe()));
        }
        let mut rung = 0;
        let mut next = || {
            rung += 1;
            (TOPIC, bell(rung, began.elapsed(), bytes))
        };
        match load {
            Load::Steady => {
                for number in 0..time.as_millis() as u32 * STEADY / 1_000 {
                    sleep_until(began + Duration::from_secs(1) * number / STEADY).await;
                    ringing.publish(&[next()]).await?;
                }
            }
            Load::Batches => {
                while began.elapsed() < time {
                    let wanted = BATCH * hearing.len();
                    let Ok(place) = timeout(LOST_AFTER, places.acquire_many(wanted as u32)).await else {
                        let why = listening.try_join_next().transpose()?.map(|heard| heard.map(drop));
                        return Err(why.and_then(Result::err).unwrap_or_else(|| "bells are lost".into()));
                    };
                    place?.forget();
                    let batch: Vec<_> = (0..BATCH).map(|_| next()).collect();
                    ringing.publish(&batch).await?;
                }
            }
        }
        last.send_replace(Some(rung));
        let mut delays = Vec::new();
        while let Some(heard) = timeout(LOST_AFTER, listening.join_next())
            .await
            .map_err(|_| "bells are lost")?
        {
            delays.extend(heard??);
        }
        let took = began.elapsed();
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / rung as f64;
        let (cpu, own) = (each(self.cpu()?.saturating_sub(before.0)), each(cpu::own()? - before.1));
        delays.sort_unstable();
        Ok(Figures {
            cpu,
            own,
            per_second: rung as f64 / took.as_secs_f64(),
            median: quantile(&delays, 0.5) / 1e3,
            p99: quantile(&delays, 0.99) / 1e3,
        })
    }
}

#[derive(Clone, Copy)]
enum Load {
    Steady,
    Batches,
}

/// Its number and when it was rung, in µs; and as many bytes as bells have.
fn bell(number: u64, at: Duration, bytes: usize) -> Bytes {
    let mut bell = vec![0; bytes];
    bell[..8].copy_from_slice(&number.to_be_bytes());
    bell[8..16].copy_from_slice(&(at.as_micros() as u64).to_be_bytes());
    bell.into()
}

fn read(bell: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = bell.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*rest.first_chunk()?)))
}

/// Hears each once and in order, until the last of them is known and heard; the delays, in µs.
async fn hear(
    node: Arc<dyn Backplane>,
    began: Instant,
    places: Arc<tokio::sync::Semaphore>,
    mut last: tokio::sync::watch::Receiver<Option<u64>>,
) -> Result<Vec<u32>, Failure> {
    let mut delays = Vec::new();
    let mut heard = 0;
    while *last.borrow_and_update() != Some(heard) {
        let rung = tokio::select! {
            biased;
            rung = node.recv() => rung,
            _ = last.changed() => continue,
        };
        let Rung::Bell(bell) = rung else {
            return Err("the broker was lost".into());
        };
        let (number, at) = read(&bell).ok_or("not our bell")?;
        // Those by which it was seen that everybody listens have the number 0.
        if number == 0 {
            continue;
        }
        if number != heard + 1 {
            return Err(format!("bell {number} after {heard}").into());
        }
        heard = number;
        delays.push((began.elapsed().as_micros() as u64).saturating_sub(at) as u32);
        places.add_permits(1);
    }
    Ok(delays)
}

/// Rings until everybody has heard something: subscribing takes a moment.
async fn heard_by_all(ringing: &dyn Backplane, hearing: &[Arc<dyn Backplane>]) -> Result<(), Failure> {
    for node in hearing {
        let until = Instant::now() + LOST_AFTER;
        loop {
            ringing.publish(&[(TOPIC, bell(0, Duration::ZERO, HEAD_BYTES))]).await?;
            match timeout(Duration::from_millis(100), node.recv()).await {
                Ok(Rung::Bell(_)) => break,
                _ if Instant::now() > until => return Err("nobody hears anything".into()),
                _ => {}
            }
        }
    }
    Ok(())
}
