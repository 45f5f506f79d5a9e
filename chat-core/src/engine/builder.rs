//! Puts an engine together.

use super::{Acceptor, Engine, Inner};
use crate::backplane::{Alone, Backplane};
use crate::clock::{Clock, SystemClock};
use crate::entropy::Entropy;
use crate::hooks::{Hooks, OnlyHandshake};
use crate::limits::Limits;
use crate::store::{Store, StoreError};
use crate::transport::{Transport, TransportError};
use std::sync::Arc;
use thiserror::Error;

/// Puts an engine together: a store, and whatever else differs from the default.
#[must_use]
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    backplane: Arc<dyn Backplane>,
    hooks: Arc<dyn Hooks>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    transports: Vec<Box<dyn Transport>>,
    entropy: Entropy,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            store: None,
            backplane: Arc::new(Alone),
            hooks: Arc::new(OnlyHandshake),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            transports: Vec::new(),
            entropy: Entropy::System,
        }
    }
}

impl Builder {
    /// The truth. There is no default: a host decides where its messages live.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The bell between nodes; a node is alone unless told.
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.backplane = Arc::new(backplane);
        self
    }

    /// Where the host decides; without it only those come in whom the host's middleware identified.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Arc::new(hooks);
        self
    }

    /// The time of day; the machine's unless told.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The bounds.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// One more way in.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.push(Box::new(transport));
        self
    }

    /// Draws this node's ids and jitter from a seed, so that a simulation can be repeated; never in production.
    pub fn seed(mut self, seed: u64) -> Self {
        self.entropy = Entropy::seeded(seed);
        self
    }

    /// Reads the store's identity, claims every transport's address, and starts.
    ///
    /// # Errors
    /// [`BuildError`] when the store does not answer, an address is taken, no store was given, or one that serves one node
    /// with a backplane.
    pub async fn build(mut self) -> Result<Engine, BuildError> {
        let store = self.store.ok_or(BuildError::NoStore)?;
        if self.backplane.has_others() && store.serves_one_node() {
            return Err(BuildError::ServesOneNode {
                store: store.name(),
                backplane: self.backplane.name(),
            });
        }
        let identity = store.identity().await?;
        // Where changes begin to count: before anybody can listen, so that nothing slips between.
        let horizon = store.heads_changed_since(None, 1).await?.value.horizon;
        let mut addresses = Vec::new();
        for transport in &mut self.transports {
            addresses.push(transport.bind().await?);
        }
        let inner = Inner::start(
            store,
            identity,
            self.backplane,
            self.hooks,
            self.clock,
            self.limits,
            self.entropy,
            addresses,
            horizon,
        );
        for transport in self.transports {
            let (acceptor, stop) = (Acceptor::of(inner.clone()), inner.stop.clone());
            inner.spawn(async move { transport.serve(acceptor, stop).await });
        }
        Ok(Engine { inner })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An engine could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No store was given.
    #[error("an engine needs a store: call `.store(…)`")]
    NoStore,
    /// A backplane connects nodes, and no other node can share this store.
    #[error(
        "a backplane ({backplane}) connects several nodes, and the store ({store}) serves one: leave the backplane out, or \
         use a store that many nodes share, such as PostgreSQL"
    )]
    ServesOneNode {
        /// The store's name.
        store: &'static str,
        /// The backplane's name.
        backplane: &'static str,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A transport could not listen.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
