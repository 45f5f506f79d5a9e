//! What goes wrong: one loop for each kind of fault that the seed has, each at its own pace.

use super::device::Device;
use super::plan::Plan;
use super::recorder::Recorder;
use super::workload::Stage;
use crate::backplane::Faults;
use crate::random::Random;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Makes things go wrong until a moment, and then heals them all.
#[derive(Clone)]
pub(super) struct Chaos {
    pub stage: Stage,
    pub devices: Arc<Vec<Arc<Device>>>,
    pub plan: Arc<Plan>,
    pub orderly: Arc<AtomicBool>,
    pub until: Instant,
}

impl Chaos {
    fn recorder(&self) -> &Recorder {
        &self.stage.recorder
    }

    /// Starts all faults of the plan; they are over when the set is empty.
    pub fn start(&self, random: &mut Random, tasks: &mut JoinSet<()>) {
        let plan = self.plan.chaos.clone();
        self.orderly.store(false, Ordering::Relaxed);
        if let Some(faults) = plan.backplane {
            self.stage.fleet.hub.set_faults(faults);
        }
        if let Some(delay) = plan.slow_hooks {
            self.stage.fleet.hooks.delay_up_to(delay);
        }
        for index in 0..self.stage.fleet.nodes.len() {
            self.spoil_store(index);
        }
        self.each(tasks, random, plan.cuts, Self::cut);
        self.each(tasks, random, plan.stalls, Self::stall);
        self.each(tasks, random, plan.slow_readers, Self::read_slowly);
        self.each(tasks, random, plan.mutes, Self::mute);
        self.each(tasks, random, plan.store_outages, Self::store_outage);
        self.each(tasks, random, plan.kills, Self::kill);
        self.each(tasks, random, plan.drains, Self::drain);
        self.each(tasks, random, plan.client_restarts, Self::restart_client);
    }

    fn each<Done>(
        &self,
        tasks: &mut JoinSet<()>,
        random: &mut Random,
        pace: Option<Duration>,
        fault: impl Fn(Self, Random) -> Done + Send + 'static,
    ) where
        Done: Future<Output = ()> + Send + 'static,
    {
        let (chaos, mut random) = (self.clone(), random.fork());
        let Some(pace) = pace else { return };
        tasks.spawn(async move {
            loop {
                sleep(random.between(&(pace / 4..=pace * 2))).await;
                if Instant::now() >= chaos.until {
                    return;
                }
                fault(chaos.clone(), random.fork()).await;
            }
        });
    }

    fn node(&self, random: &mut Random) -> usize {
        random.below(0..self.stage.fleet.nodes.len() as u64) as usize
    }

    fn device(&self, random: &mut Random) -> Arc<Device> {
        self.devices[random.below(0..self.devices.len() as u64) as usize].clone()
    }

    fn spoil_store(&self, index: usize) {
        let Some(running) = self.stage.fleet.nodes[index].running() else {
            return;
        };
        if let Some((before, after)) = self.plan.chaos.store_chance {
            running.faults.fail_randomly(before, after);
        }
        if let Some(delay) = self.plan.chaos.store_delay {
            running.faults.delay_up_to(delay);
        }
    }

    async fn cut(self, mut random: Random) {
        let node = self.node(&mut random);
        let links = self.stage.fleet.nodes[node].place.links();
        if links.is_empty() {
            return;
        }
        if random.chance(0.1) {
            self.recorder().note(format_args!("all links of node {node} are cut"));
            links.iter().for_each(|link| link.cut());
            return;
        }
        let index = random.below(0..links.len() as u64) as usize;
        self.recorder().note(format_args!("link {index} of node {node} is cut"));
        links[index].cut();
    }

    async fn stall(self, mut random: Random) {
        let node = self.node(&mut random);
        let links = self.stage.fleet.nodes[node].place.links();
        if links.is_empty() {
            return;
        }
        let index = random.below(0..links.len() as u64) as usize;
        self.recorder().note(format_args!("link {index} of node {node} stalls"));
        links[index].stall();
        let length = random.below(100..12_000);
        sleep(Duration::from_millis(length)).await;
        self.recorder()
            .note(format_args!("link {index} of node {node} goes on"));
        links[index].resume();
    }

    async fn read_slowly(self, mut random: Random) {
        let device = self.device(&mut random);
        self.recorder().note(format_args!("{} stops reading", device.seat.name));
        device.set_reads(false);
        sleep(Duration::from_millis(random.below(100..12_000))).await;
        self.recorder().note(format_args!("{} reads", device.seat.name));
        device.set_reads(true);
    }

    async fn mute(self, mut random: Random) {
        let fleet = &self.stage.fleet;
        let length = Duration::from_millis(random.below(500..9_000));
        let node = self.node(&mut random);
        match random.below(0..3) {
            0 => {
                self.recorder().note(format_args!("the backplane is mute"));
                fleet.hub.mute_all(true);
                sleep(length).await;
                fleet.hub.mute_all(false);
            }
            1 => {
                let Some(running) = fleet.nodes[node].running() else {
                    return;
                };
                self.recorder()
                    .note(format_args!("node {node} is cut off the backplane"));
                running.backplane.cut();
                sleep(length).await;
                running.backplane.restore();
            }
            _ => fleet.hub.resync_all(),
        }
        self.recorder().note(format_args!("the backplane carries"));
    }

    async fn store_outage(self, mut random: Random) {
        let node = self.node(&mut random);
        let Some(running) = self.stage.fleet.nodes[node].running() else {
            return;
        };
        let length = Duration::from_millis(random.below(100..4_000));
        self.recorder().note(format_args!("node {node} loses the store"));
        if random.chance(0.5) {
            running.faults.set_down(true);
            sleep(length).await;
            running.faults.set_down(false);
        } else {
            running.faults.set_paused(true);
            sleep(length).await;
            running.faults.set_paused(false);
        }
        self.recorder().note(format_args!("node {node} has the store"));
    }

    async fn kill(self, mut random: Random) {
        let node = self.node(&mut random);
        self.stage.fleet.kill(node);
        self.up_again(node, random).await;
    }

    async fn drain(self, mut random: Random) {
        let node = self.node(&mut random);
        self.stage.fleet.drain(node).await;
        self.up_again(node, random).await;
    }

    async fn up_again(self, node: usize, mut random: Random) {
        sleep(Duration::from_millis(random.below(50..6_000))).await;
        self.stage.fleet.start(node).await;
        self.spoil_store(node);
    }

    async fn restart_client(self, mut random: Random) {
        let device = self.device(&mut random);
        let keeps = random.chance(0.7);
        self.recorder().note(format_args!("{} is killed", device.seat.name));
        device.kill();
        sleep(Duration::from_millis(random.below(0..5_000))).await;
        if device.client().is_none() {
            let how = if keeps { "its" } else { "no" };
            self.recorder()
                .note(format_args!("{} starts with {how} outbox", device.seat.name));
            device.start(keeps);
        }
    }

    /// Heals everything: the links, the readers, the store, the backplane, nodes and clients that are down. Nobody is
    /// made to connect again: whoever is connected has to get everything by that connection.
    pub async fn heal(&self) {
        self.recorder().note(format_args!("everything is healed"));
        self.orderly.store(true, Ordering::Relaxed);
        let fleet = &self.stage.fleet;
        fleet.hub.set_faults(Faults::default());
        fleet.hub.mute_all(false);
        fleet.hooks.delay_up_to(Duration::ZERO);
        for (index, node) in fleet.nodes.iter().enumerate() {
            match node.running() {
                Some(running) => {
                    running.backplane.restore();
                    running.faults.calm();
                }
                None => fleet.start(index).await,
            }
            node.place.links().iter().for_each(|link| link.resume());
        }
        for device in self.devices.iter() {
            device.set_reads(true);
            if device.client().is_none() {
                device.start(true);
            }
        }
    }
}
