//! One direction of a connection: bytes in a bounded buffer, as in a socket's.

use bytes::{Buf, BytesMut};
use std::io;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// One writer, one reader, and a network between them that may stall or break.
#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    write_max: usize,
    /// Held for a copy of at most `capacity` bytes.
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    /// Bytes that ever went in.
    carried: u64,
    is_stalled: bool,
    /// The writer has said that nothing more comes.
    is_ended: bool,
    /// The reader is gone.
    is_deaf: bool,
    /// The network broke: what was on its way is lost.
    is_cut: bool,
}

impl Pipe {
    /// A pipe that holds `capacity` bytes and takes at most `write_max` of them in one write.
    pub fn new(capacity: usize, write_max: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            write_max: write_max.max(1),
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic inside")
    }

    /// Writes what there is room for, at least one byte, or would block.
    pub fn try_write<'a>(&self, slices: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut state = self.lock();
        if state.is_cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.is_deaf || state.is_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut room = (self.capacity - state.bytes.len()).min(self.write_max);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = state.bytes.len();
        for slice in slices {
            let part = &slice[..slice.len().min(room)];
            state.bytes.extend_from_slice(part);
            room -= part.len();
        }
        let written = state.bytes.len() - before;
        state.carried += written as u64;
        drop(state);
        self.readable.notify_one();
        Ok(written)
    }

    /// Resolves when a write may take something again, or would fail.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<()> {
        loop {
            {
                let state = self.lock();
                if state.is_cut || state.is_deaf || state.is_ended || state.bytes.len() < self.capacity {
                    return Ok(());
                }
            }
            self.writable.notified().await;
        }
    }

    /// Moves what has come behind `buffer`; false when nothing more will.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&self, buffer: &mut BytesMut) -> bool {
        loop {
            {
                let mut state = self.lock();
                if state.is_cut {
                    return false;
                }
                if !state.is_stalled {
                    if !state.bytes.is_empty() {
                        buffer.extend_from_slice(&state.bytes);
                        let length = state.bytes.len();
                        state.bytes.advance(length);
                        drop(state);
                        self.writable.notify_one();
                        return true;
                    }
                    if state.is_ended {
                        return false;
                    }
                }
            }
            self.readable.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.readable.notify_one();
        self.writable.notify_one();
    }

    /// The writer says that nothing more comes.
    pub fn end(&self) {
        self.change(|state| state.is_ended = true);
    }

    /// The reader goes.
    pub fn deafen(&self) {
        self.change(|state| state.is_deaf = true);
    }

    /// The network breaks.
    pub fn cut(&self) {
        self.change(|state| {
            state.is_cut = true;
            state.bytes = BytesMut::new();
        });
    }

    /// The network carries nothing, or goes on.
    pub fn stall(&self, is_stalled: bool) {
        self.change(|state| state.is_stalled = is_stalled);
    }

    /// Bytes that ever went in.
    pub fn carried(&self) -> u64 {
        self.lock().carried
    }
}
