//! Rows of bytes that are no WebSocket, or too many of them (RFC 6455, 5 and 7).

use crate::line::Heard;
use crate::peer::frame;
use crate::row::{ALL, JSON_SOCKET, PACKED_SOCKET, Row, SOCKETS, story, stream};
use crate::stage::Stage;
use chat_core::Limits;
use chat_transport_ws::WsConfig;
use serde_json::json;
use std::time::Duration;

const CONTINUED: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Taken from the first byte of a whole frame: more of it follows.
const NOT_LAST: u8 = 0x80;

/// A header that declares so many bytes, of which none follow.
fn declares(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first, 0x80 | 127];
    header.extend(length.to_be_bytes());
    header.extend([1, 2, 3, 4]);
    header
}

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    vec![
        stream("frame.broken", "unmasked", |data| vec![data, 2, b'{', b'}'], "close 1002"),
        stream("frame.broken", "an unmasked header and no more", |data| vec![data, 126], "close 1002"),
        stream("frame.broken", "an unmasked ping", |_| vec![PING, 0], "close 1002"),
        stream("frame.broken", "the first reserved bit, as of compression", |data| frame(data | 0x40, b"{}"), "close 1002"),
        stream("frame.broken", "the second reserved bit", |data| frame(data | 0x20, b"{}"), "close 1002"),
        stream("frame.broken", "the third reserved bit", |data| frame(data | 0x10, b"{}"), "close 1002"),
        stream("frame.broken", "a reserved bit of a ping", |_| frame(PING | 0x40, b""), "close 1002"),
        stream("frame.broken", "opcode 3", |_| frame(0x83, b"{}"), "close 1002"),
        stream("frame.broken", "opcode 7", |_| frame(0x87, b"{}"), "close 1002"),
        stream("frame.broken", "opcode 11", |_| frame(0x8b, b"{}"), "close 1002"),
        stream("frame.broken", "opcode 15", |_| frame(0x8f, b"{}"), "close 1002"),
        stream("frame.broken", "a fragmented ping", |_| frame(PING & !NOT_LAST, b"?"), "close 1002"),
        stream("frame.broken", "a fragmented close", |_| frame(CLOSE & !NOT_LAST, &[3, 0xe8]), "close 1002"),
        stream("frame.broken", "a ping of 126 bytes", |_| frame(PING, &[b'?'; 126]), "close 1002"),
        stream("frame.broken", "a continuation of nothing", |_| frame(CONTINUED, b"{}"), "close 1002"),
        stream("frame.broken", "a message inside another", |data| [frame(data & !NOT_LAST, b"{"), frame(data, b"{}")].concat(), "close 1002"),
        stream("frame.broken", "two bytes for a length of 5", |data| [&[data, 0x80 | 126, 0, 5, 1, 2, 3, 4][..], b"hello"].concat(), "close 1002"),
        stream("frame.broken", "eight bytes for a length of 300", |data| declares(data, 300), "close 1002"),
        stream("frame.broken", "HTTP again", |_| b"GET /chat HTTP/1.1\r\n\r\n".to_vec(), "close 1002"),
        stream("frame.close", "of one byte", |_| frame(CLOSE, b"a"), "close 1002"),
        stream("frame.close", "999", |_| frame(CLOSE, &999u16.to_be_bytes()), "close 1002"),
        stream("frame.close", "1005, which only a library says", |_| frame(CLOSE, &1005u16.to_be_bytes()), "close 1002"),
        stream("frame.close", "1006, which only a library says", |_| frame(CLOSE, &1006u16.to_be_bytes()), "close 1002"),
        stream("frame.close", "1016, which nobody gave a meaning", |_| frame(CLOSE, &1016u16.to_be_bytes()), "close 1002"),
        stream("frame.close", "5000", |_| frame(CLOSE, &5000u16.to_be_bytes()), "close 1002"),
        stream("frame.close", "a reason that is not UTF-8", |_| frame(CLOSE, &[3, 0xe8, 0xff]), "close 1002"),
        stream("frame.close", "a reason of 124 bytes", |_| frame(CLOSE, &[&[3, 0xe8][..], &[b'a'; 124]].concat()), "close 1002"),
        stream("frame.utf8", "a byte that begins nothing", |data| frame(data, b"\"\xff\""), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "half a character", |data| frame(data, b"\"\xc3\x28\""), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "a character cut at the end", |data| frame(data, b"\"\xe2\x82"), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "a slash written too long", |data| frame(data, b"\"\xc0\xaf\""), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "a surrogate", |data| frame(data, b"\"\xed\xa0\x80\""), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "beyond the last character", |data| frame(data, b"\"\xf4\x90\x80\x80\""), "close 1007").on(JSON_SOCKET),
        stream("frame.utf8", "in the second fragment", |data| [frame(data & !NOT_LAST, b"{\"a\":\""), frame(CONTINUED, b"\xff\"}")].concat(), "close 1007").on(JSON_SOCKET),
        stream("frame.kind", "binary where text belongs", |_| frame(0x82, b"\x80"), "close 1003").on(JSON_SOCKET),
        stream("frame.kind", "text where binary belongs", |_| frame(0x81, b"{\"type\":\"ping\"}"), "close 1003").on(PACKED_SOCKET),
        stream("frame.kind", "the first fragment of the other kind", |data| frame((data ^ 3) & !NOT_LAST, b"{"), "close 1003"),
        stream("frame.large", "one byte too many", |data| declares(data, 65_537), "close 1009"),
        stream("frame.large", "16 MiB", |data| declares(data, 16 << 20), "close 1009"),
        stream("frame.large", "2^62 bytes", |data| declares(data, 1 << 62), "close 1009"),
        stream("frame.large", "two fragments of which the second is one byte too many", |data| { let half = [b' '; 32_768]; [frame(data & !NOT_LAST, &half), frame(CONTINUED, &[b' '; 32_769])[..8].to_vec()].concat() }, "close 1009"),
        stream("frame.large", "the first message, one byte over 8 KiB", |data| declares_short(data, 8_193), "close 1009").first(),
        stream("frame.large", "the first fragment of the first message", |data| declares_short(data & !NOT_LAST, 8_193), "close 1009").first(),
        stream("frame.fragments", "1,025 empty ones", |data| [frame(data & !NOT_LAST, b""), frame(0, b"").repeat(1024)].concat(), "close 1009"),
        stream("frame.fragments", "one, and nothing behind it", |data| frame(data & !NOT_LAST, b"{"), "close 4006").bounded(hasty),
        stream("frame.fragments", "a header of one whose bytes never come", |data| frame(data & !NOT_LAST, b"{}")[..6].to_vec(), "close 4006").bounded(hasty),
        stream("frame.fragments", "pings between them do not count as going on", |data| [frame(data & !NOT_LAST, b"{"), frame(PING, b"").repeat(3)].concat(), "close 4006").bounded(hasty),
        story("frame.fragments", "a further one now and then", |stage| Box::pin(dribble(stage)), "close 4006").on(SOCKETS).bounded(hasty),
        stream("frame.flood", "pings", |_| frame(PING, b"?").repeat(40), "close 4004"),
        stream("frame.flood", "pongs that nobody asked for", |_| frame(PONG, b"").repeat(40), "close 4004"),
        stream("frame.flood", "pings inside a message", |data| [frame(data & !NOT_LAST, b"{"), frame(PING, b"").repeat(40)].concat(), "close 4004"),
        story("frame.flood", "pings of the protocol", |stage| Box::pin(pings(stage, "ping")), "close 4004").on(ALL),
        story("frame.flood", "pongs of the protocol", |stage| Box::pin(pings(stage, "pong")), "close 4004").on(ALL),
        stream("frame.silence", "the first byte of a frame, and no more", |data| vec![data], "close 4000").bounded(patient),
        stream("frame.silence", "a header, and no more", |data| frame(data, b"{}")[..6].to_vec(), "close 4000").bounded(patient),
        story("frame.silence", "nothing", |stage| Box::pin(async move { stage.line("$ana").await.answer().await }), "close 4000").on(ALL).bounded(patient),
        story("frame.silence", "only pings of WebSocket, which prove nothing", |stage| Box::pin(only_pings(stage)), "close 4000").on(SOCKETS).bounded(patient),
    ]
}

fn declares_short(first: u8, length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    vec![first, 0x80 | 126, high, low, 1, 2, 3, 4]
}

fn hasty(_: &mut Limits, config: &mut WsConfig) {
    config.assembly_timeout = Duration::from_millis(500);
}

fn patient(limits: &mut Limits, _: &mut WsConfig) {
    limits.connection.heartbeat_interval = Duration::from_secs(1);
    limits.connection.heartbeat_timeout = Duration::from_secs(1);
}

async fn dribble(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    line.say_bytes(&frame(line.first_byte() & !NOT_LAST, b"{")).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        line.say_bytes(&frame(0, b" ")).await;
    }
    line.answer().await
}

async fn pings(stage: Stage, kind: &str) -> Heard {
    let mut line = stage.line("$ana").await;
    for _ in 0..40 {
        line.say(&json!({ "type": kind })).await;
    }
    loop {
        let heard = line.answer().await;
        if heard.answer != "pong" {
            return heard;
        }
    }
}

async fn only_pings(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    for _ in 0..10 {
        line.say_bytes(&frame(PING, b"?")).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    line.answer().await
}
