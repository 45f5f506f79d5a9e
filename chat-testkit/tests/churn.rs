//! Whoever comes and goes leaves nothing behind. Alone in its process, whose file descriptors and gauges it counts.

// Helpers of tests may fail as loudly as tests, and say what they measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../chat-transport-ws/tests/it/peer.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod peer;

use chat_core::codec::Codec;
use chat_core::command::WatchPresence;
use chat_core::engine::Counts;
use chat_core::frame::{ClientFrame, Resume};
use chat_core::{
    Command, CommandId, Content, ConversationCreate, ConversationId, ConversationJoin, ConversationKind,
    ConversationLeave, Engine, Guests, Limits, MessageSend, UserId,
};
use chat_store_memory::MemoryStore;
use chat_testkit::wire::Memory;
use chat_transport_ws::{WsConfig, WsTransport};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use peer::{frame, handshake};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How many come and go.
const CYCLES: usize = 50_000;

/// How many at a time.
const AT_ONCE: usize = 16;

/// Of so many different users.
const USERS: usize = 1_000;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_who_come_and_go_leave_nothing_behind() {
    let gauges = PrometheusBuilder::new().install_recorder().unwrap();
    let engine = engine().await;
    let lobby = lobby(&engine).await;
    let address: SocketAddr = engine.addresses()[0]
        .trim_start_matches("ws://")
        .trim_end_matches("/chat")
        .parse()
        .unwrap();
    // A gauge is there once it was set.
    cycle(address, lobby, 0).await;
    let before = Census::settled(&engine, &gauges, None).await;

    let start = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        workers.spawn(async move {
            for number in (worker..CYCLES).step_by(AT_ONCE) {
                cycle(address, lobby, number).await;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    println!("{CYCLES} came and went in {:?}", start.elapsed());
    let after = Census::settled(&engine, &gauges, Some(&before)).await;
    assert_eq!(after, before);
    assert_eq!(after.counts.connections, 0);
    engine.kill();
}

/// Limits of rate are out of the way, and what lingers does so for a moment.
async fn engine() -> Engine {
    let mut limits = Limits::default();
    limits.handshakes_per_address = 1_000_000;
    limits.handshakes_per_second = 1_000_000;
    limits.connections_per_user_max = 1_000;
    limits.sends_per_user = (1_000, 1_000);
    limits.sends_per_conversation = (1_000_000, 1_000_000);
    limits.reconcile_interval = Duration::from_millis(200);
    limits.presence_grace = Duration::from_millis(100);
    limits.topic_linger = Duration::from_millis(100);
    limits.conversation_idle = Duration::from_millis(100);
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let builder = Engine::builder().store(MemoryStore::new()).hooks(Guests).limits(limits);
    let transport = WsTransport::new(anywhere, WsConfig::default());
    builder.transport(transport).build().await.unwrap()
}

async fn lobby(engine: &Engine) -> ConversationId {
    let system = engine.system();
    let create = ConversationCreate {
        conversation: ConversationId::from_parts(1, [1; 10]),
        id: system.mint(),
        kind: ConversationKind::Channel,
        title: Some("Lobby".to_owned()),
        public: true,
        history: None,
        members: Vec::new(),
        meta: None,
    };
    system.store(create).await.unwrap().conversation
}

/// Connects, says who it is, does something, and goes: in good order, by just closing, or with a reset.
async fn cycle(address: SocketAddr, lobby: ConversationId, number: usize) {
    let name = format!("user-{}", number % USERS);
    let mut bytes = handshake("/chat", "").into_bytes();
    let commands = commands(lobby, number);
    let last = commands.len();
    let said = [
        ClientFrame::Hello(Memory::hello_of(&name)),
        ClientFrame::Resume(Resume {
            last: true,
            ..Resume::default()
        }),
    ];
    let asked = (1..)
        .zip(commands)
        .map(|(req, command)| ClientFrame::Command { req, command });
    for said in said.into_iter().chain(asked) {
        bytes.extend(frame(0x81, &Codec::Json.encode(&said)));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let heard = timeout(PATIENCE, hear(&mut stream, &format!("\"req\":{last},"))).await;
    let heard = heard.unwrap_or_else(|_| panic!("no answer to {name}"));
    assert!(!heard.contains("\"error\""), "{heard}");
    match number % 3 {
        0 => {
            stream.write_all(&frame(0x88, &1000_u16.to_be_bytes())).await.unwrap();
            // Until the server has closed.
            let mut rest = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        }
        1 => stream.shutdown().await.unwrap(),
        _ => stream.set_zero_linger().unwrap(),
    }
}

fn commands(lobby: ConversationId, number: usize) -> Vec<Command> {
    let users = vec![UserId::new(format!("user-{}", number % USERS)).unwrap()];
    let watch = WatchPresence { users }.into();
    if !number.is_multiple_of(5) {
        return vec![watch];
    }
    let mint = |which: u8| CommandId::from_parts(number as u64, [which; 10]);
    let join = ConversationJoin {
        conversation: lobby,
        id: mint(1),
    };
    let send = MessageSend {
        conversation: lobby,
        id: mint(2).into(),
        content: Content::text("I am just looking in"),
        reply_to: None,
    };
    let leave = ConversationLeave {
        conversation: lobby,
        id: mint(3),
    };
    vec![watch, join.into(), send.into(), leave.into()]
}

async fn hear(stream: &mut TcpStream, wanted: &str) -> String {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard);
        if text.contains(wanted) || text.contains("\"error\"") {
            return text.into_owned();
        }
        let count = stream.read_buf(&mut heard).await.unwrap();
        assert!(count > 0, "closed after: {}", String::from_utf8_lossy(&heard));
    }
}

/// What there is of everything.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    counts: Counts,
    tasks: usize,
    descriptors: usize,
    gauges: BTreeSet<String>,
}

impl Census {
    fn take(engine: &Engine, gauges: &PrometheusHandle) -> Self {
        let rendered = gauges.render();
        let names = rendered
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" gauge"));
        let names: Vec<_> = names.collect();
        let is_one = |line: &&str| names.iter().any(|name| line.starts_with(name));
        Self {
            counts: engine.counts(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            gauges: rendered.lines().filter(is_one).map(str::to_owned).collect(),
        }
    }

    /// When it is what is wanted, or has not changed for a while; or when patience ends.
    async fn settled(engine: &Engine, gauges: &PrometheusHandle, wanted: Option<&Self>) -> Self {
        let (mut last, mut same) = (Self::take(engine, gauges), 0);
        for _ in 0..PATIENCE.as_millis() / 100 {
            sleep(Duration::from_millis(100)).await;
            let now = Self::take(engine, gauges);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            let is_settled = match wanted {
                Some(wanted) => last == *wanted,
                None => same >= 20,
            };
            if is_settled {
                break;
            }
        }
        last
    }
}
