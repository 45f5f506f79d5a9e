//! The door to a server: something that opens pipes of encoded frames.

use async_trait::async_trait;
use bytes::Bytes;
use chat_protocol::code::CloseCode;
use chat_protocol::codec::Codec;
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// Opens connections to one server.
///
/// Implemented by [`WsConnector`](crate::WsConnector) and by hosts and tests that bring their own pipe; called by the
/// client’s task, one call at a time. A call that takes longer than the builder’s `connect_timeout` is dropped.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Opens a connection on which both sides write frames of this codec.
    ///
    /// # Errors
    /// Why there is none; the client tries again unless [`ConnectError::is_final`].
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError>;
}

/// An open connection, in two halves that work at the same time.
pub struct Pipe {
    /// Towards the server.
    pub sender: Box<dyn PipeSender>,
    /// From the server.
    pub receiver: Box<dyn PipeReceiver>,
}

/// The half of a pipe that writes.
#[async_trait]
pub trait PipeSender: Send {
    /// Writes all frames of the queue, and returns once they are on their way.
    ///
    /// # Errors
    /// [`PipeLost`] when the connection is gone; the receiving half says why.
    ///
    /// # Cancel safety
    /// Must be cancel safe: a frame leaves the queue as a whole when it is taken over. After a dropped call the client
    /// calls again, with an empty queue if need be, so that what was taken over is flushed.
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost>;

    /// Says goodbye; the receiving half then ends when the server has answered.
    async fn close(&mut self, code: CloseCode);
}

/// The half of a pipe that reads.
#[async_trait]
pub trait PipeReceiver: Send {
    /// The next thing that the server sent.
    ///
    /// # Cancel safety
    /// Must be cancel safe: a dropped call loses nothing.
    async fn recv(&mut self) -> Received;
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A whole encoded frame.
    Frame(Bytes),
    /// The end, with the code if the server gave one.
    Closed(Option<CloseCode>),
}

/// The connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the connection is gone")]
pub struct PipeLost;

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server could not be reached, or broke off.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not take connections now.
    #[error("the server takes no connection now: {message}")]
    Busy {
        /// What it said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Trying again is no use.
    #[error("{0}")]
    Final(String),
    /// There was no token.
    #[error("there is no token")]
    NoToken,
    /// It took too long.
    #[error("the server did not answer in time")]
    Timeout,
}

impl ConnectError {
    /// Whether trying again is no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Final(_))
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
