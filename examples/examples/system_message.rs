//! The host speaks: each line that is typed here becomes a message that nobody sent, in a channel that everybody may join.
//!
//! ```sh
//! cargo run --example system_message
//! cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat
//! ```
//!
//! What [`Engine::system`] does needs no role and no membership. Its messages have no sender, and count as unread for
//! everybody.
#![allow(clippy::print_stdout)]

use chat_core::{CommandError, Content, Engine, Guests, MessageId};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use examples::lobby;
use std::error::Error;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .transport(WsTransport::new(listen.parse()?, WsConfig::default()))
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;
    println!("Chat: {}", engine.addresses()[0]);
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match announce(&engine, &line).await {
            Ok(()) => println!("Said."),
            Err(refused) => println!("Not said: {refused}"),
        }
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Says it once, however often it has to be tried: `unavailable` means that nobody knows, and the same id settles it.
async fn announce(engine: &Engine, text: &str) -> Result<(), CommandError> {
    let system = engine.system();
    let id = MessageId::from(system.mint());
    loop {
        match system.send(lobby::id(), id, Content::text(text)).await {
            Err(error) if error.is_retryable() => sleep(Duration::from_secs(1)).await,
            said => return said.map(drop),
        }
    }
}
