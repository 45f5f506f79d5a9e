//! What reading costs: pages, resume and reconcile, on a store with many conversations and some very long ones.

mod fill;

use super::ours::Ours;
use super::place::Place;
use super::plain::Plain;
use super::{Failure, Options, StoreKind};
use crate::cpu;
use crate::figures::{self, quantile};
use crate::load;
use crate::report::{Bar, Better, Row, Sample};
use chat_core::frame::Outcome;
use chat_core::id::Seq;
use chat_core::{HistoryList, InboxList};
use fill::{Filled, reader};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const PAGE: u32 = 50;
/// Reads of each kind.
const READS: usize = 400;
/// Reads before they count.
const WARM_UP: usize = 20;
/// Reconciles of each kind; one alone costs less than the system's clock of CPU time can tell.
const RECONCILES: u32 = 1_000;
/// Conversations that change before a reconcile that finds something; all of them are told in one answer.
const CHANGED: [usize; 2] = [100, 900];

/// Fills a store and reads it.
///
/// # Errors
/// When a read finds other than what was written.
pub(super) async fn measure(options: &Options, place: &Place) -> Result<Vec<Row>, Failure> {
    let ours = Ours::open(place, "reads").await?;
    let filled = fill::fill(&ours, options).await?;
    let plain = Plain::create(place, "plain_reads").await?;
    if let Some(plain) = &plain {
        plain.fill_history(filled.history).await?;
    }
    place.settle(&["reads", "plain_reads"]).await?;
    figures::progress("reads: pages");
    let mut rows = history(&ours, plain.as_ref(), &filled).await?;
    rows.extend(inbox(&ours, &filled).await?);
    rows.extend(resume(&ours).await?);
    figures::progress("reads: reconcile");
    rows.extend(reconcile(options.store, &ours, place, &filled).await?);
    drop((ours, plain));
    place.remove("reads").await?;
    place.remove("plain_reads").await?;
    Ok(rows)
}

/// Pages at random places, ours and the plain one in turn.
async fn history(ours: &Ours, plain: Option<&Plain>, filled: &Filled) -> Result<Vec<Row>, Failure> {
    let user = ours.engine.user(reader());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut of_ours, mut of_plain) = (Latencies::default(), Latencies::default());
    for _ in 0..WARM_UP + READS {
        let before = u64::from(PAGE) + 1 + random.below(filled.history - u64::from(PAGE));
        let began = Instant::now();
        let outcome = user.execute(HistoryList {
            conversation: load::conversation(fill::HISTORY),
            // The first event made the conversation.
            before: Some(Seq(before + 1)),
            after: None,
            around: None,
            limit: Some(u64::from(PAGE)),
        });
        let outcome = outcome.await?;
        of_ours.0.push(began.elapsed());
        let Outcome::History(page) = outcome else {
            return Err("history:list answers with something else".into());
        };
        let seqs = (
            page.messages.first().map(|m| m.seq),
            page.messages.last().map(|m| m.seq),
        );
        if page.messages.len() != PAGE as usize || seqs.1 != Some(Seq(before)) {
            return Err(format!("the page before {before} is of {seqs:?}").into());
        }
        if let Some(plain) = plain {
            let began = Instant::now();
            plain.history(before, PAGE).await?;
            of_plain.0.push(began.elapsed());
        }
    }
    let load = format!(
        "history page of {PAGE} among {} messages, {READS} at random places",
        filled.history
    );
    Ok(vec![
        of_ours.row("time to read, median", &load, 0.5, Some(&of_plain)),
        of_ours
            .row("time to read, 99 of 100", &load, 0.99, Some(&of_plain))
            .bar(Bar::Most(30.0)),
    ])
}

/// The first page, which holds the conversations with the most unread messages.
async fn inbox(ours: &Ours, filled: &Filled) -> Result<Vec<Row>, Failure> {
    let user = ours.engine.user(reader());
    let mut latencies = Latencies::default();
    for _ in 0..WARM_UP + READS {
        let began = Instant::now();
        let outcome = user.execute(InboxList {
            page: None,
            limit: Some(u64::from(PAGE)),
        });
        let outcome = outcome.await?;
        latencies.0.push(began.elapsed());
        let Outcome::Inbox(page) = outcome else {
            return Err("inbox:list answers with something else".into());
        };
        let unread: Vec<u64> = page.entries.iter().map(|entry| entry.unread).collect();
        let many = unread.iter().filter(|unread| **unread == 1000).count();
        if unread.len() != PAGE as usize || many != fill::LARGE {
            return Err(format!("the inbox page has these unread: {unread:?}").into());
        }
    }
    let load = format!(
        "inbox page of {PAGE} of {} conversations, {} with {} unread or more, {READS} times",
        fill::OF_READER,
        fill::LARGE,
        filled.unread
    );
    Ok(vec![
        latencies.row("time to read, median", &load, 0.5, None),
        latencies
            .row("time to read, 99 of 100", &load, 0.99, None)
            .bar(Bar::Most(50.0)),
    ])
}

/// What a session asks the store for when it comes back and nothing is new.
async fn resume(ours: &Ours) -> Result<Vec<Row>, Failure> {
    let reader = reader();
    let mut latencies = Latencies::default();
    for _ in 0..WARM_UP + READS {
        let began = Instant::now();
        let read = ours.store.memberships(&reader, None).await?;
        latencies.0.push(began.elapsed());
        if read.value.memberships.len() != fill::OF_READER {
            return Err("the reader has other memberships".into());
        }
    }
    let load = format!(
        "resume of {} conversations with nothing new, {READS} times",
        fill::OF_READER
    );
    Ok(vec![
        latencies.row("time to read, median", &load, 0.5, None),
        latencies.row("time to read, 99 of 100", &load, 0.99, None),
    ])
}

/// What a node asks every few seconds, when nothing changed and when something did.
async fn reconcile(store: StoreKind, ours: &Ours, place: &Place, filled: &Filled) -> Result<Vec<Row>, Failure> {
    // What is in flight is told once more; then there is nothing.
    let mut horizon = ours.engine.changes(None).await?.value.horizon;
    let (mut quiet, mut changes) = (None, 0);
    for counts in [false, true] {
        let before = used(store, place).await?;
        for _ in 0..RECONCILES {
            let read = ours.engine.changes(Some(&horizon)).await?.value;
            if counts {
                changes += read.heads.len() + read.users.len();
            }
            horizon = read.horizon;
        }
        quiet = used(store, place).await?.zip(before);
    }
    if changes > 0 {
        return Err(format!("nothing changed, and reconcile tells {changes} changes").into());
    }
    let began_at = horizon;
    let mut busy = Vec::new();
    for count in CHANGED {
        let changed = fill::touch(ours, count).await?;
        let mut answered = 0;
        let before = used(store, place).await?;
        for _ in 0..RECONCILES {
            let read = ours.engine.changes(Some(&began_at)).await?.value;
            let told: HashSet<_> = read.heads.iter().map(|head| head.conversation).collect();
            if !changed.iter().all(|conversation| told.contains(conversation)) {
                return Err("reconcile tells not of all that changed".into());
            }
            answered = read.heads.len();
        }
        busy.push((count, answered, used(store, place).await?.zip(before)));
    }
    let conversations = filled.conversations;
    let load = |changed| format!("reconcile over {conversations} conversations, {changed} changed");
    let cpu = match store {
        StoreKind::Postgres => "database CPU",
        StoreKind::Sqlite | StoreKind::Memory => "CPU of this process",
    };
    let each = |used: Option<(Duration, Duration)>| {
        let used = used.map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        used.map_or(f64::NAN, |used| used * 1e3 / f64::from(RECONCILES))
    };
    let row = |name, changed, unit, value| {
        let sample = Sample {
            ours: value,
            baselines: Vec::new(),
        };
        Row::of(name, load(changed), unit, Better::Lower, &[sample])
    };
    let mut rows = vec![row(cpu, 0, "ms", each(quiet)).bar(Bar::Most(5.0))];
    for (count, answered, used) in busy {
        rows.push(row(cpu, count, "ms", each(used)));
        rows.push(row("conversations told", count, "", answered as f64));
    }
    Ok(rows)
}

/// The CPU time that reads have used so far: that of the database's backends, or this process's where it has none.
///
/// None when the database's processes are not known.
async fn used(store: StoreKind, place: &Place) -> Result<Option<Duration>, Failure> {
    match (store, place) {
        (StoreKind::Postgres, Place::Postgres(cluster)) => cluster.backends_cpu("reads").await,
        _ => Ok(Some(cpu::own()?)),
    }
}

/// How long reads took.
#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn row(&self, name: &'static str, load: &str, share: f64, plain: Option<&Self>) -> Row {
        let plain = plain.map(|plain| ("plain", plain.at(share)));
        let sample = Sample {
            ours: self.at(share),
            baselines: plain.into_iter().filter(|(_, value)| !value.is_nan()).collect(),
        };
        Row::of(name, load, "ms", Better::Lower, &[sample])
    }

    /// In ms, without those before the warm-up was over.
    fn at(&self, share: f64) -> f64 {
        let counted = self.0.iter().skip(WARM_UP).map(|latency| latency.as_micros() as u32);
        let mut counted: Vec<u32> = counted.collect();
        counted.sort_unstable();
        quantile(&counted, share) / 1e3
    }
}

/// The same places every time (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
