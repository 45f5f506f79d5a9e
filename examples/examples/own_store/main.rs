//! A store of one's own around one that is there: it keeps an audit trail of who did what, and how long it took.
//!
//! ```sh
//! cargo run --example own_store
//! cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat
//! ```
//!
//! [`audited`] is the whole of it. A store that keeps everything by itself is held to `chat_testkit::store_contract!`;
//! the one to read first is chat-store-memory.
#![allow(clippy::print_stdout)]

mod audited;

use audited::Audited;
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use examples::lobby;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let engine = Engine::builder()
        .store(Audited::new(MemoryStore::new(), |line| println!("Audit: {line}")))
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;
    println!("Chat: {}", engine.addresses()[0]);
    tokio::signal::ctrl_c().await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
