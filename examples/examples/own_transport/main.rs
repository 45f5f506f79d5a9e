//! A way in of one's own, beside WebSocket: [`lines`] is the whole of it.
//!
//! ```sh
//! cargo run --example own_transport
//! nc 127.0.0.1 7001
//! {"type":"hello","guest":"ana"}
//! {"type":"resume","last":true}
//! ```
#![allow(clippy::print_stdout)]

mod lines;

use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use examples::lobby;
use lines::Lines;
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or("127.0.0.1:7000".to_owned());
    let listen_lines = arguments.next().unwrap_or("127.0.0.1:7001".to_owned());
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .transport(Lines(TcpListener::bind(listen_lines).await?))
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;
    println!("Chat: {}", engine.addresses().join(" and "));
    tokio::signal::ctrl_c().await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
