//! The door for connections: a transport listens and hands connections to the engine.

use crate::engine::Acceptor;
use crate::hooks::Identity;
use async_trait::async_trait;
use bytes::Bytes;
use chat_protocol::code::CloseCode;
use chat_protocol::codec::Codec;
use chat_protocol::command::Token;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use thiserror::Error;

/// A way in: listens, shakes hands, hands each connection to the engine.
///
/// Implemented by `chat-transport-*` and by hosts; called by the engine's builder.
///
/// # Contract
/// * `bind` claims the address; a failure is the error of `build`.
/// * `serve` runs until `stop` says so, then takes no new connection and returns; connections go on until the engine
///   ends them.
/// * For each connection: [`Acceptor::admit`] before anything is allocated for it, then [`Acceptor::accept`], which
///   runs the session and returns when it is over. `serve` spawns one task a connection and ends none of them.
#[async_trait]
pub trait Transport: Send + 'static {
    /// Claims the address; answers with where clients connect, such as `ws://127.0.0.1:7000/chat`.
    async fn bind(&mut self) -> Result<String, TransportError>;

    /// Accepts until told to stop.
    async fn serve(self: Box<Self>, acceptor: Acceptor, stop: Stop);
}

/// As what an address counts where there is a limit for each: one of IPv6 as its network of 64 bits, since whoever has one
/// address of it has all of them.
///
/// ```
/// use chat_core::transport::counted_as;
///
/// assert_eq!(counted_as("2001:db8::1:2:3:4".parse()?), counted_as("2001:db8::5".parse()?));
/// assert_eq!(counted_as("::ffff:192.0.2.1".parse()?), counted_as("192.0.2.1".parse()?));
/// assert_ne!(counted_as("192.0.2.1".parse()?), counted_as("192.0.2.2".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Says when to stop; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Stop(pub(crate) tokio_util::sync::CancellationToken);

impl Stop {
    /// Resolves once it is time to stop.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// Says that it is time to stop, to all who hold this handle.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether it is time to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A transport could not listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was asked for.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
}

/// One client's open pipe of frames, in two halves.
pub struct Connection {
    /// What the handshake told.
    pub handshake: Handshake,
    /// The receiving half; belongs to the session's task.
    pub incoming: Box<dyn Incoming>,
    /// The sending half; shared with the hub.
    pub outlet: Arc<dyn Outlet>,
}

/// What is known of a connection before its first frame.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The codec that the client chose.
    pub codec: Codec,
    /// The client's address, where there is one.
    pub address: Option<IpAddr>,
    /// Whom the host's middleware let in.
    pub identity: Option<Identity>,
    /// A token from a header or subprotocol.
    pub token: Option<Token>,
}

impl Handshake {
    /// A handshake that told nothing but the codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            address: None,
            identity: None,
            token: None,
        }
    }
}

/// The receiving half of a connection.
#[async_trait]
pub trait Incoming: Send {
    /// The next thing that the client sent.
    ///
    /// # Cancel safety
    /// Must be cancel safe: a dropped call loses no byte.
    async fn recv(&mut self) -> Received;

    /// Waits until the peer has taken the close frame: stops writing, reads and discards for a bounded time.
    async fn linger(&mut self);
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A whole frame of the subprotocol.
    Frame(Bytes),
    /// The transport itself has to say something (a WebSocket pong): wire bytes for the outlet, in their place.
    Answer(Bytes),
    /// The client closed; wire bytes of the answer, when the wire wants one.
    Closed(Option<Bytes>),
    /// The client broke the wire's rules: close with this code and reason.
    Violation(CloseCode, &'static str),
    /// The connection is gone.
    Lost,
}

/// The sending half of a connection: every byte passes it.
///
/// The engine keeps the order: one caller at a time (under the session's lock), never a new frame while the rest of
/// one is waiting.
#[async_trait]
pub trait Outlet: Send + Sync + 'static {
    /// How this transport frames an encoded payload.
    fn framing(&self) -> &'static Framing;

    /// Writes what the socket takes at once and says how many bytes that were, possibly ending inside a frame.
    ///
    /// Each slice is a whole framed frame, but the first, which may be the rest of one. `WouldBlock` when the socket
    /// takes nothing, and always for a transport that cannot write directly; any other error ends the connection.
    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Resolves when [`try_write`](Outlet::try_write) may take something again.
    ///
    /// # Cancel safety
    /// Must be cancel safe.
    async fn writable(&self) -> io::Result<()>;
}

/// How a transport frames; encoded frames are shared between all receivers with one codec and framing.
#[derive(Debug)]
pub struct Framing {
    /// Tells framings apart, such as `websocket`.
    pub name: &'static str,
    /// Puts an encoded payload into a frame.
    pub frame: fn(Codec, &[u8]) -> Bytes,
    /// The bytes that say goodbye; none where the wire has no word for it.
    pub close: fn(CloseCode, &str) -> Option<Bytes>,
}
