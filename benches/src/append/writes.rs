//! What storing costs: rounds in which every way has its turn under every load.

use super::drive::{self, Figures, Numbers};
use super::load::Load;
use super::ours::Ours;
use super::place::Place;
use super::plain::{How, Plain, PlainWay};
use super::{Failure, Options, StoreKind};
use crate::figures;
use crate::report::{Bar, Better, Row, Sample};
use std::sync::Arc;
use std::time::Duration;

/// The memory store takes many times as many, and keeps them all.
const MEMORY_TIME: Duration = Duration::from_secs(2);

/// One way of storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Plain(How),
    /// The engine on the memory store.
    Memory,
}

/// What each round measures, in this order or the other way round.
fn turns(store: StoreKind) -> Vec<(Load, Kind)> {
    let plain = |load, how| (load, Kind::Plain(how));
    let ours = |load| (load, Kind::Ours);
    match store {
        StoreKind::Memory => Load::ALL.map(ours).to_vec(),
        StoreKind::Sqlite => vec![
            plain(Load::Spread, How::Insert),
            ours(Load::Spread),
            (Load::Spread, Kind::Memory),
            plain(Load::Hot, How::Insert),
            ours(Load::Hot),
            plain(Load::Lone, How::Insert),
            ours(Load::Lone),
        ],
        StoreKind::Postgres => vec![
            plain(Load::Spread, How::Insert),
            ours(Load::Spread),
            (Load::Spread, Kind::Memory),
            plain(Load::Hot, How::RowLock),
            ours(Load::Hot),
            plain(Load::Hot, How::OneStatement),
            plain(Load::Lone, How::Insert),
            ours(Load::Lone),
        ],
    }
}

/// What came of each turn of a round.
type Round = Vec<((Load, Kind), Figures)>;

/// Measures every way in every round.
///
/// # Errors
/// When something cannot be stored, or was acknowledged and is not stored.
pub(super) async fn measure(options: &Options, place: &Place) -> Result<Vec<Row>, Failure> {
    let numbers = Numbers::default();
    let plain = Plain::create(place, "plain").await?.map(Arc::new);
    let ours = Arc::new(Ours::open(place, "ours").await?);
    ours.populate(&Load::ALL).await?;
    figures::progress("writes: the tables grow");
    // What is planned for an empty table is not what is planned for one in use.
    drive::measure(&ours, Load::Spread, &numbers, options.time(), place).await?;
    let mut filled = 0;
    let mut rounds = Vec::new();
    for number in 0..options.rounds() {
        figures::progress(&format!("writes: round {} of {}", number + 1, options.rounds()));
        if let Some(plain) = &plain {
            filled = level(&ours, plain, filled).await?;
        }
        place.settle(&["ours", "plain"]).await?;
        let mut turns = turns(options.store);
        if number % 2 == 1 {
            // So that none always has the moment after another.
            turns.reverse();
        }
        let mut round: Round = Vec::with_capacity(turns.len());
        for (load, kind) in turns {
            let time = options.time();
            let figures = match (kind, &plain) {
                (Kind::Ours, _) => drive::measure(&ours, load, &numbers, time, place).await,
                (Kind::Memory, _) => {
                    let memory = Arc::new(Ours::open(&Place::Memory, "memory").await?);
                    memory.populate(&[load]).await?;
                    drive::measure(&memory, load, &numbers, time.min(MEMORY_TIME), place).await
                }
                (Kind::Plain(how), Some(plain)) => {
                    let way = PlainWay {
                        plain: plain.clone(),
                        how,
                    };
                    drive::measure(&Arc::new(way), load, &numbers, time, place).await
                }
                (Kind::Plain(_), None) => continue,
            };
            let figures = figures.map_err(|error| format!("{kind:?}, {}: {error}", load.name()))?;
            round.push(((load, kind), figures));
        }
        rounds.push(round);
    }
    drop((plain, ours));
    place.remove("plain").await?;
    place.remove("ours").await?;
    Ok(rows(options.store, &rounds))
}

/// Ours stores more in the same time: the tables of the plain way are filled up to its size.
async fn level(ours: &Ours, plain: &Plain, filled: u64) -> Result<u64, Failure> {
    use super::drive::Way as _;
    let all = 0..Load::Hot.conversations().end;
    let of_ours: u64 = ours.stored(all.clone()).await?.iter().sum();
    let of_plain: u64 = plain.stored(all).await?.iter().sum();
    let missing = of_ours.saturating_sub(of_plain).max(filled);
    plain.fill(filled, missing).await?;
    Ok(missing)
}

fn rows(store: StoreKind, rounds: &[Round]) -> Vec<Row> {
    use Better::{Higher, Lower};
    let row = |name, load: Load, unit, better, baselines: &[(&'static str, Kind)], read: fn(&Figures) -> f64| {
        let samples: Vec<Sample> = rounds
            .iter()
            .filter_map(|round| sample(round, load, baselines, read))
            .collect();
        Row::of(name, load.name(), unit, better, &samples)
    };
    let how = |load| match (store, load) {
        (StoreKind::Postgres, Load::Hot) => How::RowLock,
        _ => How::Insert,
    };
    let plain = |load| ("plain", Kind::Plain(how(load)));
    let stored = |figures: &Figures| figures.per_second;
    let (spread, hot, lone) = (plain(Load::Spread), plain(Load::Hot), plain(Load::Lone));
    let in_one_statement = ("in one statement", Kind::Plain(How::OneStatement));
    let hot_baselines = match store {
        StoreKind::Postgres => vec![hot, in_one_statement],
        StoreKind::Sqlite | StoreKind::Memory => vec![hot],
    };
    let mut rows = vec![
        row("acknowledged messages", Load::Spread, "1/s", Higher, &[spread], stored).bar(Bar::Times(5.0)),
        row(
            "time to acknowledge, 99 of 100",
            Load::Spread,
            "µs",
            Lower,
            &[spread],
            |f| f.p99,
        ),
    ];
    if store == StoreKind::Postgres {
        let of_database = |figures: &Figures| figures.database_cpu.unwrap_or(f64::NAN);
        let name = "database CPU per 1,000 acknowledged";
        rows.push(row(name, Load::Spread, "ms", Lower, &[spread], of_database).bar(Bar::Share(0.3)));
    }
    let memory = ("memory store", Kind::Memory);
    let of_engine = |name| {
        row(name, Load::Spread, "µs", Lower, &[memory, spread], |figures| {
            figures.own_cpu
        })
    };
    rows.push(match store {
        StoreKind::Sqlite => of_engine("CPU per acknowledged, database within"),
        StoreKind::Postgres | StoreKind::Memory => of_engine("engine CPU per acknowledged").bar(Bar::Share(1.5)),
    });
    rows.extend([
        row(
            "acknowledged messages",
            Load::Hot,
            "1/s",
            Higher,
            &hot_baselines,
            stored,
        )
        .bar(Bar::Times(8.0)),
        row(
            "time to acknowledge, 99 of 100",
            Load::Hot,
            "µs",
            Lower,
            &hot_baselines,
            |f| f.p99,
        ),
        row("time to acknowledge, median", Load::Lone, "µs", Lower, &[lone], |f| {
            f.median
        })
        .bar(Bar::Share(1.1)),
        row(
            "time to acknowledge, 99 of 100",
            Load::Lone,
            "µs",
            Lower,
            &[lone],
            |f| f.p99,
        ),
    ]);
    if store == StoreKind::Memory {
        for row in &mut rows {
            (row.baselines, row.bar) = (Vec::new(), None);
        }
    }
    rows
}

/// Ours and these baselines in one round; without those that had no turn.
fn sample(round: &Round, load: Load, baselines: &[(&'static str, Kind)], read: fn(&Figures) -> f64) -> Option<Sample> {
    let of = |kind| {
        round
            .iter()
            .find(|(turn, _)| *turn == (load, kind))
            .map(|(_, figures)| read(figures))
    };
    let baselines = baselines.iter().filter_map(|(name, kind)| Some((*name, of(*kind)?)));
    Some(Sample {
        ours: of(Kind::Ours)?,
        baselines: baselines.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_baseline_of_a_row_has_its_turn() {
        let figures = Figures {
            per_second: 10.0,
            median: 1.0,
            p99: 2.0,
            database_cpu: Some(3.0),
            own_cpu: 4.0,
        };
        for store in [StoreKind::Postgres, StoreKind::Sqlite] {
            let round = turns(store).into_iter().map(|turn| (turn, figures)).collect();
            for row in rows(store, &[round]) {
                assert_eq!(row.ratio, 1.0, "{row:?}");
                assert!(row.baselines.iter().all(|(_, value)| !value.is_nan()), "{row:?}");
            }
        }
    }
}
