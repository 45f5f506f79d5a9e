//! The simulator's worlds on a database: whole nodes and whole clients, and everything that may go wrong.

use chat_core::{Clock, Store};
use chat_store_sqlx::SqliteOptions;
use chat_testkit::FailingStore;
use chat_testkit::clock::time_stands_during;
use chat_testkit::sim::{MakeStore, run_on};
use std::sync::Arc;

/// Worlds that are played; ten times as many with `CHAT_LONG`.
const WORLDS: u64 = 6;

struct InMemory;

impl MakeStore for InMemory {
    async fn make(self, clock: Arc<dyn Clock>, seed: u64) -> Arc<dyn Store> {
        let opened = time_stands_during(async {
            let store = SqliteOptions::new().clock(clock).in_memory().await.unwrap();
            store.migrate().await.unwrap();
            store
        });
        let store = FailingStore::new(Arc::new(opened.await), seed);
        store.faults().set_time_stands(true);
        Arc::new(store)
    }
}

#[test]
fn worlds_in_which_everything_goes_wrong_hold_what_is_promised() {
    let worlds = if std::env::var_os("CHAT_LONG").is_some() {
        10 * WORLDS
    } else {
        WORLDS
    };
    for seed in 1..=worlds {
        let run = run_on(InMemory, seed, false);
        assert!(run.violations.is_empty(), "seed {seed}: {:#?}", run.violations);
        assert!(run.counts.events > 0, "seed {seed}: {:?}", run.counts);
    }
}
