//! Handshakes, read as bytes. What is answered to a bad one is in the table of bad input of chat-testkit.

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
