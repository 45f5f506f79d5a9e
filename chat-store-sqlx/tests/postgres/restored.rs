//! The log under a store goes back in time: its epoch stays, and what is gone is noticed.

use crate::house::House;
use crate::load::{AT_MOST, Load, Words, by, message};
use crate::migrated;
use crate::proxy::Proxy;
use chat_core::Store;
use chat_core::code::{CloseCode, ResetReason};
use chat_core::frame::ServerFrame;
use chat_core::id::{ConversationId, Position, Seq};
use chat_core::store::LogRead;
use chat_store_sqlx::{OpenError, PostgresStore};
use chat_testkit::postgres::PrivatePostgres;
use chat_testkit::wire::Wire;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// Reconcile comes by every 5 s.
const NOTICED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restored_database_has_lost_is_noticed_and_its_epoch_stays() {
    let postgres = PrivatePostgres::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("chat.dump");
    let url = postgres.new_database("chat").unwrap();
    let store = migrated(&url).await;
    let words = Words::on(&store).await;
    let groups = words.groups(5).await;
    words.say(groups[0], "kept").await;
    block_in_place(|| postgres.dump("chat", &dump)).unwrap();
    words.say(groups[0], "lost").await;
    let lost = words.say(groups[0], "lost").await;
    let (epoch, horizon) = (store.identity().await.unwrap().epoch, words.horizon().await);

    // Under another name, for a store that opens it then.
    let other = postgres.new_database("again").unwrap();
    block_in_place(|| postgres.restore("again", &dump)).unwrap();
    let other = PostgresStore::connect(&other).await.unwrap();
    assert_eq!(other.identity().await.unwrap().epoch, epoch);
    notices(&Words::on(&other).await, &groups, lost.seq, position(&lost), &horizon).await;

    // Under a store that is open and an engine that delivers.
    let house = House::on(store.clone()).await;
    let mut ann = house.guest("ann").await;
    assert_eq!(ann.memory().cursors[&groups[0]], position(&lost));
    block_in_place(|| postgres.restore("chat", &dump)).unwrap();
    assert_eq!(reset_of(&mut ann, groups[0]).await, ResetReason::Ahead);
    assert_eq!(store.identity().await.unwrap().epoch, epoch);
    notices(&words, &groups, lost.seq, position(&lost), &horizon).await;
    let said = ann.stored(message(groups[0], "after it")).await;
    assert_eq!(words.log(groups[0]).await.last().unwrap().id, said.id);
}

fn position(stored: &chat_core::frame::Stored) -> Position {
    Position {
        seq: stored.seq,
        tag: stored.tag,
    }
}

/// The place that was lost is ahead of the log, all of which is told to whoever has a horizon from before; once it has grown to where it
/// was, its tag is another.
async fn notices(
    words: &Words,
    groups: &[ConversationId],
    seq: Seq,
    lost: Position,
    horizon: &chat_core::store::Horizon,
) {
    let read = words.try_log(groups[0], seq).await.unwrap();
    assert!(matches!(read, LogRead::Ahead), "{read:?}");
    let changes = words.changed_since(horizon).await;
    assert_eq!(changes.heads.len(), groups.len(), "everything is told again");
    let changes = words.changed_since(&changes.horizon).await;
    assert!(changes.heads.is_empty(), "and then only what changes");
    while words.head(groups[0]).await.seq < seq {
        words.say(groups[0], "another").await;
    }
    match words.try_log(groups[0], seq).await.unwrap() {
        LogRead::Page(page) => assert_ne!(page.after, lost.tag),
        other => panic!("no page: {other:?}"),
    }
}

async fn reset_of(wire: &mut Wire, conversation: ConversationId) -> ResetReason {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < NOTICED, "nobody noticed");
        match wire.next().await {
            ServerFrame::Reset(reset) if reset.conversation == Some(conversation) => return reset.reason,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_has_everything_goes_on_where_the_primary_ended() {
    let primary = PrivatePostgres::start().unwrap();
    let standby = primary.base_backup().unwrap();
    let proxy = Proxy::before(&primary.url()).await;
    let store = migrated(&proxy.url(&primary.url())).await;
    let words = Words::on(&store).await;
    let groups = words.groups(4).await;
    let load = Load::start(&words, &groups, 6);
    load.goes_on(100).await;
    let told = load.end().await;

    let refused = PostgresStore::connect(&standby.url()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Address(_)), "{refused:?}");
    assert!(refused.to_string().contains("standby"), "{refused}");

    block_in_place(|| {
        standby.catch_up_with(&primary).unwrap();
        primary.stop_immediately().unwrap();
        proxy.lead_to(&standby.url());
        standby.promote().unwrap();
    });
    words
        .settle(by("ann"), message(groups[0], "on the new primary"))
        .await
        .unwrap();
    let mut asked = told.clone();
    asked
        .asked
        .extend(words.log(groups[0]).await.last().map(|event| event.id));
    words.holds(&groups, &asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_lost_the_last_messages_is_noticed_by_a_running_engine() {
    let primary = PrivatePostgres::start().unwrap();
    let proxy = Proxy::before(&primary.url()).await;
    let store = migrated(&proxy.url(&primary.url())).await;
    let words = Words::on(&store).await;
    let groups = words.groups(3).await;
    words.say(groups[0], "kept").await;
    let standby = block_in_place(|| {
        let standby = primary.base_backup().unwrap();
        standby.catch_up_with(&primary).unwrap();
        standby.stop().unwrap();
        standby
    });
    let house = House::on(store.clone()).await;
    let mut ann = house.guest("ann").await;
    let mut lost = words.say(groups[0], "lost").await;
    for _ in 0..5 {
        lost = words.say(groups[0], "lost").await;
    }
    let horizon = words.horizon().await;
    house.engine.ring(groups[0]);
    while ann.memory().cursors[&groups[0]] != position(&lost) {
        ann.next().await;
    }
    block_in_place(|| {
        primary.stop_immediately().unwrap();
        standby.start_again().unwrap();
        standby.promote().unwrap();
    });
    // Before anybody asks the new primary it has gone on, beyond the transaction at which the old one ended.
    let elsewhere = Words::on(&PostgresStore::connect(&standby.url()).await.unwrap()).await;
    for n in 0..20 {
        elsewhere.say(groups[1], &n.to_string()).await;
    }
    proxy.lead_to(&standby.url());
    assert_eq!(reset_of(&mut ann, groups[0]).await, ResetReason::Ahead);
    notices(&words, &groups, lost.seq, position(&lost), &horizon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_epoch_is_seen_by_running_nodes_and_told_to_their_clients() {
    let (store, _) = crate::fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(1).await;
    words.say(groups[0], "in the old epoch").await;
    let house = House::on(store.clone()).await;
    let mut ann = house.guest("ann").await;
    let epoch = store.reset_epoch().await.unwrap();
    let first = words.append_all(groups[0], vec![words.item(by("ann"), message(groups[0], "first"))]);
    assert_eq!(first.await.unwrap().epoch, epoch);
    assert_eq!(ann.closed().await, CloseCode::Restart);
    let (mut ann, frames) = Wire::come_back(&house.connector, ann.leave()).await;
    assert!(
        matches!(&frames[0], ServerFrame::Reset(reset) if reset.reason == ResetReason::Epoch),
        "{frames:?}"
    );
    assert_eq!(house.engine.epoch(), epoch);
    assert_eq!(ann.stored(message(groups[0], "in the new epoch")).await.seq, Seq(4));
}

/// Of a cluster that had come further than the one into which it is restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_out_of_another_cluster_tells_its_changes_once() {
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("chat.dump");
    let (groups, horizon) = {
        let further = PrivatePostgres::start().unwrap();
        let burn = "do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$";
        block_in_place(|| further.psql("postgres", burn)).unwrap();
        let store = migrated(&further.url()).await;
        let words = Words::on(&store).await;
        let groups = words.groups(4).await;
        let horizon = words.horizon().await;
        block_in_place(|| further.dump("postgres", &dump)).unwrap();
        (groups, horizon)
    };
    let postgres = PrivatePostgres::start().unwrap();
    block_in_place(|| postgres.restore("postgres", &dump)).unwrap();
    let store = PostgresStore::connect(&postgres.url()).await.unwrap();
    let words = Words::on(&store).await;
    let changes = words.changed_since(&horizon).await;
    assert_eq!(changes.heads.len(), groups.len());
    let end = Instant::now() + AT_MOST;
    let mut horizon = changes.horizon;
    loop {
        // Once more at most, as any change that was made at the time.
        let changes = words.changed_since(&horizon).await;
        horizon = changes.horizon;
        if changes.heads.is_empty() && changes.users.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "told again and again");
    }
    words.say(groups[2], "here").await;
    let changes = words.changed_since(&horizon).await;
    assert_eq!(changes.heads.len(), 1);
    assert_eq!(changes.heads[0].conversation, groups[2]);
}
