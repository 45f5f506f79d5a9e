//! The contract, where nodes are cut off by a black hole.

use async_trait::async_trait;
use chat_backplane_nats::NatsBackplane;
use chat_core::backplane::Backplane;
use chat_testkit::contract::backplane::BackplaneFixture;
use chat_testkit::link::Link;
use chat_testkit::nats::PrivateNats;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One server, and a link to it for each node, by the node's address.
struct Single {
    nats: PrivateNats,
    links: Mutex<BTreeMap<usize, Link>>,
}

impl Single {
    fn start() -> Self {
        Self {
            nats: PrivateNats::start().unwrap(),
            links: Mutex::default(),
        }
    }
}

fn address(node: &Arc<dyn Backplane>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

#[async_trait]
impl BackplaneFixture for Single {
    async fn node(&self) -> Arc<dyn Backplane> {
        let link = Link::start(([127, 0, 0, 1], self.nats.port()).into()).await.unwrap();
        let backplane = NatsBackplane::connect(&self.nats.url_through(link.address())).await;
        let node: Arc<dyn Backplane> = Arc::new(backplane.unwrap());
        self.links.lock().unwrap().insert(address(&node), link);
        node
    }

    async fn cut(&self, node: &Arc<dyn Backplane>) {
        let links = self.links.lock().unwrap();
        let link = &links[&address(node)];
        // Nobody hangs up: what is there leads nowhere, and so does what comes.
        link.faults(|faults| (faults.up.stalled, faults.down.stalled) = (true, true));
        link.lose();
    }

    async fn restore(&self, node: &Arc<dyn Backplane>) {
        self.links.lock().unwrap()[&address(node)].heal();
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }
}

chat_testkit::backplane_contract!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    Single::start()
);
