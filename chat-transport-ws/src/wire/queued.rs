//! The sending half over a stream that only its owner may write (TLS): a small buffer and a pump behind it.

use crate::framing::FRAMING;
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use chat_core::transport::{Framing, Outlet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Makes the two ends of a buffer of `capacity` bytes: the outlet fills it, the pump writes it to `stream`.
pub(crate) fn queued<W>(stream: W, capacity: usize) -> (QueuedOutlet, Pump<W>, Ending) {
    let shared = Arc::new(Shared {
        capacity: capacity.max(1),
        state: Mutex::default(),
        filled: Notify::new(),
        drained: Notify::new(),
        over: Notify::new(),
    });
    let outlet = QueuedOutlet(Arc::clone(&shared));
    let ending = Ending(Arc::clone(&shared));
    (outlet, Pump { stream, shared }, ending)
}

struct Shared {
    capacity: usize,
    /// Held for a copy of at most `capacity` bytes.
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
    over: Notify,
}

#[derive(Default)]
struct State {
    waiting: BytesMut,
    /// Bytes that the pump has taken and not written yet: they still count.
    taken: usize,
    is_ending: bool,
    /// Set when the pump has ended, by an error or because it was told to.
    over: Option<io::ErrorKind>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic inside")
    }

    fn room(&self, state: &State) -> usize {
        self.capacity - state.waiting.len() - state.taken
    }

    fn end(&self) {
        self.lock().is_ending = true;
        self.filled.notify_one();
    }
}

/// Takes what fits into the buffer. Dropping it lets the pump write the rest and end.
pub(crate) struct QueuedOutlet(Arc<Shared>);

#[async_trait]
impl Outlet for QueuedOutlet {
    fn framing(&self) -> &'static Framing {
        &FRAMING
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if let Some(error) = state.over {
            return Err(error.into());
        }
        let room = self.0.room(&state);
        let mut written = 0;
        for frame in frames {
            let part = &frame[..frame.len().min(room - written)];
            state.waiting.put_slice(part);
            written += part.len();
        }
        drop(state);
        if written == 0 && frames.iter().any(|frame| !frame.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.filled.notify_one();
        Ok(written)
    }

    async fn writable(&self) -> io::Result<()> {
        loop {
            {
                let state = self.0.lock();
                if let Some(error) = state.over {
                    return Err(error.into());
                }
                if self.0.room(&state) > 0 {
                    return Ok(());
                }
            }
            // Only the session's task waits; a notice between the look and the wait is kept for it.
            self.0.drained.notified().await;
        }
    }
}

impl Drop for QueuedOutlet {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Ends the pump for a lingering close.
pub(crate) struct Ending(Arc<Shared>);

impl Ending {
    /// Lets the pump write what waits and say that nothing more will come; resolves when it has.
    pub async fn ended(&mut self) {
        self.0.end();
        while self.0.lock().over.is_none() {
            self.0.over.notified().await;
        }
    }
}

/// Writes to the stream what the outlet took.
pub(crate) struct Pump<W> {
    stream: W,
    shared: Arc<Shared>,
}

impl<W: AsyncWrite + Unpin> Pump<W> {
    /// Runs until told to end, or until the stream fails.
    pub async fn run(mut self) {
        let error = self
            .pump()
            .await
            .map_or_else(|error| error.kind(), |()| io::ErrorKind::BrokenPipe);
        let mut state = self.shared.lock();
        state.over = Some(error);
        state.waiting = BytesMut::new();
        drop(state);
        self.shared.drained.notify_one();
        self.shared.over.notify_one();
    }

    async fn pump(&mut self) -> io::Result<()> {
        loop {
            let bytes = {
                let mut state = self.shared.lock();
                let bytes = std::mem::take(&mut state.waiting);
                state.taken = bytes.len();
                if bytes.is_empty() && state.is_ending {
                    break;
                }
                bytes
            };
            if bytes.is_empty() {
                self.shared.filled.notified().await;
                continue;
            }
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await?;
            self.shared.lock().taken = 0;
            self.shared.drained.notify_one();
        }
        self.stream.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn try_write(outlet: &QueuedOutlet, bytes: &[u8]) -> io::Result<usize> {
        outlet.try_write(&[IoSlice::new(bytes)])
    }

    #[tokio::test]
    async fn a_full_buffer_refuses_until_the_stream_takes_some() {
        let (stream, mut peer) = tokio::io::duplex(4);
        let (outlet, pump, _ending) = queued(stream, 8);
        assert_eq!(try_write(&outlet, b"0123456789").expect("room"), 8);
        let full = try_write(&outlet, b"89").expect_err("full");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let pump = tokio::spawn(pump.run());
        let mut bytes = [0; 8];
        peer.read_exact(&mut bytes).await.expect("eight bytes");
        outlet.writable().await.expect("room again");
        assert_eq!(try_write(&outlet, b"89").expect("room"), 2);
        drop(outlet);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.expect("the rest, then the end");
        assert_eq!((&bytes[..], &rest[..]), (&b"01234567"[..], &b"89"[..]));
        pump.await.expect("ended by itself");
    }

    #[tokio::test]
    async fn a_broken_stream_ends_the_outlet() {
        let (stream, peer) = tokio::io::duplex(4);
        let (outlet, pump, mut ending) = queued(stream, 8);
        drop(peer);
        assert_eq!(try_write(&outlet, b"01234567").expect("room"), 8);
        pump.run().await;
        assert!(outlet.writable().await.is_err());
        assert!(try_write(&outlet, b"x").is_err());
        ending.ended().await;
    }
}
