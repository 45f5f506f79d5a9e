//! Rows of what is no good handshake.

use crate::line::Heard;
use crate::peer::{Peer, handshake};
use crate::row::{JSON_SOCKET, Row, SOCKETS, request, story};
use crate::stage::Stage;
use chat_core::Limits;
use chat_transport_ws::{WsConfig, WsService, serve_http};
use std::time::Duration;

const UPGRADE: &str = "upgrade: websocket";
const VERSION: &str = "sec-websocket-version: 13";

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let good = handshake("/chat", "");
    // A good handshake but for one thing.
    let with = |lines: &str| handshake("/chat", &format!("{lines}\r\n"));
    let but = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let without = |name: &str| -> String {
        good.split_inclusive("\r\n")
            .filter(|line| !line.starts_with(name))
            .collect()
    };
    let from_page = |origin: &str| with(&format!("Origin: {origin}"));
    let plain = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
    vec![
        request("handshake.method", "POST", but("GET", "POST"), "HTTP 405", "allow: get"),
        request("handshake.method", "PUT", but("GET", "PUT"), "HTTP 405", "allow: get"),
        request("handshake.method", "HEAD", but("GET", "HEAD"), "HTTP 405", "allow: get"),
        request("handshake.method", "OPTIONS, as before a request of another page", but("GET", "OPTIONS"), "HTTP 405", "allow: get"),
        request("handshake.method", "a word of its own", but("GET", "CHAT"), "HTTP 405", "allow: get"),
        request("handshake.http", "HTTP/1.0", but("HTTP/1.1", "HTTP/1.0"), "HTTP 426", UPGRADE),
        request("handshake.http", "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP 505", "http/1.1"),
        request("handshake.upgrade", "a plain GET", plain("/chat"), "HTTP 426", UPGRADE),
        request("handshake.upgrade", "without Upgrade", without("Upgrade"), "HTTP 426", UPGRADE),
        request("handshake.upgrade", "without Connection", without("Connection"), "HTTP 426", UPGRADE),
        request("handshake.upgrade", "an upgrade to HTTP/2", but("websocket", "h2c"), "HTTP 426", UPGRADE),
        request("handshake.upgrade", "a connection that stays", but("Connection: Upgrade", "Connection: keep-alive"), "HTTP 426", UPGRADE),
        request("handshake.version", "none", without("Sec-WebSocket-Version"), "HTTP 426", VERSION),
        request("handshake.version", "8", but("Version: 13", "Version: 8"), "HTTP 426", VERSION),
        request("handshake.version", "a list", but("Version: 13", "Version: 13, 8"), "HTTP 426", VERSION),
        request("handshake.version", "no number", but("Version: 13", "Version: thirteen"), "HTTP 426", VERSION),
        request("handshake.version", "twice", with("Sec-WebSocket-Version: 13"), "HTTP 400", "sec-websocket-version"),
        request("handshake.key", "none", without("Sec-WebSocket-Key"), "HTTP 400", "sec-websocket-key"),
        request("handshake.key", "empty", but("dGhlIHNhbXBsZSBub25jZQ==", ""), "HTTP 400", "sec-websocket-key"),
        request("handshake.key", "without its fillers", but("ZQ==", "ZQ"), "HTTP 400", "sec-websocket-key"),
        request("handshake.key", "15 bytes", but("ZQ==", "=="), "HTTP 400", "sec-websocket-key"),
        request("handshake.key", "no base64", but("dGhl", "d!hl"), "HTTP 400", "sec-websocket-key"),
        request("handshake.key", "twice", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), "HTTP 400", "sec-websocket-key"),
        request("handshake.host", "none", without("Host"), "HTTP 400", "host"),
        request("handshake.host", "twice", with("Host: evil.net"), "HTTP 400", "host"),
        request("handshake.body", "with a length", with("Content-Length: 5") + "hello", "HTTP 400", "body"),
        request("handshake.body", "in chunks", with("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", "HTTP 400", "body"),
        request("handshake.body", "two lengths", with("Content-Length: 0\r\nContent-Length: 5") + "hello", "HTTP 400", ""),
        request("handshake.foreign", "no HTTP", "hello there\r\n\r\n", "HTTP 400", "http/1.1"),
        request("handshake.foreign", "TLS", "\x16\x03\x01\x02\0\x01\0\x01\x7c", "HTTP 400", "tls"),
        request("handshake.foreign", "a header without a colon", but("Upgrade: ", "Upgrade "), "HTTP 400", ""),
        request("handshake.foreign", "NUL in a header", with("X-Name: a\0b"), "HTTP 400", ""),
        request("handshake.foreign", "a line that ends a header too early", with("X-Name: a\rHost: b"), "HTTP 400", ""),
        request("handshake.foreign", "a bell in the address", but("/chat", "/ch\x07at"), "HTTP 400", ""),
        request("handshake.subprotocol", "an unknown one", with("Sec-WebSocket-Protocol: soap"), "HTTP 400", "chat.v1.msgpack"),
        request("handshake.subprotocol", "of another version", with("Sec-WebSocket-Protocol: chat.v2.json"), "HTTP 400", "chat.v1.json"),
        request("handshake.subprotocol", "in other letters", with("Sec-WebSocket-Protocol: CHAT.V1.JSON"), "HTTP 400", "chat.v1.json"),
        request("handshake.subprotocol", "not in ASCII", with("Sec-WebSocket-Protocol: chät"), "HTTP 400", "ascii"),
        request("handshake.origin", "another host", from_page("https://evil.net"), "HTTP 403", "origin"),
        request("handshake.origin", "a host that begins like ours", from_page("http://chat.test.evil.net"), "HTTP 403", "origin"),
        request("handshake.origin", "a host that ends like ours", from_page("http://evilchat.test"), "HTTP 403", "origin"),
        request("handshake.origin", "a part of ours", from_page("http://app.chat.test"), "HTTP 403", "origin"),
        request("handshake.origin", "ours as a user's name", from_page("http://chat.test@evil.net"), "HTTP 403", "origin"),
        request("handshake.origin", "ours with a path", from_page("http://chat.test/evil.net"), "HTTP 403", "origin"),
        request("handshake.origin", "another port", from_page("http://chat.test:8080"), "HTTP 403", "origin"),
        request("handshake.origin", "another scheme", from_page("ftp://chat.test"), "HTTP 403", "origin"),
        request("handshake.origin", "null", from_page("null"), "HTTP 403", "origin"),
        request("handshake.origin", "empty", from_page(""), "HTTP 403", "origin"),
        request("handshake.origin", "no scheme", from_page("chat.test"), "HTTP 403", "origin"),
        request("handshake.origin", "one that is below the listed domain's neighbour", from_page("https://app.evilexample.com"), "HTTP 403", "origin").bounded(listed),
        request("handshake.origin", "one that only begins like a listed one", from_page("https://app.example.com.evil.net"), "HTTP 403", "origin").bounded(listed),
        request("handshake.origin", "the bare domain of a list of those below it", from_page("https://example.com"), "HTTP 403", "origin").bounded(listed),
        request("handshake.large", "a long header", with(&format!("X-Large: {}", "a".repeat(9000))), "HTTP 431", "8 kib"),
        request("handshake.large", "a long name of a header", with(&format!("{}: a", "X".repeat(9000))), "HTTP 431", "8 kib"),
        request("handshake.large", "65 headers", with(&["X-Many: a"; 60].join("\r\n")), "HTTP 431", "64 headers"),
        request("handshake.large", "a long address", handshake(&format!("/chat?{}", "a".repeat(2048)), ""), "HTTP 414", "2048"),
        request("handshake.slow", "half a head", "GET /chat HTTP/1.1\r\nHo", "cut", "").bounded(hasty),
        request("handshake.path", "a plain GET elsewhere", plain("/socket.io"), "HTTP 404", "/chat"),
        request("handshake.path", "a plain GET of a path that goes on", plain("/chat/room"), "HTTP 404", "/chat"),
        story("handshake.slow", "nothing at all, and then a byte now and then", |stage| Box::pin(dribble(stage)), "cut").on(JSON_SOCKET).bounded(hasty),
        story("handshake.path", "an upgrade elsewhere", |stage| Box::pin(astray(stage, "/socket.io/?EIO=4")), "close 4510").on(JSON_SOCKET).naming("/chat"),
        story("handshake.path", "an upgrade in other letters", |stage| Box::pin(astray(stage, "/Chat")), "close 4510").on(JSON_SOCKET).naming("/chat"),
        story("handshake.identity", "who brings a token to where only the host's login counts", |stage| Box::pin(unnamed(stage)), "HTTP 401").on(JSON_SOCKET).naming("www-authenticate: session"),
        story("handshake.crowd", "as many as may be have not said hello", |stage| Box::pin(crowd(stage)), "HTTP 503").on(SOCKETS).naming("retry-after: 5").bounded(|limits, _| limits.unauthenticated_max = 2),
        story("handshake.crowd", "as many as may be of one address", |stage| Box::pin(crowd(stage)), "HTTP 503").on(SOCKETS).naming("retry-after: 5").bounded(|limits, _| limits.connections_per_address_max = 2),
    ]
}

fn listed(_: &mut Limits, config: &mut WsConfig) {
    config.origins = vec!["https://*.example.com".parse().unwrap()];
}

fn hasty(_: &mut Limits, config: &mut WsConfig) {
    config.handshake_timeout = Duration::from_secs(2);
}

async fn dribble(stage: Stage) -> Heard {
    let mut peer = Peer::connect(stage.house.address).await;
    for byte in b"GET /chat HTTP/1.1\r\nHost: chat.test\r\n" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Who was closed may hear so by an error.
        if tokio::io::AsyncWriteExt::write_all(&mut peer.0, &[*byte])
            .await
            .is_err()
        {
            break;
        }
    }
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut peer.0, &mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
    Heard::new("cut", "")
}

async fn astray(stage: Stage, path: &str) -> Heard {
    let mut peer = Peer::connect(stage.house.address).await;
    peer.send(handshake(path, "")).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (code, reason) = peer.closed().await;
    Heard::new(format!("close {code}"), reason)
}

async fn crowd(stage: Stage) -> Heard {
    let _held = [stage.nobody().await, stage.nobody().await];
    let mut peer = Peer::connect(stage.house.address).await;
    peer.send(handshake("/chat", "")).await;
    let answer = String::from_utf8(peer.rest().await).unwrap();
    Heard::new(answer.get(..12).unwrap_or_default().replace("/1.1", ""), answer)
}

/// A request to a service that stands behind its host's login, past that login.
async fn unnamed(stage: Stage) -> Heard {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = WsConfig::default();
    let service = WsService::new(stage.house.engine.acceptor(), config.clone());
    let serving = tokio::spawn(async move { serve_http(listener, service, &config).await });
    let mut peer = Peer::connect(address).await;
    peer.send(handshake("/chat", "Authorization: Bearer good-ana\r\n"))
        .await;
    let answer = String::from_utf8(peer.rest().await).unwrap();
    serving.abort();
    Heard::new(answer.get(..12).unwrap_or_default().replace("/1.1", ""), answer)
}
