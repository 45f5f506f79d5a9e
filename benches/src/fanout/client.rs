//! A client that costs little: one socket, frames written by hand, frames read without decoding.
//!
//! What it reads out of an event stands at a known place from the beginning (the seq) or the end (the text), because
//! every id and name of the load has one length. Anything unexpected ends the measurement: a client that guesses
//! measures nothing.

use super::Kind;
use crate::load;
use chat_core::codec::Codec;
use chat_core::event::EventKind;
use chat_core::frame::{LogItem, ServerFrame};
use std::error::Error;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Any request number with seven digits, so that all replies have one length.
const REQUEST: u64 = 1_000_000;

/// What a server told a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The message of this number, at this place of its conversation's log, in so many bytes.
    Message { seq: u64, number: usize, bytes: usize },
    /// A message was taken.
    Taken,
    /// The client is asked whether it is there.
    Ping,
}

/// Connects a member and waits until everything that is sent from now on reaches it.
pub(super) async fn connect(kind: Kind, port: u16, conversation: usize, member: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (target, protocol) = match kind {
        Kind::Ours | Kind::Mounted => ("/chat".to_owned(), "Sec-WebSocket-Protocol: chat.v1.json\r\n"),
        Kind::Direct | Kind::Queued => (format!("/?room={}", load::conversation(conversation)), ""),
    };
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::new();
    let behind = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(strange("closed in the handshake", &buffer));
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 101 ") {
        return Err(strange("no upgrade", &buffer));
    }
    buffer.drain(..behind);
    let last: &[u8] = match kind {
        Kind::Ours | Kind::Mounted => {
            let hello = format!(
                r#"{{"type":"hello","guest":"{}","attempt":0}}"#,
                load::user(conversation, member)
            );
            stream.write_all(&masked(&hello)).await?;
            stream.write_all(&masked(r#"{"type":"resume","last":true}"#)).await?;
            br#"{"type":"synced""#
        }
        Kind::Direct | Kind::Queued => b"J",
    };
    loop {
        while let Some((opcode, payload, length)) = split(&buffer) {
            let (is_last, is_text) = (payload.starts_with(last), opcode == 1);
            if !is_text {
                return Err(strange("closed", payload));
            }
            buffer.drain(..length);
            if is_last {
                return match buffer.is_empty() {
                    true => Ok(stream),
                    false => Err(strange("something came before the load", &buffer)),
                };
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(strange("closed before the load", &buffer));
        }
    }
}

/// The frame that sends the message of this number.
pub(super) fn send(kind: Kind, conversation: usize, number: usize) -> Vec<u8> {
    let (conversation, id, text) = (
        load::conversation(conversation),
        load::message(number),
        load::text(number),
    );
    match kind {
        Kind::Ours | Kind::Mounted => masked(&format!(
            r#"{{"type":"command","req":{REQUEST},"command":"message:send","data":{{"conversation":"{conversation}","id":"{id}","content":{{"text":"{text}"}}}}}}"#
        )),
        Kind::Direct | Kind::Queued => masked(&format!("S{id} {conversation} {text}")),
    }
}

/// The answer to a ping.
pub(super) fn pong() -> Vec<u8> {
    masked(r#"{"type":"pong"}"#)
}

/// Reads what stands in one socket's bytes; the rest of a frame waits for the next bytes.
#[derive(Default)]
pub(super) struct Reader {
    rest: Vec<u8>,
}

impl Reader {
    /// Reads every whole frame.
    pub fn read(&mut self, bytes: &[u8], told: &mut Vec<Told>) -> Result<(), Box<dyn Error>> {
        if self.rest.is_empty() {
            let used = read_frames(bytes, told)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = read_frames(&self.rest, told)?;
            self.rest.drain(..used);
        }
        Ok(())
    }
}

fn read_frames(bytes: &[u8], told: &mut Vec<Told>) -> Result<usize, Box<dyn Error>> {
    let mut used = 0;
    while let Some((opcode, payload, length)) = split(&bytes[used..]) {
        if opcode != 1 {
            return Err(strange("no text frame", payload).into());
        }
        understand(payload, length, told)?;
        used += length;
    }
    Ok(used)
}

const EVENT: &[u8] = br#"{"type":"event","event":"message:new","conversation":""#;
const SEQ: &[u8] = br#"","seq":"#;
const UUID_BYTES: usize = 36;
const EVENT_END: &[u8] = br#""}}}}"#;

fn understand(payload: &[u8], bytes: usize, told: &mut Vec<Told>) -> Result<(), Box<dyn Error>> {
    if payload.starts_with(EVENT) {
        let seq = payload
            .get(EVENT.len() + UUID_BYTES..)
            .and_then(|at| at.strip_prefix(SEQ));
        let text = payload.strip_suffix(EVENT_END);
        let text = text.and_then(|before| before.get(before.len().checked_sub(load::TEXT_BYTES)?..));
        let (seq, number) = seq
            .and_then(digits)
            .zip(text.and_then(digits))
            .ok_or_else(|| strange("an event", payload))?;
        told.push(Told::Message {
            seq,
            number: number as usize,
            bytes,
        });
    } else if payload.starts_with(br#"{"type":"reply""#) {
        told.push(Told::Taken);
    } else if payload == br#"{"type":"ping"}"# {
        told.push(Told::Ping);
    } else {
        understand_page(payload, bytes, told)?;
    }
    Ok(())
}

/// Events that the server read back from its log, because this client was slow.
fn understand_page(payload: &[u8], bytes: usize, told: &mut Vec<Told>) -> Result<(), Box<dyn Error>> {
    let Ok(ServerFrame::Page(page)) = Codec::Json.decode_server(payload) else {
        return Err(strange("a frame of no use", payload).into());
    };
    let count = page.items.len().max(1);
    for item in page.items {
        let LogItem::Event(event) = item else {
            return Err(strange("a skip", payload).into());
        };
        let EventKind::MessageNew(new) = event.kind else {
            return Err(strange("an event of no use", payload).into());
        };
        let text = new.message.content.and_then(|content| content.text);
        let number = text.as_deref().and_then(|text| digits(text.as_bytes()));
        told.push(Told::Message {
            seq: event.seq.0,
            number: number.ok_or_else(|| strange("a text", payload))? as usize,
            bytes: bytes / count,
        });
    }
    Ok(())
}

fn digits(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let (count, number) = digits.fold((0, 0u64), |(count, number), digit| {
        (count + 1, number * 10 + u64::from(digit - b'0'))
    });
    (1..=18).contains(&count).then_some(number)
}

/// A server's frame at the beginning of these bytes: opcode, payload and the frame's length (RFC 6455, 5.2).
fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[first, length], rest) = bytes.split_first_chunk::<2>()?;
    let (header, length) = match length & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(header..header + length)?;
    Some((first & 15, payload, header + length))
}

/// A text frame as a client must send it: masked, here always with the same key.
fn masked(text: &str) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = Vec::with_capacity(text.len() + 8);
    frame.push(0x81);
    match u8::try_from(text.len()) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(text.len()).expect("frames of the load are short");
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(text.bytes().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn strange(what: &str, bytes: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    io::Error::other(format!("{what}: {}", shown.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &str) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x81, 126, length[0], length[1]], payload.as_bytes()].concat()
    }

    #[test]
    fn an_event_is_read_whole_and_in_pieces() {
        let event = framed(&format!(
            r#"{{"type":"event","event":"message:new","conversation":"{}","seq":42,"data":{{"message":{{"content":{{"text":"{}"}}}}}}}}"#,
            load::conversation(1),
            load::text(7)
        ));
        let message = |bytes| Told::Message {
            seq: 42,
            number: 7,
            bytes,
        };
        let (mut reader, mut told) = (Reader::default(), Vec::new());
        reader.read(&event, &mut told).unwrap();
        for piece in event.chunks(10) {
            reader.read(piece, &mut told).unwrap();
        }
        assert_eq!(told, [message(event.len()), message(event.len())]);
    }

    #[test]
    fn what_is_not_expected_ends_the_measurement() {
        let error = framed(r#"{"type":"error","req":1,"code":"rate_limited","message":"slow down"}"#);
        let refused = Reader::default().read(&error, &mut Vec::new());
        assert!(refused.unwrap_err().to_string().contains("rate_limited"));
    }
}
