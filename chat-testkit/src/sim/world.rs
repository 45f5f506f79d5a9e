//! One seed's world, from the first conversation to the judgement.

use super::chaos::Chaos;
use super::device::{Device, Seat};
use super::fleet::Fleet;
use super::judgement::Judgement;
use super::ledger::Ledger;
use super::plan::Plan;
use super::recorder::{Invariant, Recorder, Short};
use super::truth::Truth;
use super::wire::Network;
use super::workload::Stage;
use super::{Counts, MakeStore};
use crate::random::Random;
use chat_client::Status;
use chat_core::conversation::Marks;
use chat_core::id::{ConversationId, Seq, UserId};
use chat_core::store::{Horizon, ListQuery};
use chat_core::{Clock, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long things may take to come to rest after they were healed.
const REST_MAX: Duration = Duration::from_secs(120);

/// How long it is quiet before the judgement: two rounds of reconcile and a little more.
const QUIET: Duration = Duration::from_secs(12);

pub(super) struct World {
    plan: Arc<Plan>,
    recorder: Recorder,
    random: Random,
    store: Arc<dyn Store>,
    beginning: Horizon,
    stage: Stage,
    network: Network,
    devices: Arc<Vec<Arc<Device>>>,
}

impl World {
    pub async fn start(seed: u64, recorder: Recorder, make: impl MakeStore) -> Self {
        let mut random = Random::new(seed);
        let plan = Arc::new(Plan::of(&mut random));
        recorder.note(format_args!("plan {plan:?}"));
        let clock: Arc<dyn Clock> = Arc::new(recorder.clone());
        let store = make.make(clock, random.bits()).await;
        let beginning = store.heads_changed_since(None, 1).await;
        let beginning = beginning.expect("a store that is left alone answers").value.horizon;
        let fleet = Arc::new(Fleet::new(&plan, store.clone(), recorder.clone(), &mut random));
        for index in 0..fleet.nodes.len() {
            fleet.start(index).await;
        }
        let network = Network {
            places: Arc::new(fleet.nodes.iter().map(|node| node.place.clone()).collect()),
            carried: Arc::default(),
            recorder: recorder.clone(),
            orderly: Arc::new(AtomicBool::new(true)),
            connections: Arc::new(AtomicU64::new(0)),
        };
        let devices = plan.devices.iter().enumerate().map(|(number, device)| {
            let user = plan.users[device.user].clone();
            let seat = Seat {
                name: format!("{user}.d{number}").into(),
                user,
                plan: Arc::new(device.clone()),
            };
            Arc::new(Device::new(seat, network.clone(), random.fork()))
        });
        let devices: Arc<Vec<Arc<Device>>> = Arc::new(devices.collect());
        let stage = Stage {
            users: Arc::new(plan.users.clone()),
            fleet,
            ledger: Ledger::new(),
            recorder: recorder.clone(),
        };
        Self {
            plan,
            recorder,
            random,
            store,
            beginning,
            stage,
            network,
            devices,
        }
    }

    /// Plays the whole seed and judges it.
    pub async fn play(mut self) -> Counts {
        self.devices.iter().for_each(|device| device.start(false));
        self.stage.found(&self.devices, &mut self.random).await;
        self.turmoil().await;
        self.come_to_rest().await;
        let truth = Truth::read(&*self.store, &self.beginning, &self.plan.users).await;
        self.note_end(&truth);
        let judgement = Judgement {
            recorder: &self.recorder,
            truth: &truth,
            devices: &self.devices,
            ledger: &self.stage.ledger,
        };
        judgement.all(&self.network.carried);
        Counts {
            events: truth.logs.values().map(|log| log.events.len() as u64).sum(),
            commands: self.stage.ledger.book().given.len() as u64,
            updates: self.devices.iter().map(|device| device.shown().updates).sum(),
            connections: self.network.connections.load(Ordering::Relaxed),
            simulated_ms: self.recorder.now_ms(),
        }
    }

    async fn turmoil(&mut self) {
        let until = Instant::now() + self.plan.turmoil;
        let chaos = Chaos {
            stage: self.stage.clone(),
            devices: self.devices.clone(),
            plan: self.plan.clone(),
            orderly: self.network.orderly.clone(),
            until,
        };
        let mut tasks = JoinSet::new();
        chaos.start(&mut self.random, &mut tasks);
        for device in self.devices.iter() {
            let (random, pace) = (self.random.fork(), self.plan.pace);
            tasks.spawn(self.stage.clone().act(device.clone(), random, pace, until));
        }
        let watch = tokio::spawn(watch_marks(
            self.store.clone(),
            self.stage.ledger.clone(),
            self.recorder.clone(),
        ));
        while let Some(ended) = tasks.join_next().await {
            ended.expect("nothing panics in a simulation");
        }
        chaos.heal().await;
        watch.abort();
    }

    /// Waits until every client is in step and has nothing left to send, and then a little longer.
    async fn come_to_rest(&self) {
        let since = Instant::now();
        loop {
            let restless: Vec<String> = self.devices.iter().filter_map(|device| restless(device)).collect();
            if restless.is_empty() {
                break;
            }
            if since.elapsed() > REST_MAX {
                let what = format!("after {REST_MAX:?}: {}", restless.join(", "));
                return self.recorder.violated(Invariant::ComesToRest, what);
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.recorder.note(format_args!("everybody is in step"));
        sleep(QUIET).await;
        for device in self.devices.iter() {
            if let Some(what) = restless(device) {
                let what = format!("{what} again after {QUIET:?} of quiet");
                self.recorder.violated(Invariant::ComesToRest, what);
            }
        }
    }

    fn note_end(&self, truth: &Truth) {
        for (id, log) in &truth.logs {
            let head = log.head();
            self.recorder
                .note(format_args!("log {} {} {}", Short(id), head.seq, head.tag));
        }
    }
}

/// Why a device is not at rest.
fn restless(device: &Device) -> Option<String> {
    let name = &device.seat.name;
    let Some(client) = device.client() else {
        return Some(format!("{name} is down"));
    };
    let (status, waiting) = (client.status(), client.outbox_len());
    match status {
        Status::Synced if waiting == 0 => None,
        _ => Some(format!("{name} is {status:?} with {waiting} commands")),
    }
}

/// Looks at the store's marks again and again: they only grow while a membership lasts.
async fn watch_marks(store: Arc<dyn Store>, ledger: Ledger, recorder: Recorder) {
    let mut before: BTreeMap<(ConversationId, UserId), (Seq, Marks)> = BTreeMap::new();
    loop {
        sleep(Duration::from_millis(500)).await;
        let conversations = ledger.book().conversations.clone();
        for conversation in conversations {
            let query = ListQuery {
                conversation,
                viewer: None,
                page: None,
                limit: usize::MAX,
            };
            let members = store.members(query.clone()).await.ok().and_then(|read| read.value);
            let marks = store.marks(query).await.ok().and_then(|read| read.value);
            let (Some(members), Some(marks)) = (members, marks) else {
                continue;
            };
            let mut joined: BTreeMap<_, _> = members.members.into_iter().map(|m| (m.user, m.joined)).collect();
            for marks in marks.marks {
                // Who came between the two reads is looked at the next time.
                let Some(joined_now) = joined.remove(&marks.user) else {
                    continue;
                };
                let key = (conversation, marks.user.clone());
                let (read, delivered) = (marks.read, marks.delivered);
                let Some((joined_then, old)) = before.insert(key, (joined_now, marks)) else {
                    continue;
                };
                if joined_then == joined_now && (read < old.read || delivered < old.delivered) {
                    let what = format!(
                        "{} {}: from {}/{} to {read}/{delivered} in the store",
                        old.user,
                        Short(&conversation),
                        old.read,
                        old.delivered
                    );
                    recorder.violated(Invariant::MarksGrow, what);
                }
            }
        }
    }
}
