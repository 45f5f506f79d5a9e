//! The simulator: whole nodes and whole clients on one thread with paused time, and everything that may go wrong.
//!
//! Nothing here re-implements the engine. Two or three production engines share one store, in memory unless told, each behind one
//! that fails as it is told and a backplane that loses; production clients reach them over the in-process transport,
//! and chat. A seed decides who there is, what they do, what goes wrong, and every id: one seed is one history. When
//! the time of faults is over everything is healed, and once it is quiet the [`Invariant`]s must hold.
//!
//! * what a seed decides beforehand: `plan` · what goes wrong: `chaos` · what users do: `workload`
//! * the parts: `fleet` (nodes), `device` (clients and what their application saw), `wire` (what each connection got)
//! * what was asked and answered: `ledger` · what is true in the end: `truth` · whether both agree: `judgement`
//! * what happened, in order, and what should not have: `recorder`

mod chaos;
mod device;
mod fleet;
mod judgement;
mod ledger;
mod plan;
mod recorder;
mod truth;
mod wire;
mod workload;
mod world;

pub use recorder::{Invariant, Violation};

use chat_core::{Clock, Store};
use chat_store_memory::MemoryStore;
use recorder::Recorder;
use std::future::Future;
use std::sync::Arc;
use world::World;

/// What a run of one seed came to.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// A digest of everything that happened, in order: two runs of one seed have the same.
    pub history: u64,
    /// What should not have happened; empty when all is well.
    pub violations: Vec<Violation>,
    /// Events that were stored, commands that were given, and updates that applications saw.
    pub counts: Counts,
    /// What happened, line by line, when it was asked for.
    pub trace: Vec<String>,
}

impl Run {
    /// A run that ended in a panic.
    pub fn broken(seed: u64) -> Self {
        Self {
            seed,
            history: 0,
            violations: Vec::new(),
            counts: Counts::default(),
            trace: Vec::new(),
        }
    }
}

/// How much happened in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events in all logs at the end.
    pub events: u64,
    /// Durable commands that users gave.
    pub commands: u64,
    /// Updates that applications saw.
    pub updates: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Milliseconds of simulated time.
    pub simulated_ms: u64,
}

/// Makes the empty store of a world.
pub trait MakeStore: Send {
    /// A store whose clock is the world's; the seed is for whatever it draws.
    fn make(self, clock: Arc<dyn Clock>, seed: u64) -> impl Future<Output = Arc<dyn Store>>;
}

struct Memory;

impl MakeStore for Memory {
    async fn make(self, clock: Arc<dyn Clock>, seed: u64) -> Arc<dyn Store> {
        Arc::new(MemoryStore::builder().with_clock(clock).with_seed(seed).build())
    }
}

/// Runs one seed from an empty store in memory to the judgement.
pub fn run(seed: u64, trace: bool) -> Run {
    run_on(Memory, seed, trace)
}

/// Runs one seed on another store.
///
/// One whose work is done by threads goes into a [`FailingStore`](crate::FailingStore) that lets time
/// [stand](crate::StoreFaults::set_time_stands) meanwhile. The order in which its answers come is the machine's: a seed
/// is then one world, but not one history.
pub fn run_on(make: impl MakeStore, seed: u64, trace: bool) -> Run {
    on_paused_time(async move {
        let recorder = Recorder::new(trace);
        let world = World::start(seed, recorder.clone(), make).await;
        let counts = world.play().await;
        recorder.into_run(seed, counts)
    })
}

fn on_paused_time<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing of the system")
        .block_on(story)
}
