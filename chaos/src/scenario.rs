//! One story with many clients, judged by the same checker as everything else.

use crate::crew::Word;
use crate::history::now_ms;
use crate::nemesis::Nemesis;
use crate::population::{Population, Size};
use crate::report::Report;
use crate::run::{Log, judge, resume, strike};
use crate::stage::{Problem, Setting, Stage};
use chat_testkit::Random;
use clap::ValueEnum;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Which story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Three nodes are restarted one after the other while 2,000 clients write.
    Rolling,
    /// 2,000 clients with something to catch up on come back over two nodes, all at once.
    Storm,
}

/// The longest that all but one client of a hundred may wait for an ack while nodes are restarted.
const ACK_GAP_MAX_MS: u64 = 6_000;

/// How long clients write before and after.
const WRITES_FOR: Duration = Duration::from_secs(10);

/// How long clients are away.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// Messages that each who writes brings out while the others are away.
const MISSED: u32 = 10;

impl Scenario {
    /// Its name, as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Storm => "storm",
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// When the proof itself fails; what is proved is in the report.
    pub async fn play(self, setting: &Setting, seed: u64) -> Result<Report, Problem> {
        match self {
            Self::Rolling => rolling(setting, seed).await,
            Self::Storm => storm(setting, seed).await,
        }
    }
}

async fn rolling(setting: &Setting, seed: u64) -> Result<Report, Problem> {
    // Light clients: four to a group, and each writes every few seconds.
    let setting = Setting {
        pace_ms: 10_000,
        stays_ms: None,
        files: false,
        ..setting.clone()
    };
    let size = Size {
        users: 2_000,
        two_devices_every: 0,
        groups: 500,
        members: 4,
        come_and_go: 0,
        directs: 0,
        founders_write: false,
    };
    let mut random = Random::new(seed);
    let mut stage = Stage::build(&setting, Population::new(size, &mut random)).await?;
    stage.people(&setting, &mut random).await?;
    eprintln!("2000 clients are there and write");
    let mut log = Log {
        load: now_ms()..0,
        ..Log::default()
    };
    stage.tell(Word::Act).await?;
    sleep(WRITES_FOR).await;
    let since = Instant::now();
    strike(&mut stage, Nemesis::Rolling, 1, &mut log)
        .await?
        .heal(&mut stage)
        .await?;
    let took = since.elapsed();
    resume(&stage, &mut log, Instant::now()).await;
    sleep(WRITES_FOR).await;
    log.load.end = now_ms();
    // How much is acknowledged is not what this is about.
    log.outages.push(log.load.clone());
    stage.rest().await?;
    let mut report = judge(stage, &setting, seed, log).await?;
    report.measured("rolling restart of all nodes", millis(took), None);
    let gap = report.longest_waits().p99_ms;
    report.measured("ack gap, 99 % of clients", gap, Some(ACK_GAP_MAX_MS));
    Ok(report)
}

async fn storm(setting: &Setting, seed: u64) -> Result<Report, Problem> {
    let setting = Setting {
        nodes: 2,
        pace_ms: 1_000,
        stays_ms: None,
        files: false,
        writers_apart: true,
        ..setting.clone()
    };
    // In each group one writes, and twenty read: they alone go through links.
    let size = Size {
        users: 2_100,
        two_devices_every: 0,
        groups: 100,
        members: 21,
        come_and_go: 0,
        directs: 0,
        founders_write: true,
    };
    let mut random = Random::new(seed);
    let mut stage = Stage::build(&setting, Population::new(size, &mut random)).await?;
    stage.people(&setting, &mut random).await?;
    let mut log = Log {
        load: now_ms()..0,
        ..Log::default()
    };
    stage.tell(Word::Act).await?;
    sleep(WRITES_FOR).await;
    stage.tell(Word::Rest).await?;
    for node in &stage.nodes {
        node.clients
            .faults(|faults| (faults.up.stalled, faults.down.stalled) = (true, true));
    }
    // Those who write have no link: what they write now is what the others miss.
    stage.tell(Word::Burst(MISSED)).await?;
    sleep(AWAY_FOR).await;
    let since = Instant::now();
    for node in &stage.nodes {
        node.clients.heal();
        node.clients.reset();
    }
    let devices = stage.population.seats.len();
    stage
        .until(Duration::from_secs(10), "most are gone", |now| now.synced < devices / 2)
        .await?;
    let within = Duration::from_secs(120);
    stage
        .until(within, "everybody is back", |now| now.synced == devices)
        .await?;
    let took = since.elapsed();
    log.load.end = now_ms();
    log.outages.push(log.load.clone());
    stage.rest().await?;
    let mut report = judge(stage, &setting, seed, log).await?;
    report.measured("all 2100 clients back and caught up", millis(took), None);
    Ok(report)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
