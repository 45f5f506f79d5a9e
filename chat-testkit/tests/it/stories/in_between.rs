//! What happens between two reads of the store: nothing is missed, and nobody counts as a member before the store says so.

use super::house::{House, RuntimeClock};
use super::say::*;
use super::two_nodes::{ana_and_ben, two_nodes};
use chat_core::Store;
use chat_core::command::{Typing, WatchConversations};
use chat_core::conversation::ConversationKind;
use chat_core::frame::ServerFrame;
use chat_core::hooks::OnlyHandshake;
use chat_core::id::{NodeId, Position, Seq, Tag};
use chat_core::signal::Signal;
use chat_store_memory::MemoryStore;
use chat_testkit::FailingStore;
use chat_testkit::backplane::Hub;
use chat_testkit::failing_store::Call;
use chat_testkit::transport::Dial;
use chat_testkit::wire::Wire;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test(start_paused = true)]
async fn who_is_removed_and_added_again_between_two_reconciles_has_no_gap() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    ben.drain().await;
    hub.mute_all(true);
    say(&mut ana, group, "one").await;
    ana.stored(remove(group, "ben")).await;
    ana.stored(add(group, "ben")).await;
    say(&mut ana, group, "two").await;
    sleep(Duration::from_secs(12)).await;
    ben.drain().await;
    // Created, one, removed, added, two: nothing more has to happen for it to arrive.
    assert_eq!(ben.memory().cursors[&group].seq, Seq(5));
    say(&mut ana, group, "three").await;
    sleep(Duration::from_secs(12)).await;
    // The wire itself refuses gaps.
    ben.drain().await;
    assert_eq!(ben.memory().cursors[&group].seq, Seq(6));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_reconcile_sees_while_memberships_are_read_is_not_missed() {
    let (hub, store) = (Hub::new(1), MemoryStore::new());
    let late = FailingStore::new(Arc::new(store.clone()), 1);
    let faults = late.faults();
    let (one, two) = (hub.node(), hub.node());
    let first = House::with(|builder| builder.store(store).backplane(one).seed(1)).await;
    let second = House::with(|builder| builder.store(late).backplane(two).seed(2)).await;
    let mut ana = first.guest("ana").await;
    let group = group(&mut ana, &["ben"]).await;
    sleep(Duration::from_secs(7)).await;
    hub.mute_all(true);
    let memory = second.guest("ben").await.leave();
    sleep(Duration::from_secs(1)).await;
    faults.answer_late(Call::Memberships, Duration::from_secs(6));
    let connector = second.connector.clone();
    let coming = tokio::spawn(async move { Wire::come_back(&connector, memory).await });
    sleep(Duration::from_millis(200)).await;
    say(&mut ana, group, "in between").await;
    let (mut ben, _) = coming.await.unwrap();
    faults.calm();
    sleep(Duration::from_secs(10)).await;
    ben.drain().await;
    assert_eq!(ben.memory().cursors[&group].seq, Seq(2));
}

#[tokio::test(start_paused = true)]
async fn a_former_member_who_resumes_is_not_seen_typing_and_sees_nobody_type() {
    let late = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = late.faults();
    let house = House::with(|builder| builder.store(late)).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    ana.stored(remove(group, "ben")).await;
    ben.drain().await;
    let mut memory = ben.leave();
    let made_up = Position {
        seq: Seq(1),
        tag: Tag(1),
    };
    memory.cursors.insert(group, made_up);
    let watch = WatchConversations {
        conversations: vec![group],
    };
    ana.done(watch.clone()).await;
    ana.drain().await;
    faults.answer_late(Call::Memberships, Duration::from_secs(1));
    let mut ben = Wire::dial(&house.connector, Dial::default()).await;
    ben.start(memory).await;
    sleep(Duration::from_millis(100)).await;
    let typing = Typing {
        conversation: group,
        active: true,
    };
    ben.done(watch).await;
    ben.done(typing.clone()).await;
    ana.done(typing).await;
    let is_typing = |frame: &ServerFrame| matches!(frame, ServerFrame::Signal(Signal::Typing(_)));
    let heard = (ana.drain().await, ben.drain_for(Duration::from_secs(3)).await);
    assert!(!heard.0.iter().any(is_typing), "{heard:?}");
    assert!(!heard.1.iter().any(is_typing), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stored_add_answers_again_when_the_two_share_nothing_any_more() {
    let house = House::with(|builder| builder.hooks(OnlyHandshake)).await;
    let engine = &house.engine;
    let shared = create(ConversationKind::Group, &["ana", "ben"]);
    engine.system().store(shared.clone()).await.unwrap();
    let other = create(ConversationKind::Group, &[]);
    engine.user(user("ana")).store(other.clone()).await.unwrap();
    let add = add(other.conversation, "ben");
    let stored = engine.user(user("ana")).store(add.clone()).await.unwrap();
    for conversation in [shared.conversation, other.conversation] {
        engine.user(user("ben")).store(leave(conversation)).await.unwrap();
    }
    let again = engine.user(user("ana")).store(add).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.seq, stored.seq);
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_use_up_what_a_conversation_may_send() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &["ben"]).await;
    for stranger in 0..10 {
        let mut stranger = house.guest(&format!("stranger{stranger}")).await;
        for _ in 0..20 {
            stranger.refused(text(group, "let me in")).await;
        }
    }
    say(&mut ana, group, "mine").await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_waits_for_is_carried_out() {
    let store = MemoryStore::builder().with_clock(Arc::new(RuntimeClock::new())).build();
    let own = store.clone();
    let house = House::with(|builder| builder.store(own)).await;
    let mut ben = house.guest("ben").await;
    sleep(Duration::from_secs(1)).await;
    let shutdown = house.engine.shutdown(Duration::from_secs(10));
    assert!(timeout(Duration::from_nanos(1), shutdown).await.is_err());
    ben.ending().await;
    sleep(Duration::from_secs(20)).await;
    let other = NodeId::from_parts(9, [9; 10]);
    let leases = store.renew_lease(other, Duration::from_secs(10)).await.unwrap();
    assert!(leases.iter().all(|lease| lease.remaining.is_zero()), "{leases:?}");
}
