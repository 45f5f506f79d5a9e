//! How a client is made.

use crate::client::Client;
use crate::connector::Connector;
use crate::driver::{Driver, Identity};
use crate::entropy::Entropy;
use crate::outbox::{Outbox, OutboxError};
use crate::token::TokenProvider;
use crate::updates::Updates;
use chat_protocol::client_session::ClientSettings;
use chat_protocol::codec::Codec;
use chat_protocol::frame::ClientInfo;
use std::sync::Arc;
use std::time::Duration;

/// Collects how a client is to be; [`start`](Self::start) makes it.
#[must_use = "nothing happens before start"]
pub struct ClientBuilder {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) identity: Identity,
    pub(crate) codec: Codec,
    pub(crate) outbox: Outbox,
    pub(crate) entropy: Entropy,
    pub(crate) settings: ClientSettings,
    pub(crate) updates_max: usize,
    pub(crate) connect_timeout: Duration,
}

impl ClientBuilder {
    pub(crate) fn new(connector: Arc<dyn Connector>) -> Self {
        let client = ClientInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut settings = ClientSettings::default();
        settings.client = Some(client);
        Self {
            connector,
            identity: Identity::Handshake,
            codec: Codec::Json,
            outbox: Outbox::memory(),
            entropy: Entropy::system(),
            settings,
            updates_max: 1_024,
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Proves who one is by tokens; without this or [`guest`](Self::guest), the connector’s handshake does.
    pub fn token(mut self, provider: impl TokenProvider) -> Self {
        self.identity = Identity::Token(Arc::new(provider));
        self
    }

    /// Asks to be let in by a name, where the server admits guests.
    pub fn guest(mut self, name: impl Into<String>) -> Self {
        self.identity = Identity::Guest(name.into());
        self
    }

    /// How frames are written; JSON unless told.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Where durable commands wait; in memory unless told.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// Draws ids and waits from a seed and the runtime’s clock, so that a simulation repeats. Two clients with one seed
    /// mint the same ids: give each its own.
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.entropy = Entropy::seeded(seed);
        self
    }

    /// Names the software in hello; `chat-client` and its version unless told.
    pub fn client_info(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.settings.client = Some(ClientInfo {
            name: name.into(),
            version: version.into(),
        });
        self
    }

    /// Names the device in hello: opaque to the server, at most 64 bytes.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.settings.device = Some(device.into());
        self
    }

    /// Times and bounds of the protocol’s client half.
    pub fn settings(mut self, change: impl FnOnce(&mut ClientSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// How many updates wait for a reader before the client stops reading; 1,024 unless told. See [`Updates`].
    pub fn updates_max(mut self, count: usize) -> Self {
        self.updates_max = count;
        self
    }

    /// How long a connection may take to open; 10 s unless told.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Opens the outbox and starts the client’s task, which connects at once. Drop the updates if nobody reads them.
    ///
    /// # Errors
    /// When the outbox cannot be opened.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> Result<(Client, Updates), OutboxError> {
        Driver::start(self)
    }
}
