//! The clients' process: production clients, applications that write down what they are shown, and a life for each.
//!
//! It is told what to do by lines on its standard input, says how it stands on its standard output, and ends with
//! either. The process at the other end is in [`hands`](crate::hands).

mod device;
mod tap;

use crate::population::Seat;
use chat_testkit::Random;
use device::Device;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often it says how it stands.
const SAYS_EVERY: Duration = Duration::from_millis(50);

/// What a process is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// Where histories and outboxes are.
    pub folder: PathBuf,
    /// The ways to the nodes; each connection takes one by chance.
    pub links: Vec<SocketAddr>,
    /// Its devices.
    pub seats: Vec<Seat>,
    /// What chance follows.
    pub seed: u64,
    /// The mean wait of a device between two acts.
    pub pace_ms: u64,
    /// For how long at the most a connection lasts.
    pub stays_ms: Option<u64>,
    /// Whether outboxes are in files, and survive a kill.
    pub files: bool,
    /// Whether there are outboxes to go on with.
    pub keeps_outbox: bool,
    /// Whether conversations are to be founded.
    pub founds: bool,
    /// Whether devices act at once; otherwise when they are told to.
    pub acts: bool,
}

/// What it is told later, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Act, each at its pace.
    Act,
    /// Everybody who acts: write so many messages at once.
    Burst(u32),
    /// Act no more.
    Rest,
}

/// How it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Devices that are connected and have all that they missed.
    pub synced: usize,
    /// Of these, devices of which no command waits for its answer any longer than somebody would call normal.
    pub served: usize,
    /// Durable commands without an answer.
    pub waiting: usize,
    /// Conversations that all devices have together.
    pub places: usize,
    /// What all applications were shown.
    pub shown: u64,
    /// Devices that have stopped for good, which none should.
    pub stopped: usize,
}

/// Runs the process until its input ends.
///
/// # Errors
/// When it is not told what to do, or cannot open what it needs.
pub async fn serve() -> io::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    let orders: Orders = serde_json::from_str(&first)?;
    let mut random = Random::new(orders.seed);
    let acts = watch::Sender::new(orders.acts);
    let mut devices = Vec::new();
    for seat in &orders.seats {
        let device = Arc::new(Device::start(seat.clone(), &orders, &mut random)?);
        if orders.founds {
            device.found();
        }
        tokio::spawn(device.clone().live(random.fork(), orders.pace_ms, acts.subscribe()));
        devices.push(device);
    }
    let mut says = interval(SAYS_EVERY);
    says.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            line = lines.next_line() => match line?.map(|line| serde_json::from_str(&line)) {
                Some(Ok(Word::Act)) => drop(acts.send_replace(true)),
                Some(Ok(Word::Rest)) => drop(acts.send_replace(false)),
                Some(Ok(Word::Burst(count))) => devices.iter().for_each(|device| device.burst(count, &mut random)),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = says.tick() => say(&devices)?,
        }
    }
}

fn say(devices: &[Arc<Device>]) -> io::Result<()> {
    let mut standing = Standing::default();
    for device in devices {
        device.note_kept();
        device.add_to(&mut standing);
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &standing)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A wait of this mean, evenly between none and twice as much.
async fn wait_about(mean_ms: u64, random: &mut Random) {
    sleep(random.between(&(Duration::ZERO..=Duration::from_millis(mean_ms * 2)))).await;
}
