//! The two halves of a connection over an upgraded stream.

use crate::config::WsConfig;
use crate::framing::{FRAMING, close_answer, pong};
use crate::reader::{Reader, ReaderBounds, Step};
use crate::socket::{READ_BYTES, Socket};
use async_trait::async_trait;
use bytes::BytesMut;
use chat_core::budget::Budget;
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::transport::{Framing, Incoming, Outlet, Received};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout_at};

mod queued;

pub(crate) use queued::queued;

/// Where bytes come from.
pub(crate) enum Source {
    /// A plain socket, written directly.
    Socket(Socket),
    /// Anything else, such as TLS, written by its pump.
    Stream(Box<dyn AsyncRead + Send + Unpin>, queued::Ending),
}

impl Source {
    fn poll_fill(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_fill(context, buffer),
            Self::Stream(stream, _) => {
                let mut room = [0; READ_BYTES];
                let mut room = ReadBuf::new(&mut room);
                Pin::new(stream).poll_read(context, &mut room).map_ok(|()| {
                    buffer.extend_from_slice(room.filled());
                    room.filled().len()
                })
            }
        }
    }

    /// Reads and forgets until the peer closes, at most so many bytes and so long.
    pub async fn discard(&mut self, deadline: Instant, bytes_max: usize) {
        let mut read = 0;
        while read <= bytes_max {
            let mut buffer = BytesMut::new();
            let fill = poll_fn(|context| self.poll_fill(context, &mut buffer));
            match timeout_at(deadline, fill).await {
                Ok(Ok(count)) if count > 0 => read += count,
                _ => return,
            }
        }
        // Closing with bytes unread would send a reset, which may overtake the close frame: hold still, so that the
        // peer has time to read it.
        sleep_until(deadline).await;
    }
}

/// The receiving half.
pub(crate) struct WsIncoming {
    source: Source,
    buffer: BytesMut,
    reader: Reader,
    /// Pings and pongs; over it the connection is closed.
    pings: Budget,
    /// Bytes in no message; over it the socket is read more slowly.
    overhead: Budget,
    assembly_timeout: Duration,
    /// When the message that is being assembled must be whole.
    whole_by: Option<Instant>,
    /// Nothing is read any more: the client closed, broke a rule, or is gone.
    is_over: bool,
    linger_timeout: Duration,
    linger_bytes_max: usize,
}

impl WsIncoming {
    /// Reads from `source`, after what was read already behind the handshake.
    pub fn new(source: Source, behind_handshake: &[u8], codec: Codec, config: &WsConfig) -> Self {
        Self {
            source,
            buffer: BytesMut::from(behind_handshake),
            reader: Reader::new(
                codec.is_text(),
                ReaderBounds {
                    first_message_max: config.first_message_max.min(config.message_max),
                    message_max: config.message_max,
                    fragments_max: config.fragments_max,
                },
            ),
            pings: Budget::new(1, config.pings_max),
            overhead: Budget::new(config.overhead_bytes_per_second, config.overhead_bytes_burst),
            assembly_timeout: config.assembly_timeout,
            whole_by: None,
            is_over: false,
            linger_timeout: config.linger_timeout,
            linger_bytes_max: config.linger_bytes_max,
        }
    }

    /// Reads what has come, once nothing is owed for what came before.
    async fn fill(&mut self) -> io::Result<usize> {
        if let Some(until) = self.overhead.owes_until(Instant::now().into_std()) {
            sleep_until(Instant::from_std(until)).await;
        }
        poll_fn(|context| self.source.poll_fill(context, &mut self.buffer)).await
    }

    /// Keeps the deadline of the message that is being assembled; true when it has passed.
    fn is_assembly_late(&mut self) -> bool {
        if !self.reader.is_assembling() {
            self.whole_by = None;
            return false;
        }
        let now = Instant::now();
        now >= *self.whole_by.get_or_insert(now + self.assembly_timeout)
    }

    fn over(&mut self, last: Received) -> Received {
        self.is_over = true;
        self.buffer = BytesMut::new();
        last
    }
}

#[async_trait]
impl Incoming for WsIncoming {
    async fn recv(&mut self) -> Received {
        if self.is_over {
            return Received::Lost;
        }
        let flood = Received::Violation(CloseCode::RateLimited, "too many pings");
        let late = Received::Violation(CloseCode::AssemblyTimeout, "a fragmented message took too long");
        loop {
            let step = self.reader.step(&mut self.buffer);
            let now = Instant::now().into_std();
            let overhead = self.reader.take_overhead();
            self.overhead.charge(u32::try_from(overhead).unwrap_or(u32::MAX), now);
            match step {
                Step::Message(message) => {
                    self.whole_by = None;
                    return Received::Frame(message);
                }
                Step::Ping(_) | Step::Pong if self.pings.take(1, now).is_err() => return self.over(flood),
                Step::Ping(payload) => return Received::Answer(pong(&payload)),
                Step::Pong => continue,
                Step::Close(number) => return self.over(Received::Closed(Some(close_answer(number)))),
                Step::Violation(code, reason) => return self.over(Received::Violation(code, reason)),
                Step::More => {}
            }
            if self.is_assembly_late() {
                return self.over(late);
            }
            let filled = match self.whole_by {
                None => self.fill().await,
                Some(deadline) => match timeout_at(deadline, self.fill()).await {
                    Ok(filled) => filled,
                    Err(_) => return self.over(late),
                },
            };
            if !filled.is_ok_and(|count| count > 0) {
                return self.over(Received::Lost);
            }
        }
    }

    async fn linger(&mut self) {
        self.is_over = true;
        let deadline = Instant::now() + self.linger_timeout;
        match &mut self.source {
            Source::Socket(socket) => socket.shutdown(),
            Source::Stream(_, ending) => {
                let _ = timeout_at(deadline, ending.ended()).await;
            }
        }
        self.source.discard(deadline, self.linger_bytes_max).await;
    }
}

/// The sending half over a plain socket: what the hub writes goes to the kernel at once.
pub(crate) struct DirectOutlet(pub Socket);

#[async_trait]
impl Outlet for DirectOutlet {
    fn framing(&self) -> &'static Framing {
        &FRAMING
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(frames)
    }

    async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }
}
