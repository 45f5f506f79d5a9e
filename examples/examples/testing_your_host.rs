//! How to test a host: the engine in this process, the client too, and ten minutes that pass at once.
//!
//! The host is a help desk that promises an answer: who has none after ten minutes is told so by the house. Its tests,
//! below, need no socket and no waiting.
//!
//! ```sh
//! cargo test --example testing_your_host
//! cargo run --example testing_your_host
//! ```
#![allow(clippy::print_stdout)]

use async_trait::async_trait;
use chat_core::{
    AuthRequest, Content, ConversationId, Engine, Event, EventKind, Guests, Hooks, Identity, MessageId, Refused, UserId,
};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const PATIENCE: Duration = Duration::from_secs(600);
const SORRY: &str = "Nobody had time for you yet. You are not forgotten.";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let (desk, said) = Desk::new();
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .hooks(desk)
        .build()
        .await?;
    println!("Chat: {}", engine.addresses()[0]);
    tokio::select! {
        () = watch(engine.clone(), said) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Sees every message, and hands on where somebody spoke.
struct Desk(mpsc::Sender<(ConversationId, UserId)>);

impl Desk {
    fn new() -> (Self, mpsc::Receiver<(ConversationId, UserId)>) {
        let (sender, receiver) = mpsc::channel(1_000);
        (Self(sender), receiver)
    }
}

#[async_trait]
impl Hooks for Desk {
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        Guests.authenticate(request).await
    }

    async fn after_commit(&self, event: &Event) {
        if let (EventKind::MessageNew(_), Some(actor)) = (&event.kind, &event.actor) {
            let _ = self.0.try_send((event.conversation, actor.clone()));
        }
    }
}

/// Says sorry wherever the last word was a customer's, and is ten minutes old.
async fn watch(engine: Engine, mut said: mpsc::Receiver<(ConversationId, UserId)>) {
    let mut due: HashMap<ConversationId, Instant> = HashMap::new();
    loop {
        let next = due.iter().min_by_key(|(_, at)| **at).map(|(id, at)| (*id, *at));
        let (conversation, at) = next.unzip();
        tokio::select! {
            word = said.recv() => match word {
                Some((conversation, user)) if user.as_str() == "agent" => drop(due.remove(&conversation)),
                Some((conversation, _)) => drop(due.entry(conversation).or_insert(Instant::now() + PATIENCE)),
                None => return,
            },
            () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                let Some(conversation) = conversation else { continue };
                due.remove(&conversation);
                let system = engine.system();
                let id = MessageId::from(system.mint());
                if let Err(refused) = system.send(conversation, id, Content::text(SORRY)).await {
                    println!("Not said: {refused}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_client::{Client, Update, Updates};
    use chat_core::{ConversationCreate, ConversationKind};
    use chat_testkit::transport::{InProcessConnector, in_process};

    /// The host, with a way in that is no socket.
    async fn open() -> (Engine, InProcessConnector) {
        let (transport, connector) = in_process();
        let (desk, said) = Desk::new();
        let engine = Engine::builder()
            .store(MemoryStore::new())
            .transport(transport)
            .hooks(desk)
            .build()
            .await;
        let engine = engine.expect("the memory store answers");
        tokio::spawn(watch(engine.clone(), said));
        (engine, connector)
    }

    async fn come_in(connector: &InProcessConnector, name: &str) -> (Client, Updates) {
        let (client, updates) = Client::builder(connector.clone())
            .guest(name)
            .start()
            .expect("an outbox in memory");
        assert!(client.synced().await, "{name} is let in");
        (client, updates)
    }

    /// A customer's conversation with the desk.
    async fn ask(engine: &Engine, customer: &Client) -> ConversationId {
        let conversation = customer.conversation_id();
        let create = ConversationCreate {
            conversation,
            id: customer.command_id(),
            kind: ConversationKind::Group,
            title: None,
            public: false,
            history: None,
            members: ["ana", "agent"].map(|name| UserId::new(name).expect("a name")).to_vec(),
            meta: None,
        };
        engine.system().store(create).await.expect("the host may do anything");
        customer
            .send(conversation, Content::text("my teapot is broken"))
            .await
            .expect("stored");
        conversation
    }

    /// Waits for the next message: its text, and who wrote it.
    async fn next_message(updates: &mut Updates) -> (String, Option<UserId>) {
        loop {
            if let Update::Event(event) = updates.recv().await.expect("the client lives")
                && let EventKind::MessageNew(new) = event.kind
            {
                let text = new.message.content.and_then(|content| content.text);
                return (text.expect("a text"), event.actor);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_answer_for_ten_minutes_is_told_so_by_nobody_in_particular() {
        let (engine, connector) = open().await;
        let (ana, mut updates) = come_in(&connector, "ana").await;
        ask(&engine, &ana).await;
        let asked_at = Instant::now();
        assert_eq!(next_message(&mut updates).await.0, "my teapot is broken");
        assert_eq!(next_message(&mut updates).await, (SORRY.to_owned(), None));
        let waited = asked_at.elapsed();
        assert!(
            (PATIENCE..PATIENCE + Duration::from_secs(1)).contains(&waited),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_is_not_told_that_nobody_had_time() {
        let (engine, connector) = open().await;
        let (ana, mut updates) = come_in(&connector, "ana").await;
        let (agent, _) = come_in(&connector, "agent").await;
        let conversation = ask(&engine, &ana).await;
        agent
            .send(conversation, Content::text("turn it off and on"))
            .await
            .expect("stored");
        assert_eq!(next_message(&mut updates).await.0, "my teapot is broken");
        assert_eq!(next_message(&mut updates).await.0, "turn it off and on");
        let silence = tokio::time::timeout(PATIENCE * 2, next_message(&mut updates)).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_survives_a_connection_that_breaks() {
        let (engine, connector) = open().await;
        let (ana, mut updates) = come_in(&connector, "ana").await;
        let conversation = ask(&engine, &ana).await;
        connector.links().iter().for_each(|link| link.cut());
        ana.send(conversation, Content::text("hello?"))
            .await
            .expect("stored after a reconnect");
        assert_eq!(next_message(&mut updates).await.0, "my teapot is broken");
        assert_eq!(next_message(&mut updates).await.0, "hello?");
    }
}
