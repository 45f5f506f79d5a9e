//! Several chat-server processes that are one chat: what becomes of users and messages when one of them is killed, stands
//! still, is stopped, or is not the one that a client comes back to.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "it/process.rs"]
#[allow(dead_code)] // Other tests use the rest.
mod process;

#[path = "it/wire.rs"]
#[allow(dead_code)]
mod wire;

use chat_client::{Client, Content, Outbox, WsConnector};
use chat_core::Limits;
use chat_testkit::link::Link;
use chat_testkit::postgres::PrivatePostgres;
use examples::lobby;
use process::{Process, chat_server_on, free_address, ready};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use wire::{Heard, Wire};

/// Nothing takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that died is noticed by the end of its lease, 10 s, and the rest is told at once.
const OFFLINE_WITHIN: Duration = Duration::from_secs(15);

/// And what a slow machine adds.
const OFFLINE_SLOWLY: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_users_are_offline_everywhere_and_who_is_on_two_nodes_stays_online() {
    let mut house = House::open(3).await;
    let mut watchers = [house.come(0, "ana").await, house.come(2, "abe").await];
    let (_ben, _cleo) = (house.come(1, "ben").await, house.come(1, "cleo").await);
    let _cleo_again = house.come(2, "cleo").await;
    for watcher in &mut watchers {
        watcher.watch(&["ben", "cleo"]).await;
        watcher.sees("ben", true).await;
        watcher.sees("cleo", true).await;
    }
    let since = Instant::now();
    house.nodes[1].process.kill();
    let [ana, abe] = &mut watchers;
    let saw = |watcher: &mut Guest| {
        println!("{} saw that ben is gone after {:?}", watcher.name, since.elapsed());
        since.elapsed()
    };
    let gone = tokio::join!(
        async {
            ana.sees("ben", false).await;
            saw(ana)
        },
        async {
            abe.sees("ben", false).await;
            saw(abe)
        },
    );
    assert!(gone.0.min(gone.1) <= OFFLINE_WITHIN, "{gone:?}");
    assert!(gone.0.max(gone.1) <= OFFLINE_SLOWLY, "{gone:?}");
    // Whoever is told of the one would be told of the other, at the latest when the grace of a dropped connection is over.
    sleep(Limits::default().presence_grace + Duration::from_secs(2)).await;
    for watcher in &mut watchers {
        watcher.drain().await;
        assert!(watcher.presence["cleo"].0, "cleo is on another node");
        assert!(!watcher.offline.contains(&"cleo".to_owned()), "and was all the time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_leaves_no_ghost_and_nobody_hears_anything_twice() {
    let house = House::open(2).await;
    let mut ana = house.come(0, "ana").await;
    let (mut ben, mut cleo) = (house.come(1, "ben").await, house.come(1, "cleo").await);
    ana.watch(&["ben", "cleo"]).await;
    ana.sees("ben", true).await;
    ana.sees("cleo", true).await;
    ana.say("before").await;
    for guest in [&mut ben, &mut cleo] {
        guest.hears("before").await;
    }

    let since = Instant::now();
    house.nodes[1].process.signal("-STOP");
    ana.sees("ben", false).await;
    println!(
        "who is on a node that stands still was offline after {:?}",
        since.elapsed()
    );
    assert!(since.elapsed() <= OFFLINE_SLOWLY, "{:?}", since.elapsed());
    ana.say("meanwhile").await;
    // Cleo waits no longer: what her old socket has heard is all that it ever hears.
    let old = cleo.come_back(house.address(0)).await;
    cleo.hears("meanwhile").await;
    ana.sees("cleo", true).await;
    sleep(Duration::from_secs(20).saturating_sub(since.elapsed())).await;
    house.nodes[1].process.signal("-CONT");

    let (events, code) = rest(old).await;
    assert_eq!(
        events, 0,
        "nothing is delivered to a socket whose session went elsewhere"
    );
    println!("the old socket was closed with {code}");
    assert!([1012, 4507].contains(&code), "{code}");
    ana.say("afterwards").await;
    cleo.hears("afterwards").await;
    // Ben waited: he is either told to come back, or goes on.
    if ben.heard_or_closed("afterwards").await {
        println!("who waited was told to come back");
        drop(ben.come_back(house.address(0)).await);
        ben.hears("afterwards").await;
    }
    ana.sees("ben", true).await;
    assert_eq!(ben.texts, ["before", "meanwhile", "afterwards"]);
    assert_eq!(cleo.texts, ["before", "meanwhile", "afterwards"]);

    // No node holds on to who has gone for good.
    drop((ben, cleo));
    ana.sees("ben", false).await;
    ana.sees("cleo", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_elsewhere_goes_on_there_at_once_and_its_old_socket_is_told() {
    let house = House::open(2).await;
    let mut ana = house.come(0, "ana").await;
    let mut ben = house.come(0, "ben").await;
    ana.say("0").await;
    ben.hears("0").await;
    for number in 1..10_usize {
        // He knows nothing of this one yet.
        ana.say(&number.to_string()).await;
        let since = Instant::now();
        let old = ben.come_back(house.address(number % 2)).await;
        ben.hears(&number.to_string()).await;
        let took = since.elapsed();
        let (_, code) = rest(old).await;
        assert_eq!(code, 4507, "the old socket is told");
        println!(
            "came back elsewhere in {took:?}; the old socket was told after {:?}",
            since.elapsed()
        );
        assert!(took < Duration::from_secs(10), "nothing was waited for");
    }
    assert_eq!(ben.texts, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(ben.resets, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_answers_what_it_accepted_and_its_clients_go_on_elsewhere() {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 60;
    let mut house = House::open(2).await;
    let mut ana = house.come(0, "ana").await;
    let mut listeners = Vec::new();
    for number in 0..8 {
        listeners.push(house.come(1, &format!("listener-{number}")).await);
    }
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let link = Link::start(house.address(1)).await.unwrap();
        let url = format!("ws://{}/chat", link.address());
        let client = Client::builder(WsConnector::new(&url).unwrap())
            .guest(format!("sender-{number}"))
            .outbox(Outbox::memory());
        let (client, updates) = client.start().unwrap();
        let reading = tokio::spawn(async move {
            let mut updates = updates;
            while updates.recv().await.is_some() {}
        });
        client.join(lobby::id()).await.unwrap();
        let sending = tokio::spawn({
            let client = client.clone();
            async move {
                let mut acked = Vec::new();
                for message in 0..MESSAGES {
                    let text = format!("sender-{number} {message:02}");
                    let since = Instant::now();
                    let (id, answer) = client.post(lobby::id(), Content::text(&*text));
                    answer.await.unwrap();
                    acked.push((text, id.to_string(), since.elapsed()));
                    sleep(Duration::from_millis(30)).await;
                }
                client.close().await;
                acked
            }
        });
        senders.push((link, sending, reading));
    }
    ana.hears("sender-0 20").await;

    // Whoever comes back is let in elsewhere, as behind a balancer.
    for (link, ..) in &senders {
        link.set_target(house.address(0));
    }
    let since = Instant::now();
    house.nodes[1].process.terminate();
    let mut pauses = Vec::new();
    for listener in &mut listeners {
        let code = listener.is_closed().await;
        assert_eq!(code, 1012, "it says that it starts anew");
        pauses.push(listener.reconnect_after.expect("and when to come back"));
        listener.leave();
        drop(listener.come_back(house.address(0)).await);
    }
    println!(
        "all were closed after {:?}, and asked to come back after {pauses:?} ms",
        since.elapsed()
    );
    assert!(pauses.iter().any(|pause| *pause != pauses[0]), "spread: {pauses:?}");
    assert!(house.nodes[1].process.ended().success());

    let mut acked = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for (_link, sending, reading) in senders {
        for (text, id, took) in timeout(PATIENCE, sending).await.unwrap().unwrap() {
            longest = longest.max(took);
            acked.insert(text, id);
        }
        reading.abort();
    }
    println!("the longest acknowledgement took {longest:?}");
    assert_eq!(acked.len(), SENDERS * MESSAGES);
    for guest in listeners.iter_mut().chain([&mut ana]) {
        guest.hears_all(SENDERS * MESSAGES).await;
        let said: BTreeMap<_, _> = guest.texts.iter().cloned().zip(guest.ids.iter().cloned()).collect();
        assert_eq!(guest.texts.len(), SENDERS * MESSAGES, "nothing twice");
        assert_eq!(said, acked, "and nothing lost");
        for number in 0..SENDERS {
            let own: Vec<_> = guest
                .texts
                .iter()
                .filter(|text| text.starts_with(&format!("sender-{number} ")))
                .collect();
            assert!(own.is_sorted(), "in the order of the sender: {own:?}");
        }
        assert_eq!(guest.resets, 0);
    }
}

/// Nodes on one database, which ring each other through it.
struct House {
    nodes: Vec<Node>,
    _postgres: PrivatePostgres,
}

struct Node {
    process: Process,
    address: SocketAddr,
}

impl House {
    async fn open(nodes: usize) -> Self {
        tokio::task::spawn_blocking(move || {
            let postgres = PrivatePostgres::start().unwrap();
            let nodes = (0..nodes).map(|_| Node::start(&postgres.url()));
            Self {
                nodes: nodes.collect(),
                _postgres: postgres,
            }
        })
        .await
        .unwrap()
    }

    fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].address
    }

    async fn come(&self, node: usize, name: &str) -> Guest {
        Guest::come(self.address(node), name).await
    }
}

impl Node {
    fn start(store: &str) -> Self {
        let address = free_address();
        let mut command = chat_server_on(store, &address.to_string());
        command.args(["--backplane", "postgres"]);
        for limit in [
            "--handshakes-per-address",
            "--sends-per-user",
            "--sends-per-conversation",
        ] {
            command.args([limit, "10000"]);
        }
        Self {
            process: ready(&mut command, address),
            address,
        }
    }
}

/// A member of the Lobby who takes nothing that does not continue what came before: a client that mends nothing.
struct Guest {
    name: String,
    wire: Option<Wire>,
    attempt: u64,
    session: Value,
    epoch: Value,
    /// The place in the Lobby's log, once it is in the inbox.
    cursor: Option<(u64, Value)>,
    texts: Vec<String>,
    ids: Vec<String>,
    /// Whether somebody is online, and how fresh that is.
    presence: BTreeMap<String, (bool, u64)>,
    /// Who was ever seen offline.
    offline: Vec<String>,
    reconnect_after: Option<u64>,
    resets: u32,
}

impl Guest {
    /// Comes in and joins.
    async fn come(address: SocketAddr, name: &str) -> Self {
        let mut guest = Self {
            name: name.to_owned(),
            wire: None,
            attempt: 0,
            session: Value::Null,
            epoch: Value::Null,
            cursor: None,
            texts: Vec::new(),
            ids: Vec::new(),
            presence: BTreeMap::new(),
            offline: Vec::new(),
            reconnect_after: None,
            resets: 0,
        };
        guest.connect(address).await;
        if guest.cursor.is_none() {
            let join = json!({ "conversation": lobby::LOBBY, "id": fresh() });
            guest.ask("conversation:join", join).await;
            guest.until(|guest| guest.cursor.is_some()).await;
        }
        guest
    }

    /// Connects with a higher attempt and hears all that was missed; what was open before is still open.
    async fn come_back(&mut self, address: SocketAddr) -> Option<Wire> {
        let old = self.wire.take();
        self.connect(address).await;
        old
    }

    async fn connect(&mut self, address: SocketAddr) {
        let mut wire = Wire::connect(address, &[]).await.ok().unwrap();
        self.attempt += 1;
        let mut hello = json!({
            "type": "hello", "guest": self.name, "attempt": self.attempt, "wants": ["presence"],
        });
        let mut resume = json!({ "type": "resume", "last": true });
        if !self.session.is_null() {
            hello["session"] = self.session.clone();
            resume["epoch"] = self.epoch.clone();
        }
        if let Some((seq, tag)) = &self.cursor {
            resume["cursors"] = json!([{ "conversation": lobby::LOBBY, "seq": seq, "tag": tag }]);
        }
        wire.say(&hello).await;
        wire.say(&resume).await;
        let welcome = wire.hear().await.frame();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        if !self.session.is_null() {
            assert_eq!(welcome["session"]["id"], self.session["id"], "the session goes on");
        }
        self.session = welcome["session"].clone();
        self.epoch = welcome["epoch"].clone();
        self.wire = Some(wire);
        while self.hear().await["type"] != "synced" {}
    }

    fn leave(&mut self) {
        self.wire = None;
    }

    /// Takes the next frame, which has to come.
    async fn hear(&mut self) -> Value {
        match self.wire.as_mut().unwrap().hear().await {
            Heard::Frame(frame) => {
                self.take(&frame);
                frame
            }
            other => panic!("{}: no frame: {other:?}", self.name),
        }
    }

    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "inbox" => {
                for entry in frame["entries"].as_array().into_iter().flatten() {
                    if self.cursor.is_none() && entry["conversation"]["id"] == lobby::LOBBY {
                        self.cursor = Some((entry["head"]["seq"].as_u64().unwrap(), entry["head"]["tag"].clone()));
                    }
                }
            }
            "page" => frame["items"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(|item| self.take(item)),
            "event" => {
                let seq = frame["seq"].as_u64().unwrap();
                self.moves(seq, seq, &frame["tag"]);
                if let Some(text) = frame["data"]["message"]["content"]["text"].as_str() {
                    self.texts.push(text.to_owned());
                    self.ids.push(frame["id"].as_str().unwrap().to_owned());
                }
            }
            "skip" => self.moves(
                frame["from"].as_u64().unwrap(),
                frame["to"].as_u64().unwrap(),
                &frame["tag"],
            ),
            "signal" if frame["signal"] == "presence" => {
                let (user, online) = (&frame["data"]["user"], frame["data"]["online"].as_bool().unwrap());
                let as_of = frame["data"]["as_of"].as_u64().expect("an answer says how fresh it is");
                let user = user.as_str().unwrap().to_owned();
                if !online {
                    self.offline.push(user.clone());
                }
                let before = self.presence.insert(user, (online, as_of));
                assert!(
                    before.is_none_or(|(_, before)| before <= as_of),
                    "{}: no older state follows: {before:?}, {frame}",
                    self.name
                );
            }
            "reconnect" => self.reconnect_after = frame["after_ms"].as_u64(),
            "reset" => self.resets += 1,
            _ => {}
        }
    }

    fn moves(&mut self, from: u64, to: u64, tag: &Value) {
        if let Some((seq, _)) = self.cursor {
            assert_eq!(
                from,
                seq + 1,
                "{}: nothing is left out, and nothing comes twice",
                self.name
            );
            self.cursor = Some((to, tag.clone()));
        }
    }

    async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !enough(self) {
                self.hear().await;
            }
        });
        if waited.await.is_err() {
            panic!(
                "{}: it does not come; what came: {:?}, {:?}",
                self.name, self.texts, self.presence
            );
        }
    }

    async fn hears(&mut self, text: &str) {
        self.until(|guest| guest.texts.iter().any(|heard| heard == text)).await;
    }

    async fn hears_all(&mut self, count: usize) {
        self.until(|guest| guest.texts.len() >= count).await;
        self.drain().await;
    }

    async fn sees(&mut self, user: &str, online: bool) {
        self.until(|guest| guest.presence.get(user).is_some_and(|(is, _)| *is == online))
            .await;
    }

    /// Hears until this comes, or until the connection is closed; whether it was.
    async fn heard_or_closed(&mut self, text: &str) -> bool {
        while !self.texts.iter().any(|heard| heard == text) {
            match self.wire.as_mut().unwrap().hear().await {
                Heard::Frame(frame) => self.take(&frame),
                Heard::Closed(code, _) => {
                    assert!(
                        code == 1012 || (4000..4500).contains(&code),
                        "one that says to come back: {code}"
                    );
                    return true;
                }
                other => panic!("{}: {other:?}", self.name),
            }
        }
        false
    }

    /// Hears all up to the close; its code.
    async fn is_closed(&mut self) -> u16 {
        loop {
            match self.wire.as_mut().unwrap().hear().await {
                Heard::Frame(frame) => self.take(&frame),
                Heard::Closed(code, _) => return code,
                other => panic!("{}: {other:?}", self.name),
            }
        }
    }

    /// What comes while nothing else happens.
    async fn drain(&mut self) {
        while let Ok(heard) = timeout(Duration::from_millis(300), self.wire.as_mut().unwrap().hear()).await {
            self.take(&heard.frame());
        }
    }

    async fn ask(&mut self, command: &str, data: Value) {
        let answer = self.wire.as_mut().unwrap().ask(command, data).await;
        assert_eq!(answer["type"], "reply", "{}: {answer}", self.name);
    }

    async fn say(&mut self, text: &str) {
        let message = json!({ "conversation": lobby::LOBBY, "id": fresh(), "content": { "text": text } });
        self.ask("message:send", message).await;
    }

    async fn watch(&mut self, users: &[&str]) {
        self.ask("watch:presence", json!({ "users": users })).await;
    }
}

/// How many events still come on a connection that somebody has left, and the code with which it ends.
async fn rest(wire: Option<Wire>) -> (usize, u16) {
    let (mut wire, mut events) = (wire.unwrap(), 0);
    loop {
        match wire.hear().await {
            Heard::Frame(frame) if frame["type"] == "event" => events += 1,
            Heard::Frame(frame) => events += frame["items"].as_array().map_or(0, Vec::len),
            Heard::Closed(code, _) => return (events, code),
            other => panic!("{other:?}"),
        }
    }
}

fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}
