//! A house: an engine on a store of its own, or two on one store.

use chat_core::id::{ConversationId, Timestamp};
use chat_core::message::Content;
use chat_core::{Builder, Clock, Engine, Guests, Limits};
use chat_store_memory::MemoryStore;
use chat_testkit::transport::{Dial, InProcessConnector, in_process};
use chat_testkit::wire::Wire;

use super::say::fresh_message;
use tokio::time::Instant;

/// An engine and the way in.
pub struct House {
    pub engine: Engine,
    pub connector: InProcessConnector,
}

impl House {
    /// An engine with every default, that admits guests, on a store of its own.
    pub async fn open() -> Self {
        Self::on(&MemoryStore::new()).await
    }

    /// As [`open`](Self::open), on this store.
    pub async fn on(store: &MemoryStore) -> Self {
        Self::with(|builder| builder.store(store.clone())).await
    }

    /// As [`open`](Self::open), with other limits.
    pub async fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::with(|builder| builder.limits(limits)).await
    }

    /// As [`open`](Self::open), but for what is changed.
    pub async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (transport, connector) = in_process();
        let builder = Engine::builder()
            .store(MemoryStore::new())
            .hooks(Guests)
            .transport(transport)
            .seed(1);
        let engine = change(builder).build().await.unwrap();
        Self { engine, connector }
    }

    /// A guest who is online and has everything.
    pub async fn guest(&self, name: &str) -> Wire {
        Wire::guest(&self.connector, name).await
    }

    /// Guests who are online and have everything.
    pub async fn guests<const N: usize>(&self, names: [&str; N]) -> [Wire; N] {
        let mut wires = Vec::new();
        for name in names {
            wires.push(self.guest(name).await);
        }
        wires.try_into().unwrap()
    }

    /// The host writes messages, of which the n-th says `n`.
    pub async fn fill(&self, conversation: ConversationId, count: usize) {
        for n in 1..=count {
            let content = Content::text(n.to_string());
            self.engine
                .system()
                .send(conversation, fresh_message(), content)
                .await
                .unwrap();
        }
    }
}

/// A network that holds so many bytes towards the client: one that does not read is soon felt by the engine.
pub fn narrow(to_client_bytes: usize) -> Dial {
    Dial {
        to_client_bytes,
        ..Dial::default()
    }
}

/// A clock that goes on with the runtime's, paused or not.
pub struct RuntimeClock(Instant);

impl RuntimeClock {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_750_000_000_000 + self.0.elapsed().as_millis() as u64)
    }
}
