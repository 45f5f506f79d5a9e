//! Everything that runs: the database, the broker, the nodes, the clients, and a link between each two of them.

mod broker;
mod node;

pub use broker::{Broker, Kind};
pub use node::Node;

use crate::crew::{Orders, Standing, Word};
use crate::hands::Hands;
use crate::population::Population;
use chat_testkit::Random;
use chat_testkit::link::Link;
use chat_testkit::postgres::PrivatePostgres;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// What went wrong with the proof itself, not with what is proved.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The name of the database.
pub const DATABASE: &str = "chaos";

/// How often it is looked whether something has come to pass.
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// How something is to be set up.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The server's program.
    pub server: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// The bells between them.
    pub broker: Kind,
    /// Where histories, outboxes and logs go.
    pub folder: PathBuf,
    /// How many processes share the clients.
    pub processes: usize,
    /// The mean wait of a client between two acts.
    pub pace_ms: u64,
    /// For how long at the most a client stays with a node, as phones change their networks; for as long as it can if none.
    pub stays_ms: Option<u64>,
    /// Whether outboxes are in files.
    pub files: bool,
    /// Whether those who found conversations are a process of their own, and reach the nodes without links.
    pub writers_apart: bool,
    /// A planted bug: the database acknowledges what it has not written.
    pub loses_acked: bool,
}

/// Everything that runs; dropping it ends it all.
pub struct Stage {
    /// Whoever there is.
    pub population: Population,
    /// The clients' processes.
    pub hands: Vec<Hands>,
    /// The servers.
    pub nodes: Vec<Node>,
    /// The bells between them.
    pub broker: Broker,
    /// The truth.
    pub postgres: PrivatePostgres,
    /// Where histories, outboxes and logs are.
    pub folder: PathBuf,
}

impl Stage {
    /// Starts everything but the clients.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn build(setting: &Setting, population: Population) -> Result<Self, Problem> {
        let planted = [("synchronous_commit", "off"), ("wal_writer_delay", "10s")];
        let planted = planted.iter().filter(|_| setting.loses_acked);
        let planted = planted
            .map(|(name, value)| (String::from(*name), String::from(*value)))
            .collect();
        let postgres = block_in_place(|| PrivatePostgres::start_with(planted))?;
        block_in_place(|| postgres.new_database(DATABASE))?;
        let broker = block_in_place(|| Broker::start(setting.broker))?;
        let mut nodes = Vec::new();
        for number in 0..setting.nodes {
            let database = Link::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
            let url = postgres.url_of(DATABASE);
            let own = format!("127.0.0.1:{}", postgres.port());
            let url = url.replace(&own, &database.address().to_string());
            let mut node = Node::new(number, setting, database, url, &broker).await?;
            node.start().await?;
            nodes.push(node);
        }
        Ok(Self {
            population,
            hands: Vec::new(),
            nodes,
            broker,
            postgres,
            folder: setting.folder.clone(),
        })
    }

    /// Starts the clients, founds all conversations, and waits until everybody knows theirs.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub async fn people(&mut self, setting: &Setting, random: &mut Random) -> Result<(), Problem> {
        let links: Vec<SocketAddr> = self.nodes.iter().map(|node| node.clients.address()).collect();
        let direct: Vec<SocketAddr> = self.nodes.iter().map(|node| node.address).collect();
        let (writers, others) = self.population.deal(setting.processes, setting.writers_apart);
        let apart = writers.map(|seats| (seats, direct));
        let groups = others.into_iter().map(|seats| (seats, links.clone())).chain(apart);
        for (seats, links) in groups.collect::<Vec<_>>() {
            let orders = Orders {
                folder: self.folder.clone(),
                links,
                seats,
                seed: random.bits(),
                pace_ms: setting.pace_ms,
                stays_ms: setting.stays_ms,
                files: setting.files,
                keeps_outbox: false,
                founds: true,
                acts: false,
            };
            self.hands.push(Hands::start(orders).await?);
        }
        let (devices, places) = (self.population.seats.len(), self.population.places());
        let founded = |now: Standing| now.synced == devices && now.waiting == 0 && now.places == places;
        self.until(Duration::from_secs(120), "everybody knows their conversations", founded)
            .await
    }

    /// How all clients stand together.
    pub fn standing(&self) -> Standing {
        let mut sum = Standing::default();
        for hands in &self.hands {
            let one = hands.standing();
            sum.synced += one.synced;
            sum.served += one.served;
            sum.waiting += one.waiting;
            sum.places += one.places;
            sum.shown += one.shown;
            sum.stopped += one.stopped;
        }
        sum
    }

    /// Tells all clients' processes something.
    ///
    /// # Errors
    /// When one of them has ended by itself.
    pub async fn tell(&mut self, word: Word) -> io::Result<()> {
        for hands in &mut self.hands {
            hands.tell(word).await?;
        }
        Ok(())
    }

    /// Waits until the clients stand so.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn until(&self, within: Duration, what: &str, wanted: impl Fn(Standing) -> bool) -> Result<(), Problem> {
        match self.comes_to_pass(within, wanted).await {
            true => Ok(()),
            false => Err(format!("not within {} s: {what}; it is {:?}", within.as_secs(), self.standing()).into()),
        }
    }

    /// Waits until the clients stand so, and says whether they did in time.
    pub async fn comes_to_pass(&self, within: Duration, wanted: impl Fn(Standing) -> bool) -> bool {
        let end = Instant::now() + within;
        while !wanted(self.standing()) {
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOKS_EVERY).await;
        }
        true
    }

    /// Nobody writes any more; waits until everything has been answered, and shown to whom it is for.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub async fn rest(&mut self) -> Result<(), Problem> {
        /// Longer than a lost bell costs.
        const QUIET: Duration = Duration::from_secs(8);
        self.tell(Word::Rest).await?;
        let devices = self.population.seats.len();
        let answered = |now: Standing| now.synced == devices && now.waiting == 0;
        self.until(Duration::from_secs(180), "everything is answered", answered)
            .await?;
        let end = Instant::now() + Duration::from_secs(180);
        let (mut shown, mut since) = (self.standing().shown, Instant::now());
        while since.elapsed() < QUIET {
            sleep(LOOKS_EVERY).await;
            let now = self.standing().shown;
            if now != shown {
                (shown, since) = (now, Instant::now());
            }
            if Instant::now() >= end {
                return Err("the clients do not come to rest".into());
            }
        }
        Ok(())
    }
}
