//! The transport: the protocol's JSON over TCP, a frame a line. Imports, blanks and comments apart it has 60 lines.
//!
//! There is no handshake, so a hello brings a token or a guest's name. Frames are written directly: what the socket does
//! not take waits in the engine's queue, and none here.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::transport::{Connection, Framing, Handshake, Incoming, Outlet, Received, Stop, Transport};
use chat_core::{Acceptor, CloseCode, codec::Codec, transport::TransportError};
use futures_util::StreamExt;
use std::{io, sync::Arc, time::Duration};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, tcp};
use tokio::time::{sleep, timeout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// JSON holds no line break of its own; and a last line says why there is none after it.
static FRAMING: Framing = Framing {
    name: "lines",
    frame: |_, json| Bytes::from([json, b"\n"].concat()),
    close: |code, reason| Some(format!("{{\"closed\":{},\"reason\":\"{reason}\"}}\n", code.number()).into()),
};

/// A listener, which the host has bound.
pub struct Lines(pub TcpListener);

#[async_trait]
impl Transport for Lines {
    async fn bind(&mut self) -> Result<String, TransportError> {
        Ok(format!("tcp://{}", self.0.local_addr().expect("it is bound")))
    }

    async fn serve(self: Box<Self>, acceptor: Acceptor, stop: Stop) {
        loop {
            let accepted = tokio::select! { () = stop.stopped() => return, accepted = self.0.accept() => accepted };
            let placed = accepted.map(|(stream, peer)| (stream, peer, acceptor.admit(Some(peer.ip()))));
            if let Ok((stream, peer, Ok(permit))) = placed {
                let (read, write) = stream.into_split();
                // As over WebSocket: a longer line is closed 1009.
                let lines = FramedRead::new(read, LinesCodec::new_with_max_length(64 * 1024));
                let mut handshake = Handshake::new(Codec::Json);
                handshake.address = Some(peer.ip());
                let connection = Connection {
                    handshake,
                    incoming: Box::new(Reader(lines)),
                    outlet: Arc::new(Writer(write)),
                };
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(connection, permit).await });
            } else {
                sleep(Duration::from_millis(10)).await; // no socket, or no place: others go first
            }
        }
    }
}

struct Writer(tcp::OwnedWriteHalf);

#[async_trait]
impl Outlet for Writer {
    fn framing(&self) -> &'static Framing {
        &FRAMING
    }

    fn try_write(&self, frames: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(frames)
    }

    async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }
}

struct Reader(FramedRead<tcp::OwnedReadHalf, LinesCodec>);

#[async_trait]
impl Incoming for Reader {
    async fn recv(&mut self) -> Received {
        match self.0.next().await {
            Some(Ok(line)) => Received::Frame(line.into()),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => Received::Violation(CloseCode::TooBig, "a long line"),
            Some(Err(_)) | None => Received::Lost,
        }
    }

    /// Reads on for a moment: what is closed with unread bytes in it is reset, and takes its last line along.
    async fn linger(&mut self) {
        let _ = timeout(Duration::from_secs(1), copy(self.0.get_mut(), &mut sink())).await;
    }
}
