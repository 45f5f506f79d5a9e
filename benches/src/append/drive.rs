//! Senders in a closed loop, and the proof that what was acknowledged is stored.

use super::Failure;
use super::load::{Load, Sender};
use super::place::Place;
use crate::cpu;
use crate::figures::quantile;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Load before each measurement, so that caches, pools and the allocator have seen it.
const WARM_UP: Duration = Duration::from_millis(500);

/// One way of storing messages.
pub(super) trait Way: Send + Sync + 'static {
    /// Stores the message of this number; done when it is acknowledged.
    fn send(&self, sender: &Sender, number: usize) -> impl Future<Output = Result<(), Failure>> + Send;

    /// How many messages each of these conversations holds.
    fn stored(&self, conversations: Range<usize>) -> impl Future<Output = Result<Vec<u64>, Failure>> + Send;
}

/// Hands out the numbers of messages, each once in the life of the program.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<AtomicUsize>);

impl Numbers {
    pub fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What came of one measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Acknowledged messages.
    pub per_second: f64,
    /// From sending to the acknowledgement, in µs.
    pub median: f64,
    pub p99: f64,
    /// CPU of the database's processes for a thousand messages, in ms; none when it has no processes of its own.
    pub database_cpu: Option<f64>,
    /// CPU of this process for one message, in µs: the senders, and whatever stores without a process of its own.
    pub own_cpu: f64,
}

/// Loads a way for a while.
///
/// # Errors
/// When something cannot be stored, or a conversation holds other than what was acknowledged.
pub(super) async fn measure<W: Way>(
    way: &Arc<W>,
    load: Load,
    numbers: &Numbers,
    time: Duration,
    place: &Place,
) -> Result<Figures, Failure> {
    let senders = load.senders();
    let before = way.stored(load.conversations()).await?;
    let warm_up = drive(way, &senders, numbers, WARM_UP).await?;
    let (database, own) = (place.cpu()?, cpu::own()?);
    let phase = drive(way, &senders, numbers, time).await?;
    let (database, own) = (place.cpu()?.zip(database), cpu::own()?.saturating_sub(own));
    let after = way.stored(load.conversations()).await?;
    for (index, conversation) in load.conversations().enumerate() {
        let acknowledged = warm_up.acknowledged(conversation) + phase.acknowledged(conversation);
        let stored = after[index] - before[index];
        if acknowledged != stored {
            return Err(format!("conversation {conversation}: {acknowledged} acknowledged, {stored} stored").into());
        }
    }
    Ok(phase.figures(database.map(|(after, before)| after.saturating_sub(before)), own))
}

/// What was acknowledged between a start and an end.
struct Phase {
    time: Duration,
    /// For each sender the number of their conversation, and how long each acknowledgement took, in µs.
    latencies: Vec<(usize, Vec<u32>)>,
}

async fn drive<W: Way>(
    way: &Arc<W>,
    senders: &[Arc<Sender>],
    numbers: &Numbers,
    time: Duration,
) -> Result<Phase, Failure> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for sender in senders {
        let (way, sender, numbers) = (way.clone(), sender.clone(), numbers.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let sent = Instant::now();
                if sent - began >= time {
                    return Ok::<_, Failure>((sender.conversation, latencies));
                }
                way.send(&sender, numbers.next()).await?;
                latencies.push(sent.elapsed().as_micros() as u32);
            }
        });
    }
    let mut latencies = Vec::with_capacity(senders.len());
    while let Some(done) = tasks.join_next().await {
        latencies.push(done??);
    }
    Ok(Phase {
        time: began.elapsed(),
        latencies,
    })
}

impl Phase {
    fn acknowledged(&self, conversation: usize) -> u64 {
        let of_it = self.latencies.iter().filter(|(of, _)| *of == conversation);
        of_it.map(|(_, latencies)| latencies.len() as u64).sum()
    }

    fn figures(self, database: Option<Duration>, own: Duration) -> Figures {
        let mut latencies: Vec<u32> = self.latencies.into_iter().flat_map(|(_, of)| of).collect();
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        Figures {
            per_second: count / self.time.as_secs_f64(),
            median: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            database_cpu: database.map(|cpu| cpu.as_secs_f64() * 1e6 / count),
            own_cpu: own.as_secs_f64() * 1e6 / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Counts in memory; what it acknowledges beyond `lost` of a hundred it keeps.
    struct Counts {
        kept: Vec<AtomicU64>,
        lost: usize,
    }

    impl Counts {
        fn new(lost: usize) -> Arc<Self> {
            let kept = (0..=Load::Hot.conversations().start).map(|_| AtomicU64::new(7));
            Arc::new(Self {
                kept: kept.collect(),
                lost,
            })
        }
    }

    impl Way for Counts {
        async fn send(&self, sender: &Sender, number: usize) -> Result<(), Failure> {
            tokio::task::yield_now().await;
            if number % 100 >= self.lost {
                self.kept[sender.conversation].fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }

        async fn stored(&self, conversations: Range<usize>) -> Result<Vec<u64>, Failure> {
            let kept = self.kept[conversations].iter();
            Ok(kept.map(|kept| kept.load(Ordering::Relaxed)).collect())
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_and_is_not_stored_is_an_error_instead_of_a_figure() {
        let time = Duration::from_millis(20);
        for load in Load::ALL {
            let figures = measure(&Counts::new(0), load, &Numbers::default(), time, &Place::Memory).await;
            assert!(figures.unwrap().per_second > 0.0);
            let error = measure(&Counts::new(1), load, &Numbers::default(), time, &Place::Memory).await;
            assert!(error.unwrap_err().to_string().contains("acknowledged"));
        }
    }
}
