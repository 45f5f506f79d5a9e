//! A run from its beginning to its report: things go wrong in rounds, each is healed, and in the end all is judged.

use crate::checker::Checker;
use crate::crew::Word;
use crate::figures::Figures;
use crate::history::{self, Entry, now_ms};
use crate::nemesis::{Nemesis, Struck};
use crate::plan::{Round, rounds};
use crate::population::{Population, Seat, Size};
use crate::reading;
use crate::report::{Report, Resumed, Strike};
use crate::stage::{Problem, Setting, Stage};
use chat_testkit::Random;
use std::fs;
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Nothing goes wrong unless so many messages are under way.
pub const IN_FLIGHT_MIN: usize = 20;

/// Some more, because what is known of it is a moment old.
const IN_FLIGHT_WANTED: usize = 60;

/// So many messages each device writes at once before something goes wrong.
const BURST: u32 = 6;

/// How long clients have to be back after everything was healed.
pub const RESUMES_WITHIN: Duration = Duration::from_secs(10);

const SIZE: Size = Size {
    users: 30,
    two_devices_every: 2,
    groups: 8,
    members: 8,
    come_and_go: 2,
    directs: 40,
    founders_write: false,
};

/// What a run has taken down besides the histories.
#[derive(Debug, Default)]
pub struct Log {
    /// Everything that went wrong.
    pub strikes: Vec<Strike>,
    /// Who was back after each healing.
    pub resumed: Vec<Resumed>,
    /// When nobody could be served.
    pub outages: Vec<Range<u64>>,
    /// Which process of clients was killed, and when.
    pub deaths: Vec<(usize, u64)>,
    /// How many minutes of going wrong were asked for, when what is asked of them is to be held.
    pub minutes: Option<u64>,
    /// When clients wrote.
    pub load: Range<u64>,
}

/// Runs for so many minutes.
///
/// # Errors
/// When the proof itself fails; what is proved is in the report.
pub async fn run(setting: &Setting, minutes: u64, seed: u64) -> Result<Report, Problem> {
    let mut random = Random::new(seed);
    let population = Population::new(SIZE, &mut random);
    let rounds = rounds(minutes, setting.nodes, setting.processes, setting.broker, &mut random);
    let mut stage = Stage::build(setting, population).await?;
    stage.people(setting, &mut random).await?;
    eprintln!(
        "{} devices, {} nodes, {} rounds",
        stage.population.seats.len(),
        stage.nodes.len(),
        rounds.len()
    );
    stage.tell(Word::Act).await?;
    let mut log = Log {
        load: now_ms()..0,
        minutes: Some(minutes),
        ..Log::default()
    };
    let begin = Instant::now();
    let length = Duration::from_secs(minutes * 60);
    let each = length / u32::try_from(rounds.len() + 1)?;
    for (number, round) in (1..).zip(&rounds) {
        // As far apart as the time allows, and never without a moment of quiet.
        sleep(Duration::from_millis(500)).await;
        sleep_until(begin + each * number).await;
        play(&mut stage, round, &mut log).await?;
    }
    sleep_until(begin + length).await;
    log.load.end = now_ms();
    stage.rest().await?;
    judge(stage, setting, seed, log).await
}

/// One round: everything begins and ends at its time; then it is looked who comes back.
async fn play(stage: &mut Stage, round: &Round, log: &mut Log) -> Result<(), Problem> {
    let names: Vec<String> = round
        .nemeses
        .iter()
        .map(|(nemesis, ..)| format!("{nemesis:?}"))
        .collect();
    eprintln!("{:>7.1} s  {}", seconds_since(log.load.start), names.join(", "));
    let mut coming = round.nemeses.clone();
    coming.sort_by_key(|(_, after, _)| std::cmp::Reverse(*after));
    let mut struck: Vec<(Instant, Struck)> = Vec::new();
    let begin = Instant::now();
    let mut healed = begin;
    let nodes = stage.nodes.len();
    // When nobody could be served any more, and when somebody could be again.
    let (mut since, mut outages): (Option<u64>, _) = (None, Vec::new());
    loop {
        let next_heal = struck.iter().map(|(until, _)| *until).min();
        let next_strike = coming.last().map(|(_, after, _)| begin + *after);
        match (next_strike, next_heal) {
            (Some(at), heal) if heal.is_none_or(|heal| at <= heal) => {
                sleep_until(at).await;
                let Some((nemesis, _, lasts)) = coming.pop() else { break };
                let struck_now = strike(stage, nemesis, BURST, log).await?;
                struck.push((Instant::now() + lasts, struck_now));
                if Nemesis::are_outage(struck.iter().map(|(_, struck)| struck.nemesis()), nodes) {
                    since = since.or(log.strikes.last().map(|strike| strike.at));
                }
            }
            (_, Some(at)) => {
                sleep_until(at).await;
                let index = struck.iter().position(|(until, _)| *until <= at);
                let (_, cured) = struck.swap_remove(index.ok_or("something waits for its cure")?);
                cured.heal(stage).await?;
                healed = Instant::now();
                if !Nemesis::are_outage(struck.iter().map(|(_, struck)| struck.nemesis()), nodes) {
                    outages.extend(since.take().map(|since| (since, now_ms())));
                }
            }
            _ => break,
        }
    }
    for node in &mut stage.nodes {
        node.serves().await?;
    }
    resume(stage, log, healed).await;
    // Whoever comes back late has no excuse in that.
    let within_ms = RESUMES_WITHIN.as_secs() * 1_000;
    let outages = outages
        .into_iter()
        .map(|(since, healed)| since..now_ms().min(healed + within_ms));
    log.outages.extend(outages);
    Ok(())
}

/// Strikes while enough is under way.
pub async fn strike(stage: &mut Stage, nemesis: Nemesis, burst: u32, log: &mut Log) -> Result<Struck, Problem> {
    stage.tell(Word::Burst(burst)).await?;
    stage
        .comes_to_pass(Duration::from_secs(2), |now| now.waiting >= IN_FLIGHT_WANTED)
        .await;
    let at = now_ms();
    log.strikes.push(Strike {
        nemesis,
        at,
        in_flight: 0,
    });
    if let Nemesis::KillClients { hands, .. } = nemesis {
        log.deaths.push((hands, at));
    }
    nemesis.strike(stage).await
}

/// Everything is healed since then: looks who is back and answered in time, and waits for the others.
pub async fn resume(stage: &Stage, log: &mut Log, since: Instant) {
    let devices = stage.population.seats.len();
    let within = RESUMES_WITHIN.saturating_sub(since.elapsed());
    let all = stage.comes_to_pass(within, |now| now.served == devices).await;
    let resumed = Resumed {
        of: devices,
        back: stage.standing().served,
        within_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    if !all {
        eprintln!(
            "           {} of {devices} are back after {} ms",
            resumed.back, resumed.within_ms
        );
        stage
            .comes_to_pass(Duration::from_secs(60), |now| now.served == devices)
            .await;
    }
    log.resumed.push(resumed);
}

/// The last look, and what follows from it and from all histories.
///
/// # Errors
/// When something cannot be read.
pub async fn judge(stage: Stage, setting: &Setting, seed: u64, mut log: Log) -> Result<Report, Problem> {
    let truth = reading::read(&stage).await?;
    let hands = stage.hands.iter().enumerate();
    let seats = hands.flat_map(|(hands, it)| it.seats().iter().map(move |seat| (hands, seat.clone())));
    let seats: Vec<(usize, Seat)> = seats.collect();
    // Nobody writes any more.
    drop(stage);
    let mut checker = Checker::new(&truth);
    let mut figures = Figures::default();
    for (hands, seat) in &seats {
        let deaths = log.deaths.iter().filter(|(of, _)| of == hands);
        let deaths: Vec<u64> = deaths.map(|(_, at)| *at).collect();
        let path = history::path(&setting.folder, &seat.user, seat.device);
        let entries: Vec<Entry> = history::read(&path)?;
        figures.client(&entries, &deaths);
        checker.client(&format!("{}.{}", seat.user, seat.device), &seat.user, entries);
    }
    let verdict = checker.finish();
    figures.sort();
    for strike in &mut log.strikes {
        strike.in_flight = figures.in_flight(strike.at);
    }
    let report = Report::new(setting, seed, &figures, log, &truth, verdict);
    if report.is_good() {
        fs::remove_dir_all(&setting.folder)?;
    }
    Ok(report)
}

fn seconds_since(start_ms: u64) -> f64 {
    now_ms().saturating_sub(start_ms) as f64 / 1_000.0
}
