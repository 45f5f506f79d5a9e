//! The six ways in which the chat that this project grew from failed, each impossible now: over real sockets.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod proxy;

use chat_client::{Client, Content, Event, EventKind, MessageId, Update, Updates, WsConnector};
use chat_core::command::ConversationCreate;
use chat_core::conversation::ConversationKind;
use chat_core::id::ConversationId;
use chat_core::{Alone, Backplane, Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_testkit::backplane::Hub;
use chat_transport_ws::{WsConfig, WsTransport};
use proxy::Proxy;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything here takes, with reconcile after a lost bell.
const PATIENCE: Duration = Duration::from_secs(15);

async fn engine(store: &MemoryStore, backplane: impl Backplane) -> Engine {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let builder = Engine::builder()
        .store(store.clone())
        .hooks(Guests)
        .backplane(backplane);
    let transport = WsTransport::new(anywhere, WsConfig::default());
    builder.transport(transport).build().await.unwrap()
}

async fn client(url: &str, name: &str) -> (Client, Updates) {
    let started = Client::builder(WsConnector::new(url).unwrap())
        .guest(name)
        .start()
        .unwrap();
    assert!(timeout(PATIENCE, started.0.synced()).await.unwrap());
    started
}

async fn group(owner: &Client, members: &[&str]) -> ConversationId {
    let command = ConversationCreate {
        conversation: owner.conversation_id(),
        id: owner.command_id(),
        kind: ConversationKind::Group,
        title: Some("a group".to_owned()),
        public: false,
        history: None,
        members: members.iter().map(|name| name.parse().unwrap()).collect(),
        meta: None,
    };
    owner.create(command).await.unwrap().conversation
}

/// Waits until a client knows a conversation.
async fn knows(client: &Client, conversation: ConversationId) {
    let known = async {
        while !client.with_state(|state| state.conversations.contains_key(&conversation)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, known).await.unwrap();
}

fn new_message(event: &Event) -> Option<(MessageId, String)> {
    let EventKind::MessageNew(new) = &event.kind else {
        return None;
    };
    Some((new.message.id, new.message.content.clone()?.text?))
}

/// The next new messages that a client shows, and after them everything that comes within a moment.
async fn shown(updates: &mut Updates, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let wait = if texts.len() < count {
            PATIENCE
        } else {
            Duration::from_millis(300)
        };
        match timeout(wait, updates.recv()).await {
            Ok(Some(Update::Event(event))) => texts.extend(new_message(&event).map(|(_, text)| text)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return texts,
        }
    }
}

async fn send(from: &Client, to: ConversationId, texts: std::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<String> = texts.map(|n| n.to_string()).collect();
    for text in &texts {
        from.send(to, Content::text(text)).await.unwrap();
    }
    texts
}

/// Four components had a socket each, and each message was shown several times.
#[tokio::test]
async fn seed_1_each_of_four_sockets_of_one_user_gets_each_message_once() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let url = &engine.addresses()[0];
    let (ben, _) = client(url, "ben").await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(client(url, "ana").await);
    }
    let group = group(&ben, &["ana"]).await;
    for (ana, _) in &sockets {
        knows(ana, group).await;
    }
    let said = send(&ben, group, 0..10).await;
    for (_, updates) in &mut sockets {
        assert_eq!(shown(updates, said.len()).await, said);
    }
}

/// The front end connected to one namespace, the back end sent to another, and neither heard of it.
#[tokio::test]
async fn seed_2_an_unknown_path_is_answered_with_the_right_one() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let url = engine.addresses()[0].replace("/chat", "/socket.io");
    let started = Client::builder(WsConnector::new(&url).unwrap()).guest("ana").start();
    let (_ana, mut updates) = started.unwrap();
    let stopped = async {
        loop {
            if let Update::Stopped { code } = updates.recv().await.unwrap() {
                return code;
            }
        }
    };
    let code = timeout(PATIENCE, stopped).await.unwrap();
    assert_eq!(code, Some(chat_core::code::CloseCode::WrongPath));
}

/// An optimistic row, the reply and the event each made a message of their own.
#[tokio::test]
async fn seed_3_reply_event_and_history_carry_the_id_that_the_sender_minted() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let (ana, mut updates) = client(&engine.addresses()[0], "ana").await;
    let group = group(&ana, &[]).await;
    let (minted, pending) = ana.post(group, Content::text("once"));
    pending.await.unwrap();
    let event = async {
        loop {
            if let Some(Update::Event(event)) = updates.recv().await
                && let Some((id, _)) = new_message(&event)
            {
                return id;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, event).await.unwrap(), minted);
    let history = ana.history(group, 10).await.unwrap();
    assert_eq!(
        history.messages.iter().map(|message| message.id).collect::<Vec<_>>(),
        [minted]
    );
    assert!(shown(&mut updates, 0).await.is_empty(), "and never again");
}

/// Every three seconds the widget asked whether there was anything new.
#[tokio::test]
async fn seed_4_a_client_that_waits_for_news_asks_for_nothing() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let proxy = Proxy::before(&engine.addresses()[0]).await;
    let (ben, _) = client(&engine.addresses()[0], "ben").await;
    let (ana, mut updates) = client(&proxy.url, "ana").await;
    let group = group(&ben, &["ana"]).await;
    knows(&ana, group).await;
    let before = proxy.bytes_to_server();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let said = send(&ben, group, 0..3).await;
    assert_eq!(shown(&mut updates, said.len()).await, said);
    assert_eq!(proxy.bytes_to_server(), before, "not a byte was sent to learn of it");
}

/// The socket was closed and opened at every rendering, and what was said in between was lost.
#[tokio::test]
async fn seed_5_what_was_said_while_the_socket_was_gone_is_replayed_once() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let proxy = Proxy::before(&engine.addresses()[0]).await;
    let (ben, _) = client(&engine.addresses()[0], "ben").await;
    let (ana, mut updates) = client(&proxy.url, "ana").await;
    let group = group(&ben, &["ana"]).await;
    knows(&ana, group).await;
    let mut said = Vec::new();
    for round in 0..5 {
        proxy.cut();
        said.extend(send(&ben, group, round * 4..round * 4 + 4).await);
    }
    assert_eq!(shown(&mut updates, said.len()).await, said);
}

async fn two_processes(mute: bool) {
    let (hub, store) = (Hub::new(1), MemoryStore::new());
    let (one, two) = (hub.node(), hub.node());
    let first = engine(&store, one.clone()).await;
    let second = engine(&store, two.clone()).await;
    let (ana, mut seen_by_ana) = client(&first.addresses()[0], "ana").await;
    let (ben, mut seen_by_ben) = client(&second.addresses()[0], "ben").await;
    let group = group(&ana, &["ben"]).await;
    knows(&ben, group).await;
    hub.mute_all(mute);
    let mut said = send(&ana, group, 0..3).await;
    assert_eq!(shown(&mut seen_by_ben, 3).await, said);
    said.extend(send(&ben, group, 3..6).await);
    assert_eq!(shown(&mut seen_by_ana, 6).await, said);
}

/// A user was connected to one process, the message came to the other, whose map of sockets did not have them.
#[tokio::test]
async fn seed_6_a_message_reaches_users_of_another_process() {
    two_processes(false).await;
}

/// As before, while the bell between the processes is silent.
#[tokio::test]
async fn seed_6_a_message_reaches_users_of_another_process_without_the_bell() {
    two_processes(true).await;
}
