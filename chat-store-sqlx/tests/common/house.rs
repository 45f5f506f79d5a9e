//! An engine on a store, and clients in this process.
#![allow(dead_code)] // the tests of each database use what they need

use chat_core::{Builder, Engine, Guests, Limits, Store};
use chat_testkit::transport::{InProcessConnector, in_process};
use chat_testkit::wire::Wire;

/// An engine that admits guests, and the way in.
pub struct House {
    pub engine: Engine,
    pub connector: InProcessConnector,
}

impl House {
    pub async fn on(store: impl Store) -> Self {
        Self::limited(store, Limits::default()).await
    }

    pub async fn limited(store: impl Store, limits: Limits) -> Self {
        Self::put_together(Engine::builder().store(store).limits(limits)).await
    }

    pub async fn put_together(builder: Builder) -> Self {
        let (transport, connector) = in_process();
        let engine = builder.hooks(Guests).transport(transport).build().await.unwrap();
        Self { engine, connector }
    }

    /// A guest who is online and has everything.
    pub async fn guest(&self, name: &str) -> Wire {
        Wire::guest(&self.connector, name).await
    }
}
