//! What a host decides: who may do what, what may be said, and what follows.
//!
//! ```sh
//! cargo run --example hooks
//! cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat
//! ```
//!
//! Say `teapot`, say a link, try to open a channel as somebody else than `admin`, and see here who would be notified.
#![allow(clippy::print_stdout)]

use async_trait::async_trait;
use chat_core::{
    AuthRequest, Authority, Command, ConversationKind, Engine, Event, EventKind, Guests, Hooks, Identity, MessageSend,
    Refused, UserId,
};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use examples::lobby;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc;

/// So many notices wait for whoever sends them; what comes on top is dropped, and the host reads the log if it must not be.
const NOTICES_MAX: usize = 1_000;

struct House {
    notices: mpsc::Sender<String>,
}

#[async_trait]
impl Hooks for House {
    /// Guests, by their name. A real host looks at `request.token` here.
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        Guests.authenticate(request).await
    }

    /// Only the admin opens channels; everything else goes by the engine's own rules.
    async fn authorize(&self, user: &UserId, command: &Command) -> Result<Authority, Refused> {
        match command {
            Command::ConversationCreate(create) if create.kind == ConversationKind::Channel => match user.as_str() {
                "admin" => Ok(Authority::Allow),
                _ => Err(Refused("only the admin opens channels".to_owned())),
            },
            _ => Ok(Authority::Rules),
        }
    }

    /// A word is replaced before it is stored; a link is refused, with a sentence for its sender.
    async fn before_send(&self, _user: &UserId, message: &mut MessageSend) -> Result<(), Refused> {
        if let Some(text) = &mut message.content.text {
            if text.contains("http://") {
                return Err(Refused("links are not for this house".to_owned()));
            }
            *text = text.replace("teapot", "******");
        }
        Ok(())
    }

    /// Hands the notice over and is done: who waits here makes the notices behind it wait.
    async fn after_commit(&self, event: &Event) {
        if let (EventKind::MessageNew(new), Some(actor)) = (&event.kind, &event.actor) {
            let text = new.message.content.as_ref().and_then(|content| content.text.as_deref());
            let notice = format!(
                "{actor} wrote {:?} in {}",
                text.unwrap_or("something"),
                event.conversation
            );
            let _ = self.notices.try_send(notice);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let (notices, mut to_send) = mpsc::channel(NOTICES_MAX);
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .hooks(House { notices })
        .build()
        .await?;
    lobby::open(&engine).await?;
    println!("Chat: {}", engine.addresses()[0]);
    let push = async {
        while let Some(notice) = to_send.recv().await {
            println!("Push: {notice}");
        }
    };
    tokio::select! {
        () = push => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
