//! The engine's two halves of an in-process connection.

use super::framing::{FRAMING, Kind, frame, take};
use super::pipe::Pipe;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::transport::{Framing, Incoming, Outlet, Received};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const LINGER: Duration = Duration::from_secs(1);

/// The two pipes of a connection.
#[derive(Debug)]
pub(super) struct Wires {
    pub to_server: Pipe,
    pub to_client: Pipe,
}

/// The engine's end of them, closed when both halves are gone.
struct End(Arc<Wires>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.to_client.end();
        self.0.to_server.deafen();
    }
}

/// Makes the engine's halves.
pub(super) fn halves(wires: Arc<Wires>, codec: Codec) -> (Box<dyn Incoming>, Arc<dyn Outlet>) {
    let end = Arc::new(End(wires));
    let incoming = InProcessIncoming {
        end: Arc::clone(&end),
        kind: Kind::of(codec),
        buffer: BytesMut::new(),
        is_over: false,
    };
    (Box::new(incoming), Arc::new(InProcessOutlet(end)))
}

struct InProcessIncoming {
    end: Arc<End>,
    kind: Kind,
    buffer: BytesMut,
    is_over: bool,
}

impl InProcessIncoming {
    fn frame(&mut self, kind: Kind, payload: Bytes) -> Option<Received> {
        match kind {
            Kind::Ping => Some(Received::Answer(frame(Kind::Pong, &payload))),
            Kind::Pong => None,
            Kind::Close => {
                self.is_over = true;
                Some(Received::Closed(Some(frame(Kind::Close, &payload))))
            }
            kind if kind == self.kind => Some(Received::Frame(payload)),
            _ => Some(self.violation(CloseCode::Unsupported, "the other kind of frame")),
        }
    }

    fn violation(&mut self, code: CloseCode, reason: &'static str) -> Received {
        self.is_over = true;
        Received::Violation(code, reason)
    }
}

#[async_trait]
impl Incoming for InProcessIncoming {
    async fn recv(&mut self) -> Received {
        loop {
            if self.is_over {
                return Received::Lost;
            }
            match take(&mut self.buffer) {
                Ok(Some((kind, payload))) => match self.frame(kind, payload) {
                    Some(received) => return received,
                    None => continue,
                },
                Ok(None) => {}
                Err((code, reason)) => return self.violation(code, reason),
            }
            if !self.end.0.to_server.read(&mut self.buffer).await {
                self.is_over = true;
            }
        }
    }

    async fn linger(&mut self) {
        self.is_over = true;
        self.end.0.to_client.end();
        let deadline = Instant::now() + LINGER;
        let mut ignored = BytesMut::new();
        while let Ok(true) = timeout_at(deadline, self.end.0.to_server.read(&mut ignored)).await {
            ignored.clear();
        }
    }
}

struct InProcessOutlet(Arc<End>);

#[async_trait]
impl Outlet for InProcessOutlet {
    fn framing(&self) -> &'static Framing {
        &FRAMING
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.0.to_client.try_write(frames.iter().map(|frame| &**frame))
    }

    async fn writable(&self) -> io::Result<()> {
        self.0.0.to_client.writable().await
    }
}
