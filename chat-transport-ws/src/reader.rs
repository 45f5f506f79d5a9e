//! Takes apart what a client sends: frames of RFC 6455, judged one by one. Pure: bytes in, steps out.
//!
//! Headers are read by tungstenite; assembly is here, because `WebSocketStream` drops the connection without a close
//! frame on most errors, reserves what a header declares, keeps its largest buffer for ever and hides when a
//! fragmented message began.

use bytes::{Buf, Bytes, BytesMut};
use chat_core::code::CloseCode;
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{self, Control, Data, OpCode};

/// Assembles the messages of one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    kind: Data,
    bounds: ReaderBounds,
    /// No message has come yet: the first one has a bound of its own.
    is_first: bool,
    /// The frame whose payload is awaited.
    awaited: Option<Awaited>,
    /// The fragments so far of a message that is not whole yet.
    fragments: Option<BytesMut>,
    /// How many frames they came in.
    fragments_count: usize,
    /// Bytes that were taken and are in no message.
    overhead: usize,
}

/// What a reader takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReaderBounds {
    /// Bytes of the first message.
    pub first_message_max: usize,
    /// Bytes of every later one.
    pub message_max: usize,
    /// Frames of one message.
    pub fragments_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    length: usize,
}

/// What the bytes so far come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing whole yet.
    More,
    /// A whole message.
    Message(Bytes),
    /// A ping to be answered.
    Ping(Bytes),
    /// A pong, which nobody asked for.
    Pong,
    /// The client closes, with this number.
    Close(Option<u16>),
    /// The client broke the rules.
    Violation(CloseCode, &'static str),
}

/// A broken rule and its close code.
type Broken = (CloseCode, &'static str);

impl Reader {
    /// A reader of text or binary messages.
    pub fn new(is_text: bool, bounds: ReaderBounds) -> Self {
        Self {
            kind: if is_text { Data::Text } else { Data::Binary },
            bounds,
            is_first: true,
            awaited: None,
            fragments: None,
            fragments_count: 0,
            overhead: 0,
        }
    }

    /// How many bytes were taken since the last time that are in no message: headers and control frames.
    pub fn take_overhead(&mut self) -> usize {
        std::mem::take(&mut self.overhead)
    }

    /// Whether a fragmented message has begun and not ended.
    pub fn is_assembling(&self) -> bool {
        self.fragments.is_some()
            || self
                .awaited
                .is_some_and(|frame| is_data(frame.opcode) && !frame.is_final)
    }

    /// Takes at most one frame from the front of `input`.
    pub fn step(&mut self, input: &mut BytesMut) -> Step {
        match self.try_step(input) {
            Ok(step) => step,
            Err((code, reason)) => Step::Violation(code, reason),
        }
    }

    fn try_step(&mut self, input: &mut BytesMut) -> Result<Step, Broken> {
        loop {
            let Some(frame) = self.awaited.take() else {
                let Some(frame) = self.header(input)? else {
                    return Ok(Step::More);
                };
                self.awaited = Some(frame);
                continue;
            };
            if input.len() < frame.length {
                self.awaited = Some(frame);
                return Ok(Step::More);
            }
            if !is_data(frame.opcode) {
                self.overhead += frame.length;
            }
            let mut payload = input.split_to(frame.length);
            unmask(&mut payload, frame.mask);
            match frame.opcode {
                OpCode::Control(Control::Ping) => return Ok(Step::Ping(payload.freeze())),
                OpCode::Control(Control::Close) => return close(&payload).map(Step::Close),
                OpCode::Control(_) => return Ok(Step::Pong),
                OpCode::Data(_) => {
                    if let Some(message) = self.assemble(payload, frame.is_final)? {
                        self.is_first = false;
                        return Ok(Step::Message(message));
                    }
                }
            }
        }
    }

    /// Reads and judges a header, before anything of its payload is kept.
    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Awaited>, Broken> {
        // Judged before the rest of the header has come: who speaks something else may never send it.
        if let [first, second, ..] = input[..] {
            if first & 0x70 != 0 {
                return Err(protocol("reserved bits are set, no extension was agreed on"));
            }
            if matches!(first & 0x0f, 3..=7 | 11..) {
                return Err(protocol("unknown opcode"));
            }
            if second & 0x80 == 0 {
                return Err(protocol("a client's frames must be masked"));
            }
        }
        let mut cursor = Cursor::new(&input[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| protocol("a broken header"))?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let taken = cursor.position();
        let mask = header.mask.unwrap_or_default();
        if taken != header.len(length) as u64 {
            return Err(protocol("the length is not in its shortest form"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(protocol("a control frame is fragmented")),
            OpCode::Control(_) if length > 125 => return Err(protocol("a control frame is longer than 125 bytes")),
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if self.fragments.is_none() => {
                return Err(protocol("a continuation of nothing"));
            }
            OpCode::Data(Data::Continue) => {}
            OpCode::Data(_) if self.fragments.is_some() => {
                return Err(protocol("a new message inside a fragmented one"));
            }
            OpCode::Data(kind) if kind != self.kind => {
                return Err((CloseCode::Unsupported, wrong_kind(self.kind)));
            }
            OpCode::Data(_) => {}
        }
        let before = self.fragments.as_ref().map_or(0, BytesMut::len);
        let (max, sentence) = match self.is_first {
            true => (
                self.bounds.first_message_max,
                "the first message, hello, is over its limit",
            ),
            false => (self.bounds.message_max, "a message is over the limit"),
        };
        let fits = usize::try_from(length).is_ok_and(|length| length <= max.saturating_sub(before));
        if is_data(header.opcode) && !fits {
            return Err((CloseCode::TooBig, sentence));
        }
        if is_data(header.opcode) {
            self.fragments_count = if self.fragments.is_some() {
                self.fragments_count + 1
            } else {
                1
            };
            if self.fragments_count > self.bounds.fragments_max {
                return Err((CloseCode::TooBig, "a message is in too many fragments"));
            }
        }
        self.overhead += header.len(length);
        input.advance(header.len(length));
        Ok(Some(Awaited {
            opcode: header.opcode,
            is_final: header.is_final,
            mask,
            length: length as usize,
        }))
    }

    fn assemble(&mut self, payload: BytesMut, is_final: bool) -> Result<Option<Bytes>, Broken> {
        let message = match self.fragments.take() {
            // Joined in memory of its own: a slice of the read buffer would keep all of it.
            Some(mut fragments) => {
                fragments.extend_from_slice(&payload);
                fragments
            }
            None if !is_final => BytesMut::from(&payload[..]),
            None => payload,
        };
        if !is_final {
            self.fragments = Some(message);
            return Ok(None);
        }
        if self.kind == Data::Text && std::str::from_utf8(&message).is_err() {
            return Err((CloseCode::InvalidUtf8, "a text frame is not UTF-8"));
        }
        Ok(Some(message.freeze()))
    }
}

fn is_data(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Data(_))
}

fn protocol(reason: &'static str) -> Broken {
    (CloseCode::Protocol, reason)
}

fn wrong_kind(agreed: Data) -> &'static str {
    match agreed {
        Data::Text => "chat.v1.json takes text frames",
        _ => "chat.v1.msgpack takes binary frames",
    }
}

/// Judges the payload of a close frame (RFC 6455, 5.5.1 and 7.4).
fn close(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let Some((number, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(protocol("a close frame of one byte")),
        };
    };
    let number = u16::from_be_bytes(*number);
    if !coding::CloseCode::from(number).is_allowed() {
        return Err(protocol("a close code that must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(protocol("a close reason that is not UTF-8"));
    }
    Ok(Some(number))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<8>();
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
