//! The client's side: connecting, and the knobs of its network.

use super::client::InProcessPipe;
use super::listener::{Call, InProcessTransport};
use super::pipe::Pipe;
use super::server::Wires;
use chat_core::codec::Codec;
use chat_core::engine::Refusal;
use chat_core::transport::Handshake;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for `serve`.
const BACKLOG: usize = 64;

/// Reaches the engine that listens at one place, whichever engine that is by now. A cheap handle.
#[derive(Debug, Clone)]
pub struct InProcessConnector(Place);

/// Where at most one transport listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    listener: Option<mpsc::Sender<Call>>,
    links: Vec<Weak<Wires>>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("the lock is never poisoned: no panic inside")
    }

    /// Takes the place, unless somebody who still lives has it.
    pub fn occupy(&self) -> Option<mpsc::Receiver<Call>> {
        let mut inside = self.lock();
        if inside.listener.as_ref().is_some_and(|listener| !listener.is_closed()) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        inside.listener = Some(sender);
        Some(receiver)
    }
}

/// How a client connects: what its handshake says, and what its network is like.
#[derive(Debug, Clone)]
pub struct Dial {
    /// What the handshake tells.
    pub handshake: Handshake,
    /// What the network holds towards the client, in bytes: a small number makes a slow reader of one that pauses.
    pub to_client_bytes: usize,
    /// What it holds towards the engine, in bytes.
    pub to_server_bytes: usize,
    /// The most that one write takes, in bytes: a small number makes half frames.
    pub write_bytes_max: usize,
}

impl Dial {
    /// A client with this codec, on a network that holds 64 KiB each way.
    pub fn new(codec: Codec) -> Self {
        Self {
            handshake: Handshake::new(codec),
            to_client_bytes: 64 * 1024,
            to_server_bytes: 64 * 1024,
            write_bytes_max: usize::MAX,
        }
    }
}

impl Default for Dial {
    fn default() -> Self {
        Self::new(Codec::Json)
    }
}

impl InProcessConnector {
    pub(super) fn new() -> Self {
        Self(Place::default())
    }

    /// A transport at the same place, for the engine that comes after the one before has ended.
    pub fn transport(&self) -> InProcessTransport {
        InProcessTransport::new(self.0.clone())
    }

    /// Connects.
    ///
    /// # Errors
    /// [`DialError`] when nobody listens or the node takes nobody.
    pub async fn connect(&self, dial: Dial) -> Result<InProcessPipe, DialError> {
        let listener = self.0.lock().listener.clone().ok_or(DialError::NobodyListens)?;
        let codec = dial.handshake.codec;
        let wires = Arc::new(Wires {
            to_server: Pipe::new(dial.to_server_bytes, dial.write_bytes_max),
            to_client: Pipe::new(dial.to_client_bytes, dial.write_bytes_max),
        });
        // Made before the call, so that a dropped `connect` closes what the engine may have taken.
        let pipe = InProcessPipe::new(Arc::clone(&wires), codec);
        let (answer, answered) = oneshot::channel();
        let call = Call {
            handshake: dial.handshake,
            wires: Arc::clone(&wires),
            answer,
        };
        listener.send(call).await.map_err(|_| DialError::NobodyListens)?;
        let answer = answered.await.map_err(|_| DialError::NobodyListens)?;
        answer.map_err(DialError::Refused)?;
        let mut inside = self.0.lock();
        inside.links.retain(|link| link.strong_count() > 0);
        inside.links.push(Arc::downgrade(&wires));
        Ok(pipe)
    }

    /// The networks of the connections that live, in the order in which they connected.
    pub fn links(&self) -> Vec<Link> {
        let inside = self.0.lock();
        inside.links.iter().filter_map(Weak::upgrade).map(Link).collect()
    }
}

/// There is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DialError {
    /// No transport is bound, or it has ended.
    #[error("nobody listens")]
    NobodyListens,
    /// The node takes nobody now.
    #[error("the node takes nobody for {:?}", .0.retry_after)]
    Refused(Refusal),
}

/// The network of one connection.
#[derive(Debug, Clone)]
pub struct Link(pub(super) Arc<Wires>);

impl Link {
    /// Breaks the connection: what was on its way is lost, and both ends notice.
    pub fn cut(&self) {
        self.0.to_server.cut();
        self.0.to_client.cut();
    }

    /// Carries nothing more, in silence, until [`resume`](Self::resume).
    pub fn stall(&self) {
        self.0.to_server.stall(true);
        self.0.to_client.stall(true);
    }

    /// Carries on after [`stall`](Self::stall).
    pub fn resume(&self) {
        self.0.to_server.stall(false);
        self.0.to_client.stall(false);
    }

    /// How many bytes the engine has written so far.
    pub fn bytes_to_client(&self) -> u64 {
        self.0.to_client.carried()
    }
}
