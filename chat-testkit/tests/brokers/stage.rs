//! Two engines on one store, each with a link of its own to one broker, and one user on each.

use async_trait::async_trait;
use bytes::Bytes;
use chat_backplane_nats::NatsBackplane;
use chat_backplane_redis::RedisBackplane;
use chat_core::backplane::{Backplane, BackplaneError, Rung, Topic};
use chat_core::command::ConversationCreate;
use chat_core::conversation::ConversationKind;
use chat_core::event::EventKind;
use chat_core::frame::ServerFrame;
use chat_core::id::{CommandId, ConversationId};
use chat_core::message::Content;
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_testkit::link::Link;
use chat_testkit::nats::PrivateNats;
use chat_testkit::redis::PrivateRedis;
use chat_testkit::server::Server;
use chat_testkit::transport::in_process;
use chat_testkit::wire::Wire;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for a slow machine; nobody waits that long unless something is wrong.
const AT_MOST: Duration = Duration::from_secs(60);

pub enum Broker {
    Redis(PrivateRedis),
    Nats(PrivateNats),
}

impl Broker {
    pub fn redis() -> Self {
        Self::Redis(PrivateRedis::start().unwrap())
    }

    pub fn nats() -> Self {
        Self::Nats(PrivateNats::start().unwrap())
    }

    pub fn server(&self) -> &Server {
        match self {
            Self::Redis(redis) => redis,
            Self::Nats(nats) => nats,
        }
    }

    async fn connect(&self, link: &Link) -> Box<dyn Backplane> {
        match self {
            Self::Redis(redis) => {
                let url = redis.url_through(link.address());
                Box::new(RedisBackplane::connect(&url).await.unwrap())
            }
            Self::Nats(nats) => {
                let url = nats.url_through(link.address());
                Box::new(NatsBackplane::connect(&url).await.unwrap())
            }
        }
    }
}

pub struct Stage {
    pub broker: Broker,
    pub links: [Link; 2],
    pub engines: [Engine; 2],
    /// The bells that each node heard.
    bells: [Bells; 2],
    wires: [Wire; 2],
    group: ConversationId,
    /// What was said, in order, and how much of it everybody has heard.
    said: Vec<String>,
    heard: usize,
}

type Bells = Arc<Mutex<Vec<Bytes>>>;

/// Keeps what its node hears.
struct Kept(Box<dyn Backplane>, Bells);

impl Stage {
    pub async fn open(broker: Broker) -> Self {
        let store = MemoryStore::new();
        let (mut links, mut engines, mut bells, mut wires) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for name in ["ana", "ben"] {
            let link = Link::start(([127, 0, 0, 1], broker.server().port()).into())
                .await
                .unwrap();
            let kept = Bells::default();
            let backplane = Kept(broker.connect(&link).await, kept.clone());
            let (transport, connector) = in_process();
            let builder = Engine::builder()
                .store(store.clone())
                .hooks(Guests)
                .backplane(backplane);
            engines.push(builder.transport(transport).build().await.unwrap());
            wires.push(Wire::guest(&connector, name).await);
            links.push(link);
            bells.push(kept);
        }
        let id = CommandId::from_parts(1, [7; 10]);
        let group = ConversationId::new(*id.as_uuid()).unwrap();
        let create = ConversationCreate {
            conversation: group,
            id,
            title: Some("a group".to_owned()),
            kind: ConversationKind::Group,
            public: false,
            history: None,
            members: vec!["ben".parse().unwrap()],
            meta: None,
        };
        wires[0].stored(create).await;
        // What is said before somebody was told of the group is in it, and not on their wire; of who made it too.
        for wire in &mut wires {
            let is_told =
                |frame| matches!(frame, ServerFrame::Inbox(inbox) if inbox.entries[0].conversation.id == group);
            while !is_told(wire.next().await) {}
        }
        let mut stage = Self {
            broker,
            links: links.try_into().unwrap(),
            engines: engines.try_into().unwrap_or_else(|_| unreachable!("two were built")),
            bells: bells.try_into().unwrap(),
            wires: wires.try_into().unwrap(),
            group,
            said: Vec::new(),
            heard: 0,
        };
        stage.rings().await;
        stage
    }

    /// Each node in turn says something.
    pub async fn say(&mut self, count: usize) {
        for n in 0..count {
            let number = self.said.len();
            send(&self.engines[n % 2], self.group, number).await;
            self.said.push(words(number));
        }
    }

    /// Both users hear all that was said, once and in order. That nothing comes twice, the wires see to.
    pub async fn hear(&mut self) {
        let said = &self.said[self.heard..];
        let [ana, ben] = &mut self.wires;
        tokio::join!(hears(ana, said), hears(ben, said));
        self.heard = self.said.len();
    }

    /// The first node says something, five times, with a pause in between, while both users hear; how long each took to the
    /// user of that node, and to the other one. The other node says nothing: it would see what is missing before.
    pub async fn waits(&mut self, pause: Duration) -> [Vec<Duration>; 2] {
        let first = self.said.len();
        assert_eq!(self.heard, first, "all that was said before was heard");
        self.said.extend((first..first + 5).map(words));
        let said = &self.said[first..];
        let saying = async {
            let mut since = Vec::new();
            for number in first..first + said.len() {
                since.push(Instant::now());
                send(&self.engines[0], self.group, number).await;
                sleep(pause).await;
            }
            since
        };
        let [ana, ben] = &mut self.wires;
        let (since, own, other) = tokio::join!(saying, hears(ana, said), hears(ben, said));
        self.heard = self.said.len();
        [own, other].map(|heard| heard.iter().zip(&since).map(|(at, since)| *at - *since).collect())
    }

    /// Bells carry again, in both directions: what is said is heard through one, and not from the store alone.
    pub async fn rings(&mut self) {
        let end = Instant::now() + AT_MOST;
        let mut missing = vec![0, 1];
        while !missing.is_empty() {
            assert!(Instant::now() < end, "bells do not reach {missing:?}");
            self.say(2).await;
            self.hear().await;
            sleep(Duration::from_millis(100)).await;
            // The first of the two is said by the first node, and the other hears it.
            let [to_ben, to_ana] = self.said.last_chunk().unwrap();
            missing.retain(|node| {
                let words = [to_ana, to_ben][*node].as_bytes();
                let bells = self.bells[*node].lock().unwrap();
                let carries = |bell: &Bytes| bell.windows(words.len()).any(|window| window == words);
                !bells.iter().any(carries)
            });
        }
    }

    /// Both nodes say of themselves that they are degraded, or that they are not.
    pub async fn are_degraded(&self, degraded: bool) {
        let end = Instant::now() + AT_MOST;
        while self
            .engines
            .iter()
            .any(|engine| engine.degraded().is_some() != degraded)
        {
            assert!(Instant::now() < end, "degraded is not {degraded}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn words(number: usize) -> String {
    format!("word {number} is said")
}

async fn send(engine: &Engine, group: ConversationId, number: usize) {
    let mut random = [8; 10];
    random[2..].copy_from_slice(&(number as u64).to_be_bytes());
    let id = CommandId::from_parts(2, random).into();
    let content = Content::text(words(number));
    engine.system().send(group, id, content).await.unwrap();
}

/// When each of them was heard.
async fn hears(wire: &mut Wire, said: &[String]) -> Vec<Instant> {
    let mut heard = Vec::new();
    for words in said {
        loop {
            let event = timeout(AT_MOST, wire.event()).await;
            let event = event.unwrap_or_else(|_| panic!("of {said:?}, {words:?} is not heard"));
            if let EventKind::MessageNew(new) = &event.kind {
                let content = new.message.content.as_ref().unwrap();
                assert_eq!(content.text.as_deref(), Some(words.as_str()));
                break;
            }
        }
        heard.push(Instant::now());
    }
    heard
}

#[async_trait]
impl Backplane for Kept {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        self.0.publish(bells).await
    }

    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.0.listen(topic).await
    }

    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.0.unlisten(topic).await
    }

    async fn recv(&self) -> Rung {
        let rung = self.0.recv().await;
        if let Rung::Bell(bell) = &rung {
            self.1.lock().unwrap().push(bell.clone());
        }
        rung
    }

    fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    fn bell_bytes_max(&self) -> usize {
        self.0.bell_bytes_max()
    }
}
