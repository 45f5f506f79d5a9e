//! The answers to handshakes, read as bytes.

use crate::door::{Door, Peer, handshake};
use chat_core::codec::Codec;
use chat_core::command::Token;
use chat_transport_ws::WsConfig;
use std::time::{Duration, Instant};

/// Sends a request to a fresh connection and reads all that comes back.
async fn ask(door: &Door, request: impl AsRef<[u8]>) -> String {
    let mut peer = Peer::connect(door.address).await;
    peer.send(request).await;
    String::from_utf8(peer.rest().await).expect("an answer is text")
}

fn plain(method: &str, path: &str, version: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/{version}\r\n{lines}\r\n")
}

#[tokio::test]
async fn every_fault_is_answered_in_http_and_never_with_silence() {
    let door = Door::open().await;
    let good = handshake("/chat", "");
    let without = |line: &str| {
        good.split_inclusive("\r\n")
            .filter(|l| !l.starts_with(line))
            .collect::<String>()
    };
    let host = "Host: chat.test\r\n";
    for (name, request, status, header) in [
        ("post", good.replacen("GET", "POST", 1), 405, "allow: GET"),
        ("HTTP/1.0", good.replacen("1.1", "1.0", 1), 426, "upgrade: websocket"),
        (
            "plain GET",
            plain("GET", "/chat", "1.1", host),
            426,
            "upgrade: websocket",
        ),
        (
            "plain GET elsewhere",
            plain("GET", "/", "1.1", host),
            404,
            "content-type: text/plain",
        ),
        ("no Host", without("Host"), 400, "connection: close"),
        ("no Upgrade", without("Upgrade"), 426, "connection: upgrade, close"),
        ("no Connection", without("Connection"), 426, "upgrade: websocket"),
        (
            "no version",
            without("Sec-WebSocket-Version"),
            426,
            "sec-websocket-version: 13",
        ),
        (
            "version 8",
            good.replacen("Version: 13", "Version: 8", 1),
            426,
            "sec-websocket-version: 13",
        ),
        ("no key", without("Sec-WebSocket-Key"), 400, "connection: close"),
        ("bad key", good.replacen("==", "", 1), 400, "connection: close"),
        (
            "foreign page",
            handshake("/chat", "Origin: https://chat.test.evil.net\r\n"),
            403,
            "connection: close",
        ),
        (
            "null page",
            handshake("/chat", "Origin: null\r\n"),
            403,
            "connection: close",
        ),
        (
            "unknown subprotocol",
            handshake("/chat", "Sec-WebSocket-Protocol: soap\r\n"),
            400,
            "connection: close",
        ),
        ("no HTTP", "hello there\r\n\r\n".to_owned(), 400, "connection: close"),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            505,
            "connection: close",
        ),
        (
            "TLS",
            "\x16\x03\x01\x02\0\x01\0\x01\x7c".to_owned(),
            400,
            "connection: close",
        ),
        (
            "broken header",
            plain("GET", "/chat", "1.1", "no colon\r\n"),
            400,
            "connection: close",
        ),
        (
            "long address",
            handshake(&format!("/chat?{}", "a".repeat(3000)), ""),
            414,
            "connection: close",
        ),
        (
            "large header",
            handshake("/chat", &format!("X-Large: {}\r\n", "a".repeat(9000))),
            431,
            "connection: close",
        ),
        (
            "many headers",
            handshake("/chat", &"X-Many: a\r\n".repeat(64)),
            431,
            "connection: close",
        ),
    ] {
        let answer = ask(&door, request).await;
        let found = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(found, Some(status), "{name}: {answer}");
        assert!(
            answer.to_lowercase().contains(&header.to_lowercase()),
            "{name}: {answer}"
        );
        let sentence = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(sentence.len() > 20 && sentence.ends_with('\n'), "{name}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_is_not_lost_when_the_request_had_more_than_was_read() {
    let door = Door::open().await;
    let request = plain("POST", "/chat", "1.1", "Host: chat.test\r\nContent-Length: 200000\r\n");
    let answer = ask(&door, [request.into_bytes(), vec![b'a'; 200_000]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_good_handshake_tells_codec_address_and_token() {
    let mut door = Door::open().await;
    let mut peer = Peer::connect(door.address).await;
    let lines = "Origin: http://chat.test\r\nSec-WebSocket-Protocol: chat.v1.msgpack, chat.token.a.b.c\r\n";
    peer.send(handshake("/chat?token=x", lines)).await;
    let head = peer.head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(head.contains("sec-websocket-protocol: chat.v1.msgpack\r\n"), "{head}");
    assert!(!head.contains("a.b.c"), "the token is not echoed: {head}");
    let told = door.accepted().await.connection.handshake;
    assert_eq!(told.codec, Codec::MessagePack);
    assert_eq!(told.token, Some(Token("a.b.c".to_owned())));
    assert_eq!(told.address, Some([127, 0, 0, 1].into()));
    assert_eq!(told.identity, None);
}

#[tokio::test]
async fn a_foreign_page_is_let_in_by_the_list_only() {
    let mut config = WsConfig::default();
    config.origins = vec!["https://*.example.com".parse().expect("an origin")];
    let door = Door::open_with(config).await;
    for (origin, status) in [
        ("https://app.example.com", 101),
        ("https://app.example.com.evil.net", 403),
        ("http://chat.test", 403),
    ] {
        let mut peer = Peer::connect(door.address).await;
        peer.send(handshake("/chat", &format!("Origin: {origin}\r\n"))).await;
        let head = peer.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_said_in_a_way_that_a_browser_can_read() {
    let door = Door::open().await;
    let mut peer = Peer::connect(door.address).await;
    peer.send(handshake("/socket.io/?EIO=4", "Origin: http://chat.test\r\n"))
        .await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(
        peer.closed().await,
        (4510, "wrong path: the chat is at /chat".to_owned())
    );
    let answer = ask(&door, plain("GET", "/socket.io", "1.1", "Host: chat.test\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.ends_with("wrong path: the chat is at /chat\n"), "{answer}");
}

#[tokio::test]
async fn a_full_node_says_when_to_come_back() {
    let door = Door::full(Duration::from_secs(7)).await;
    let answer = ask(&door, handshake("/chat", "")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 7\r\n"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_dribbles_or_never_comes_is_closed_at_the_deadline_and_harms_nobody() {
    let mut config = WsConfig::default();
    config.handshake_timeout = Duration::from_millis(200);
    config.handshakes_max = 2;
    let mut door = Door::open_with(config).await;
    let begun = Instant::now();
    let mut silent = Peer::connect(door.address).await;
    let mut slow = Peer::connect(door.address).await;
    slow.send("GET /chat HTTP/1.1\r\nHo").await;
    door.peer().await;
    assert!(silent.rest().await.is_empty());
    assert!(slow.rest().await.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stopped_listener_takes_nobody_and_leaves_its_connections_alone() {
    let mut door = Door::open().await;
    let (mut peer, mut held) = door.peer().await;
    door.stop();
    while let Ok(stream) = tokio::net::TcpStream::connect(door.address).await {
        drop(stream);
        tokio::task::yield_now().await;
    }
    held.write(b"\x81\x02hi").await.expect("still open");
    assert_eq!(peer.frame().await, (0x81, b"hi".to_vec()));
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    use chat_core::transport::Transport;
    let door = Door::open().await;
    let mut second = chat_transport_ws::WsTransport::new(door.address, WsConfig::default());
    let error = second.bind().await.expect_err("taken").to_string();
    assert!(error.contains(&door.address.to_string()), "{error}");
}
