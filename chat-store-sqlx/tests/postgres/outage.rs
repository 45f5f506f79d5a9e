//! The server dies, hangs, or the network does: what was acknowledged stays, and the store goes on by itself.

use crate::house::House;
use crate::load::{Load, Words, by, message};
use crate::proxy::Proxy;
use crate::{fresh_store, migrated};
use chat_core::code::ErrorCode;
use chat_core::command::MessageSend;
use chat_core::id::Seq;
use chat_store_sqlx::{OpenError, PostgresOptions, PostgresStore};
use chat_testkit::postgres::{PrivatePostgres, shared_postgres_url};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Every answer of a store comes within this, whatever becomes of the server.
const BOUND: Duration = Duration::from_secs(7);

/// What a slow machine adds.
const SLOW: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing_that_was_acknowledged() {
    let postgres = PrivatePostgres::start().unwrap();
    let store = migrated(&postgres.url()).await;
    let words = Words::on(&store).await;
    let groups = words.groups(4).await;
    let load = Load::start(&words, &groups, 8);
    for _ in 0..3 {
        load.goes_on(100).await;
        tokio::task::block_in_place(|| {
            postgres.stop_immediately().unwrap();
            postgres.start_again().unwrap();
        });
    }
    load.goes_on(100).await;
    let told = load.end().await;
    words.holds(&groups, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_under_load_lose_nothing() {
    let postgres = PrivatePostgres::start().unwrap();
    let store = migrated(&postgres.url()).await;
    let words = Words::on(&store).await;
    let groups = words.groups(4).await;
    let load = Load::start(&words, &groups, 8);
    for _ in 0..5 {
        load.goes_on(50).await;
        let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() \
                   and backend_type = 'client backend'";
        tokio::task::block_in_place(|| postgres.psql("postgres", all)).unwrap();
    }
    load.goes_on(100).await;
    let told = load.end().await;
    words.holds(&groups, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_an_error_in_time_and_needs_no_restart_afterwards() {
    let postgres = PrivatePostgres::start().unwrap();
    let store = migrated(&postgres.url()).await;
    let words = Words::on(&store).await;
    let groups = words.groups(30).await;
    let house = House::on(store.clone()).await;
    let mut ann = house.guest("ann").await;
    let load = Load::start(&words, &groups, 30);
    load.goes_on(100).await;

    tokio::task::block_in_place(|| postgres.freeze()).unwrap();
    let frozen = Instant::now();
    let send = message(groups[0], "into a server that hangs");
    assert_eq!(ann.refused(send.clone()).await.code, ErrorCode::Unavailable);
    assert!(
        frozen.elapsed() < Duration::from_millis(2_500) + SLOW,
        "{:?}",
        frozen.elapsed()
    );
    assert!(words.try_log(groups[0], Seq(0)).await.is_err());
    // Longer than any answer is waited for, with appends of thirty conversations that all fail.
    sleep(Duration::from_secs(8).saturating_sub(frozen.elapsed())).await;
    tokio::task::block_in_place(|| postgres.thaw()).unwrap();

    load.goes_on(100).await;
    let mut told = load.end().await;
    let longest = told.in_vain.iter().max().unwrap();
    assert!(longest.0 < BOUND + SLOW, "a writer waited for {longest:?}");
    told.asked.push(send.id.into());
    told.acked.push(words.settle(by("ann"), send).await.unwrap());
    words.holds(&groups, &told).await;
    said_at_last(&mut ann, message(groups[0], "after the server hung")).await;
}

async fn said_at_last(wire: &mut chat_testkit::wire::Wire, send: MessageSend) {
    let end = Instant::now() + crate::load::AT_MOST;
    while let Err(error) = wire.ask(send.clone()).await {
        assert!(Instant::now() < end, "still {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_on_which_nothing_comes_any_more_are_given_up() {
    let (direct, schema) = fresh_store().await;
    let url = shared_postgres_url();
    let proxy = Proxy::before(&url).await;
    let options = PostgresOptions::new().schema(&schema);
    let store = options.connect(&proxy.url(&url)).await.unwrap();
    let (words, truth) = (Words::on(&store).await, Words::on(&direct).await);
    let groups = truth.groups(4).await;
    let load = Load::start(&words, &groups, 8);
    load.goes_on(50).await;
    proxy.deafen();
    let since = Instant::now();
    load.goes_on(50).await;
    assert!(since.elapsed() < 2 * BOUND + SLOW, "{:?}", since.elapsed());
    let told = load.end().await;
    assert!(told.in_vain.iter().all(|(waited, _)| *waited < BOUND + SLOW));
    truth.holds(&groups, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_a_server_that_is_down_is_told_where_it_was_looked_for() {
    let url = "postgres://ann:secret@127.0.0.1:1/shop";
    let since = Instant::now();
    let error = PostgresStore::connect(url).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(3) + SLOW);
    let said = error.to_string();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(said.contains("127.0.0.1:1") && said.contains("shop"), "{said}");
    assert!(said.contains("refused"), "{said}");
    assert!(said.contains("Start") && !said.contains("secret"), "{said}");
}

/// Also a server that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_opens_a_server_that_hangs_is_told_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ann@{}/shop", listener.local_addr().unwrap());
    let since = Instant::now();
    let said = PostgresStore::connect(&url).await.unwrap_err().to_string();
    assert!(since.elapsed() < Duration::from_secs(3) + SLOW, "{:?}", since.elapsed());
    assert!(said.contains("does not answer"), "{said}");
}

/// A hundred conversations at once, none of which waits for the others to give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_down_everybody_is_told_in_time() {
    let postgres = PrivatePostgres::start().unwrap();
    let store = migrated(&postgres.url()).await;
    let words = Words::on(&store).await;
    let groups = words.groups(100).await;
    tokio::task::block_in_place(|| postgres.stop_immediately()).unwrap();
    let asked: Vec<_> = groups
        .iter()
        .map(|group| {
            let (words, send) = (words.clone(), message(*group, "to nobody"));
            tokio::spawn(async move {
                let since = Instant::now();
                assert!(words.append(by("ann"), send).await.is_err());
                since.elapsed()
            })
        })
        .collect();
    for asked in asked {
        let waited = asked.await.unwrap();
        assert!(waited < BOUND + SLOW, "{waited:?}");
    }
    tokio::task::block_in_place(|| postgres.start_again()).unwrap();
    let load = Load::start(&words, &groups, 8);
    load.goes_on(100).await;
    words.holds(&groups, &load.end().await).await;
}
