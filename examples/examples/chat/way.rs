//! The way to the server, which says why it is blocked.

use crate::terminal::{note, plain};
use async_trait::async_trait;
use chat_client::protocol::codec::Codec;
use chat_client::{ConnectError, Connector, Pipe, WsConnector};
use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::timeout;

/// A server that takes connections and never answers is as good as none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Connects as [`WsConnector`] does, and tells the user why not: once, until the reason is another one.
pub struct Way {
    connector: WsConnector,
    server: String,
    /// Guards what was said last.
    said: Mutex<Option<String>>,
}

impl Way {
    pub fn to(server: &str) -> Result<Self, ConnectError> {
        Ok(Self {
            connector: WsConnector::new(server)?,
            server: server.to_owned(),
            said: Mutex::default(),
        })
    }
}

#[async_trait]
impl Connector for Way {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        let connected = timeout(CONNECT_TIMEOUT, self.connector.connect(codec)).await;
        let connected = connected.unwrap_or(Err(ConnectError::Timeout));
        let why = connected.as_ref().err().map(reason);
        let mut said = self.said.lock().expect("no panic while the lock is held");
        if let Some(why) = &why
            && said.as_ref() != Some(why)
        {
            note(&format!("no connection to {}: {why}", plain(&self.server)));
        }
        *said = why;
        connected
    }
}

/// What is at the bottom of an error.
fn reason(error: &ConnectError) -> String {
    let mut error: &dyn Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    plain(&error.to_string())
}
