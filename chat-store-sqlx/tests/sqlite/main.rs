//! `SqliteStore` passes the store contract, in a file and in memory.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod child;
#[path = "../common/host.rs"]
mod host;
mod hosts;
#[path = "../common/house.rs"]
mod house;
mod killed;
#[path = "../common/load.rs"]
mod load;
mod one_engine;
mod opening;
mod restored;
#[path = "../common/schema.rs"]
mod schema;
mod simulated;

use chat_core::Store;
use chat_store_sqlx::{SqliteOptions, SqliteStore};
use chat_testkit::ManualClock;
use chat_testkit::contract::store::StoreFixture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

struct Fixture {
    store: SqliteStore,
    clock: ManualClock,
    _directory: Option<TempDir>,
}

fn options() -> (SqliteOptions, ManualClock) {
    let clock = ManualClock::default();
    (SqliteOptions::new().clock(Arc::new(clock.clone())), clock)
}

async fn migrated(file: &Path) -> SqliteStore {
    let store = SqliteStore::connect(file).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn file() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let (options, clock) = options();
    let store = options.connect(directory.path().join("chat.db")).await.unwrap();
    store.migrate().await.unwrap();
    Fixture {
        store,
        clock,
        _directory: Some(directory),
    }
}

async fn memory() -> Fixture {
    let (options, clock) = options();
    let store = options.in_memory().await.unwrap();
    store.migrate().await.unwrap();
    Fixture {
        store,
        clock,
        _directory: None,
    }
}

impl StoreFixture for Fixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn another(&self) -> Arc<dyn Store> {
        self.store()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

mod in_a_file {
    use super::*;

    chat_testkit::store_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        file().await
    );
}

mod in_memory {
    use super::*;

    chat_testkit::store_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        memory().await
    );
}
