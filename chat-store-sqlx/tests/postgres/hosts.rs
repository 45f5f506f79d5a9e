//! A host's own transactions, on its own pool.

use crate::fresh_schema;
use crate::host::Host;
use crate::load::{Words, by, message};
use chat_core::Store;
use chat_core::command::Command;
use chat_core::frame::Stored;
use chat_core::store::{Actor, Head};
use chat_store_sqlx::{AppendError, PostgresOptions, PostgresStore};
use chat_testkit::postgres::shared_postgres_url;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Row, Transaction};

struct Shop {
    schema: String,
    pool: PgPool,
    store: PostgresStore,
}

async fn shop() -> Shop {
    let schema = fresh_schema();
    let pool = PgPool::connect(&shared_postgres_url()).await.unwrap();
    let store = PostgresOptions::new()
        .schema(&schema)
        .from_pool(pool.clone())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let orders = format!("CREATE TABLE {schema}.orders (number bigserial)");
    pool.execute(AssertSqlSafe(orders)).await.unwrap();
    Shop { schema, pool, store }
}

impl Host for Shop {
    type Transaction = Transaction<'static, Postgres>;

    fn store(&self) -> impl Store + Clone {
        self.store.clone()
    }

    async fn begin(&self) -> Self::Transaction {
        self.pool.begin().await.unwrap()
    }

    async fn write_order(&self, transaction: &mut Self::Transaction) {
        let order = format!("INSERT INTO {}.orders DEFAULT VALUES", self.schema);
        transaction.execute(AssertSqlSafe(order)).await.unwrap();
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
        let count = format!("SELECT count(*) AS orders FROM {}.orders", self.schema);
        self.pool.fetch_one(AssertSqlSafe(count)).await.unwrap().get("orders")
    }
}

crate::host_stories!(shop());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_commits_late_is_told_to_whoever_asked_meanwhile() {
    let shop = shop().await;
    let words = Words::on(&shop.store).await;
    let groups = words.groups(4).await;
    let mut horizon = words.horizon().await;
    let mut transaction = shop.begin().await;
    let late = shop
        .append(&mut transaction, by("ann"), message(groups[0], "late"))
        .await
        .unwrap();
    for n in 0..10 {
        words.say(groups[1 + n % 3], "meanwhile").await;
        let changes = words.changed_since(&horizon).await;
        // An older one may be told again, as long as any transaction of the server is open.
        let is_late = |head: &Head| head.conversation == groups[0] && head.position.seq >= late.seq;
        assert!(!changes.heads.iter().any(is_late));
        horizon = changes.horizon;
    }
    shop.commit(transaction).await;
    let told = words.changed_since(&horizon).await.heads;
    let is_told = |head: &Head| head.conversation == groups[0] && head.position.seq == late.seq;
    assert!(told.iter().any(is_told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_finds_its_tables_where_the_hosts_connections_find_theirs() {
    let schema = format!("{} spaced", fresh_schema());
    let path = format!("SET search_path TO \"{schema}\", public");
    let pool = PgPoolOptions::new()
        .after_connect(move |connection, _| {
            let path = path.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(path)).await.map(drop) })
        })
        .connect(&shared_postgres_url())
        .await
        .unwrap();
    let create = format!("CREATE SCHEMA \"{schema}\"");
    pool.execute(AssertSqlSafe(create)).await.unwrap();
    let store = PostgresStore::from_pool(pool.clone()).await.unwrap();
    store.migrate().await.unwrap();
    store.check().await.unwrap();
    let words = Words::on(&store).await;
    let groups = words.groups(1).await;
    words.say(groups[0], "here").await;
    let count = format!("SELECT count(*) FROM \"{schema}\".chat_messages");
    let count: i64 = pool.fetch_one(AssertSqlSafe(count)).await.unwrap().get(0);
    assert_eq!(count, 1);
}

/// The check of a foreign key locks the row that it names, until the host commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hosts_row_that_refers_to_a_conversation_delays_none_of_its_messages() {
    let shop = shop().await;
    let words = Words::on(&shop.store).await;
    let groups = words.groups(1).await;
    let table = format!(
        "CREATE TABLE {0}.topics (conversation uuid REFERENCES {0}.chat_conversations)",
        shop.schema
    );
    shop.pool.execute(AssertSqlSafe(table)).await.unwrap();
    let mut transaction = shop.begin().await;
    let topic = format!("INSERT INTO {}.topics VALUES ('{}')", shop.schema, groups[0]);
    transaction.execute(AssertSqlSafe(topic)).await.unwrap();
    // Answered, though the host commits only afterwards.
    words.say(groups[0], "said meanwhile").await;
    shop.commit(transaction).await;
}
