//! The table of bad input: every rule of `docs/limits.toml` has rows, each is run over everything that can carry it, and
//! after each the same server serves the next client and holds nothing of the last.

use crate::data::{at, data};
use crate::line::{Heard, Line};
use crate::peer::Peer;
use crate::row::{After, Carrier, Coded, Input, Row};
use crate::stage::{House, Stage, comes_to, load};
use crate::{commands, envelopes, frames, greetings, handshakes, sequences, texts};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The least number of rows, so that none is lost unseen.
const ROWS_MIN: usize = 130;

/// What the process may have grown by for each time that a row ran, in bytes. What rows store, scenes above all, is about
/// half of it; one buffer that each of three connections left behind would be more.
const GROWTH_MAX: usize = 16 << 10;

fn rows() -> Vec<Row> {
    let mut rows = handshakes::rows();
    rows.extend(frames::rows());
    rows.extend(greetings::rows());
    rows.extend(envelopes::rows());
    rows.extend(commands::rows());
    rows.extend(texts::rows());
    rows.extend(sequences::rows());
    rows
}

#[test]
fn every_rule_has_its_rows_and_every_row_its_rule() {
    let data = data();
    let mut of_rules = BTreeSet::new();
    for rule in data.rules.values().flatten() {
        for answer in &rule.answer {
            assert!(
                of_rules.insert((rule.id.clone(), answer.clone())),
                "{} comes twice",
                rule.id
            );
        }
    }
    let rows = rows();
    let of_rows: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.rule.to_owned(), row.answer.to_owned()))
        .collect();
    let without_row: Vec<_> = of_rules.difference(&of_rows).collect();
    let without_rule: Vec<_> = of_rows.difference(&of_rules).collect();
    assert!(
        without_row.is_empty(),
        "{} has no row for {without_row:?}",
        at("docs/limits.toml")
    );
    assert!(
        without_rule.is_empty(),
        "{} has no rule for {without_rule:?}",
        at("docs/limits.toml")
    );
    let mut names = BTreeSet::new();
    for row in &rows {
        assert!(
            names.insert((row.rule, row.name.clone())),
            "{}, {} comes twice",
            row.rule,
            row.name
        );
    }
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
}

#[tokio::test]
async fn bad_input_gets_its_exact_answer_and_the_next_client_is_served() {
    let begun = Instant::now();
    let house = House::open(None).await;
    let rows: Vec<Arc<Row>> = rows().into_iter().map(Arc::new).collect();
    let mut ran = BTreeMap::<Carrier, usize>::new();
    let mut failed = Vec::new();
    let mut slowest = Duration::ZERO;
    let mut before = None;
    let mut stages = BTreeMap::<(&str, Carrier), Stage>::new();
    // Those that need a server of their own wait for its clocks, so they wait together.
    let mut apart = JoinSet::new();
    for row in &rows {
        for carrier in row.carriers.iter().copied() {
            *ran.entry(carrier).or_default() += 1;
            if row.bounds.is_some() {
                apart.spawn(play_apart(Arc::clone(row), carrier));
                continue;
            }
            // A row of one frame leaves its scene as it was; a story may not.
            let stage = match (&row.input, stages.get(&(row.rule, carrier))) {
                (Input::Story(_), _) | (_, None) => Stage::set(&house, carrier).await,
                (_, Some(stage)) => stage.clone(),
            };
            if !matches!(row.input, Input::Story(_)) {
                stages.insert((row.rule, carrier), stage.clone());
            }
            match tokio::spawn(play(Arc::clone(row), stage)).await {
                Ok(Ok(took)) => slowest = slowest.max(took),
                Ok(Err(why)) => failed.push(why),
                Err(panic) => failed.push(format!("{}, {}, {carrier:?}: {panic}", row.rule, row.name)),
            }
            // Once everything has been used once.
            if before.is_none() && ran.len() == 5 {
                before = resident();
            }
        }
    }
    while let Some(played) = apart.join_next().await {
        match played {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => failed.push(why),
            Err(panic) => failed.push(format!("a row with a server of its own: {panic}")),
        }
    }
    let times: usize = ran.values().sum();
    let growth = resident()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before) / times);
    println!(
        "{} rows ran {times} times in {:?}: {ran:?}; the next client was served within {slowest:?}; \
         memory grew by {} bytes each time",
        rows.len(),
        begun.elapsed(),
        growth.unwrap_or(0),
    );
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(rows.len() >= ROWS_MIN);
    assert!(
        growth.is_none_or(|growth| growth < GROWTH_MAX),
        "memory grew by {growth:?} bytes each time"
    );
}

/// Plays a row on a server of its own.
async fn play_apart(row: Arc<Row>, carrier: Carrier) -> Result<Duration, String> {
    let house = House::open(row.bounds).await;
    let played = play(row, Stage::set(&house, carrier).await).await;
    house.engine.kill();
    played
}

/// Plays a row; how long it took to serve the next client, or what is wrong.
async fn play(row: Arc<Row>, stage: Stage) -> Result<Duration, String> {
    let (house, carrier) = (stage.house.clone(), stage.carrier);
    let wrong = |what: String| Err(format!("{}, {}, {carrier:?}: {what}", row.rule, row.name));
    let before = load(&house.engine);
    let heard = hear(stage, &row).await;
    let is_right = heard.answer == row.answer && heard.words.to_lowercase().contains(&row.names.to_lowercase());
    if !is_right {
        return wrong(format!(
            "expected {} naming {:?}, heard {heard:?}",
            row.answer, row.names
        ));
    }
    if heard.req.is_some() != row.req.is_some() && is_numbered(&heard) {
        return wrong(format!("expected the number {:?}, heard {heard:?}", row.req));
    }
    let since = Instant::now();
    let carrier = match carrier {
        Carrier::Http => Carrier::Socket(Coded::Json),
        other => other,
    };
    let mut healthy = house.line(carrier).await;
    healthy.greet("healthy").await;
    let served = healthy.ask("inbox:list", json!({})).await;
    let took = since.elapsed();
    if served.answer != "reply inbox" {
        return wrong(format!("the next client heard {served:?}"));
    }
    drop(healthy);
    if !comes_to(&house.engine, before).await {
        return wrong(format!("{before:?} became {:?}", load(&house.engine)));
    }
    Ok(took)
}

/// Whether an answer is to a command.
fn is_numbered(heard: &Heard) -> bool {
    !["close ", "reset ", "HTTP ", "cut", "welcome", "pong"]
        .iter()
        .any(|word| heard.answer.starts_with(word))
}

async fn hear(stage: Stage, row: &Row) -> Heard {
    match &row.input {
        Input::Request(request) => return answer(&stage.house, request).await,
        Input::Story(story) => return story(stage).await,
        Input::Stream(_, after) | Input::Value(_, after) | Input::Payload(_, after) => {
            let mut line = match after {
                After::Handshake => stage.nobody().await,
                After::Synced => stage.line(row.by).await,
            };
            say(&stage, &mut line, &row.input).await;
            line.answer().await
        }
    }
}

async fn say(stage: &Stage, line: &mut Line, input: &Input) {
    match input {
        Input::Stream(bytes, _) => line.say_bytes(&bytes(line.first_byte())).await,
        Input::Value(value, _) => line.say(&stage.said(value)).await,
        Input::Payload(payload, _) => line.say_payload(payload).await,
        Input::Request(_) | Input::Story(_) => {}
    }
}

/// The answer to a request: its status, and all of it in words.
async fn answer(house: &House, request: &[u8]) -> Heard {
    let mut peer = Peer::connect(house.address).await;
    peer.send(request).await;
    let answer = String::from_utf8_lossy(&peer.rest().await).into_owned();
    match answer.split(' ').nth(1) {
        None => Heard::new("cut", ""),
        Some(status) => {
            let (_, sentence) = answer.split_once("\r\n\r\n").unwrap();
            let is_well = sentence.len() > 20 && sentence.ends_with('\n') || request.starts_with(b"HEAD");
            assert!(is_well, "an answer has a sentence: {answer}");
            Heard::new(format!("HTTP {status}"), &answer)
        }
    }
}

/// What of this process is in memory, where the system says so.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .ok()
        .map(|kib| kib * 1024)
}
