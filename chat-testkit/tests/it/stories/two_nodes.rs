//! Two engines on one store, with a bell between them that may fail.

use super::house::{House, RuntimeClock};
use super::say::*;
use chat_core::backplane::Topic;
use chat_core::code::CloseCode;
use chat_core::command::WatchPresence;
use chat_core::frame::ServerFrame;
use chat_core::id::ConversationId;
use chat_core::message::Content;
use chat_core::signal::Signal;
use chat_core::{Builder, Limits};
use chat_store_memory::MemoryStore;
use chat_testkit::backplane::{Faults, Hub, InProcessBackplane, Tally};
use chat_testkit::failing_store::Call;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Wire, events};
use chat_testkit::{FailingStore, StoreFaults};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

pub async fn two_nodes(hub: &Hub) -> [House; 2] {
    two_nodes_with(hub, |_, builder| builder).await
}

pub async fn two_nodes_with(hub: &Hub, change: impl Fn(usize, Builder) -> Builder) -> [House; 2] {
    two_nodes_at([hub.node(), hub.node()], change).await
}

async fn two_nodes_at(bells: [InProcessBackplane; 2], change: impl Fn(usize, Builder) -> Builder) -> [House; 2] {
    // The store's clock decides over leases: here it goes with the runtime's.
    let store = MemoryStore::builder().with_clock(Arc::new(RuntimeClock::new())).build();
    let node = |node: usize| {
        let (store, change, bell) = (store.clone(), &change, bells[node].clone());
        House::with(move |builder| {
            let builder = builder.store(store).backplane(bell).seed(node as u64 + 1);
            change(node, builder)
        })
    };
    [node(0).await, node(1).await]
}

/// Ana on the first node and ben on the second, in a group of their own.
pub async fn ana_and_ben(houses: &[House; 2]) -> (Wire, Wire, ConversationId) {
    let mut ana = houses[0].guest("ana").await;
    let ben = houses[1].guest("ben").await;
    let group = group(&mut ana, &["ben"]).await;
    (ana, ben, group)
}

/// Both sides write; everybody must have all of it, in one order, which the wire itself checks.
async fn both_write(hub: &Hub, houses: &[House; 2], within: Duration) {
    let (mut ana, mut ben, group) = ana_and_ben(houses).await;
    sleep(Duration::from_secs(7)).await;
    ben.drain().await;
    for n in 0..20 {
        say(&mut ana, group, &format!("a{n}")).await;
        say(&mut ben, group, &format!("b{n}")).await;
        sleep(Duration::from_millis(300)).await;
    }
    sleep(within).await;
    let (seen_by_ana, seen_by_ben) = (ana.drain().await, ben.drain().await);
    let heard = told_all(events(&seen_by_ana));
    assert_eq!(heard.len(), 40, "{:?}", hub.tally());
    assert_eq!(heard, told_all(events(&seen_by_ben)));
}

#[tokio::test(start_paused = true)]
async fn users_of_two_nodes_see_one_order_at_once() {
    let hub = Hub::new(1);
    both_write(&hub, &two_nodes(&hub).await, Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn bells_that_find_no_room_cost_seconds_and_nothing_else() {
    let hub = Hub::new(1);
    let mut limits = Limits::default();
    limits.bell_queue_bytes_max = 0;
    let houses = two_nodes_with(&hub, |_, builder| builder.limits(limits.clone())).await;
    both_write(&hub, &houses, Duration::from_secs(7)).await;
    assert_eq!(hub.tally(), Tally::default(), "nothing was rung");
}

#[tokio::test(start_paused = true)]
async fn a_mute_backplane_costs_seconds_and_nothing_else() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    hub.mute_all(true);
    both_write(&hub, &houses, Duration::from_secs(7)).await;
}

#[tokio::test(start_paused = true)]
async fn bells_that_are_late_lost_or_repeated_change_nothing_that_is_seen() {
    for seed in 0..8 {
        let hub = Hub::new(seed);
        hub.set_faults(Faults {
            loss: 0.2,
            repeat: 0.2,
            delay: Duration::ZERO..=Duration::from_secs(2),
        });
        both_write(&hub, &two_nodes(&hub).await, Duration::from_secs(9)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_added_through_another_node_hears_of_it_at_once() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let mut ana = houses[0].guest("ana").await;
    let mut ben = houses[1].guest("ben").await;
    let group = group(&mut ana, &[]).await;
    sleep(Duration::from_secs(1)).await;
    ana.stored(add(group, "ben")).await;
    let announced = timeout(Duration::from_millis(200), ben.next()).await.unwrap();
    assert!(matches!(announced, ServerFrame::Inbox(inbox) if inbox.entries[0].conversation.id == group));
    say(&mut ana, group, "welcome").await;
    let heard = timeout(Duration::from_millis(200), ben.event()).await.unwrap();
    assert_eq!(told(&heard), "new welcome");
}

#[tokio::test(start_paused = true)]
async fn a_removal_through_another_node_is_the_last_thing_that_one_hears() {
    for mute in [false, true] {
        let hub = Hub::new(1);
        let houses = two_nodes(&hub).await;
        let mut ana = houses[0].guest("ana").await;
        let mut ben = houses[1].guest("ben").await;
        let group = group(&mut ana, &["ben"]).await;
        sleep(Duration::from_secs(7)).await;
        hub.mute_all(mute);
        say(&mut ana, group, "hi").await;
        ana.stored(remove(group, "ben")).await;
        say(&mut ana, group, "among ourselves").await;
        sleep(Duration::from_secs(7)).await;
        assert_eq!(
            told_all(events(&ben.drain().await)),
            ["new hi", "removed ben"],
            "mute: {mute}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_goes_on_at_another_node_ends_at_the_first() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let mut old = houses[0].guest("ana").await;
    let memory = old.memory().clone();
    let mut new = Wire::dial(&houses[1].connector, Dial::default()).await;
    new.go_on(memory.clone()).await;
    assert_eq!(new.memory().session, memory.session);
    assert_eq!(old.closed().await, CloseCode::Replaced);
}

/// Waits until a watcher is told that somebody is online or not.
async fn told_presence(wire: &mut Wire, online: bool) -> Duration {
    let since = Instant::now();
    loop {
        if let ServerFrame::Signal(Signal::Presence(presence)) = wire.next().await
            && presence.online == online
        {
            return since.elapsed();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn users_of_a_node_that_is_killed_are_offline_everywhere_within_fifteen_seconds() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let mut ana = houses[0].guest("ana").await;
    let mut ben = houses[1].guest("ben").await;
    group(&mut ana, &["ben"]).await;
    sleep(Duration::from_secs(5)).await;
    ben.done(WatchPresence {
        users: vec![user("ana")],
    })
    .await;
    told_presence(&mut ben, true).await;
    houses[0].engine.kill();
    assert!(told_presence(&mut ben, false).await <= Duration::from_secs(15));
    // She comes back at the node that lives, and no ghost of the dead one takes her away again.
    let memory = ana.leave();
    let (_ana, _) = Wire::come_back(&houses[1].connector, memory).await;
    told_presence(&mut ben, true).await;
    sleep(Duration::from_secs(25)).await;
    assert!(houses[1].engine.presence(&user("ana")).online);
}

#[tokio::test(start_paused = true)]
async fn a_backplane_of_short_bells_carries_everything_in_its_way() {
    for (by_limit, by_backplane) in [(1_024, 64 * 1024), (48 * 1024, 1_024)] {
        let hub = Hub::new(1);
        hub.set_bell_bytes_max(by_backplane);
        let limits = |builder: Builder| {
            let mut limits = Limits::default();
            limits.bell_bytes_max = by_limit;
            builder.limits(limits)
        };
        let houses = two_nodes_with(&hub, |_, builder| limits(builder)).await;
        let mut ana = houses[0].guest("ana").await;
        let mut ben = houses[1].guest("ben").await;
        let group = group(&mut ana, &["ben"]).await;
        sleep(Duration::from_secs(7)).await;
        ben.drain().await;
        // A message that no bell carries rings with its head.
        let words = "x".repeat(4_000);
        say(&mut ana, group, &words).await;
        let heard = timeout(Duration::from_millis(200), ben.event()).await.unwrap();
        assert_eq!(told(&heard), format!("new {words}"));
        // A list of users that no bell carries comes in parts: asked for by a node that missed them all.
        hub.mute_all(true);
        let mut many = Vec::new();
        for number in 0..40 {
            many.push(houses[0].guest(&format!("{}{number}", "somebody".repeat(7))).await);
        }
        hub.mute_all(false);
        sleep(Duration::from_secs(5)).await;
        let last = user(&format!("{}39", "somebody".repeat(7)));
        assert!(houses[1].engine.presence(&last).online);
        let tally = hub.tally();
        assert!(tally.refused == 0 && tally.longest <= 1_024, "{tally:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backplane_that_is_not_meant_for_events_says_where_logs_end() {
    let hub = Hub::new(1);
    hub.set_carries_events(false);
    let houses = two_nodes(&hub).await;
    let (ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    ben.drain().await;
    let before = hub.tally();
    houses[0].fill(group, 100).await;
    assert_eq!(events(&ben.drain_for(Duration::from_millis(200)).await).len(), 100);
    let after = hub.tally();
    assert!(after.longest < 1_024, "no event was rung: {after:?}");
    assert!(after.published > before.published, "{after:?}");
    drop(ana);
}

/// Ana at the first node, and fifty who listen to one conversation at the second, whose reads of logs are counted. A page
/// holds ten events.
async fn fifty_listeners(hub: &Hub) -> ([House; 2], StoreFaults, Vec<Wire>, ConversationId) {
    let store = MemoryStore::builder().with_clock(Arc::new(RuntimeClock::new())).build();
    let counted = FailingStore::new(Arc::new(store.clone()), 1);
    let faults = counted.faults();
    let mut limits = Limits::default();
    limits.page_events_max = 10;
    let there = limits.clone();
    let houses = [
        House::with(|builder| builder.store(store).limits(limits).backplane(hub.node())).await,
        House::with(|builder| builder.store(counted).limits(there).backplane(hub.node()).seed(2)).await,
    ];
    let names: Vec<String> = (0..50).map(|number| format!("guest{number}")).collect();
    let mut ana = houses[0].guest("ana").await;
    let group = group(&mut ana, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut guests = Vec::new();
    for name in &names {
        guests.push(houses[1].guest(name).await);
    }
    sleep(Duration::from_secs(7)).await;
    for guest in &mut guests {
        guest.drain_for(Duration::from_millis(1)).await;
    }
    (houses, faults, guests, group)
}

#[tokio::test(start_paused = true)]
async fn a_bell_that_says_where_a_log_ends_is_one_read_of_it_however_many_listen() {
    for (carries_events, bell_bytes_max) in [(false, 64 * 1024), (true, 1_024)] {
        let hub = Hub::new(1);
        hub.set_carries_events(carries_events);
        hub.set_bell_bytes_max(bell_bytes_max);
        let (houses, faults, mut guests, group) = fifty_listeners(&hub).await;
        let before = faults.calls_of(Call::Log);
        let words = "x".repeat(4_000);
        let content = Content::text(words.as_str());
        let system = houses[0].engine.system();
        system.send(group, fresh_message(), content).await.unwrap();
        for guest in &mut guests {
            let heard = timeout(Duration::from_millis(200), guest.event()).await.unwrap();
            assert_eq!(told(&heard), format!("new {words}"));
        }
        assert_eq!(faults.calls_of(Call::Log) - before, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_several_pages_is_read_once_for_all_who_listen() {
    for carries_events in [true, false] {
        let hub = Hub::new(1);
        hub.set_carries_events(carries_events);
        let (houses, faults, mut guests, group) = fifty_listeners(&hub).await;
        let before = faults.calls_of(Call::Log);
        hub.mute_all(true);
        houses[0].fill(group, 35).await;
        hub.mute_all(false);
        houses[0].fill(group, 1).await;
        for guest in &mut guests {
            let frames = guest.drain_for(Duration::from_millis(50)).await;
            assert_eq!(events(&frames).len(), 36);
        }
        let reads = faults.calls_of(Call::Log) - before;
        assert!(reads <= 5, "{reads} reads of four pages");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_no_longer_listened_to_some_time_after_its_last_listener_went() {
    let hub = Hub::new(1);
    let bells = [hub.node(), hub.node()];
    let houses = two_nodes_at(bells.clone(), |_, builder| builder).await;
    let (_ana, ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    let with_ben = bells[1].topics();
    assert!(with_ben.contains(&Topic::Nodes) && with_ben.len() == 3, "{with_ben:?}");
    let memory = ben.leave();
    sleep(Duration::from_secs(29)).await;
    assert_eq!(bells[1].topics(), with_ben, "he may come back");
    let (mut ben, _) = Wire::come_back(&houses[1].connector, memory).await;
    for _ in 0..6 {
        ben.drain_for(Duration::from_secs(20)).await;
    }
    assert_eq!(bells[1].topics(), with_ben, "he is here");
    drop(ben);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bells[1].topics(), [Topic::Nodes].into());
    // Who comes then hears at once all the same.
    let mut ben = houses[1].guest("ben").await;
    houses[0].fill(group, 1).await;
    let heard = timeout(Duration::from_millis(200), ben.event()).await.unwrap();
    assert_eq!(told(&heard), "new 1");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_or_deaf_says_that_it_is_degraded_and_stays_ready() {
    let hub = Hub::new(1);
    let bells = [hub.node(), hub.node()];
    let houses = two_nodes_at(bells.clone(), |_, builder| builder).await;
    let [first, second] = houses.each_ref().map(|house| &house.engine);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((first.degraded(), second.degraded()), (None, None));
    bells[0].cut();
    assert!(first.degraded().is_some_and(|why| why.contains("gone")));
    bells[0].restore();
    bells[1].mute(true);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(first.degraded(), None);
    assert!(second.degraded().is_some_and(|why| why.contains("deaf")));
    assert_eq!((first.ready(), second.ready()), (Ok(()), Ok(())));
    bells[1].mute(false);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(second.degraded(), None);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_forgets_who_listens_is_told_again() {
    let hub = Hub::new(1);
    let bells = [hub.node(), hub.node()];
    let houses = two_nodes_at(bells.clone(), |_, builder| builder).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    bells[1].forget();
    sleep(Duration::from_secs(25)).await;
    ben.drain().await;
    say(&mut ana, group, "heard at once").await;
    let heard = timeout(Duration::from_millis(200), ben.event()).await.unwrap();
    assert_eq!(told(&heard), "new heard at once");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_is_never_degraded() {
    let house = House::open().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(house.engine.degraded(), None);
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_back_all_at_once_read_in_turn_and_keep_nobody_from_writing() {
    let store = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = store.faults();
    let house = House::with(|builder| builder.store(store)).await;
    let names: Vec<String> = (0..30).map(|number| format!("guest{number}")).collect();
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut memories = Vec::new();
    for name in &names {
        memories.push(house.guest(name).await.leave());
    }
    house.fill(group, 250).await;
    faults.hold(Some(Call::Log));
    let mut coming = tokio::task::JoinSet::new();
    for memory in memories {
        let connector = house.connector.clone();
        coming.spawn(async move { Wire::come_back(&connector, memory).await });
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(faults.waiting(), Limits::default().session_reads_max);
    say(&mut ana, group, "meanwhile").await;
    faults.hold(None);
    for (_, frames) in coming.join_all().await {
        assert_eq!(
            told_all(events(&frames)).last().map(String::as_str),
            Some("new meanwhile")
        );
    }
}
