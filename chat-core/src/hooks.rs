//! The door where the host decides.

use async_trait::async_trait;
use chat_protocol::command::{Command, MessageSend, Token};
use chat_protocol::event::Event;
use chat_protocol::id::{Timestamp, UserId};
use futures_util::FutureExt;
use serde_json::Value;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;

/// Where a host decides: who somebody is, what they may do, what is sent, and what follows.
///
/// Each call has 2 s ([`Limits::hook_timeout`](crate::Limits)) and runs before the conversation's lock, delaying only
/// its own connection. A refusal is `forbidden` with the host's sentence; running out of time is `unavailable`, and so
/// is a panic, which ends neither the connection nor the node.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// Says who a client is, from what it brought.
    ///
    /// # Errors
    /// [`Refused`] closes the connection with 4503 and one text for all reasons.
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused>;

    /// Says whether a user may do something, beyond what roles say.
    ///
    /// # Errors
    /// [`Refused`] answers `forbidden` with the host's sentence.
    async fn authorize(&self, user: &UserId, command: &Command) -> Result<Authority, Refused> {
        let _ = (user, command);
        Ok(Authority::Rules)
    }

    /// Sees a message before it is stored and may change its content, within the bounds that hold for a client.
    /// An edit is not shown here: [`authorize`](Hooks::authorize) sees its content and may refuse it.
    ///
    /// # Errors
    /// [`Refused`] answers `forbidden` with the host's sentence.
    async fn before_send(&self, user: &UserId, message: &mut MessageSend) -> Result<(), Refused> {
        let _ = (user, message);
        Ok(())
    }

    /// Sees an event after it was committed: at most once, on the node that committed it.
    async fn after_commit(&self, event: &Event) {
        let _ = event;
    }

    /// Whether [`authorize`](Hooks::authorize) or [`before_send`](Hooks::before_send) do anything. When true, an id
    /// that is already stored is answered before they are asked.
    fn decides(&self) -> bool {
        true
    }
}

/// Asks the host; `None` when the answer does not come in time or the hook panicked.
pub(crate) async fn ask<T>(within: Duration, hook: impl Future<Output = T>) -> Option<T> {
    // What a panic leaves half done is the host's own; nothing of the engine's is lent to a hook but the command,
    // which is given up.
    match timeout(within, AssertUnwindSafe(hook).catch_unwind()).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(_)) => {
            metrics::counter!("chat_hooks_failed_total", "why" => "panic").increment(1);
            tracing::error!("a hook panicked");
            None
        }
        Err(_) => {
            metrics::counter!("chat_hooks_failed_total", "why" => "time").increment(1);
            tracing::warn!("a hook took too long");
            None
        }
    }
}

/// What a client brought to say who it is.
#[derive(Debug, Clone)]
pub struct AuthRequest {
    /// A token from hello, a header or the subprotocol.
    pub token: Option<Token>,
    /// A guest's name from hello.
    pub guest: Option<String>,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// The host's id of the user.
    pub user: UserId,
    /// What others are shown of them: at most 1 KiB.
    pub display: Option<Value>,
    /// When the proof runs out.
    pub expires_at: Option<Timestamp>,
}

impl Identity {
    /// A user without display data, whose proof does not run out.
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            display: None,
            expires_at: None,
        }
    }

    /// Shows this of them to others: at most 1 KiB.
    #[must_use]
    pub fn with_display(mut self, display: Value) -> Self {
        self.display = Some(display);
        self
    }

    /// The proof runs out then.
    #[must_use]
    pub fn with_expiry(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self
    }
}

/// By which right something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The engine's own rules: add only whom one shares a conversation with, at most 10 new direct ones an hour.
    Rules,
    /// The host allows it.
    Allow,
}

/// The host says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The default: only those come in whom the host's middleware identified before the handshake.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnlyHandshake;

#[async_trait]
impl Hooks for OnlyHandshake {
    async fn authenticate(&self, _request: AuthRequest) -> Result<Identity, Refused> {
        Err(Refused("no hook judges tokens: give the engine `Hooks`".to_owned()))
    }

    fn decides(&self) -> bool {
        false
    }
}

/// Admits anybody under the name they choose, and lets everybody add everybody: for tests and demos on a loopback
/// address, never for a server that others reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guests;

#[async_trait]
impl Hooks for Guests {
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        let name = request.guest.ok_or_else(|| Refused("give a guest name".to_owned()))?;
        let user = UserId::new(&name).map_err(|error| Refused(error.to_string()))?;
        Ok(Identity::new(user).with_display(serde_json::json!({ "name": name })))
    }

    async fn authorize(&self, _user: &UserId, _command: &Command) -> Result<Authority, Refused> {
        Ok(Authority::Allow)
    }

    /// It allows everything, so nobody needs to be asked whether something is stored already.
    fn decides(&self) -> bool {
        false
    }
}
