//! Two nodes are one chat: what ana says on one of them, ben hears on the other.
//!
//! `cargo run --example two_nodes -- postgres://USER:PASSWORD@HOST/DATABASE`. Both nodes are in this process; in two they
//! are put together in the same way. The store is what makes them one chat; without the backplane ben would hear it
//! too, some seconds later.
#![allow(clippy::print_stdout)]

use chat_client::{Client, Content, EventKind, Update, Updates, WsConnector};
use chat_core::{Engine, Guests};
use chat_store_sqlx::PostgresStore;
use chat_transport_ws::{WsConfig, WsTransport};
use examples::lobby;
use std::error::Error;
use std::time::{Duration, Instant};

/// As on one node, and the backplane.
async fn node(postgres: &str) -> Result<Engine, Box<dyn Error>> {
    let store = PostgresStore::connect(postgres).await?;
    store.migrate().await?;
    let backplane = store.backplane().await?;
    let engine = Engine::builder()
        .store(store)
        .backplane(backplane)
        .transport(WsTransport::new("127.0.0.1:0".parse()?, WsConfig::default()))
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;
    Ok(engine)
}

async fn client(node: &Engine, name: &str) -> Result<(Client, Updates), Box<dyn Error>> {
    let (client, mut updates) = Client::builder(WsConnector::new(&node.addresses()[0])?)
        .guest(name)
        .start()?;
    // Who ran this before is a member already.
    let _ = client.join(lobby::id()).await;
    // What is said before its entry comes is in the entry, and what is said later comes as events.
    while !matches!(updates.recv().await, Some(Update::Inbox(_)) | None) {}
    Ok((client, updates))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let postgres = std::env::args()
        .nth(1)
        .ok_or("give the address of a PostgreSQL database")?;
    let nodes = [node(&postgres).await?, node(&postgres).await?];
    let (ana, _) = client(&nodes[0], "ana").await?;
    let (_ben, mut updates) = client(&nodes[1], "ben").await?;

    for text in ["hello", "from", "the other node"] {
        let since = Instant::now();
        let said = ana.send(lobby::id(), Content::text(text)).await?;
        while let Some(update) = updates.recv().await {
            if let Update::Event(event) = update
                && let EventKind::MessageNew(new) = event.kind
                && event.id == said.id
            {
                let text = new.message.content.and_then(|content| content.text);
                println!("ben hears {text:?} after {} ms", since.elapsed().as_millis());
                break;
            }
        }
    }
    for node in nodes {
        node.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}
