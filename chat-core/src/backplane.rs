//! The door to the bell between nodes.

mod inbox;

pub use inbox::Inbox;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

/// Carries bells from node to node. It may lose, delay, repeat and reorder: the store heals all of it.
///
/// Implemented by `chat-backplane-*`; called by the engine only.
///
/// # Contract
/// * What is published on a topic reaches, as a rule, every node that listens to it, and in the order of publishing. The
///   publisher hears itself where it listens: that is how the engine learns that it is not deaf.
/// * `listen` and `unlisten` are idempotent and take effect soon; both may be called while `recv` waits.
/// * After a time in which something may have been missed (a reconnect), `recv` answers [`Rung::Resync`].
/// * A bell of up to [`bell_bytes_max`](Backplane::bell_bytes_max) bytes arrives whole.
/// * No call waits for longer than a few seconds.
///
/// ```
/// # use chat_core::backplane::*;
/// /// Hears nothing, which costs seconds and loses nothing.
/// struct Mute;
///
/// #[async_trait::async_trait]
/// impl Backplane for Mute {
///     fn name(&self) -> &'static str { "mute" }
///     async fn publish(&self, _: &[(Topic, bytes::Bytes)]) -> Result<(), BackplaneError> { Ok(()) }
///     async fn listen(&self, _: Topic) -> Result<(), BackplaneError> { Ok(()) }
///     async fn unlisten(&self, _: Topic) -> Result<(), BackplaneError> { Ok(()) }
///     async fn recv(&self) -> Rung { std::future::pending().await }
///     fn is_alive(&self) -> bool { true }
/// }
/// ```
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// One word for logs and start lines, such as `redis`.
    fn name(&self) -> &'static str;

    /// Rings on these topics, in this order; all that waits comes in one call, so that it can be one round trip.
    ///
    /// # Errors
    /// When some of them may not have been rung; they are not rung again.
    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError>;

    /// Wants to hear a topic.
    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError>;

    /// No longer wants to hear a topic.
    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError>;

    /// The next thing heard; one task of the engine calls it.
    ///
    /// # Cancel safety
    /// Must be cancel safe.
    async fn recv(&self) -> Rung;

    /// Whether it believes to be connected.
    fn is_alive(&self) -> bool;

    /// The longest bell that it carries, in bytes; the engine rings none that is longer. At least 1 KiB, so that
    /// whatever must be said fits.
    fn bell_bytes_max(&self) -> usize {
        64 * 1024
    }

    /// Whether there may be other nodes to ring at. Only [`Alone`] says no: nothing is rung, and nobody is missed.
    fn has_others(&self) -> bool {
        true
    }

    /// Whether it is meant to carry events; otherwise a bell says where a log ends, and whoever hears it reads there.
    fn carries_events(&self) -> bool {
        true
    }
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rung {
    /// A bell.
    Bell(Bytes),
    /// Something may have been missed: look at the store.
    Resync,
}

/// Where to ring. Conversations and users hash to a fixed number of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Every node listens: leases, presence, take-over.
    Nodes,
    /// Nodes with a listener in a conversation that hashes here.
    Conversations(u16),
    /// Nodes with a session of a user that hashes here.
    Users(u16),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => f.write_str("n"),
            Self::Conversations(number) => write!(f, "c{number}"),
            Self::Users(number) => write!(f, "u{number}"),
        }
    }
}

/// A bell could not be rung.
#[derive(Debug, Error)]
#[error("the backplane is unavailable: {0}")]
pub struct BackplaneError(pub String);

/// The backplane of a node that is alone.
#[derive(Debug, Default)]
pub struct Alone;

#[async_trait]
impl Backplane for Alone {
    fn name(&self) -> &'static str {
        "alone"
    }

    fn has_others(&self) -> bool {
        false
    }

    async fn publish(&self, _bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn listen(&self, _topic: Topic) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn unlisten(&self, _topic: Topic) -> Result<(), BackplaneError> {
        Ok(())
    }

    async fn recv(&self) -> Rung {
        std::future::pending().await
    }

    fn is_alive(&self) -> bool {
        true
    }
}
