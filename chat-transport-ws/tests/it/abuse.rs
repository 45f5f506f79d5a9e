//! What abusers take of a server in a process of its own: how much memory, how much time of the processor, and that a
//! healthy client is served meanwhile.
//!
//! Bounds are wide, since this is a debug build on a machine that has other things to do; the figures are printed.

use crate::door::{ANY_PORT, address_in};
use crate::peer::{Peer, frame, handshake, soon};
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

const TEXT: u8 = 0x81;

/// The server of the tests here, with all limits as they are by default: they start it by this name, and nothing is done
/// otherwise.
#[test]
fn server() {
    if std::env::var_os("CHAT_ABUSED").is_none() {
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    let engine = runtime.block_on(async {
        let transport = WsTransport::new(ANY_PORT, WsConfig::default());
        let builder = Engine::builder().store(MemoryStore::new()).hooks(Guests);
        builder.transport(transport).build().await.expect("an engine")
    });
    writeln!(io::stdout(), "\nat {}", engine.addresses()[0]).expect("somebody reads");
    // Until whoever started it lets go of it.
    let _ = io::stdin().read(&mut [0]);
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "abuse::server", "--nocapture"])
            .env("CHAT_ABUSED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut urls = lines.map_while(Result::ok).filter(|line| line.starts_with("at ws://"));
        let address = address_in(&urls.next().expect("it listens"));
        Self { child, address }
    }

    /// What this process holds, in KiB, by one of the names in `/proc/PID/status`.
    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line");
        let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    }

    /// Time of the processor so far: the kernel counts in hundredths of a second.
    fn busy(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        Duration::from_millis(ticks.map(|field| field.parse::<u64>().expect("a number") * 10).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects from the loopback address with this last number.
async fn from(own: u8, server: SocketAddr) -> io::Result<Peer> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, own], 0).into())?;
    Ok(Peer(socket.connect(server).await?))
}

/// A session that said hello and got its welcome.
async fn session(own: u8, server: SocketAddr, name: &str) -> Peer {
    let mut peer = soon(from(own, server)).await.expect("somebody listens");
    peer.send(handshake("/chat", "")).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let hello = format!(r#"{{"type":"hello","guest":"{name}"}}"#);
    peer.send(frame(TEXT, hello.as_bytes())).await;
    let (first, welcome) = peer.frame().await;
    assert!(first == TEXT && welcome.starts_with(br#"{"type":"welcome""#));
    peer
}

/// A client that means no ill.
struct Healthy {
    peer: Peer,
    server: SocketAddr,
    requests: u32,
    slowest: Duration,
}

impl Healthy {
    const OWN: u8 = 200;

    async fn enter(server: SocketAddr) -> Self {
        let peer = session(Self::OWN, server, "healthy").await;
        let (requests, slowest) = (0, Duration::ZERO);
        let mut healthy = Self {
            peer,
            server,
            requests,
            slowest,
        };
        healthy
            .ask("conversation:create", r#""id":"ID","kind":"direct","members":["ben"]"#)
            .await;
        healthy
    }

    async fn ask(&mut self, command: &str, fields: &str) {
        self.requests += 1;
        let request = self.requests;
        let fields = fields.replace("ID", &format!("00000000-0000-4000-8000-{request:012}"));
        let conversation = "00000000-0000-4000-9000-000000000001";
        let command = format!(
            r#"{{"type":"command","req":{request},"command":"{command}","data":{{"conversation":"{conversation}",{fields}}}}}"#
        );
        self.peer.send(frame(TEXT, command.as_bytes())).await;
        let wanted = format!(r#"{{"type":"reply","req":{request},"#);
        loop {
            let (first, payload) = self.peer.frame().await;
            let payload = String::from_utf8(payload).expect("text");
            assert!(first == TEXT && !payload.starts_with(r#"{"type":"error""#), "{payload}");
            if payload.starts_with(&wanted) {
                return;
            }
        }
    }

    /// Sends a message, and comes in a second time.
    async fn is_served(&mut self) {
        let begun = Instant::now();
        self.ask("message:send", r#""id":"ID","content":{"text":"hello"}"#)
            .await;
        session(Self::OWN, self.server, "another").await;
        self.slowest = self.slowest.max(begun.elapsed());
    }
}

#[tokio::test]
async fn three_hundred_headers_that_declare_the_maximum_cost_nothing() {
    let server = Server::start();
    let mut healthy = Healthy::enter(server.address).await;
    let mut sessions = Vec::new();
    for number in 0..300_u16 {
        let own = (number / 40) as u8 + 10;
        sessions.push(session(own, server.address, &format!("u{number}")).await);
    }
    // What it has in memory, what it may write to, and everything that is mapped: what is reserved and not touched shows
    // in the second, what an allocator has put aside only in the third.
    let kinds = ["VmRSS", "VmData", "VmSize"];
    let before = kinds.map(|kind| server.memory(kind));
    // 64 KiB, which is what a message may have: 19 MiB if it was believed.
    for session in &mut sessions {
        session.send([TEXT, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]).await;
    }
    healthy.is_served().await;
    sleep(Duration::from_millis(500)).await;
    for (kind, before) in kinds.into_iter().zip(before) {
        let grown = server.memory(kind).saturating_sub(before);
        println(&format!("300 headers: {grown} KiB of {kind}"));
        assert!(grown < 8 << 10, "{grown} KiB of {kind}");
    }
    // They are sessions still: one that sends what it declared is heard.
    sessions[0].send(vec![b'x'; 65_536]).await;
    loop {
        let (first, payload) = sessions[0].frame().await;
        if first == 0x88 {
            assert_eq!(payload[..2], 4500_u16.to_be_bytes());
            break;
        }
    }
}

#[tokio::test]
async fn masses_who_never_say_who_they_are_hold_nothing_for_long() {
    let server = Server::start();
    let mut healthy = Healthy::enter(server.address).await;
    let (resident, busy, begun) = (server.memory("VmRSS"), server.busy(), Instant::now());
    // Half of them say nothing at all, half come in and then never say hello, or a byte of it now and then.
    let mut silent = Vec::new();
    let mut strangers = Vec::new();
    for own in 10..26 {
        for number in 0..80 {
            let Ok(Ok(mut peer)) = timeout(Duration::from_secs(1), from(own, server.address)).await else {
                continue;
            };
            if number % 2 == 0 {
                silent.push(peer);
            } else if peer.0.write_all(handshake("/chat", "").as_bytes()).await.is_ok() {
                strangers.push(peer);
            }
        }
    }
    let came = silent.len() + strangers.len();
    let held = server.memory("VmRSS").saturating_sub(resident);
    healthy.is_served().await;
    let mut codes = [0_u32; 2];
    for peer in &mut strangers {
        let _ = peer.0.write_all(&[TEXT]).await;
        let mut all = Vec::new();
        // Whom there was no place for was told so, 503; who had one is closed 4001.
        let _ = soon(peer.0.read_to_end(&mut all)).await;
        codes[0] += u32::from(all.windows(3).any(|part| part == b"503"));
        codes[1] += u32::from(all.windows(2).any(|part| part == 4001_u16.to_be_bytes()));
    }
    for peer in &mut silent {
        let _ = soon(peer.0.read_to_end(&mut Vec::new())).await;
    }
    healthy.is_served().await;
    let share = share(server.busy() - busy, begun.elapsed());
    println(&format!(
        "{came} who said nothing: {held} KiB, {share} % of a core; {codes:?} got 503 and 4001; the healthy one waited {:?}",
        healthy.slowest
    ));
    assert!(codes[1] > 0, "some came in");
    assert!(held < 64 << 10, "{held} KiB");
    assert!(share < 60, "{share} % of a core");
}

/// What an abuser sends, and how often: each a hundred times what it may.
const FLOODS: [(&str, Flood); 7] = [
    ("messages", Flood::Frames(20, SEND)),
    (
        "commands that are none",
        Flood::Frames(20, br#"{"type":"command","req":1,"command":"no:such","data":{}}"#),
    ),
    ("text that is no JSON", Flood::Frames(20, b"{{{{{{{{")),
    ("pings of the protocol", Flood::Frames(1, br#"{"type":"ping"}"#)),
    ("pings of WebSocket", Flood::Bytes(1, &[0x89, 0x80, 1, 2, 3, 4])),
    ("empty fragments", Flood::Bytes(200, &[0x00, 0x80, 1, 2, 3, 4])),
    ("handshakes", Flood::Handshakes),
];

const SEND: &[u8] = br#"{"type":"command","req":1,"command":"message:send","data":{"conversation":"00000000-0000-4000-9000-000000000009","id":"00000000-0000-4000-8000-000000000009","content":{"text":"hello"}}}"#;

#[derive(Clone, Copy)]
enum Flood {
    /// So many text frames a second are allowed.
    Frames(u32, &'static [u8]),
    /// As they are.
    Bytes(u32, &'static [u8]),
    /// Ten a second of one address.
    Handshakes,
}

/// Comes again and again, and sends all that it can; says how often it got in.
async fn flood(flood: Flood, server: SocketAddr, end: Instant) -> u32 {
    let (rate, bytes) = match flood {
        Flood::Frames(rate, payload) => (rate, frame(TEXT, payload)),
        Flood::Bytes(rate, bytes) => (rate, bytes.to_vec()),
        Flood::Handshakes => (10, Vec::new()),
    };
    // A hundredth of a second's worth.
    let (pause, bytes) = (Duration::from_millis(10), bytes.repeat(rate as usize));
    let mut entered = 0;
    while Instant::now() < end {
        if bytes.is_empty() {
            for _ in 0..rate {
                let Ok(mut peer) = from(66, server).await else { continue };
                let _ = peer.0.write_all(handshake("/chat", "").as_bytes()).await;
                let mut head = [0; 12];
                let read = timeout(Duration::from_millis(100), peer.0.read_exact(&mut head)).await;
                entered += u32::from(matches!(read, Ok(Ok(_))) && head.ends_with(b"101"));
            }
            sleep(pause).await;
            continue;
        }
        sleep(pause).await;
        let Ok(mut peer) = from(66, server).await else { continue };
        let hello = frame(TEXT, br#"{"type":"hello","guest":"abuser"}"#);
        let _ = peer
            .0
            .write_all(&[handshake("/chat", "").as_bytes(), &hello].concat())
            .await;
        let mut head = [0; 12];
        if peer.0.read_exact(&mut head).await.is_err() || !head.ends_with(b"101") {
            continue;
        }
        entered += 1;
        let (mut read, mut write) = peer.0.into_split();
        let reader = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        if let Flood::Bytes(200, _) = flood {
            let _ = write.write_all(&frame(0x01, b"")).await;
        }
        while Instant::now() < end && !reader.is_finished() {
            // A server that reads no more holds up its abuser.
            if let Ok(Err(_)) = timeout(pause, write.write_all(&bytes)).await {
                break;
            }
            sleep(pause).await;
        }
        reader.abort();
    }
    entered
}

#[tokio::test]
async fn an_abuser_at_a_hundred_times_every_rate_takes_little_and_harms_nobody() {
    let server = Server::start();
    let mut healthy = Healthy::enter(server.address).await;
    let resident = server.memory("VmRSS");
    for (name, kind) in FLOODS {
        let (busy, begun) = (server.busy(), Instant::now());
        let end = begun + Duration::from_secs(2);
        let abuser = tokio::spawn(flood(kind, server.address, end));
        while Instant::now() < end {
            healthy.is_served().await;
            sleep(Duration::from_millis(400)).await;
        }
        let entered = abuser.await.expect("no panic");
        let share = share(server.busy() - busy, begun.elapsed());
        println(&format!(
            "{name}: {share} % of a core, let in {entered} times; the healthy one waited {:?}",
            healthy.slowest
        ));
        assert!(share < 60, "{name}: {share} % of a core");
    }
    let grown = server.memory("VmRSS").saturating_sub(resident);
    println(&format!("after all of them: {grown} KiB more"));
    assert!(grown < 32 << 10, "{grown} KiB");
}

#[tokio::test]
async fn frames_that_come_byte_by_byte_cost_next_to_nothing() {
    let server = Server::start();
    let mut healthy = Healthy::enter(server.address).await;
    let mut slow = Vec::new();
    for number in 0..100_u16 {
        let own = (number / 40) as u8 + 10;
        slow.push(session(own, server.address, &format!("u{number}")).await);
    }
    let (resident, busy, begun) = (server.memory("VmRSS"), server.busy(), Instant::now());
    let message = frame(TEXT, &[b'x'; 60_000]);
    for byte in &message[..30] {
        for peer in &mut slow {
            peer.send([*byte]).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
    healthy.is_served().await;
    let share = share(server.busy() - busy, begun.elapsed());
    let grown = server.memory("VmRSS").saturating_sub(resident);
    println(&format!(
        "100 who send a byte at a time: {share} % of a core, {grown} KiB"
    ));
    assert!(share < 60, "{share} % of a core");
    assert!(grown < 8 << 10, "{grown} KiB");
}

/// In percent of one core.
fn share(busy: Duration, elapsed: Duration) -> u128 {
    busy.as_millis() * 100 / elapsed.as_millis().max(1)
}

/// For who reads the figures: `--nocapture`.
#[expect(clippy::print_stdout, reason = "tests say what they measured")]
fn println(line: &str) {
    println!("{line}");
}
