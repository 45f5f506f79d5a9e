//! Ours: an engine on a store, used as a host's backend uses it.

use super::Failure;
use super::drive::Way;
use super::load::{Load, Sender};
use super::place::Place;
use crate::{load, ours};
use chat_core::message::Content;
use chat_core::{Engine, Guests, Store};
use chat_store_memory::MemoryStore;
use chat_store_sqlx::{PostgresStore, SqliteStore};
use sqlx::ConnectOptions as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// For how long a sender tries again when the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine and its store.
pub(super) struct Ours {
    pub engine: Engine,
    pub store: Arc<dyn Store>,
}

impl Ours {
    /// The engine on the store of this place, in a fresh database of this name.
    pub async fn open(place: &Place, name: &str) -> Result<Self, Failure> {
        match place {
            Place::Memory => Self::on(MemoryStore::new()).await,
            Place::Sqlite(directory) => {
                let store = SqliteStore::connect(directory.path().join(name)).await?;
                store.migrate().await?;
                Self::on(store).await
            }
            Place::Postgres(cluster) => {
                let url = cluster.fresh(name).await?.to_url_lossy();
                let store = PostgresStore::connect(url.as_str()).await?;
                store.migrate().await?;
                Self::on(store).await
            }
        }
    }

    async fn on(store: impl Store + Clone) -> Result<Self, Failure> {
        let engine = Engine::builder()
            .store(store.clone())
            .hooks(Guests)
            .limits(ours::raised(1))
            .build();
        Ok(Self {
            engine: engine.await?,
            store: Arc::new(store),
        })
    }

    /// Creates the conversations of these loads with all their members.
    pub async fn populate(&self, loads: &[Load]) -> Result<(), Failure> {
        let mut done = 0..0;
        for load in loads {
            for conversation in load.conversations().filter(|conversation| !done.contains(conversation)) {
                ours::create(&self.engine, conversation, load.members()).await?;
            }
            done.end = done.end.max(load.conversations().end);
        }
        Ok(())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.engine.kill();
    }
}

impl Way for Ours {
    /// As every client does: when the outcome is unknown, the same id settles it.
    async fn send(&self, sender: &Sender, number: usize) -> Result<(), Failure> {
        let began = Instant::now();
        let user = self.engine.user(sender.user.clone());
        loop {
            let content = Content::text(load::text(number));
            match user.send(sender.id, load::message(number), content).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_retryable() && began.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// By the heads of the logs, which count what made the conversation and its members too.
    async fn stored(&self, conversations: Range<usize>) -> Result<Vec<u64>, Failure> {
        let ids: Vec<_> = conversations.map(load::conversation).collect();
        let heads = self.store.heads(&ids).await?.value;
        let seq = |id| {
            heads
                .iter()
                .find(|head| head.conversation == id)
                .map(|head| head.position.seq.0)
        };
        Ok(ids.into_iter().map(|id| seq(id).unwrap_or(0)).collect())
    }
}
