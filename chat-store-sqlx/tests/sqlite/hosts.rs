//! A host's own transactions, on its own pool.

use crate::host::Host;
use crate::load::{Load, Words};
use chat_core::Store;
use chat_core::command::Command;
use chat_core::frame::Stored;
use chat_core::store::Actor;
use chat_store_sqlx::{AppendError, SqliteStore};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Executor, Row, Sqlite, SqlitePool, Transaction};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

struct Shop {
    _directory: TempDir,
    pool: SqlitePool,
    store: SqliteStore,
}

async fn shop() -> Shop {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteConnectOptions::new().filename(directory.path().join("shop.db"));
    let pool = SqlitePoolOptions::new()
        .connect_with(file.create_if_missing(true))
        .await
        .unwrap();
    pool.execute("CREATE TABLE orders (number integer PRIMARY KEY)")
        .await
        .unwrap();
    let store = SqliteStore::from_pool(pool.clone()).await.unwrap();
    store.migrate().await.unwrap();
    Shop {
        _directory: directory,
        pool,
        store,
    }
}

impl Host for Shop {
    type Transaction = Transaction<'static, Sqlite>;

    fn store(&self) -> impl Store + Clone {
        self.store.clone()
    }

    async fn begin(&self) -> Self::Transaction {
        self.pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    async fn write_order(&self, transaction: &mut Self::Transaction) {
        transaction.execute("INSERT INTO orders DEFAULT VALUES").await.unwrap();
    }

    async fn append(
        &self,
        transaction: &mut Self::Transaction,
        actor: Actor,
        command: impl Into<Command>,
    ) -> Result<Stored, AppendError> {
        self.store.append_in(transaction, &actor, command).await
    }

    async fn commit(&self, transaction: Self::Transaction) {
        transaction.commit().await.unwrap();
    }

    async fn roll_back(&self, transaction: Self::Transaction) {
        transaction.rollback().await.unwrap();
    }

    async fn orders(&self) -> i64 {
        let count = self.pool.fetch_one("SELECT count(*) AS orders FROM orders");
        count.await.unwrap().get("orders")
    }
}

crate::host_stories!(shop());

/// Longer than a statement waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_keeps_the_file_to_itself_costs_an_error_in_time_and_no_restart() {
    let shop = shop().await;
    let words = Words::on(&shop.store).await;
    let groups = words.groups(10).await;
    let transaction = shop.begin().await;
    let load = Load::start(&words, &groups, 10);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(load.acked(), 0);
    assert_eq!(words.log(groups[0]).await.len(), 1, "others go on reading");
    shop.commit(transaction).await;
    load.goes_on(20).await;
    let told = load.end().await;
    let longest = told.in_vain.iter().map(|(waited, _)| *waited).max();
    assert!(longest.unwrap_or_default() < Duration::from_secs(17), "{longest:?}");
    words.holds(&groups, &told).await;
}
