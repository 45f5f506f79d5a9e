//! What peers that mean ill, or are very slow, can take of a server: little, and not for long.

use crate::door::{Door, Peer, handshake};
use bytes::Bytes;
use chat_transport_ws::{WsConfig, serve_http};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tower_service::Service;

/// A page of 16 MiB, more than any socket's buffer takes.
#[derive(Clone)]
struct LargePage(Bytes);

impl Service<Request<Incoming>> for LargePage {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Incoming>) -> Self::Future {
        ready(Ok(Response::new(Full::new(self.0.clone()))))
    }
}

pub async fn pages(config: WsConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let page = LargePage(vec![b'x'; 16 << 20].into());
    tokio::spawn(async move { serve_http(listener, page, &config).await });
    address
}

pub const GET: &str = "GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n";

#[tokio::test]
async fn who_never_reads_is_cut_off_and_the_next_is_served() {
    let mut config = WsConfig::default();
    config.handshake_timeout = Duration::from_millis(200);
    config.answer_timeout = Duration::from_millis(200);
    config.handshakes_max = 2;
    let address = pages(config).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::connect(address).await;
        peer.send(GET.repeat(100)).await;
        held.push(peer);
    }
    let begun = Instant::now();
    let mut healthy = Peer::connect(address).await;
    healthy.send(GET).await;
    assert!(healthy.head().await.starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let address = pages(WsConfig::default()).await;
    let mut peer = Peer::connect(address).await;
    peer.send(GET.repeat(2)).await;
    let head = peer.head().await.to_lowercase();
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(peer.rest().await.len(), 16 << 20, "one page and no second");
}

#[tokio::test]
async fn an_address_that_holds_its_share_is_told_to_wait() {
    let mut config = WsConfig::default();
    config.handshakes_per_address_max = 2;
    let mut door = Door::open_with(config).await;
    let silent = [Peer::connect(door.address).await, Peer::connect(door.address).await];
    let mut third = Peer::connect(door.address).await;
    let answer = String::from_utf8(third.rest().await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    drop(silent);
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let mut peer = Peer::connect(door.address).await;
        peer.send(handshake("/chat", "")).await;
        if peer.head().await.starts_with("HTTP/1.1 101 ") {
            door.accepted().await;
            return;
        }
        assert!(Instant::now() < end, "what was given back can be had again");
    }
}

/// Elsewhere a machine has but one loopback address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_holds_its_share_takes_nothing_from_another() {
    let mut config = WsConfig::default();
    config.handshakes_per_address_max = 2;
    config.handshakes_max = 3;
    let mut door = Door::open_with(config).await;
    let mut greedy = Vec::new();
    for _ in 0..20 {
        greedy.push(Peer::connect(door.address).await);
    }
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind(([127, 0, 0, 2], 0).into())
        .expect("an address of this machine");
    let mut other = Peer(socket.connect(door.address).await.expect("somebody listens"));
    other.send(handshake("/chat", "")).await;
    assert!(other.head().await.starts_with("HTTP/1.1 101 "));
    door.accepted().await;
}
