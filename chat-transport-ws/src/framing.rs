//! What the server writes, as WebSocket frames (RFC 6455, 5.2): never masked, never fragmented.

use bytes::{BufMut, Bytes, BytesMut};
use chat_core::code::{CloseCode, close_reason};
use chat_core::codec::Codec;
use chat_core::transport::Framing;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// How WebSocket frames an encoded payload.
pub static FRAMING: Framing = Framing {
    name: "websocket",
    frame: data,
    close,
};

fn data(codec: Codec, payload: &[u8]) -> Bytes {
    let kind = if codec.is_text() { Data::Text } else { Data::Binary };
    frame(OpCode::Data(kind), payload)
}

fn close(code: CloseCode, reason: &str) -> Option<Bytes> {
    let mut payload = Vec::with_capacity(125);
    payload.put_u16(code.number());
    payload.extend_from_slice(close_reason(reason).as_bytes());
    Some(frame(OpCode::Control(Control::Close), &payload))
}

/// The answer to a ping (RFC 6455, 5.5.3).
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Pong), payload)
}

/// The answer to a close frame: the same number, or none where none came (RFC 6455, 5.5.1).
pub(crate) fn close_answer(number: Option<u16>) -> Bytes {
    match number {
        Some(number) => frame(OpCode::Control(Control::Close), &number.to_be_bytes()),
        None => frame(OpCode::Control(Control::Close), &[]),
    }
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    let length = payload.len() as u64;
    let mut frame = BytesMut::with_capacity(header.len(length) + payload.len()).writer();
    header
        .format(length, &mut frame)
        .expect("writing into memory does not fail");
    let mut frame = frame.into_inner();
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_has_its_kind_of_frame() {
        assert_eq!(data(Codec::Json, b"{}")[..], [0x81, 2, b'{', b'}']);
        assert_eq!(data(Codec::MessagePack, &[0x80])[..], [0x82, 1, 0x80]);
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(data(Codec::Json, &[b'a'; 125])[..2], [0x81, 125]);
        assert_eq!(data(Codec::Json, &[b'a'; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(
            data(Codec::Json, &[b'a'; 65_536])[..10],
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }

    #[test]
    fn a_close_frame_carries_number_and_ascii_reason_and_fits_a_control_frame() {
        let frame = close(CloseCode::SlowConsumer, "too slow…").expect("websocket has a close frame");
        assert_eq!(frame[..4], [0x88, 10, 0x0f, 0xa3]);
        assert_eq!(&frame[4..], b"too slow");
        let long = close(CloseCode::WrongPath, &"a".repeat(500)).expect("websocket has a close frame");
        assert_eq!((long.len(), long[1]), (127, 125));
    }
}
