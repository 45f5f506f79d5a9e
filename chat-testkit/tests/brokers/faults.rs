//! Whatever becomes of a broker, every message arrives once and in order; and when it is over, bells carry again.

use super::stage::{Broker, Stage};
use std::time::Duration;
use tokio::time::sleep;

/// As long as a node may stay behind without bells: reconcile's interval, and a moment for the rest.
const SILENT_AT_MOST: Duration = Duration::from_secs(7);

/// Between things that are said while all is well.
const QUICKLY: Duration = Duration::from_millis(30);

/// Five times that, and reconcile's interval was met at its beginning, in the middle, and at its end.
const AT_ODD_MOMENTS: Duration = Duration::from_millis(870);

/// What becomes of messages without bells. A slow machine may spoil one of five, hardly two.
fn costs_seconds_between_nodes_and_nothing_within_one(healthy: &[Vec<Duration>; 2], waits: [Vec<Duration>; 2]) {
    let [own, other] = waits.each_ref().map(|waits| {
        let mut waits = waits.clone();
        waits.sort();
        waits[waits.len() - 2]
    });
    let slowest = healthy[0].iter().max().unwrap();
    let unchanged = 10 * *slowest + Duration::from_millis(250);
    assert!(own <= unchanged, "{waits:?}; when all was well {healthy:?}");
    assert!(other <= SILENT_AT_MOST, "{waits:?}");
}

/// Every story for every broker.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                super::$story(super::Broker::redis()).await;
            })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                super::$story(super::Broker::nats()).await;
            })*
        }
    };
}

stories![
    a_broker_that_is_killed_and_comes_back,
    a_broker_that_stays_away_costs_seconds_between_nodes_and_nothing_within_one,
    a_broker_that_freezes_and_goes_on,
    a_broker_that_is_up_and_behind_links_that_swallow_everything_or_are_deaf,
    connections_that_are_cut_and_reset,
    a_broker_that_is_slow,
    a_flood,
];

async fn a_broker_that_is_killed_and_comes_back(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    for _ in 0..2 {
        stage.say(3).await;
        stage.broker.server().kill().unwrap();
        stage.say(3).await;
        stage.are_degraded(true).await;
        stage.broker.server().start_again().unwrap();
        stage.say(3).await;
        stage.hear().await;
        stage.rings().await;
    }
    stage.are_degraded(false).await;
}

async fn a_broker_that_stays_away_costs_seconds_between_nodes_and_nothing_within_one(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let healthy = stage.waits(QUICKLY).await;
    stage.broker.server().kill().unwrap();
    stage.are_degraded(true).await;
    costs_seconds_between_nodes_and_nothing_within_one(&healthy, stage.waits(AT_ODD_MOMENTS).await);
}

async fn a_broker_that_freezes_and_goes_on(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let healthy = stage.waits(QUICKLY).await;
    stage.broker.server().freeze().unwrap();
    costs_seconds_between_nodes_and_nothing_within_one(&healthy, stage.waits(AT_ODD_MOMENTS).await);
    stage.are_degraded(true).await;
    stage.say(2).await;
    stage.broker.server().thaw().unwrap();
    stage.hear().await;
    stage.rings().await;
    stage.are_degraded(false).await;
}

/// One node's link swallows everything in both directions, the other's only what the broker says.
async fn a_broker_that_is_up_and_behind_links_that_swallow_everything_or_are_deaf(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let healthy = stage.waits(QUICKLY).await;
    for link in &stage.links {
        link.faults(|faults| faults.down.stalled = true);
    }
    stage.links[0].lose();
    costs_seconds_between_nodes_and_nothing_within_one(&healthy, stage.waits(AT_ODD_MOMENTS).await);
    stage.are_degraded(true).await;
    stage.links.iter().for_each(|link| link.heal());
    stage.rings().await;
    stage.are_degraded(false).await;
}

async fn connections_that_are_cut_and_reset(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    for round in 0..3 {
        stage.say(2).await;
        match (&stage.broker, round) {
            (Broker::Redis(redis), 0) => assert_eq!(redis.cut_subscribers().unwrap(), 2),
            (_, 1) => stage.links[0].reset(),
            _ => stage.links[1].cut(),
        }
        stage.say(2).await;
        stage.hear().await;
        stage.rings().await;
    }
}

async fn a_broker_that_is_slow(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    for link in &stage.links {
        link.faults(|faults| faults.down.delay = Duration::from_secs(2));
    }
    for _ in 0..4 {
        stage.say(2).await;
        sleep(Duration::from_millis(500)).await;
    }
    stage.hear().await;
    // Late is not gone.
    stage.rings().await;
    stage.links.iter().for_each(|link| link.heal());
    stage.rings().await;
    stage.are_degraded(false).await;
}

async fn a_flood(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    for _ in 0..10 {
        stage.say(200).await;
        stage.hear().await;
    }
    stage.rings().await;
    stage.are_degraded(false).await;
}
