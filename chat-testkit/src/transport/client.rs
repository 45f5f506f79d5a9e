//! The client's end of a connection.

use super::connector::Link;
use super::framing::{Kind, close, frame, take};
use super::server::Wires;
use bytes::{Buf, Bytes, BytesMut};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use std::io;
use std::sync::Arc;

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

/// A client's end of a connection, in two halves; dropping both closes the connection without a word.
#[derive(Debug)]
pub struct InProcessPipe {
    /// Towards the engine.
    pub sender: InProcessSender,
    /// From the engine.
    pub receiver: InProcessReceiver,
}

/// The half that writes.
#[derive(Debug)]
pub struct InProcessSender {
    end: Arc<End>,
    kind: Kind,
    /// What the network has not taken yet.
    unsent: BytesMut,
}

/// The half that reads.
#[derive(Debug)]
pub struct InProcessReceiver {
    end: Arc<End>,
    kind: Kind,
    received: BytesMut,
}

/// The client's end of the wires, closed when both halves are gone.
#[derive(Debug)]
struct End(Arc<Wires>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.to_server.end();
        self.0.to_client.deafen();
    }
}

impl InProcessPipe {
    pub(super) fn new(wires: Arc<Wires>, codec: Codec) -> Self {
        let (end, kind) = (Arc::new(End(wires)), Kind::of(codec));
        Self {
            sender: InProcessSender {
                end: Arc::clone(&end),
                kind,
                unsent: BytesMut::new(),
            },
            receiver: InProcessReceiver {
                end,
                kind,
                received: BytesMut::new(),
            },
        }
    }

    /// As [`InProcessSender::send`].
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, payload: impl AsRef<[u8]>) -> io::Result<()> {
        self.sender.send(payload).await
    }

    /// As [`InProcessReceiver::recv`], and meanwhile sends what a dropped `send` left.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn recv(&mut self) -> Heard {
        let flush = async {
            // An error is a lost connection, which the receiver says.
            let _ = self.sender.flush().await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            heard = self.receiver.recv() => heard,
            never = flush => never,
        }
    }

    /// The network under this connection.
    pub fn link(&self) -> Link {
        Link(Arc::clone(&self.sender.end.0))
    }
}

impl InProcessSender {
    /// Sends a frame of the protocol; waits while the network is full.
    ///
    /// # Cancel safety
    /// A dropped call may leave the rest of its frame waiting: the next call sends it first.
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
        self.flush().await?;
        self.unsent.extend_from_slice(bytes);
        self.flush().await
    }

    /// Sends what a dropped call left.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> io::Result<()> {
        let network = &self.end.0.to_server;
        while !self.unsent.is_empty() {
            match network.try_write([&self.unsent[..]]) {
                Ok(count) => self.unsent.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => network.writable().await?,
                Err(error) => {
                    self.unsent.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl InProcessReceiver {
    /// The next thing that the engine says.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Panics
    /// When the engine sends what is no frame of the agreed kind.
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
            if !self.end.0.to_client.read(&mut self.received).await {
                return Heard::Lost;
            }
        }
    }
}
