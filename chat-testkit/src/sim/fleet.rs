//! The nodes: production engines on one store, that come and go.

use super::plan::Plan;
use super::recorder::Recorder;
use crate::backplane::{Hub, InProcessBackplane};
use crate::failing_store::{FailingStore, StoreFaults};
use crate::random::Random;
use crate::transport::InProcessConnector;
use crate::transport::in_process;
use async_trait::async_trait;
use chat_core::Store;
use chat_core::command::{Command, MessageSend};
use chat_core::engine::Engine;
use chat_core::hooks::{AuthRequest, Authority, Guests, Hooks, Identity, Refused};
use chat_core::id::UserId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::sleep;

pub(super) struct Fleet {
    pub nodes: Vec<Node>,
    pub hub: Hub,
    pub hooks: SlowHooks,
    store: Arc<dyn Store>,
    limits: chat_core::Limits,
    recorder: Recorder,
    random: Mutex<Random>,
}

/// One place where clients connect, and the engine behind it, if one is up.
pub(super) struct Node {
    pub place: InProcessConnector,
    running: Mutex<Option<Running>>,
    starting: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Running {
    pub engine: Engine,
    pub backplane: InProcessBackplane,
    pub faults: StoreFaults,
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("no panic while the lock is held")
    }

    /// What runs here now.
    pub fn running(&self) -> Option<Running> {
        self.lock().clone()
    }

    /// Takes what runs here out of service, to be ended by the caller.
    pub fn take(&self) -> Option<Running> {
        self.lock().take()
    }
}

impl Fleet {
    pub fn new(plan: &Plan, store: Arc<dyn Store>, recorder: Recorder, random: &mut Random) -> Self {
        let nodes = (0..plan.nodes).map(|_| Node {
            place: in_process().1,
            running: Mutex::new(None),
            starting: AtomicBool::new(false),
        });
        let hub = Hub::new(random.bits());
        hub.set_carries_events(random.chance(0.75));
        Self {
            nodes: nodes.collect(),
            hub,
            hooks: SlowHooks::new(random.fork()),
            store,
            limits: plan.limits.clone(),
            recorder,
            random: Mutex::new(random.fork()),
        }
    }

    /// Starts an engine at a place, unless one is there; tries until it runs.
    pub async fn start(&self, index: usize) {
        let node = &self.nodes[index];
        if node.running().is_some() || node.starting.swap(true, Ordering::Relaxed) {
            return;
        }
        let backplane = self.hub.node();
        loop {
            let (seed, chance) = {
                let mut random = self.random.lock().expect("no panic while the lock is held");
                (random.bits(), random.bits())
            };
            let store = FailingStore::new(self.store.clone(), chance);
            let faults = store.faults();
            let built = Engine::builder()
                .store(store)
                .backplane(backplane.clone())
                .hooks(self.hooks.clone())
                .clock(self.recorder.clone())
                .limits(self.limits.clone())
                .transport(node.place.transport())
                .seed(seed)
                .build()
                .await;
            match built {
                Ok(engine) => {
                    self.recorder.note(format_args!("node {index} is up"));
                    *node.lock() = Some(Running {
                        engine,
                        backplane,
                        faults,
                    });
                    node.starting.store(false, Ordering::Relaxed);
                    return;
                }
                Err(error) => self.recorder.note(format_args!("node {index} cannot start: {error}")),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops an engine as a kill does.
    pub fn kill(&self, index: usize) {
        if let Some(running) = self.nodes[index].take() {
            self.recorder.note(format_args!("node {index} is killed"));
            running.engine.kill();
        }
    }

    /// Drains an engine.
    pub async fn drain(&self, index: usize) {
        if let Some(running) = self.nodes[index].take() {
            self.recorder.note(format_args!("node {index} drains"));
            running.engine.shutdown(Duration::from_secs(2)).await;
            self.recorder.note(format_args!("node {index} has drained"));
        }
    }
}

/// Lets everybody in, after some thought.
#[derive(Debug, Clone)]
pub(super) struct SlowHooks(Arc<Mutex<(Random, Duration)>>);

impl SlowHooks {
    fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new((random, Duration::ZERO))))
    }

    /// From now on each question takes up to this long.
    pub fn delay_up_to(&self, max: Duration) {
        self.0.lock().expect("no panic while the lock is held").1 = max;
    }

    async fn think(&self) {
        let delay = {
            let mut state = self.0.lock().expect("no panic while the lock is held");
            let max = state.1;
            state.0.between(&(Duration::ZERO..=max))
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }
}

#[async_trait]
impl Hooks for SlowHooks {
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        self.think().await;
        Guests.authenticate(request).await
    }

    async fn authorize(&self, user: &UserId, command: &Command) -> Result<Authority, Refused> {
        self.think().await;
        Guests.authorize(user, command).await
    }

    async fn before_send(&self, user: &UserId, message: &mut MessageSend) -> Result<(), Refused> {
        Guests.before_send(user, message).await
    }
}
