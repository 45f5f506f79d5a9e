//! Frames that are none, hellos that come late or twice, floods: the connection ends with its code, and the same server
//! serves a healthy client right after.

use super::house::House;
use super::say::*;
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::codec::Codec;
use chat_core::command::{InboxList, Typing};
use chat_core::frame::{ClientFrame, Resume, ServerFrame};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What ends a connection at once: the code, and that the next client is served within the second.
async fn closes(house: &House, dial: Dial, hello: bool, frames: &[&[u8]], code: CloseCode) {
    let mut wire = Wire::dial(&house.connector, dial).await;
    if hello {
        wire.hello(Memory::hello_of("ana")).await;
        wire.resume(Resume::default()).await;
    }
    for frame in frames {
        wire.say_bytes(frame).await;
    }
    let since = Instant::now();
    let (heard, ending) = wire.ending().await;
    let (heard_code, reason) = ending.expect("a word is said");
    let shown = String::from_utf8_lossy(frames.first().unwrap_or(&&b""[..])).into_owned();
    assert_eq!(heard_code, code, "{shown:?}: {reason}");
    assert!(
        reason.is_ascii() && !reason.is_empty() && reason.len() <= 123,
        "{reason}"
    );
    assert!(
        heard.iter().all(|frame| !matches!(frame, ServerFrame::Error(_))),
        "{heard:?}"
    );
    assert!(since.elapsed() <= Duration::from_secs(6));
    let mut healthy = house.guest("healthy").await;
    assert!(
        healthy
            .ask(InboxList {
                page: None,
                limit: None
            })
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_closes_4500_and_the_next_client_is_served() {
    let house = House::open().await;
    let json: [&[u8]; 16] = [
        b"",
        b"null",
        b"42",
        b"[]",
        b"\"hello\"",
        b"{",
        b"{\"type\":\"ping\"} ,",
        b"{\"type\":\"ping\"}{\"type\":\"ping\"}",
        b"\xef\xbb\xbf{\"type\":\"ping\"}",
        b"{\"type\":\"ping\",\"type\":\"pong\"}",
        b"{\"type\":\"command\",\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"command\",\"req\":-1,\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"command\",\"req\":1.5,\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"flight\"}",
        b"{\"type\":\"ping\",\"x\":\"\\ud800\"}",
        b"\xff\xfe",
    ];
    for bytes in json {
        closes(&house, Dial::default(), true, &[bytes], CloseCode::Malformed).await;
    }
    // A map of one that declares gigabytes; a string longer than what is left; a truncated map; an unknown byte.
    let packed: [&[u8]; 5] = [
        b"\x81\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa4ty",
        b"\xc1",
        b"\xdd\x7f\xff\xff\xff",
    ];
    for bytes in packed {
        closes(
            &house,
            Dial::new(Codec::MessagePack),
            true,
            &[bytes],
            CloseCode::Malformed,
        )
        .await;
    }
    let deep = ["[".repeat(5_000), "]".repeat(5_000)].concat();
    closes(&house, Dial::default(), true, &[deep.as_bytes()], CloseCode::Malformed).await;
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_in_time_and_once() {
    let house = House::open().await;
    let typing = ClientFrame::Command {
        req: 1,
        command: Typing {
            conversation: fresh_conversation(),
            active: true,
        }
        .into(),
    };
    let typing = Codec::Json.encode(&typing);
    closes(&house, Dial::default(), false, &[&typing], CloseCode::NotAuthenticated).await;
    closes(
        &house,
        Dial::default(),
        false,
        &[br#"{"type":"ping"}"#],
        CloseCode::NotAuthenticated,
    )
    .await;
    closes(&house, Dial::default(), false, &[], CloseCode::AuthTimeout).await;
    let hello = Codec::Json.encode(&ClientFrame::Hello(Memory::hello_of("ana")));
    closes(
        &house,
        Dial::default(),
        true,
        &[&hello],
        CloseCode::AlreadyAuthenticated,
    )
    .await;
    // Without a name, with one that shows nothing, with what is too long: what it says cannot be read.
    for hello in [
        json!({"type": "hello", "guest": ""}),
        json!({"type": "hello", "guest": "\u{200b}"}),
        json!({"type": "hello", "guest": "x".repeat(65)}),
        json!({"type": "hello", "guest": "ana", "device": "x".repeat(65)}),
        json!({"type": "hello", "guest": "ana", "attempt": "1"}),
    ] {
        closes(
            &house,
            Dial::default(),
            false,
            &[hello.to_string().as_bytes()],
            CloseCode::Malformed,
        )
        .await;
    }
    closes(
        &house,
        Dial::default(),
        false,
        &[br#"{"type":"hello"}"#],
        CloseCode::AuthFailed,
    )
    .await;
    let long = json!({"type": "hello", "guest": "ana", "token": "x".repeat(8 * 1024)}).to_string();
    closes(&house, Dial::default(), false, &[long.as_bytes()], CloseCode::TooBig).await;
}

#[tokio::test(start_paused = true)]
async fn floods_and_silence_end_with_their_own_codes() {
    let house = House::open().await;
    let pings = vec![&br#"{"type":"ping"}"#[..]; 21];
    closes_lately(&house, &pings, CloseCode::RateLimited).await;
    // A client that says nothing is asked after 25 s, and given up 10 s later.
    let mut silent = Wire::dial(&house.connector, Dial::default()).await;
    silent.hello(Memory::hello_of("ana")).await;
    silent.resume(Resume::default()).await;
    let since = Instant::now();
    sleep(Duration::from_secs(36)).await;
    let ending = silent.pipe().recv().await;
    assert!(
        !matches!(ending, chat_testkit::transport::Heard::Lost),
        "it is asked first"
    );
    assert_eq!(silent.closed().await, CloseCode::HeartbeatTimeout);
    assert_eq!(since.elapsed().as_secs(), 36);
    // Resume frames that bring nothing, or come when all is said.
    let empty = br#"{"type":"resume"}"#;
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    wire.hello(Memory::hello_of("ana")).await;
    wire.say_bytes(empty).await;
    assert_eq!(wire.closed().await, CloseCode::Malformed);
    let mut late = house.guest("ana").await;
    late.say_bytes(br#"{"type":"resume","last":true}"#).await;
    match late.next().await {
        ServerFrame::Error(error) => assert_eq!((error.req, error.code), (None, ErrorCode::InvalidArgument)),
        other => panic!("{other:?}"),
    }
}

async fn closes_lately(house: &House, frames: &[&[u8]], code: CloseCode) {
    let mut wire = house.guest("ana").await;
    for frame in frames {
        wire.say_bytes(frame).await;
    }
    assert_eq!(wire.closed().await, code);
}

#[tokio::test(start_paused = true)]
async fn the_twenty_first_connection_of_a_user_is_refused_and_the_others_stay() {
    let house = House::limited(|limits| limits.handshakes_per_address = 1_000).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(house.guest("ana").await);
    }
    let mut one_more = Wire::dial(&house.connector, Dial::default()).await;
    one_more.say(&ClientFrame::Hello(Memory::hello_of("ana"))).await;
    assert_eq!(one_more.closed().await, CloseCode::ConnectionLimit);
    let group = group(&mut wires[0], &[]).await;
    house.fill(group, 1).await;
    for wire in &mut wires {
        let frames = wire.drain().await;
        assert_eq!(told_all(events(&frames)), ["new 1"]);
    }
    wires.pop();
    sleep(Duration::from_secs(1)).await;
    house.guest("ana").await;
}
