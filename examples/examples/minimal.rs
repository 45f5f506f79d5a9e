//! The smallest host: an engine, a store, a way in.
//!
//! `cargo run --example minimal`, and then `cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat`. It
//! knows no Lobby and forgets everything; guests come in by any name, which is for your own machine only.
#![allow(clippy::print_stdout)]

use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .hooks(Guests)
        .build()
        .await?;
    println!("Chat: {}", engine.addresses()[0]);
    tokio::signal::ctrl_c().await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
