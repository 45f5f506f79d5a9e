//! Memberships that end or begin again while a node is deaf, late, or has no room.

use super::house::{House, RuntimeClock, narrow};
use super::say::*;
use super::two_nodes::ana_and_ben;
use chat_core::command::InboxMute;
use chat_core::frame::{Resume, ServerFrame};
use chat_store_memory::MemoryStore;
use chat_testkit::backplane::Hub;
use chat_testkit::failing_store::{Call, Failure};
use chat_testkit::wire::{Memory, Wire, events};
use chat_testkit::{FailingStore, StoreFaults};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longer than a round of reconcile.
const HEALED: Duration = Duration::from_secs(7);

/// Two nodes on one store, the second of which hears no bells from when it is told, and whose store may go wrong.
async fn a_node_and_a_deaf_one(hub: &Hub) -> ([House; 2], StoreFaults) {
    let store = MemoryStore::builder().with_clock(Arc::new(RuntimeClock::new())).build();
    let failing = FailingStore::new(Arc::new(store.clone()), 1);
    let faults = failing.faults();
    let one = House::with(|builder| builder.store(store).backplane(hub.node())).await;
    let other = House::with(|builder| builder.store(failing).backplane(hub.node()).seed(2)).await;
    ([one, other], faults)
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_log_that_the_store_does_not_answer_is_tried_again() {
    let hub = Hub::new(1);
    let (houses, faults) = a_node_and_a_deaf_one(&hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(HEALED).await;
    hub.mute_all(true);
    faults.fail_next(Call::Log, Failure::BeforeTheEffect);
    say(&mut ana, group, "hi").await;
    let heard = timeout(HEALED, ben.event())
        .await
        .expect("reconcile looks until it sees");
    assert_eq!(told(&heard), "new hi");
    assert_eq!(faults.failures(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_their_inbox_is_read_hears_of_it() {
    let hub = Hub::new(1);
    let (houses, faults) = a_node_and_a_deaf_one(&hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(HEALED).await;
    hub.mute_all(true);
    // His memberships are read and his entries are not, when he is removed.
    faults.hold(Some(Call::Entries));
    ben.done(InboxMute {
        conversation: group,
        muted: true,
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    ana.stored(remove(group, "ben")).await;
    faults.hold(None);
    sleep(HEALED).await;
    assert_eq!(told_all(events(&ben.drain().await)), ["removed ben"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_delivered_late_leaves_the_membership_that_began_since() {
    let hub = Hub::new(1);
    let (houses, _) = a_node_and_a_deaf_one(&hub).await;
    let mut ana = houses[0].guest("ana").await;
    let mut ben = houses[1].guest("ben").await;
    // Somebody whose session keeps the second node where it is.
    let _cy = houses[1].guest("cy").await;
    let group = group(&mut ana, &["ben", "cy"]).await;
    sleep(HEALED).await;
    ben.drain().await;
    hub.mute_all(true);
    ana.stored(remove(group, "ben")).await;
    ana.stored(add(group, "ben")).await;
    let (mut ben, _) = Wire::come_back(&houses[1].connector, ben.leave()).await;
    say(&mut ana, group, "again").await;
    sleep(HEALED).await;
    let frames = ben.drain().await;
    assert_eq!(told_all(events(&frames)), ["new again"]);
    let entries = frames.iter().filter(|frame| matches!(frame, ServerFrame::Inbox(_)));
    assert_eq!(entries.count(), 0, "nothing begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_found_no_room_is_heard_when_there_is_some() {
    let house = House::limited(|limits| limits.session_queue_frames_max = 4).await;
    let mut ana = house.guest("ana").await;
    let (left, kept) = (group(&mut ana, &["ben"]).await, group(&mut ana, &["ben"]).await);
    let mut ben = Wire::dial(&house.connector, narrow(64)).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.resume(Resume::default()).await;
    // He reads nothing: his removal waits in his queue, until the other conversation fills it.
    house.fill(left, 2).await;
    ana.stored(remove(left, "ben")).await;
    house.fill(kept, 5).await;
    let frames = ben.drain().await;
    let of = |conversation| {
        let events = events(&frames).into_iter();
        told_all(events.filter(move |event| event.conversation == conversation))
    };
    assert_eq!(of(left), ["new 1", "new 2", "removed ben"]);
    assert_eq!(of(kept).len(), 5);
}
