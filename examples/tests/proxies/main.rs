//! The configurations of the documentation, with the programs that they are for: a thousand clients through each, with
//! default limits, TLS at either end, and two nodes behind one address.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

#[path = "../it/process.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod process;

#[path = "../../../chat-transport-ws/tests/it/peer.rs"]
#[allow(dead_code)]
mod peer;

mod programs;
mod two_nodes;

use chat_core::codec::Codec;
use chat_core::frame::{ClientFrame, Hello, Resume};
use chat_core::{
    Command, CommandId, Content, ConversationCreate, ConversationId, ConversationJoin, ConversationKind, MessageSend,
};
use peer::{Peer, frame, handshake};
use process::{Process, chat_server, free_address, get, ready};
use programs::{PATIENCE, shown};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CLIENTS: usize = 1_000;

/// Clients of one address: no limit per address is reached.
const PER_ADDRESS: usize = 10;

/// Handshakes at the same time.
const AT_ONCE: usize = 32;

/// As many are in a room, and each of them says something, one after the other.
const ROOM: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_talk_through_nginx() {
    talk(Kind::Nginx, CLIENTS, Tls::Nowhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_talk_through_caddy() {
    talk(Kind::Caddy, CLIENTS, Tls::Nowhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ends_at_nginx_or_at_the_server_behind_it() {
    talk(Kind::Nginx, ROOM, Tls::AtProxy).await;
    talk(Kind::Nginx, ROOM, Tls::AtServer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_ends_at_caddy_or_at_the_server_behind_it() {
    talk(Kind::Caddy, ROOM, Tls::AtProxy).await;
    talk(Kind::Caddy, ROOM, Tls::AtServer).await;
}

/// Everybody comes, everybody says something, and hears all of their room once and in order.
async fn talk(kind: Kind, clients: usize, tls: Tls) {
    let house = House::open(kind, tls).await;
    // Who opens a room comes first.
    let (mut openers, mut others) = (house.come((0..clients).step_by(ROOM)).await, Vec::new());
    others.extend(
        house
            .come((0..clients).filter(|number| !number.is_multiple_of(ROOM)))
            .await,
    );
    let mut clients: Vec<_> = openers.drain(..).chain(others).collect();
    clients.sort_by_key(|client| client.number);
    if tls != Tls::AtServer {
        let (_, metrics) = get(house.server, "/metrics");
        let connections = format!("\nchat_connections {}\n", clients.len());
        assert!(metrics.contains(&connections), "{metrics}");
    }
    for client in &mut clients {
        client.say().await;
    }
    for client in &mut clients {
        client.hear(&format!("\"said {}\"", ROOM - 1)).await;
        let places = |number| {
            let said = format!("\"said {number}\"");
            client.heard.match_indices(&said).map(|(at, _)| at).collect::<Vec<_>>()
        };
        let at: Vec<_> = (0..ROOM).map(places).collect();
        assert!(at.iter().all(|places| places.len() == 1), "each once: {at:?}");
        assert!(at.is_sorted(), "in order: {at:?}");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nginx,
    Caddy,
}

#[derive(Clone, Copy, PartialEq)]
enum Tls {
    Nowhere,
    AtProxy,
    AtServer,
}

/// A server and the proxy in front of it.
struct House {
    door: Door,
    server: SocketAddr,
    _processes: [Process; 2],
    _folder: TempDir,
}

/// Where clients come in.
#[derive(Clone)]
struct Door {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl House {
    async fn open(kind: Kind, tls: Tls) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(path.join("chat.crt"), cert.pem()).unwrap();
        fs::write(path.join("chat.key"), signing_key.serialize_pem()).unwrap();

        let (server, address) = (free_address(), free_address());
        let mut command = chat_server(&server.to_string());
        command.args(["--trusted-proxy", "127.0.0.1"]);
        let process = match tls {
            Tls::AtServer => {
                let command = command.arg("--tls-cert").arg(path.join("chat.crt"));
                let process = Process::start(command.arg("--tls-key").arg(path.join("chat.key")));
                process.output.wait_for("Stop:");
                process
            }
            Tls::Nowhere | Tls::AtProxy => ready(&mut command, server),
        };
        let proxy = match kind {
            Kind::Nginx => nginx(path, address, server, tls),
            Kind::Caddy => caddy(path, address, server, tls),
        };
        programs::listens(address).await;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            door: Door {
                address,
                tls: (tls == Tls::AtProxy).then(|| TlsConnector::from(Arc::new(client))),
            },
            server,
            _processes: [proxy, process],
            _folder: folder,
        }
    }
}

impl House {
    async fn come(&self, numbers: impl Iterator<Item = usize>) -> Vec<Client> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut coming = JoinSet::new();
        for number in numbers {
            let (door, turns) = (self.door.clone(), turns.clone());
            coming.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                Client::come(&door, number).await
            });
        }
        timeout(PATIENCE, coming.join_all()).await.expect("everybody is let in")
    }
}

/// As in the documentation, but for addresses and certificates.
fn nginx(folder: &Path, address: SocketAddr, server: SocketAddr, tls: Tls) -> Process {
    let mut site = programs::NGINX.replace("/etc/nginx/chat", &shown(folder, "chat"));
    site = match tls {
        Tls::AtProxy => site.replace("listen 443", &format!("listen {address}")),
        Tls::Nowhere | Tls::AtServer => programs::without_tls(&site, address),
    };
    site = match tls {
        Tls::AtServer => site.replace(
            "proxy_pass http://127.0.0.1:7000;",
            &format!(
                "proxy_pass https://{server}; proxy_ssl_verify on; proxy_ssl_name localhost; \
                 proxy_ssl_trusted_certificate {};",
                shown(folder, "chat.crt")
            ),
        ),
        Tls::Nowhere | Tls::AtProxy => site.replace("127.0.0.1:7000", &server.to_string()),
    };
    programs::nginx(folder, &site)
}

fn caddy(folder: &Path, address: SocketAddr, server: SocketAddr, tls: Tls) -> Process {
    let site = match tls {
        Tls::AtProxy => format!(
            "https://localhost:{} {{\n\ttls {} {}",
            address.port(),
            shown(folder, "chat.crt"),
            shown(folder, "chat.key")
        ),
        Tls::Nowhere | Tls::AtServer => format!("http://:{} {{", address.port()),
    };
    let site = programs::CADDY.replace("chat.example.com {", &site);
    let site = match tls {
        Tls::AtServer => site.replace(
            "127.0.0.1:7000",
            &format!(
                "https://{server} {{\n\t\ttransport http {{\n\t\t\ttls_server_name localhost\n\t\t\t\
                 tls_trusted_ca_certs {}\n\t\t}}\n\t}}",
                shown(folder, "chat.crt")
            ),
        ),
        Tls::Nowhere | Tls::AtProxy => site.replace("127.0.0.1:7000", &server.to_string()),
    };
    programs::caddy(folder, &site)
}

/// Says what it is told and keeps all that it hears.
struct Client {
    peer: Peer<Box<dyn Stream>>,
    number: usize,
    heard: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    /// From an address of its own, as far as the proxy can see, into the Lobby.
    async fn come(door: &Door, number: usize) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        let [high, low] = u16::try_from(number / PER_ADDRESS).unwrap().to_be_bytes();
        socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into()).unwrap();
        let plain = socket.connect(door.address).await.unwrap();
        let stream: Box<dyn Stream> = match &door.tls {
            None => Box::new(plain),
            Some(tls) => Box::new(
                tls.connect(ServerName::try_from("localhost").unwrap(), plain)
                    .await
                    .unwrap(),
            ),
        };
        let mut peer = Peer(stream);
        let host = format!("localhost:{}", door.address.port());
        peer.send(handshake("/chat", "").replace("chat.test", &host)).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{number}: {head}");
        let heard = String::new();
        let mut client = Self { peer, number, heard };
        let hello = Hello {
            guest: Some(format!("user-{number}")),
            attempt: 1,
            ..Hello::default()
        };
        client.tell(&ClientFrame::Hello(hello)).await;
        let resume = Resume {
            last: true,
            ..Resume::default()
        };
        client.tell(&ClientFrame::Resume(resume)).await;
        let (conversation, id) = (client.room(), client.mint(1));
        if number.is_multiple_of(ROOM) {
            let create = ConversationCreate {
                conversation,
                id,
                kind: ConversationKind::Channel,
                title: Some("a room".to_owned()),
                public: true,
                history: None,
                members: Vec::new(),
                meta: None,
            };
            client.ask(1, create).await;
        } else {
            client.ask(1, ConversationJoin { conversation, id }).await;
        }
        client
    }

    async fn say(&mut self) {
        let send = MessageSend {
            conversation: self.room(),
            id: self.mint(2).into(),
            content: Content::text(format!("said {}", self.number % ROOM)),
            reply_to: None,
        };
        self.ask(2, send).await;
    }

    fn room(&self) -> ConversationId {
        ConversationId::from_parts((self.number / ROOM) as u64, [1; 10])
    }

    fn mint(&self, which: u8) -> CommandId {
        CommandId::from_parts(self.number as u64, [which; 10])
    }

    async fn ask(&mut self, req: u64, command: impl Into<Command>) {
        let command = command.into();
        self.tell(&ClientFrame::Command { req, command }).await;
        self.hear(&format!("\"req\":{req},")).await;
    }

    async fn tell(&mut self, said: &ClientFrame) {
        self.peer.send(frame(0x81, &Codec::Json.encode(said))).await;
    }

    /// Reads until this was heard, at any time.
    async fn hear(&mut self, wanted: &str) {
        while !self.heard.contains(wanted) {
            let (first, payload) = self.peer.frame().await;
            let text = String::from_utf8_lossy(&payload);
            let is_good = first == 0x81 && !text.contains("\"type\":\"error\"");
            assert!(is_good, "{} waits for {wanted} and hears {text}", self.number);
            self.heard.push_str(&text);
        }
    }
}
