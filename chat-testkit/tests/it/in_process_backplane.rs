//! The broker in this process keeps the contract, and goes wrong exactly as it is told.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, Rung, Topic};
use chat_testkit::backplane::{Faults, Hub, InProcessBackplane};
use chat_testkit::contract::backplane::BackplaneFixture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const TOPIC: Topic = Topic::Conversations(1);

/// A hub, and by the address of each node the handle to its knobs.
struct InProcess {
    hub: Hub,
    nodes: Mutex<BTreeMap<usize, InProcessBackplane>>,
}

impl InProcess {
    fn start() -> Self {
        Self {
            hub: Hub::new(1),
            nodes: Mutex::default(),
        }
    }

    fn knobs(&self, node: &Arc<dyn Backplane>) -> InProcessBackplane {
        self.nodes.lock().unwrap()[&address(node)].clone()
    }
}

fn address(node: &Arc<dyn Backplane>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

#[async_trait]
impl BackplaneFixture for InProcess {
    async fn node(&self) -> Arc<dyn Backplane> {
        let knobs = self.hub.node();
        let node: Arc<dyn Backplane> = Arc::new(knobs.clone());
        self.nodes.lock().unwrap().insert(address(&node), knobs);
        node
    }

    async fn cut(&self, node: &Arc<dyn Backplane>) {
        self.knobs(node).cut();
    }

    async fn restore(&self, node: &Arc<dyn Backplane>) {
        self.knobs(node).restore();
    }

    async fn end(&self, node: Arc<dyn Backplane>) {
        self.nodes.lock().unwrap().remove(&address(&node));
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(300)
    }
}

mod contract {
    chat_testkit::backplane_contract!(
        #[tokio::test(start_paused = true)]
        super::InProcess::start()
    );
}

/// And on several threads in real time.
mod contract_on_threads {
    chat_testkit::backplane_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        super::InProcess::start()
    );
}

async fn pair(hub: &Hub) -> (InProcessBackplane, InProcessBackplane) {
    let (one, two) = (hub.node(), hub.node());
    two.listen(TOPIC).await.unwrap();
    (one, two)
}

async fn ring(from: &InProcessBackplane, number: u8) {
    from.publish(&[(TOPIC, Bytes::copy_from_slice(&[number]))])
        .await
        .unwrap();
}

/// Everything that arrives until it is silent for a minute: the number and after how many milliseconds.
async fn hear_all(node: &InProcessBackplane) -> Vec<(u8, u128)> {
    let start = Instant::now();
    let mut all = Vec::new();
    while let Ok(rung) = timeout(Duration::from_secs(60), node.recv()).await {
        if let Rung::Bell(bell) = rung {
            all.push((bell[0], start.elapsed().as_millis()));
        }
    }
    all
}

async fn bad_day(seed: u64) -> Vec<(u8, u128)> {
    let hub = Hub::new(seed);
    let (one, two) = pair(&hub).await;
    hub.set_faults(Faults {
        loss: 0.3,
        repeat: 0.3,
        delay: Duration::from_millis(10)..=Duration::from_millis(500),
    });
    for number in 0..=u8::MAX {
        ring(&one, number).await;
    }
    hear_all(&two).await
}

#[tokio::test(start_paused = true)]
async fn it_loses_repeats_and_delays_as_it_is_told() {
    let all = bad_day(7).await;
    let times = |number: u8| all.iter().filter(|(heard, _)| *heard == number).count();
    let lost = (0..=u8::MAX).filter(|number| times(*number) == 0).count();
    let twice = (0..=u8::MAX).filter(|number| times(*number) == 2).count();
    assert!((40..120).contains(&lost), "{lost} of 256 were lost");
    assert!((25..90).contains(&twice), "{twice} of 256 came twice");
    assert!(all.iter().all(|(_, after)| (10..=501).contains(after)));
    assert!(!all.is_sorted_by_key(|(number, _)| *number), "they overtake each other");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_goes_wrong_in_the_same_way() {
    assert_eq!(bad_day(7).await, bad_day(7).await);
    assert_ne!(bad_day(7).await, bad_day(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_mute_node_is_up_and_deaf_and_nobody_notices() {
    let hub = Hub::new(1);
    let (one, two) = pair(&hub).await;
    one.listen(TOPIC).await.unwrap();
    two.mute(true);
    ring(&one, 1).await;
    ring(&two, 2).await;
    assert!(two.is_alive());
    assert_eq!(hear_all(&two).await, []);
    assert_eq!(hear_all(&one).await, [(1, 0)], "only its own");
    two.mute(false);
    ring(&one, 3).await;
    assert_eq!(
        timeout(Duration::from_secs(1), two.recv()).await,
        Ok(Rung::Bell(Bytes::from_static(&[3])))
    );
}

#[tokio::test(start_paused = true)]
async fn what_it_drops_is_counted() {
    let hub = Hub::new(1);
    let (one, two) = pair(&hub).await;
    for _ in 0..5_000 {
        ring(&one, 1).await;
    }
    let tally = hub.tally();
    assert_eq!((tally.published, tally.carried, tally.dropped), (5_000, 4_096, 904));
    assert_eq!(two.recv().await, Rung::Resync);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_restarted_tells_every_node() {
    let hub = Hub::new(1);
    let (one, two) = pair(&hub).await;
    hub.resync_all();
    assert_eq!((one.recv().await, two.recv().await), (Rung::Resync, Rung::Resync));
}
