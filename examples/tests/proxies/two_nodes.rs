//! Two nodes behind one address, and nothing that keeps a client on one of them: whoever loses theirs comes back by the
//! same door, goes on at the other, and has lost nothing.

use crate::process::{Process, chat_server_on, free_address, get, ready};
use crate::programs::{self, CADDY_OF_TWO, NGINX_OF_TWO, PATIENCE};
use chat_client::{Client, Content, EventKind, Outbox, Update, Updates, WsConnector};
use chat_testkit::postgres::PrivatePostgres;
use examples::lobby;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const CLIENTS: usize = 20;

/// Each client says so many in each act of the story.
const MESSAGES: usize = 5;

const ACTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_two_nodes_behind_nginx_serves_any_client() {
    tell(|folder, address, nodes| {
        let site = NGINX_OF_TWO
            .replace("127.0.0.1:7000", &nodes[0].to_string())
            .replace("127.0.0.1:7001", &nodes[1].to_string());
        programs::nginx(folder, &programs::without_tls(&site, address))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_two_nodes_behind_caddy_serves_any_client() {
    tell(|folder, address, nodes| {
        let site = CADDY_OF_TWO
            .replace("{$CHAT_HOST:localhost}", &format!("http://:{}", address.port()))
            .replace("node-1:7000", &nodes[0].to_string())
            .replace("node-2:7000", &nodes[1].to_string());
        programs::caddy(folder, &site)
    })
    .await;
}

/// Clients talk; one node is stopped and comes again, then the other one is killed.
async fn tell(balancer: impl Fn(&Path, SocketAddr, [SocketAddr; 2]) -> Process) {
    let mut house = House::open(balancer).await;
    let clients: Vec<_> = (0..CLIENTS).map(|number| Guest::come(house.door, number)).collect();
    for guest in &clients {
        guest.client.join(lobby::id()).await.unwrap();
    }
    let connections = [0, 1].map(|node| house.connections(node));
    assert!(connections.iter().all(|count| *count > 0), "{connections:?}");
    assert_eq!(connections.iter().sum::<usize>(), CLIENTS);

    let mut talking = talk(&clients, 0);
    house.nodes[0].terminate();
    assert!(house.nodes[0].ended().success());
    all(talking).await;
    assert_eq!(house.connections(1), CLIENTS, "whoever was at the one is at the other");

    house.start(0).await;
    talking = talk(&clients, 1);
    sleep(Duration::from_millis(200)).await;
    house.nodes[1].kill();
    all(talking).await;
    all(talk(&clients, 2)).await;
    assert_eq!(house.connections(0), CLIENTS, "and the other way round");

    let heard: Vec<_> = clients.into_iter().map(|guest| guest.heard).collect();
    let mut logs = Vec::new();
    for log in heard {
        logs.push(timeout(PATIENCE, log).await.expect("everything arrives").unwrap());
    }
    for log in &logs {
        assert_eq!(log, &logs[0], "one order");
        let once: BTreeSet<_> = log.iter().collect();
        assert_eq!(once.len(), log.len(), "each once");
        for number in 0..CLIENTS {
            let name = format!("{} ", name(number));
            assert!(log.iter().filter(|text| text.starts_with(&name)).is_sorted(), "{log:?}");
        }
    }
}

fn name(number: usize) -> String {
    format!("guest-{number:02}")
}

/// Everybody says some, and goes on until all of it is acknowledged.
fn talk(clients: &[Guest], act: usize) -> Vec<JoinHandle<()>> {
    let talking = clients.iter().enumerate().map(|(number, guest)| {
        let client = guest.client.clone();
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                let text = format!("{} {act} {message}", name(number));
                client.send(lobby::id(), Content::text(text)).await.unwrap();
                sleep(Duration::from_millis(100)).await;
            }
        })
    });
    talking.collect()
}

async fn all(talking: Vec<JoinHandle<()>>) {
    for one in talking {
        timeout(PATIENCE, one)
            .await
            .expect("everything is acknowledged")
            .unwrap();
    }
}

/// Two nodes on one database, and a balancer in front of them.
struct House {
    nodes: [Process; 2],
    addresses: [SocketAddr; 2],
    door: SocketAddr,
    postgres: PrivatePostgres,
    _balancer: Process,
    _folder: TempDir,
}

impl House {
    async fn open(balancer: impl Fn(&Path, SocketAddr, [SocketAddr; 2]) -> Process) -> Self {
        let postgres = tokio::task::spawn_blocking(PrivatePostgres::start)
            .await
            .unwrap()
            .unwrap();
        let addresses = [free_address(), free_address()];
        let nodes = addresses.map(|address| node(&postgres, address));
        let (door, folder) = (free_address(), tempfile::tempdir().unwrap());
        let balancer = balancer(folder.path(), door, addresses);
        programs::listens(door).await;
        Self {
            nodes,
            addresses,
            door,
            postgres,
            _balancer: balancer,
            _folder: folder,
        }
    }

    async fn start(&mut self, which: usize) {
        self.nodes[which] = node(&self.postgres, self.addresses[which]);
        // A balancer that asks for health has noticed.
        sleep(Duration::from_secs(3)).await;
    }

    fn connections(&self, node: usize) -> usize {
        let (_, metrics) = get(self.addresses[node], "/metrics");
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix("chat_connections "));
        count.expect("a metric").parse().unwrap()
    }
}

/// With the server's default limits.
fn node(postgres: &PrivatePostgres, address: SocketAddr) -> Process {
    let mut command = chat_server_on(&postgres.url(), &address.to_string());
    command.args(["--backplane", "postgres", "--trusted-proxy", "127.0.0.1"]);
    ready(&mut command, address)
}

struct Guest {
    client: Client,
    /// The texts of the Lobby as this client was shown them, when they are complete.
    heard: JoinHandle<Vec<String>>,
}

impl Guest {
    fn come(door: SocketAddr, number: usize) -> Self {
        let connector = WsConnector::new(&format!("ws://{door}/chat")).unwrap();
        let client = Client::builder(connector).guest(name(number)).outbox(Outbox::memory());
        let (client, updates) = client.start().unwrap();
        Self {
            client,
            heard: tokio::spawn(listen(updates)),
        }
    }
}

async fn listen(mut updates: Updates) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < CLIENTS * MESSAGES * ACTS {
        match updates.recv().await.expect("the client runs") {
            Update::Event(event) => {
                if let EventKind::MessageNew(new) = event.kind {
                    texts.push(new.message.content.and_then(|content| content.text).unwrap());
                }
            }
            Update::Reset { reason, .. } => panic!("nobody has to begin anew: {reason:?}"),
            _ => {}
        }
    }
    // Answers come only while updates are read.
    tokio::spawn(async move { while updates.recv().await.is_some() {} });
    texts
}
