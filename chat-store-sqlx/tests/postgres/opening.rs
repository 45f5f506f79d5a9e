//! Which servers and schemas a store is opened on, and who makes them.

use crate::fresh_schema;
use crate::load::Words;
use crate::schema::{Database, Opened};
use chat_core::Store;
use chat_store_sqlx::{OpenError, PostgresOptions, PostgresStore};
use chat_testkit::postgres::{PrivatePostgres, shared_postgres_url};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool, Row};
use std::str::FromStr;
use tokio::task::block_in_place;

/// A schema, which is where a host's connections find everything.
struct Place {
    schema: String,
    pool: PgPool,
}

async fn place() -> Place {
    let schema = fresh_schema();
    let options = PgConnectOptions::from_str(&shared_postgres_url()).unwrap();
    let options = options.options([("search_path", schema.as_str())]);
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .unwrap();
    let place = Place { schema, pool };
    place.run(&format!("CREATE SCHEMA {}", place.schema)).await;
    place
}

impl Database for Place {
    type Opened = PostgresStore;

    async fn open(&self, prefix: &str) -> PostgresStore {
        let options = PostgresOptions::new().prefix(prefix);
        options.from_pool(self.pool.clone()).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        self.pool.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    async fn migrate(&self, hosts: &Migrator) {
        hosts.run(&self.pool).await.unwrap();
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.pool.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Opened for PostgresStore {
    async fn migrate(&self) -> Result<(), OpenError> {
        PostgresStore::migrate(self).await
    }

    async fn check(&self) -> Result<(), OpenError> {
        PostgresStore::check(self).await
    }
}

crate::schema_stories!(place());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_in_other_schemas_do_not_see_each_other() {
    let ((one, _), (other, _)) = (crate::fresh_store().await, crate::fresh_store().await);
    let (one, other) = (Words::on(&one).await, Words::on(&other).await);
    let group = one.group(&["ann", "bob"]).await;
    assert!(other.store.heads(&[group]).await.unwrap().value.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_make_the_schema_at_the_same_time_make_one() {
    let schema = fresh_schema();
    let options = PostgresOptions::new().schema(&schema);
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let store = options.connect(&shared_postgres_url()).await.unwrap();
        nodes.push(tokio::spawn(async move { store.migrate().await.map(|()| store) }));
    }
    let mut epochs = Vec::new();
    for node in nodes {
        epochs.push(node.await.unwrap().unwrap().identity().await.unwrap().epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

async fn is_refused_unless_told_to_lose_data(url: &str, setting: &str) {
    let error = PostgresStore::connect(url).await.unwrap_err();
    assert!(matches!(error, OpenError::NotDurable(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains(setting) && said.contains("lose"), "{said}");
    let store = PostgresOptions::new().allow_data_loss(true).connect(url).await.unwrap();
    store.migrate().await.unwrap();
    Words::on(&store).await.group(&["ann"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_would_lose_what_it_acknowledged_is_refused() {
    let fsync = vec![("fsync".to_owned(), "off".to_owned())];
    let postgres = block_in_place(|| PrivatePostgres::start_with(fsync)).unwrap();
    is_refused_unless_told_to_lose_data(&postgres.url(), "fsync").await;
    postgres
        .psql("postgres", "alter database postgres set synchronous_commit = off")
        .unwrap();
    is_refused_unless_told_to_lose_data(&postgres.url(), "synchronous_commit").await;
}
