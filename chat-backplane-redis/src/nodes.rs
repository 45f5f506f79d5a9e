//! The servers that there are, what is listened to on each, and the task that keeps it so.

use crate::connection::{Connection, Ear};
use crate::layout::{self, Slots};
use bytes::Bytes;
use chat_core::backplane::Topic;
use futures_util::future::join_all;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, Value, pipe};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::sleep;

/// How often every server is asked whether it is there.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// Between two looks for servers that are missing: this, and then twice as much each time, up to the pace above.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Nodes {
    /// Where to look, as the host said.
    servers: Vec<ConnectionInfo>,
    prefix: String,
    pub ear: Arc<Ear>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Arc<Node>>,
    wanted: BTreeSet<Topic>,
    /// Every slot has its server, and each hears what is wanted of it.
    is_whole: bool,
}

/// A server, and what it is the one for.
struct Node {
    connection: Connection,
    slots: Slots,
    verbs: &'static Verbs,
}

struct Verbs {
    publish: &'static str,
    subscribe: &'static str,
    unsubscribe: &'static str,
}

static ALONE: Verbs = Verbs {
    publish: "PUBLISH",
    subscribe: "SUBSCRIBE",
    unsubscribe: "UNSUBSCRIBE",
};
static SHARDED: Verbs = Verbs {
    publish: "SPUBLISH",
    subscribe: "SSUBSCRIBE",
    unsubscribe: "SUNSUBSCRIBE",
};

/// Looks for servers that are missing and asks the others whether they are there. Owned by the backplane's handle.
pub(crate) async fn keep(nodes: Arc<Nodes>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if nodes.is_alive() {
            tokio::select! { biased; () = nodes.ear.lost.notified() => {}, () = sleep(ASKED_EVERY) => pause = FIRST_PAUSE }
            nodes.ask_all().await;
            if !nodes.is_alive() {
                tracing::warn!("redis does not answer; bells are silent until it does");
            }
        } else {
            match nodes.look().await {
                Ok(()) if nodes.is_alive() => tracing::info!("redis answers"),
                Ok(()) => tracing::debug!("not every slot of the cluster has a server that answers"),
                Err(error) => tracing::debug!(%error, "redis cannot be reached"),
            }
            // Also after success: a server may take everybody in and then throw them out.
            sleep(pause).await;
            pause = (2 * pause).min(ASKED_EVERY);
        }
    }
}

impl Nodes {
    pub fn new(servers: Vec<ConnectionInfo>, prefix: &str) -> Self {
        Self {
            servers,
            prefix: prefix.to_owned(),
            ear: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// The first look; only what waiting does not heal is an error.
    pub async fn find(&self) -> RedisResult<()> {
        use ErrorKind::{AuthenticationFailed, InvalidClientConfig, RESP3NotSupported};
        let Err(error) = self.look().await else {
            return Ok(());
        };
        let is_final = matches!(
            error.kind(),
            AuthenticationFailed | InvalidClientConfig | RESP3NotSupported
        );
        if is_final || matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM")) {
            return Err(error);
        }
        tracing::warn!(%error, "redis cannot be reached; bells are silent until it can");
        Ok(())
    }

    pub fn is_alive(&self) -> bool {
        let state = self.state();
        state.is_whole && state.nodes.iter().all(|node| !node.connection.is_lost())
    }

    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.addr().to_string()).collect()
    }

    pub async fn publish(&self, bells: &[(Topic, Bytes)]) -> RedisResult<()> {
        let nodes = self.state().nodes.clone();
        let mut pipelines: BTreeMap<usize, Pipeline> = BTreeMap::new();
        let mut outcome = Ok(());
        for (topic, bell) in bells {
            let channel = self.channel(*topic);
            match nodes.iter().position(|node| node.has(&channel)) {
                Some(at) => {
                    let pipeline = pipelines.entry(at).or_default();
                    pipeline
                        .cmd(nodes[at].verbs.publish)
                        .arg(channel)
                        .arg(&bell[..])
                        .ignore();
                }
                None => outcome = Err(nowhere()),
            }
        }
        let rung = pipelines
            .iter()
            .map(|(at, pipeline)| nodes[*at].connection.ask(pipeline));
        join_all(rung).await.into_iter().fold(outcome, RedisResult::and)
    }

    /// The engine calls this and [`unlisten`](Self::unlisten) one after the other, so that what was wanted last is what
    /// the server is told last.
    pub async fn listen(&self, topic: Topic) -> RedisResult<()> {
        let channel = self.channel(topic);
        // Under one lock: a server that is found later is told of all that is wanted by then.
        let node = {
            let mut state = self.state();
            state.wanted.insert(topic);
            state.node_of(&channel)
        };
        let node = node.ok_or_else(nowhere)?;
        node.connection
            .ask(pipe().cmd(node.verbs.subscribe).arg(channel).ignore())
            .await
    }

    pub async fn unlisten(&self, topic: Topic) -> RedisResult<()> {
        let channel = self.channel(topic);
        let node = {
            let mut state = self.state();
            match state.wanted.remove(&topic) {
                true => state.node_of(&channel),
                false => None,
            }
        };
        match node {
            Some(node) => {
                let leave = pipe().cmd(node.verbs.unsubscribe).arg(channel).ignore().clone();
                node.connection.leave(&leave).await
            }
            None => Ok(()),
        }
    }

    /// Whoever does not answer is given up.
    async fn ask_all(&self) {
        let nodes = self.state().nodes.clone();
        let ping = pipe().cmd("PING").ignore().clone();
        join_all(nodes.iter().map(|node| node.connection.ask::<()>(&ping))).await;
    }

    /// Asks which servers there are, connects to those that are new, and has them heard.
    async fn look(&self) -> RedisResult<()> {
        let mut old = self.state().nodes.clone();
        old.retain(|node| !node.connection.is_lost());
        let mut connections: Vec<Connection> = old.iter().map(|node| node.connection.clone()).collect();
        if connections.is_empty() {
            connections.push(self.connect_to_any().await?);
        }
        let (layout, verbs) = self.layout(&connections[0]).await?;
        let addresses = layout.iter().map(|(address, _)| address.clone());
        let missing = addresses.filter(|address| connections.iter().all(|known| known.address != *address));
        let missing: Vec<ConnectionAddr> = missing.collect();
        let opened = join_all(missing.into_iter().map(|address| self.connect(address))).await;
        let mut outcome = Ok(());
        for opened in opened {
            match opened {
                Ok(connection) => connections.push(connection),
                Err(error) => outcome = Err(error),
            }
        }
        let mut nodes = Vec::new();
        let mut fresh = Vec::new();
        for (address, slots) in layout {
            let same = |node: &&Arc<Node>| node.connection.address == address && node.slots == slots;
            if let Some(node) = old.iter().find(same) {
                nodes.push(node.clone());
            } else if let Some(connection) = connections.iter().find(|known| known.address == address) {
                let node = Arc::new(Node {
                    connection: connection.clone(),
                    slots,
                    verbs,
                });
                fresh.push(node.clone());
                nodes.push(node);
            }
        }
        let is_whole = layout::is_whole(nodes.iter().map(|node| &node.slots));
        let wanted = {
            let mut state = self.state();
            (state.nodes, state.is_whole) = (nodes, false);
            state.wanted.clone()
        };
        let listened = join_all(fresh.iter().map(|node| self.listen_to(node, &wanted))).await;
        listened.into_iter().collect::<RedisResult<()>>()?;
        if !wanted.is_empty() && !fresh.is_empty() {
            self.ear.inbox.resync();
        }
        self.state().is_whole = is_whole;
        outcome
    }

    async fn listen_to(&self, node: &Node, wanted: &BTreeSet<Topic>) -> RedisResult<()> {
        let mut pipeline = pipe();
        // There may be nothing to listen to, and an empty pipeline is refused.
        pipeline.cmd("PING").ignore();
        let channels = wanted.iter().map(|topic| self.channel(*topic));
        for channel in channels.filter(|channel| node.has(channel)) {
            pipeline.cmd(node.verbs.subscribe).arg(channel).ignore();
        }
        let listened = node.connection.ask(&pipeline).await;
        if listened.is_err() {
            // Whatever it was: a server that does not hear what is wanted is looked for again.
            node.connection.give_up();
        }
        listened
    }

    async fn connect_to_any(&self) -> RedisResult<Connection> {
        let mut last = nowhere();
        for server in &self.servers {
            match Connection::open(server.clone(), self.ear.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// To a server of the cluster that is not among those which the host named, perhaps.
    async fn connect(&self, address: ConnectionAddr) -> RedisResult<Connection> {
        let server = self.servers[0].clone().set_addr(address);
        Connection::open(server, self.ear.clone()).await
    }

    async fn layout(&self, connection: &Connection) -> RedisResult<(Vec<(ConnectionAddr, Slots)>, &'static Verbs)> {
        let (info,): (String,) = connection.ask(pipe().cmd("INFO").arg("cluster")).await?;
        if info.contains("cluster_enabled:1") {
            let (slots,): (Value,) = connection.ask(pipe().cmd("CLUSTER").arg("SLOTS")).await?;
            return Ok((layout::read(&slots, &connection.address)?, &SHARDED));
        }
        if self.servers.len() > 1 {
            let why = "several servers are named, and one of them is of no cluster";
            return Err((ErrorKind::InvalidClientConfig, why).into());
        }
        Ok((vec![(connection.address.clone(), layout::all())], &ALONE))
    }

    fn channel(&self, topic: Topic) -> String {
        format!("{}:{topic}", self.prefix)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("the lock is never poisoned: nothing panics under it")
    }
}

impl State {
    fn node_of(&self, channel: &str) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.has(channel)).cloned()
    }
}

impl Node {
    fn has(&self, channel: &str) -> bool {
        let slot = layout::slot(channel);
        !self.connection.is_lost() && self.slots.iter().any(|slots| slots.contains(&slot))
    }
}

fn nowhere() -> RedisError {
    (ErrorKind::Io, "no server is connected for this topic").into()
}
