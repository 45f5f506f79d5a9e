//! Who a client is behind proxies, and that nobody else can say so.

use crate::door::{ANY_PORT, Door, Peer, address_in, handshake};
use crate::peer::soon;
use crate::strangers::pages;
use chat_core::{Engine, Guests, Limits};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpSocket;

/// Trusts the test's own address.
fn trusting() -> WsConfig {
    let mut config = WsConfig::default();
    config.trusted_proxies.push("127.0.0.1".parse().expect("a proxy"));
    config
}

/// The header of version 2 for a client over IPv4.
pub fn proxied(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[127, 0, 0, 1], &[0x12, 0x34], &[0, 80]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11, 0, 12], &addresses].concat()
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Whom the engine sees after these bytes and a handshake with these lines.
async fn seen(door: &mut Door, first: &[u8], lines: &str) -> IpAddr {
    let mut peer = Peer::connect(door.address).await;
    peer.send([first, handshake("/chat", lines).as_bytes()].concat()).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    door.accepted().await.connection.handshake.address.expect("an address")
}

#[tokio::test]
async fn a_trusted_proxy_says_whom_it_stands_for() {
    let mut door = Door::open_with(trusting()).await;
    let header = proxied([198, 51, 100, 7]);
    assert_eq!(
        seen(&mut door, &[], "X-Forwarded-For: 1.2.3.4, 198.51.100.7\r\n").await,
        CLIENT
    );
    assert_eq!(
        seen(&mut door, &[], "Forwarded: for=1.2.3.4, for=198.51.100.7\r\n").await,
        CLIENT
    );
    assert_eq!(seen(&mut door, &header, "").await, CLIENT);
    assert_eq!(seen(&mut door, &[], "").await, PROXY, "it need not");
    let itself = [&header[..12], &[0x20, 0, 0, 0]].concat();
    assert_eq!(seen(&mut door, &itself, "").await, PROXY);
    // Behind a proxy that only passes bytes on stands the client, who may say what it likes.
    assert_eq!(seen(&mut door, &header, "X-Forwarded-For: 1.2.3.4\r\n").await, CLIENT);
    let another = proxied([127, 0, 0, 1]);
    assert_eq!(
        seen(&mut door, &another, "X-Forwarded-For: 198.51.100.7\r\n").await,
        CLIENT
    );
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let mut config = WsConfig::default();
    config.trusted_proxies.push("127.0.0.2".parse().expect("a proxy"));
    for config in [WsConfig::default(), config] {
        let mut door = Door::open_with(config).await;
        let lines = "X-Forwarded-For: 198.51.100.7\r\n";
        assert_eq!(seen(&mut door, &[], lines).await, PROXY);
        assert_eq!(seen(&mut door, &[], "Forwarded: for=198.51.100.7\r\n").await, PROXY);
        // Such a header is no HTTP.
        let mut peer = Peer::connect(door.address).await;
        peer.send([proxied([198, 51, 100, 7]), handshake("/chat", "").into_bytes()].concat())
            .await;
        let answer = String::from_utf8(peer.rest().await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn a_header_that_is_no_good_is_refused_and_half_of_one_is_cut_off() {
    let mut config = trusting();
    config.handshake_timeout = Duration::from_millis(500);
    let mut door = Door::open_with(config).await;
    let header = proxied([198, 51, 100, 7]);
    let other_version = [&header[..12], &[0x11], &header[13..]].concat();
    let too_long = [&header[..14], &[0xff, 0xff]].concat();
    for broken in [&other_version, &too_long, &b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut peer = Peer::connect(door.address).await;
        peer.send(broken).await;
        let answer = String::from_utf8(peer.rest().await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("PROXY protocol"), "{answer}");
    }
    let mut half = Peer::connect(door.address).await;
    half.send(&header[..20]).await;
    assert!(half.rest().await.is_empty());
    assert_eq!(seen(&mut door, &header, "").await, CLIENT);
}

/// Holds a place, or says why not.
async fn asks_for_a_page(address: SocketAddr, first: &[u8], lines: &str) -> (Peer, String) {
    let mut peer = Peer::connect(address).await;
    let request = format!("GET / HTTP/1.1\r\nHost: chat.test\r\n{lines}\r\n");
    peer.send([first, request.as_bytes()].concat()).await;
    let head = peer.head().await;
    (peer, head)
}

#[tokio::test]
async fn places_are_for_clients_and_not_for_their_proxy() {
    let mut config = trusting();
    config.handshakes_per_address_max = 1;
    let address = pages(config).await;
    for said_in_bytes in [true, false] {
        let mut held = Vec::new();
        for (client, status) in [(1, "200"), (1, "503"), (2, "200"), (2, "503"), (1, "503")] {
            let (first, lines) = match said_in_bytes {
                true => (proxied([203, 0, 113, client]), String::new()),
                false => (Vec::new(), format!("X-Forwarded-For: 198.51.100.{client}\r\n")),
            };
            let (peer, head) = asks_for_a_page(address, &first, &lines).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {head}");
            // Who got a page does not read it, and so keeps its place.
            held.push(peer);
        }
    }
    // One that says nothing takes a place of the proxy's own, and no second.
    let (_held, head) = asks_for_a_page(address, &[], "").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (_held, head) = asks_for_a_page(address, &[], "X-Forwarded-For: nonsense\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
}

#[tokio::test]
async fn connections_per_address_are_counted_by_client() {
    let mut limits = Limits::default();
    limits.connections_per_address_max = 1;
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .hooks(Guests)
        .limits(limits)
        .transport(WsTransport::new(ANY_PORT, trusting()));
    let engine = engine.build().await.expect("an engine");
    let address = address_in(&engine.addresses()[0]);
    let mut held = Vec::new();
    for (client, status) in [(1, "101"), (1, "503"), (2, "101"), (1, "503")] {
        let mut peer = Peer::connect(address).await;
        // What a client puts before its proxy's word changes nothing.
        let lines = format!("X-Forwarded-For: 1.2.3.{}, 198.51.100.{client}\r\n", held.len());
        peer.send(handshake("/chat", &lines)).await;
        let head = peer.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {head}");
        held.push(peer);
    }
    soon(engine.shutdown(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_proxy_says_of_which_host_pages_must_be() {
    for (config, status) in [(trusting(), "101"), (WsConfig::default(), "403")] {
        let door = Door::open_with(config).await;
        for line in [
            "X-Forwarded-Host: app.example.org",
            "Forwarded: for=1.2.3.4;proto=https;host=app.example.org",
        ] {
            let lines = format!("Origin: https://app.example.org\r\n{line}\r\n");
            let mut peer = Peer::connect(door.address).await;
            peer.send(handshake("/chat", &lines)).await;
            let head = peer.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {head}");
        }
    }
}

#[tokio::test]
async fn an_ipv4_proxy_at_an_ipv6_socket_is_itself() {
    let mut config = trusting();
    config.handshakes_per_address_max = 1;
    let anywhere = SocketAddr::from(([0_u16; 8], 0));
    let socket = TcpSocket::new_v6().expect("a socket");
    if socket.bind(anywhere).is_err() {
        // This machine has no IPv6.
        return;
    }
    let (acceptor, connections) = crate::door::held();
    drop(socket);
    let transport = WsTransport::new(anywhere, config);
    let mut door = Door::open_through(transport, acceptor, connections).await;
    door.address = SocketAddr::from(([127, 0, 0, 1], door.address.port()));
    assert_eq!(seen(&mut door, &[], "X-Forwarded-For: 198.51.100.7\r\n").await, CLIENT);
}
