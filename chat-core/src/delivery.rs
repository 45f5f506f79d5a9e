//! Deliveries: one thing on its way to many, encoded at most once per codec and framing.

use crate::transport::Framing;
use bytes::Bytes;
use chat_protocol::codec::Codec;
use chat_protocol::event::Event;
use chat_protocol::frame::ServerFrame;
use chat_protocol::id::{Position, Seq};
use chat_protocol::signal::Signal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The most pairs of codec and framing that share encodings; receivers beyond them are encoded for one by one.
const FORMATS_MAX: usize = 8;

/// A codec with a framing, and its number on this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    slot: Option<usize>,
    codec: Codec,
    framing: &'static Framing,
}

impl Format {
    /// Encodes and frames something for one receiver.
    pub(crate) fn write(&self, frame: &ServerFrame) -> Bytes {
        (self.framing.frame)(self.codec, &self.codec.encode(frame))
    }

    pub(crate) fn framing(&self) -> &'static Framing {
        self.framing
    }
}

/// The formats in use on this node, each with its slot.
#[derive(Debug, Default)]
pub(crate) struct Formats(Mutex<Vec<(Codec, &'static str)>>);

impl Formats {
    /// The format of a connection; the same codec and framing share a slot.
    pub(crate) fn intern(&self, codec: Codec, framing: &'static Framing) -> Format {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = known.iter().position(|k| *k == (codec, framing.name)).or_else(|| {
            (known.len() < FORMATS_MAX).then(|| {
                known.push((codec, framing.name));
                known.len() - 1
            })
        });
        Format { slot, codec, framing }
    }
}

/// Up to this share of the node's memory, in percent, a session that has something waiting is read ahead for.
const ROOMY_PERCENT: usize = 60;

/// At this share, in percent, nothing that can be read again waits any longer.
const FULL_PERCENT: usize = 95;

/// The bytes that wait for sockets of this node, a shared payload counted once, and their bound.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let used = AtomicUsize::new(0);
        Arc::new(Self { used, bytes_max })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is so much of it that a session may be read ahead for.
    pub(crate) fn is_roomy(&self) -> bool {
        self.used() < self.bytes_max / 100 * ROOMY_PERCENT
    }

    /// Whether there is so little of it that queues give up what can be read again.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.bytes_max / 100 * FULL_PERCENT
    }

    /// Counts bytes for as long as anybody holds them.
    pub(crate) fn counted(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.used.fetch_add(bytes.len(), Ordering::Relaxed);
        let memory = self.clone();
        Bytes::from_owner(Counted { bytes, memory })
    }
}

struct Counted {
    bytes: Bytes,
    memory: Arc<Memory>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// One event or signal on its way out.
#[derive(Debug)]
pub(crate) struct Delivery {
    frame: ServerFrame,
    encoded: [OnceLock<Bytes>; FORMATS_MAX],
    memory: Arc<Memory>,
}

impl Delivery {
    pub(crate) fn event(event: Event, memory: &Arc<Memory>) -> Arc<Self> {
        Self::new(ServerFrame::Event(event), memory)
    }

    pub(crate) fn signal(signal: Signal, memory: &Arc<Memory>) -> Arc<Self> {
        Self::new(ServerFrame::Signal(signal), memory)
    }

    fn new(frame: ServerFrame, memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            frame,
            encoded: Default::default(),
            memory: memory.clone(),
        })
    }

    /// The framed bytes for a receiver: the same allocation for every receiver of the format.
    pub(crate) fn bytes(&self, format: &Format) -> Bytes {
        let Some(slot) = format.slot else {
            return self.memory.counted(format.write(&self.frame));
        };
        let bytes = self.encoded[slot].get_or_init(|| self.memory.counted(format.write(&self.frame)));
        bytes.clone()
    }

    /// The seq of the older message that it shows: an edit, a reaction, a tombstone.
    pub(crate) fn about(&self) -> Option<Seq> {
        let ServerFrame::Event(event) = &self.frame else {
            return None;
        };
        let message = event.kind.message()?;
        (message.seq < event.seq).then_some(message.seq)
    }

    /// The position after it, when it is an event.
    pub(crate) fn position(&self) -> Position {
        match &self.frame {
            ServerFrame::Event(event) => event.position(),
            _ => Position::START,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::code::CloseCode;
    use chat_protocol::signal::{PresenceSignal, Signal};

    fn frame(_: Codec, payload: &[u8]) -> Bytes {
        Bytes::copy_from_slice(payload)
    }
    fn close(_: CloseCode, _: &str) -> Option<Bytes> {
        None
    }
    static ONE: Framing = Framing {
        name: "one",
        frame,
        close,
    };
    static TWO: Framing = Framing {
        name: "two",
        frame,
        close,
    };

    fn some() -> Signal {
        Signal::Presence(PresenceSignal {
            user: "ana".parse().unwrap(),
            online: true,
            as_of: chat_protocol::id::Timestamp(1),
        })
    }

    #[test]
    fn every_receiver_of_a_format_gets_the_same_allocation() {
        let (formats, memory) = (Formats::default(), Memory::new(1_000));
        let delivery = Delivery::signal(some(), &memory);
        let a = delivery.bytes(&formats.intern(Codec::Json, &ONE));
        let b = delivery.bytes(&formats.intern(Codec::Json, &ONE));
        let other = delivery.bytes(&formats.intern(Codec::Json, &TWO));
        assert_eq!(a.as_ptr(), b.as_ptr());
        assert_ne!(a.as_ptr(), other.as_ptr());
    }

    #[test]
    fn a_shared_payload_counts_once_for_as_long_as_anybody_holds_it() {
        let (formats, memory) = (Formats::default(), Memory::new(1_000));
        let delivery = Delivery::signal(some(), &memory);
        let format = formats.intern(Codec::Json, &ONE);
        let (one, another) = (delivery.bytes(&format), delivery.bytes(&format));
        assert_eq!(memory.used(), one.len());
        drop((delivery, one));
        assert_eq!(memory.used(), another.len(), "it waits in a queue, perhaps");
        drop(another);
        assert_eq!(memory.used(), 0);
    }
}
