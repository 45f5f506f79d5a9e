//! Which schemas a store is opened on, and who makes them.

use crate::schema::{Database, Opened};
use chat_store_sqlx::{OpenError, SqliteOptions, SqliteStore};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Executor, Row, SqlitePool};

/// A database in memory: two stores may be on it, which a file refuses.
struct Memory(SqlitePool);

async fn memory() -> Memory {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    let options = "sqlite::memory:".parse::<SqliteConnectOptions>().unwrap();
    Memory(pool.connect_with(options).await.unwrap())
}

impl Database for Memory {
    type Opened = SqliteStore;

    async fn open(&self, prefix: &str) -> SqliteStore {
        let options = SqliteOptions::new().prefix(prefix);
        options.from_pool(self.0.clone()).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        self.0.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    async fn migrate(&self, hosts: &Migrator) {
        hosts.run(&self.0).await.unwrap();
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.0.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Opened for SqliteStore {
    async fn migrate(&self) -> Result<(), OpenError> {
        SqliteStore::migrate(self).await
    }

    async fn check(&self) -> Result<(), OpenError> {
        SqliteStore::check(self).await
    }
}

crate::schema_stories!(memory());
