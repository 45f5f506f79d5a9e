//! Whatever becomes of a broker, every message arrives once and in order; and when it is over, bells carry again.

use super::stage::{Broker, Stage};
use std::time::Duration;
use tokio::time::sleep;

/// As long as a node may stay behind without bells: reconcile's interval, and a moment for the rest.
const SILENT_AT_MOST: Duration = Duration::from_secs(7);

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
    a_broker_that_is_up_and_behind_links_that_swallow_everything,
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
    stage.broker.server().kill().unwrap();
    stage.are_degraded(true).await;
    let mut waits = Vec::new();
    for _ in 0..2 {
        stage.say(1).await;
        waits.push(stage.hear().await);
    }
    // A slow machine may spoil one of them, hardly both.
    let [own, other] = [0, 1].map(|at| waits.iter().map(|wait| wait[at]).min().unwrap());
    assert!(own < Duration::from_secs(1), "{waits:?}");
    assert!(other <= SILENT_AT_MOST, "{waits:?}");
}

async fn a_broker_that_freezes_and_goes_on(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    stage.broker.server().freeze().unwrap();
    stage.say(2).await;
    let waits = stage.hear().await;
    assert!(waits[1] <= 2 * SILENT_AT_MOST, "{waits:?}");
    stage.are_degraded(true).await;
    stage.say(2).await;
    stage.hear().await;
    stage.broker.server().thaw().unwrap();
    stage.rings().await;
    stage.are_degraded(false).await;
}

async fn a_broker_that_is_up_and_behind_links_that_swallow_everything(broker: Broker) {
    let mut stage = Stage::open(broker).await;
    for link in &stage.links {
        link.faults(|faults| faults.down.stalled = true);
        link.lose();
    }
    stage.say(4).await;
    stage.hear().await;
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
