//! `PostgresStore` passes the store contract, and keeps what it acknowledged whatever becomes of the server.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod backplane;
mod group_commit;
#[path = "../common/host.rs"]
mod host;
mod hosts;
#[path = "../common/house.rs"]
mod house;
#[path = "../common/load.rs"]
mod load;
mod opening;
mod outage;
mod proxy;
mod restored;
#[path = "../common/schema.rs"]
mod schema;

use chat_core::Store;
use chat_store_sqlx::{PostgresOptions, PostgresStore};
use chat_testkit::contract::store::StoreFixture;
use chat_testkit::postgres::shared_postgres_url;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A store in a schema of its own, seen through two pools.
struct Fixture {
    store: PostgresStore,
    another: PostgresStore,
}

/// A schema that no other test has, in a database that other runs may have used.
fn fresh_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{}_{number}", std::process::id())
}

/// A store in a schema of its own, and the name of that.
async fn fresh_store() -> (PostgresStore, String) {
    let schema = fresh_schema();
    let options = PostgresOptions::new().schema(&schema);
    let store = options.connect(&shared_postgres_url()).await.unwrap();
    store.migrate().await.unwrap();
    (store, schema)
}

async fn migrated(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn fresh() -> Fixture {
    let (url, options) = (shared_postgres_url(), PostgresOptions::new().schema(fresh_schema()));
    let store = options.connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let another = options.connect(&url).await.unwrap();
    Fixture { store, another }
}

impl StoreFixture for Fixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn another(&self) -> Arc<dyn Store> {
        Arc::new(self.another.clone())
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

chat_testkit::store_contract!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    fresh().await
);
