//! The wire of the in-process transport: a kind, a length (u32, big end first), a payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::code::{CloseCode, close_reason};
use chat_core::codec::Codec;
use chat_core::transport::Framing;

/// The longest payload in bytes, as over WebSocket.
pub(super) const PAYLOAD_MAX: usize = 64 * 1024;

const HEADER: usize = 5;

/// How the in-process transport frames an encoded payload.
pub static FRAMING: Framing = Framing {
    name: "in-process",
    frame: |codec, payload| frame(Kind::of(codec), payload),
    close: |code, reason| {
        let reason = close_reason(reason);
        let payload = [&code.number().to_be_bytes(), reason.as_bytes()].concat();
        Some(frame(Kind::Close, &payload))
    },
};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text = 1,
    Binary = 2,
    Ping = 3,
    Pong = 4,
    Close = 5,
}

impl Kind {
    pub fn of(codec: Codec) -> Self {
        if codec.is_text() { Self::Text } else { Self::Binary }
    }

    fn read(byte: u8) -> Option<Self> {
        [Self::Text, Self::Binary, Self::Ping, Self::Pong, Self::Close]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

pub(super) fn frame(kind: Kind, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + payload.len());
    frame.put_u8(kind as u8);
    frame.put_u32(payload.len() as u32);
    frame.put_slice(payload);
    frame.freeze()
}

/// Takes a whole frame from the front of `input`.
///
/// # Errors
/// The close code for what is no frame or too long a one, told by its header.
pub(super) fn take(input: &mut BytesMut) -> Result<Option<(Kind, Bytes)>, (CloseCode, &'static str)> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let kind = Kind::read(header[0]).ok_or((CloseCode::Protocol, "unknown kind of frame"))?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > PAYLOAD_MAX {
        return Err((CloseCode::TooBig, "a message is over the limit"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    input.advance(HEADER);
    Ok(Some((kind, input.split_to(length).freeze())))
}

/// Reads the payload of a close frame.
pub(super) fn close(payload: &[u8]) -> (CloseCode, String) {
    match payload.split_first_chunk::<2>() {
        Some((number, reason)) => (
            CloseCode::from_number(u16::from_be_bytes(*number)),
            String::from_utf8_lossy(reason).into_owned(),
        ),
        None => (CloseCode::Normal, String::new()),
    }
}
