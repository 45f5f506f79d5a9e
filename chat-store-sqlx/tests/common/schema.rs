//! What holds of the schema, whoever made it and when; by each database.

use crate::house::House;
use crate::load::Words;
use chat_core::{Engine, Store};
use chat_store_sqlx::OpenError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// A database, empty at first, and the stores that are opened in it.
pub trait Database {
    type Opened: Opened;
    /// With tables whose names begin so.
    async fn open(&self, prefix: &str) -> Self::Opened;
    /// Statements of a host.
    async fn run(&self, sql: &str);
    async fn migrate(&self, hosts: &Migrator);
    /// The rows of a table of one column of text.
    async fn texts(&self, sql: &str) -> Vec<String>;
}

/// A host may do all of it in a task.
pub trait Opened: Store + Clone {
    fn migrate(&self) -> impl Future<Output = Result<(), OpenError>> + Send;
    fn check(&self) -> impl Future<Output = Result<(), OpenError>> + Send;
}

pub async fn migrating_twice_changes_nothing(database: impl Database) {
    let store = database.open("chat_").await;
    store.migrate().await.unwrap();
    let epoch = store.identity().await.unwrap().epoch;
    let words = Words::on(&store).await;
    let group = words.group(&["ann"]).await;
    store.migrate().await.unwrap();
    assert_eq!(store.identity().await.unwrap().epoch, epoch);
    assert_eq!(words.log(group).await.len(), 1);
}

pub async fn a_store_without_a_schema_says_so_and_no_engine_starts_on_it(database: impl Database) {
    let store = database.open("chat_").await;
    let error = Opened::check(&store).await.unwrap_err();
    assert!(matches!(error, OpenError::SchemaTooOld), "{error:?}");
    let started = timeout(Duration::from_secs(30), Engine::builder().store(store.clone()).build());
    let said = started.await.unwrap().unwrap_err().to_string();
    assert!(said.contains("migrate"), "{said}");
    store.migrate().await.unwrap();
    House::on(store).await;
}

pub async fn a_schema_that_is_newer_than_this_version_is_refused_by_its_number(database: impl Database) {
    let store = database.open("chat_").await;
    store.migrate().await.unwrap();
    let newer = "INSERT INTO chat_migrations (version, description, success, checksum, execution_time) \
                 SELECT 999, 'of tomorrow', success, checksum, execution_time FROM chat_migrations WHERE version = 1";
    database.run(newer).await;
    for refused in [Opened::check(&store).await, store.migrate().await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::SchemaTooNew { found: 999, .. }), "{error:?}");
    }
    let said = Engine::builder().store(store).build().await.unwrap_err().to_string();
    assert!(said.contains("999"), "{said}");
}

/// Some of the host's migrations are done before the store's, some after.
pub async fn the_migrations_of_a_host_in_the_same_place_are_untouched(database: impl Database) {
    let migration = |version, sql: &'static str| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        Migration::new(version, "of the host".into(), MigrationType::Simple, sql, false)
    };
    let first = migration(1, "CREATE TABLE orders (number integer)");
    let second = migration(2, "CREATE TABLE customers (number integer)");
    let done = "SELECT version || ' ' || description FROM _sqlx_migrations ORDER BY version";

    database.migrate(&Migrator::with_migrations(vec![first.clone()])).await;
    let store = database.open("chat_").await;
    store.migrate().await.unwrap();
    assert_eq!(database.texts(done).await, ["1 of the host"]);
    database.migrate(&Migrator::with_migrations(vec![first, second])).await;
    store.migrate().await.unwrap();
    Opened::check(&store).await.unwrap();
    assert_eq!(database.texts(done).await, ["1 of the host", "2 of the host"]);
}

pub async fn stores_with_other_prefixes_do_not_see_each_other(database: impl Database) {
    let (one, other) = (database.open("one_").await, database.open("other_").await);
    one.migrate().await.unwrap();
    assert!(matches!(Opened::check(&other).await, Err(OpenError::SchemaTooOld)));
    other.migrate().await.unwrap();
    assert_ne!(
        one.identity().await.unwrap().epoch,
        other.identity().await.unwrap().epoch
    );
    let (one, other) = (Words::on(&one).await, Words::on(&other).await);
    let group = one.group(&["ann", "bob"]).await;
    one.say(group, "in the one").await;
    assert!(other.store.heads(&[group]).await.unwrap().value.is_empty());
    assert_eq!(one.log(group).await.len(), 2);
}

/// Makes the tests of a database, from what opens an empty one.
#[macro_export]
macro_rules! schema_stories {
    ($open:expr; $($story:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $story() {
            $crate::schema::$story($open.await).await;
        }
    )*};
    ($open:expr) => {
        $crate::schema_stories! { $open;
            migrating_twice_changes_nothing
            a_store_without_a_schema_says_so_and_no_engine_starts_on_it
            a_schema_that_is_newer_than_this_version_is_refused_by_its_number
            the_migrations_of_a_host_in_the_same_place_are_untouched
            stores_with_other_prefixes_do_not_see_each_other
        }
    };
}
