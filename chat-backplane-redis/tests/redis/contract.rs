//! The contract: with one server, where nodes are cut off by a black hole, and with a cluster that throws them out.

use async_trait::async_trait;
use chat_backplane_redis::RedisBackplane;
use chat_core::backplane::Backplane;
use chat_testkit::contract::backplane::BackplaneFixture;
use chat_testkit::link::Link;
use chat_testkit::redis::{PrivateRedis, PrivateRedisCluster};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// One server, and a link to it for each node, by the node's address.
struct Single {
    redis: PrivateRedis,
    links: Mutex<BTreeMap<usize, Link>>,
}

impl Single {
    fn start() -> Self {
        Self {
            redis: PrivateRedis::start().unwrap(),
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
        let link = Link::start(([127, 0, 0, 1], self.redis.port()).into()).await.unwrap();
        let backplane = RedisBackplane::connect(&self.redis.url_through(link.address())).await;
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

mod single {
    chat_testkit::backplane_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        super::Single::start()
    );
}

/// One cluster for all, since it takes seconds to be whole; its guard ends it with this process.
static CLUSTER: LazyLock<PrivateRedisCluster> = LazyLock::new(|| PrivateRedisCluster::start().unwrap());

/// What is one test's there: channels of its own, and a user for each node, by the node's address.
struct Cluster {
    prefix: String,
    users: Mutex<BTreeMap<usize, String>>,
}

impl Cluster {
    fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self {
            prefix: format!("chat{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            users: Mutex::default(),
        }
    }

    fn on_every_server(&self, words: &[&str]) {
        for redis in CLUSTER.nodes() {
            redis.command(words).unwrap();
        }
    }

    fn user(&self, node: &Arc<dyn Backplane>) -> String {
        self.users.lock().unwrap()[&address(node)].clone()
    }
}

#[async_trait]
impl BackplaneFixture for Cluster {
    async fn node(&self) -> Arc<dyn Backplane> {
        let user = format!("{}-{}", self.prefix, self.users.lock().unwrap().len());
        let channels = format!("&{}:*", self.prefix);
        // What the README says that such a user needs, and no more.
        let may = "+ping +info +cluster|slots +spublish +ssubscribe +sunsubscribe";
        let mut words = vec!["ACL", "SETUSER", &user, "on", ">secret", "resetchannels", &channels];
        words.extend(may.split(' '));
        self.on_every_server(&words);
        // One server is enough to find the others.
        let url = format!("redis://{user}:secret@127.0.0.1:{}", CLUSTER.nodes()[1].port());
        let backplane = RedisBackplane::connect_with_prefix(&url, &self.prefix).await;
        let node: Arc<dyn Backplane> = Arc::new(backplane.unwrap());
        self.users.lock().unwrap().insert(address(&node), user);
        node
    }

    async fn cut(&self, node: &Arc<dyn Backplane>) {
        let user = self.user(node);
        self.on_every_server(&["ACL", "SETUSER", &user, "off"]);
        self.on_every_server(&["CLIENT", "KILL", "USER", &user]);
    }

    async fn restore(&self, node: &Arc<dyn Backplane>) {
        self.on_every_server(&["ACL", "SETUSER", &self.user(node), "on"]);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(500)
    }
}

mod cluster {
    chat_testkit::backplane_contract!(
        #[tokio::test]
        super::Cluster::start()
    );
}
