//! What a host writes that links the crates: hooks of its own, a store of its choice, chat mounted beside its pages.
#![forbid(unsafe_code)]
#![deny(warnings)]

use chat_core::{Engine, Guests, Store};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};

/// Why there is no chat.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The chat of a host that asks for nothing but the crates themselves.
pub async fn in_memory() -> Result<(Engine, WsService), Failure> {
    mounted(MemoryStore::new()).await
}

/// The chat of a host that keeps it in a file.
#[cfg(feature = "durable")]
pub async fn in_file(path: &std::path::Path) -> Result<(Engine, WsService), Failure> {
    let store = chat_store_sqlx::SqliteStore::connect(path).await?;
    store.migrate().await?;
    mounted(store).await
}

async fn mounted(store: impl Store) -> Result<(Engine, WsService), Failure> {
    let engine = Engine::builder().store(store).hooks(Guests).build().await?;
    let service = WsService::with_tokens(engine.acceptor(), WsConfig::default());
    Ok((engine, service))
}

/// The address of the chat, for a client of the host's own.
#[cfg(feature = "client")]
pub fn connector(address: &str) -> Result<chat_client::WsConnector, Failure> {
    Ok(chat_client::WsConnector::new(address)?)
}
