//! What goes wrong, how it begins and how it ends.

use crate::stage::{Kind, Problem, Stage};
use chat_testkit::Random;
use chat_testkit::link::Link;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

/// How long the restart of the next node waits for the clients of the one before.
const BETWEEN_NODES_MAX: Duration = Duration::from_secs(10);

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nemesis {
    /// A node is killed, and started again.
    KillNode(usize),
    /// A node stands still.
    FreezeNode(usize),
    /// All nodes, one after the other, are asked to end and started again.
    Rolling,
    /// The database ends as if the power had gone, and recovers.
    StopDatabase,
    /// The database stands still.
    FreezeDatabase,
    /// The broker is killed, and started again.
    KillBroker,
    /// The broker stands still.
    FreezeBroker,
    /// The nodes' listening connections are taken away.
    CutSubscribers,
    /// A link goes wrong.
    Link(Between, usize, Ill),
    /// A process of clients is killed, and started again, with its outboxes or without.
    KillClients {
        /// Which.
        hands: usize,
        /// Whether it finds its outboxes again.
        keeps_outbox: bool,
    },
}

/// Which links of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// From clients to it.
    Clients,
    /// From it to the database.
    Database,
    /// From it to the broker.
    Broker,
}

/// How a link goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    /// Everything arrives late.
    Delayed,
    /// Every connection is closed, once.
    Cut,
    /// Every connection is reset, again and again.
    Storm,
    /// Nothing arrives at either end, and nothing is closed.
    Stalled,
    /// Nothing arrives at the server.
    DeafUp,
    /// Nothing comes back.
    DeafDown,
    /// Connections that are there are lost, and nobody is told.
    Lost,
    /// Every byte travels alone.
    Chopped,
    /// Connections that are there are lost, and nobody is ever told: whoever waits on one has to notice.
    Forgotten,
}

impl Ill {
    /// All but the one that takes long.
    pub const ALL: [Self; 8] = [
        Self::Delayed,
        Self::Cut,
        Self::Storm,
        Self::Stalled,
        Self::DeafUp,
        Self::DeafDown,
        Self::Lost,
        Self::Chopped,
    ];
}

/// Something that has gone wrong and waits for its cure.
pub struct Struck {
    nemesis: Nemesis,
    storm: Option<JoinHandle<()>>,
}

impl Nemesis {
    /// What of it counts together.
    pub fn family(self) -> Family {
        match self {
            Self::KillNode(_) => Family::NodeKill,
            Self::FreezeNode(_) => Family::NodeFreeze,
            Self::Rolling => Family::Rolling,
            Self::StopDatabase => Family::DatabaseRestart,
            Self::FreezeDatabase => Family::DatabaseFreeze,
            Self::KillBroker | Self::FreezeBroker | Self::CutSubscribers | Self::Link(Between::Broker, ..) => {
                Family::Broker
            }
            Self::Link(..) => Family::Link,
            Self::KillClients { .. } => Family::ClientKill,
        }
    }

    /// Whether nobody is served while these are there: none without the database, or without a node that goes on.
    pub fn are_outage(all: impl IntoIterator<Item = Self>, nodes: usize) -> bool {
        let mut stopped = BTreeSet::new();
        let no_database = all.into_iter().any(|nemesis| {
            stopped.extend(nemesis.stops());
            matches!(nemesis, Self::StopDatabase | Self::FreezeDatabase)
        });
        no_database || stopped.len() == nodes
    }

    /// The node that serves nobody meanwhile.
    fn stops(self) -> Option<usize> {
        match self {
            Self::KillNode(node) | Self::FreezeNode(node) => Some(node),
            Self::Link(Between::Clients | Between::Database, node, ill) => {
                let stops = matches!(ill, Ill::Storm | Ill::Stalled | Ill::DeafUp | Ill::DeafDown);
                stops.then_some(node)
            }
            _ => None,
        }
    }

    /// Whether two can go wrong at a time: each has something of its own to break.
    pub fn goes_with(self, other: Self) -> bool {
        let alone = [self, other].contains(&Self::Rolling);
        !alone && self.target() != other.target()
    }

    fn target(self) -> (u8, usize) {
        match self {
            Self::KillNode(node)
            | Self::FreezeNode(node)
            | Self::Link(Between::Clients | Between::Database, node, _) => (0, node),
            Self::Rolling => (1, 0),
            Self::StopDatabase | Self::FreezeDatabase => (2, 0),
            Self::KillBroker | Self::FreezeBroker | Self::CutSubscribers | Self::Link(Between::Broker, ..) => (3, 0),
            Self::KillClients { hands, .. } => (4, hands),
        }
    }

    /// How long it goes on.
    pub fn lasts(self, random: &mut Random) -> Duration {
        let range: RangeInclusive<u64> = match self {
            Self::KillNode(_) | Self::KillClients { .. } => 300..=2_000,
            Self::FreezeNode(_) => 12_000..=20_000,
            Self::Rolling | Self::CutSubscribers | Self::Link(_, _, Ill::Cut) => 0..=0,
            Self::StopDatabase => 500..=3_000,
            Self::FreezeDatabase => 3_000..=8_000,
            Self::KillBroker | Self::FreezeBroker => 2_000..=8_000,
            Self::Link(_, _, Ill::Lost) => 3_000..=10_000,
            // Longer than a client waits for a sign of life.
            Self::Link(_, _, Ill::Forgotten) => 20_000..=25_000,
            Self::Link(..) => 2_000..=7_000,
        };
        random.between(&(Duration::from_millis(*range.start())..=Duration::from_millis(*range.end())))
    }

    /// Lets it go wrong.
    ///
    /// # Errors
    /// When it cannot be done, which says nothing about the servers.
    pub async fn strike(self, stage: &mut Stage) -> Result<Struck, Problem> {
        let mut storm = None;
        match self {
            Self::KillNode(node) => stage.nodes[node].kill().await?,
            Self::FreezeNode(node) => stage.nodes[node].freeze()?,
            Self::Rolling => {
                let devices = stage.population.seats.len();
                for node in 0..stage.nodes.len() {
                    stage.nodes[node].drain().await?;
                    stage.nodes[node].start().await?;
                    // As whoever restarts nodes in turn does: the next one goes when this one's clients are somewhere.
                    stage
                        .comes_to_pass(BETWEEN_NODES_MAX, |now| now.synced == devices)
                        .await;
                }
            }
            Self::StopDatabase => block_in_place(|| stage.postgres.stop_immediately())?,
            Self::FreezeDatabase => block_in_place(|| stage.postgres.freeze())?,
            Self::KillBroker => block_in_place(|| stage.broker.kill())?,
            Self::FreezeBroker => block_in_place(|| stage.broker.freeze())?,
            Self::CutSubscribers => block_in_place(|| stage.broker.cut_subscribers(&stage.postgres))?,
            Self::Link(between, node, ill) => {
                if let Some(link) = link(stage, between, node) {
                    storm = sicken(&link, ill);
                }
            }
            Self::KillClients { hands, .. } => stage.hands[hands].kill().await?,
        }
        Ok(Struck { nemesis: self, storm })
    }

    /// What can go wrong with the bells, one of each kind; nothing when there are none.
    pub fn of_the_broker(kind: Kind) -> Vec<Self> {
        let link = Self::Link(Between::Broker, 0, Ill::Cut);
        match kind {
            Kind::None => Vec::new(),
            Kind::Redis => vec![Self::KillBroker, Self::FreezeBroker, Self::CutSubscribers, link],
            Kind::Nats => vec![Self::KillBroker, Self::FreezeBroker, link],
            Kind::Postgres => vec![Self::CutSubscribers],
        }
    }
}

impl Struck {
    /// What has gone wrong.
    pub fn nemesis(&self) -> Nemesis {
        self.nemesis
    }

    /// Its cure.
    ///
    /// # Errors
    /// When it cannot be done.
    pub async fn heal(self, stage: &mut Stage) -> Result<(), Problem> {
        if let Some(storm) = self.storm {
            storm.abort();
        }
        match self.nemesis {
            Nemesis::KillNode(node) => stage.nodes[node].launch()?,
            Nemesis::FreezeNode(node) => stage.nodes[node].thaw()?,
            Nemesis::StopDatabase => block_in_place(|| stage.postgres.start_again())?,
            Nemesis::FreezeDatabase => block_in_place(|| stage.postgres.thaw())?,
            Nemesis::KillBroker => block_in_place(|| stage.broker.start_again())?,
            Nemesis::FreezeBroker => block_in_place(|| stage.broker.thaw())?,
            Nemesis::Link(between, node, ill) => {
                if let Some(link) = link(stage, between, node) {
                    link.heal();
                    if ill == Ill::Lost {
                        // Whoever has not noticed by now is told.
                        link.reset();
                    }
                }
            }
            Nemesis::KillClients { hands, keeps_outbox } => stage.hands[hands].start_again(keeps_outbox).await?,
            Nemesis::Rolling | Nemesis::CutSubscribers => {}
        }
        Ok(())
    }
}

fn link(stage: &Stage, between: Between, node: usize) -> Option<Arc<Link>> {
    let node = &stage.nodes[node];
    match between {
        Between::Clients => Some(node.clients.clone()),
        Between::Database => Some(node.database.clone()),
        Between::Broker => node.broker.clone(),
    }
}

fn sicken(link: &Arc<Link>, ill: Ill) -> Option<JoinHandle<()>> {
    match ill {
        Ill::Delayed => link.faults(|faults| {
            faults.up.delay = Duration::from_millis(150);
            faults.down.delay = Duration::from_millis(250);
        }),
        Ill::Cut => link.cut(),
        Ill::Storm => {
            let link = link.clone();
            // Ends with its cure.
            return Some(tokio::spawn(async move {
                loop {
                    link.reset();
                    sleep(Duration::from_millis(300)).await;
                }
            }));
        }
        Ill::Stalled => link.faults(|faults| (faults.up.stalled, faults.down.stalled) = (true, true)),
        Ill::DeafUp => link.faults(|faults| faults.up.stalled = true),
        Ill::DeafDown => link.faults(|faults| faults.down.stalled = true),
        Ill::Lost | Ill::Forgotten => link.lose(),
        Ill::Chopped => link.faults(|faults| (faults.up.chopped, faults.down.chopped) = (true, true)),
    }
    None
}

/// What counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Nodes killed.
    NodeKill,
    /// Nodes that stood still.
    NodeFreeze,
    /// Rolling restarts.
    Rolling,
    /// The database stopped hard, and restarted.
    DatabaseRestart,
    /// The database that stood still.
    DatabaseFreeze,
    /// Whatever went wrong with the bells.
    Broker,
    /// Links to clients or to the database.
    Link,
    /// Clients killed.
    ClientKill,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeKill => "node kills",
            Self::NodeFreeze => "frozen nodes",
            Self::Rolling => "rolling restarts",
            Self::DatabaseRestart => "database restarts",
            Self::DatabaseFreeze => "frozen databases",
            Self::Broker => "backplane faults",
            Self::Link => "link faults",
            Self::ClientKill => "client kills",
        })
    }
}
