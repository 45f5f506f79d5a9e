//! A server, and the scene on which a row plays: users, a group with messages, a direct conversation.

use crate::line::Line;
use crate::row::Carrier;
use async_trait::async_trait;
use chat_core::command::{ConversationCreate, MemberRemove, MemberRole, MessageDelete, MessageEdit, ReactionAdd};
use chat_core::conversation::{ConversationKind, Role};
use chat_core::engine::Act;
use chat_core::id::{CommandId, ConversationId, MessageId, Timestamp, UserId};
use chat_core::message::Content;
use chat_core::{
    AuthRequest, Authority, Clock, Command, Engine, Guests, Hooks, Identity, Limits, Refused, SystemClock,
};
use chat_store_memory::MemoryStore;
use chat_testkit::transport::{InProcessConnector, in_process};
use chat_transport_ws::{WsConfig, WsTransport};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A server with two ways in.
#[derive(Clone)]
pub struct House {
    pub engine: Engine,
    pub address: SocketAddr,
    pub connector: InProcessConnector,
}

impl House {
    pub async fn open(bounds: Option<fn(&mut Limits, &mut WsConfig)>) -> Self {
        let (mut limits, mut config) = (Limits::default(), WsConfig::default());
        // All rows come from one address.
        limits.handshakes_per_address = 100_000;
        limits.handshakes_per_second = 100_000;
        // A scene's conversations are over when their row is.
        limits.conversation_idle = Duration::from_millis(100);
        if let Some(bounds) = bounds {
            bounds(&mut limits, &mut config);
        }
        let (transport, connector) = in_process();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = Engine::builder()
            .store(MemoryStore::new())
            .hooks(Host)
            .limits(limits)
            .transport(WsTransport::new(anywhere, config))
            .transport(transport)
            .build()
            .await
            .unwrap();
        let address = engine.addresses()[0]
            .trim_start_matches("ws://")
            .trim_end_matches("/chat");
        Self {
            address: address.parse().unwrap(),
            engine,
            connector,
        }
    }

    pub async fn line(&self, carrier: Carrier) -> Line {
        Line::open(carrier, self.address, &self.connector).await
    }
}

/// Admits guests, and tokens that say `good` and a name. `stale` is the token of a proof that ran out,
/// `brief` of one that runs out in a second. Who may bring whom
/// together is the engine's rule.
struct Host;

#[async_trait]
impl Hooks for Host {
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        let Some(token) = &request.token else {
            return Guests.authenticate(request).await;
        };
        let user = |name: &str| UserId::new(name).map_err(|error| Refused(error.to_string()));
        match token.0.split_once(' ') {
            Some(("good", name)) => Ok(Identity::new(user(name)?)),
            Some(("stale", name)) => Ok(Identity::new(user(name)?).with_expiry(Timestamp(1))),
            Some(("brief", name)) => {
                let soon = Timestamp(SystemClock.now().0 + 1_000);
                Ok(Identity::new(user(name)?).with_expiry(soon))
            }
            _ => Err(Refused(format!("this host says no to {}", token.0))),
        }
    }

    async fn authorize(&self, _: &UserId, _: &Command) -> Result<Authority, Refused> {
        Ok(Authority::Rules)
    }
}

/// Where a row plays: nothing in it is of another row.
#[derive(Clone)]
pub struct Stage {
    pub house: House,
    pub carrier: Carrier,
    pub scene: Scene,
}

impl Stage {
    pub async fn set(house: &House, carrier: Carrier) -> Self {
        Self {
            house: house.clone(),
            carrier,
            scene: Scene::set(&house.engine).await,
        }
    }

    /// A connection of a user of the scene, who has everything.
    pub async fn line(&self, user: &str) -> Line {
        let mut line = self.nobody().await;
        line.greet(&self.scene.names[user]).await;
        line
    }

    /// A connection that said nothing yet.
    pub async fn nobody(&self) -> Line {
        self.house.line(self.carrier).await
    }

    /// What stands in a row, as the scene has it.
    pub fn said(&self, value: &Value) -> Value {
        self.scene.said(value)
    }
}

static LAST: AtomicU64 = AtomicU64::new(0);

/// An id that nothing else in this process has.
fn fresh() -> CommandId {
    let mut random = [7; 10];
    random[2..].copy_from_slice(&LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    CommandId::from_parts(1_000, random)
}

/// Users: `$ana` owns `$group`, `$adam` is an admin of it, `$ben` a member, `$cy` was removed from it, `$eve` is a stranger
/// to everybody. Its head is at 10. `$direct` is of ana and ben, `$private` of ana alone. Messages of `$group`: `$anas`
/// with a 👍 of ana's, `$bens`, `$edited` at version 2, `$deleted`; `$elsewhere` is one of `$private`. `$new` is another id
/// wherever it stands, `$unknown` a conversation that never was.
#[derive(Clone)]
pub struct Scene {
    pub names: BTreeMap<&'static str, String>,
}

impl Scene {
    async fn set(engine: &Engine) -> Self {
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let mut names: BTreeMap<&'static str, String> = ["$ana", "$adam", "$ben", "$cy", "$eve"]
            .map(|name| (name, format!("{}-{n}", &name[1..])))
            .into();
        let act = |name: &str| engine.user(names[name].parse().unwrap());
        let (ana, ben) = (act("$ana"), act("$ben"));
        let system = engine.system();
        let create = |kind: ConversationKind, members: &[&str]| ConversationCreate {
            conversation: ConversationId::new(*fresh().as_uuid()).unwrap(),
            id: fresh(),
            title: (kind != ConversationKind::Direct).then(|| "a title".to_owned()),
            kind,
            public: false,
            history: None,
            members: members.iter().map(|name| names[name].parse().unwrap()).collect(),
            meta: None,
        };
        // By a direct conversation with each of them she may bring them together.
        let mut direct = None;
        for name in ["$adam", "$cy", "$ben"] {
            direct = Some(
                ana.store(create(ConversationKind::Direct, &[name]))
                    .await
                    .unwrap()
                    .conversation,
            );
        }
        let group = create(ConversationKind::Group, &["$adam", "$ben", "$cy"]);
        let conversation = ana.store(group).await.unwrap().conversation;
        let private = ana
            .store(create(ConversationKind::Group, &[]))
            .await
            .unwrap()
            .conversation;
        let role = Role::Admin;
        let (adam, cy): (UserId, UserId) = (names["$adam"].parse().unwrap(), names["$cy"].parse().unwrap());
        ana.store(MemberRole {
            conversation,
            id: fresh(),
            user: adam,
            role,
        })
        .await
        .unwrap();
        let anas = say(&ana, conversation).await;
        ana.store(ReactionAdd {
            conversation,
            id: fresh(),
            message: anas,
            emoji: "👍".to_owned(),
        })
        .await
        .unwrap();
        let bens = say(&ben, conversation).await;
        let edited = say(&ana, conversation).await;
        let (message, content) = (edited, Content::text("again"));
        ana.store(MessageEdit {
            conversation,
            id: fresh(),
            message,
            version: None,
            content,
        })
        .await
        .unwrap();
        let deleted = say(&ana, conversation).await;
        ana.store(MessageDelete {
            conversation,
            id: fresh(),
            message: deleted,
        })
        .await
        .unwrap();
        let gone = ana
            .store(MemberRemove {
                conversation,
                id: fresh(),
                user: cy,
            })
            .await
            .unwrap();
        assert_eq!(gone.seq.0, 10);
        let elsewhere = say(&system, private).await;
        names.extend([
            ("$group", conversation.to_string()),
            ("$private", private.to_string()),
            ("$direct", direct.unwrap().to_string()),
            ("$unknown", fresh().to_string()),
            ("$anas", anas.to_string()),
            ("$bens", bens.to_string()),
            ("$edited", edited.to_string()),
            ("$deleted", deleted.to_string()),
            ("$elsewhere", elsewhere.to_string()),
            ("$tag", gone.tag.to_string()),
        ]);
        Self { names }
    }

    pub fn said(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == "$new" => fresh().to_string().into(),
            Value::String(text) => self.names.get(text.as_str()).unwrap_or(text).as_str().into(),
            Value::Array(items) => items.iter().map(|item| self.said(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.clone(), self.said(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}

async fn say(act: &Act, conversation: ConversationId) -> MessageId {
    let id = MessageId::from(fresh());
    act.send(conversation, id, Content::text("hello")).await.unwrap();
    id
}

/// What a house carries, without what is kept for those who come back.
pub fn load(engine: &Engine) -> (usize, usize, usize) {
    let counts = engine.counts();
    (counts.connections, counts.users, counts.queued_bytes)
}

/// Waits until a house carries no more than this; false when it does not come to that.
pub async fn comes_to(engine: &Engine, wanted: (usize, usize, usize)) -> bool {
    for _ in 0..5_000 {
        if load(engine) == wanted {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}
