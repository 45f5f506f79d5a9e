//! The client's side: connecting, the pipe of frames, and the knobs of its network.

use super::framing::{Kind, close, frame, take};
use super::listener::{Call, InProcessTransport};
use super::pipe::Pipe;
use super::server::Wires;
use bytes::{Buf, Bytes, BytesMut};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::transport::Handshake;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
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
    /// `ConnectionRefused` when nobody listens or the node takes nobody.
    pub async fn connect(&self, dial: Dial) -> io::Result<InProcessPipe> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.0.lock().listener.clone().ok_or_else(refused)?;
        let wires = Arc::new(Wires {
            to_server: Pipe::new(dial.to_server_bytes, dial.write_bytes_max),
            to_client: Pipe::new(dial.to_client_bytes, dial.write_bytes_max),
        });
        let pipe = InProcessPipe {
            kind: Kind::of(dial.handshake.codec),
            wires: Arc::clone(&wires),
            unsent: BytesMut::new(),
            received: BytesMut::new(),
        };
        let (answer, answered) = oneshot::channel();
        let call = Call {
            handshake: dial.handshake,
            wires: Arc::clone(&wires),
            answer,
        };
        listener.send(call).await.map_err(|_| refused())?;
        match answered.await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => {
                let sentence = format!("come back in {:?}", refusal.retry_after);
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, sentence));
            }
            Err(_) => return Err(refused()),
        }
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

/// What a client hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A whole frame of the protocol.
    Frame(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The engine closed.
    Closed(CloseCode, String),
    /// The connection is gone.
    Lost,
}

/// A client's end of a connection; dropping it closes the connection without a word.
#[derive(Debug)]
pub struct InProcessPipe {
    wires: Arc<Wires>,
    kind: Kind,
    /// What the network has not taken yet.
    unsent: BytesMut,
    received: BytesMut,
}

impl InProcessPipe {
    /// Sends a frame of the protocol; waits while the network is full.
    ///
    /// # Cancel safety
    /// A dropped call may leave the rest of its frame waiting: the next call, of `send` or `recv`, sends it first.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, payload: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(&frame(self.kind, payload.as_ref())).await
    }

    /// Asks the transport, not the engine, for an answer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(&frame(Kind::Ping, payload.as_ref())).await
    }

    /// Closes with a word; what the engine still says can be received.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn close(&mut self, code: CloseCode) -> io::Result<()> {
        self.write(&frame(Kind::Close, &code.number().to_be_bytes())).await
    }

    /// Sends bytes that may be no frame at all.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        flush(&self.wires, &mut self.unsent).await?;
        self.unsent.extend_from_slice(bytes);
        flush(&self.wires, &mut self.unsent).await
    }

    /// The next thing that the engine says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn recv(&mut self) -> Heard {
        loop {
            match take(&mut self.received) {
                Ok(Some((Kind::Pong, payload))) => return Heard::Pong(payload),
                Ok(Some((Kind::Close, payload))) => {
                    let (code, reason) = close(&payload);
                    return Heard::Closed(code, reason);
                }
                Ok(Some((kind, payload))) => {
                    assert_eq!(kind, self.kind, "the engine sends the agreed kind of frame");
                    return Heard::Frame(payload);
                }
                Ok(None) => {}
                Err((_, reason)) => panic!("the engine sent what is no frame: {reason}"),
            }
            let Self {
                wires,
                unsent,
                received,
                ..
            } = self;
            tokio::select! {
                biased;
                more = wires.to_client.read(received) => if !more {
                    return Heard::Lost;
                },
                // An error here is a lost connection, which the other arm says.
                _ = flush(wires, unsent), if !unsent.is_empty() => {}
            }
        }
    }

    /// The network under this connection.
    pub fn link(&self) -> Link {
        Link(Arc::clone(&self.wires))
    }
}

async fn flush(wires: &Wires, unsent: &mut BytesMut) -> io::Result<()> {
    while !unsent.is_empty() {
        match wires.to_server.try_write([&unsent[..]]) {
            Ok(count) => unsent.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wires.to_server.writable().await?,
            Err(error) => {
                unsent.clear();
                return Err(error);
            }
        }
    }
    Ok(())
}

impl Drop for InProcessPipe {
    fn drop(&mut self) {
        self.wires.to_server.end();
        self.wires.to_client.deafen();
    }
}

/// The network of one connection.
#[derive(Debug, Clone)]
pub struct Link(Arc<Wires>);

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
