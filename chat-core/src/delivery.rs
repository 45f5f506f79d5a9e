//! Deliveries: one thing on its way to many, encoded at most once per codec and framing.

use crate::transport::Framing;
use bytes::Bytes;
use chat_protocol::codec::Codec;
use chat_protocol::event::Event;
use chat_protocol::frame::ServerFrame;
use chat_protocol::id::Position;
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

/// Bytes of shared payloads that are alive on this node.
#[derive(Debug, Default)]
pub(crate) struct Memory(AtomicUsize);

impl Memory {
    pub(crate) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
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
            return format.write(&self.frame);
        };
        let bytes = self.encoded[slot].get_or_init(|| {
            let bytes = format.write(&self.frame);
            self.memory.add(bytes.len());
            bytes
        });
        bytes.clone()
    }

    /// The position after it, when it is an event.
    pub(crate) fn position(&self) -> Position {
        match &self.frame {
            ServerFrame::Event(event) => event.position(),
            _ => Position::START,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let bytes: usize = self.encoded.iter().filter_map(OnceLock::get).map(Bytes::len).sum();
        self.memory.give_back(bytes);
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
        let (formats, memory) = (Formats::default(), Arc::new(Memory::default()));
        let delivery = Delivery::signal(some(), &memory);
        let a = delivery.bytes(&formats.intern(Codec::Json, &ONE));
        let b = delivery.bytes(&formats.intern(Codec::Json, &ONE));
        let other = delivery.bytes(&formats.intern(Codec::Json, &TWO));
        assert_eq!(a.as_ptr(), b.as_ptr());
        assert_ne!(a.as_ptr(), other.as_ptr());
    }

    #[test]
    fn a_shared_payload_counts_once_and_gives_back_what_it_took() {
        let (formats, memory) = (Formats::default(), Arc::new(Memory::default()));
        let delivery = Delivery::signal(some(), &memory);
        let format = formats.intern(Codec::Json, &ONE);
        let length = delivery.bytes(&format).len();
        let _again = delivery.bytes(&format);
        assert_eq!(memory.used(), length);
        drop(delivery);
        assert_eq!(memory.used(), 0);
    }
}
