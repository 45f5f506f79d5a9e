//! What every story over real sockets begins with.

use chat_client::{Client, Content, Event, EventKind, MessageId, Update, Updates, WsConnector};
use chat_core::command::ConversationCreate;
use chat_core::conversation::ConversationKind;
use chat_core::id::ConversationId;
use chat_core::{Backplane, Engine, Guests, Limits};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use std::time::Duration;
use tokio::time::timeout;

/// Whether this run has the time for the long forms of tests.
pub fn long() -> bool {
    std::env::var_os("CHAT_LONG").is_some()
}

/// Longer than anything here takes, with reconcile after a lost bell.
pub const PATIENCE: Duration = Duration::from_secs(15);

pub async fn engine(store: &MemoryStore, backplane: impl Backplane) -> Engine {
    engine_with(store, backplane, Limits::default()).await
}

pub async fn engine_with(store: &MemoryStore, backplane: impl Backplane, limits: Limits) -> Engine {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let builder = Engine::builder()
        .store(store.clone())
        .hooks(Guests)
        .backplane(backplane)
        .limits(limits);
    let transport = WsTransport::new(anywhere, WsConfig::default());
    builder.transport(transport).build().await.unwrap()
}

pub async fn client(url: &str, name: &str) -> (Client, Updates) {
    let started = Client::builder(WsConnector::new(url).unwrap())
        .guest(name)
        .start()
        .unwrap();
    assert!(timeout(PATIENCE, started.0.synced()).await.unwrap());
    started
}

pub async fn group(owner: &Client, members: &[&str]) -> ConversationId {
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
pub async fn knows(client: &Client, conversation: ConversationId) {
    let known = async {
        while !client.with_state(|state| state.conversations.contains_key(&conversation)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, known).await.unwrap();
}

pub fn new_message(event: &Event) -> Option<(MessageId, String)> {
    let EventKind::MessageNew(new) = &event.kind else {
        return None;
    };
    Some((new.message.id, new.message.content.clone()?.text?))
}

/// The next new messages that a client shows, and after them everything that comes within a moment.
pub async fn shown(updates: &mut Updates, count: usize) -> Vec<String> {
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

pub async fn send(from: &Client, to: ConversationId, texts: std::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<String> = texts.map(|n| n.to_string()).collect();
    for text in &texts {
        from.send(to, Content::text(text)).await.unwrap();
    }
    texts
}
