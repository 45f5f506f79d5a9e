//! The listener under TLS: the same rules, the same wire.

use crate::door::{ANY_PORT, Door, Held, address_in, held};
use crate::peer::{Peer, frame, handshake, soon};
use chat_core::transport::Received;
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsTransport, serve_https};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// Both ends of TLS, by a certificate made for this run.
pub fn both_ends() -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["chat.test".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate and its key");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client).into())
}

async fn connect(client: &TlsConnector, address: SocketAddr) -> Peer<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.expect("somebody listens");
    let name = ServerName::try_from("chat.test").expect("a name");
    Peer(soon(client.connect(name, socket)).await.expect("a TLS handshake"))
}

async fn door(config: WsConfig) -> (Door, TlsConnector) {
    let (server, client) = both_ends();
    let transport = WsTransport::new(ANY_PORT, config).with_tls(server);
    let (acceptor, connections) = held();
    (Door::open_through(transport, acceptor, connections).await, client)
}

/// A peer whose handshakes are done.
async fn peer(door: &mut Door, client: &TlsConnector) -> (Peer<TlsStream<TcpStream>>, Held) {
    let mut peer = connect(client, door.address).await;
    peer.send(handshake("/chat", "Origin: https://chat.test\r\n")).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (peer, door.accepted().await)
}

#[tokio::test]
async fn frames_and_close_codes_travel_under_tls() {
    let (mut door, client) = door(WsConfig::default()).await;
    let (mut peer, held) = peer(&mut door, &client).await;
    let own = peer.0.get_ref().0.local_addr().expect("an address");
    assert_eq!(held.connection.handshake.address, Some(own.ip()));
    let server = tokio::spawn(held.serve());
    let large = vec![b'x'; 60_000];
    peer.send(frame(0x81, b"first")).await;
    assert_eq!(peer.frame().await, (0x81, b"first".to_vec()));
    peer.send(frame(0x81, &large)).await;
    assert_eq!(peer.frame().await, (0x81, large));
    peer.send(frame(0x83, b"")).await;
    // That nothing follows is said by TLS itself: reading to the end is no error.
    assert_eq!(peer.closed().await.0, 1002);
    drop(peer);
    assert!(matches!(server.await.expect("no panic"), Received::Violation(..)));
}

#[tokio::test]
async fn answers_arrive_under_tls() {
    let (door, client) = door(WsConfig::default()).await;
    for (asked, answered) in [
        ("GET /elsewhere HTTP/1.1\r\nHost: chat.test\r\n\r\n".to_owned(), "404"),
        (
            format!(
                "GET /chat HTTP/1.1\r\nHost: chat.test\r\nX: {}\r\n\r\n",
                "x".repeat(9000)
            ),
            "431",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505"),
        ("what is this?\r\n\r\n".to_owned(), "400"),
    ] {
        let mut peer = connect(&client, door.address).await;
        peer.send(&asked).await;
        let answer = String::from_utf8(peer.rest().await).expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {answered} ")), "{answer}");
    }
}

#[tokio::test]
async fn who_speaks_plain_http_to_tls_is_told_so() {
    let (door, _) = door(WsConfig::default()).await;
    let mut peer = Peer::connect(door.address).await;
    peer.send(handshake("/chat", "")).await;
    let answer = String::from_utf8(peer.rest().await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        answer.ends_with("only TLS is spoken here: connect by wss:// or https://\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn who_never_ends_its_tls_handshake_is_cut_off_and_the_next_is_served() {
    let mut config = WsConfig::default();
    config.handshake_timeout = Duration::from_millis(500);
    config.handshakes_max = 2;
    let (mut door, client) = door(config).await;
    let mut silent = Peer::connect(door.address).await;
    // A hello that declares 512 bytes and stops after three.
    let mut half = Peer::connect(door.address).await;
    half.send([0x16, 3, 1, 2, 0, 1, 0, 1]).await;
    // Both places are taken: the next one waits until they are given back.
    let (mut healthy, held) = peer(&mut door, &client).await;
    tokio::spawn(held.serve());
    healthy.send(frame(0x81, b"hello")).await;
    assert_eq!(healthy.frame().await, (0x81, b"hello".to_vec()));
    assert!(silent.rest().await.is_empty());
    assert!(half.rest().await.is_empty());
}

#[tokio::test]
async fn an_address_has_its_share_of_places_under_tls_too() {
    let mut config = WsConfig::default();
    config.handshakes_per_address_max = 1;
    let (door, _) = door(config).await;
    let mut held = Peer::connect(door.address).await;
    held.send([0x16, 3, 1]).await;
    let mut second = TcpStream::connect(door.address).await.expect("somebody listens");
    let mut room = [0];
    // At once, and not with the words of a protocol that it does not speak.
    let read = soon(second.read(&mut room)).await;
    assert!(matches!(read, Ok(0)), "{read:?}");
}

#[tokio::test]
async fn an_engine_that_shuts_down_closes_1012_under_tls() {
    let (server, client) = both_ends();
    let mut config = WsConfig::default();
    config.handshake_timeout = Duration::from_secs(1);
    let transport = WsTransport::new(ANY_PORT, config).with_tls(server);
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .hooks(Guests)
        .transport(transport);
    let engine = engine.build().await.expect("an engine");
    let [url] = engine.addresses() else {
        panic!("one transport")
    };
    assert!(url.starts_with("wss://"), "{url}");
    let address = address_in(url);
    let mut peer = connect(&client, address).await;
    peer.send(handshake("/chat", "")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    let hello = br#"{"type":"hello","guest":"ana"}"#;
    peer.send(frame(0x81, hello)).await;
    assert_eq!(peer.frame().await.0, 0x81, "welcome");
    // Another whose TLS handshake is under way when it ends.
    let mut half = Peer::connect(address).await;
    half.send([0x16, 3, 1]).await;
    let (seen, ()) = tokio::join!(
        async {
            loop {
                let (first, payload) = peer.frame().await;
                if first == 0x88 {
                    return u16::from_be_bytes([payload[0], payload[1]]);
                }
            }
        },
        engine.shutdown(Duration::from_secs(1)),
    );
    assert_eq!(seen, 1012);
    assert!(half.rest().await.is_empty(), "at the latest at its deadline");
    assert_eq!(engine.counts().connections, 0);
}

/// A page, at every path.
#[derive(Clone)]
struct Page;

impl Service<Request<Incoming>> for Page {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        assert!(request.extensions().get::<SocketAddr>().is_some());
        ready(Ok(Response::new(Full::from("a page"))))
    }
}

#[tokio::test]
async fn pages_are_served_under_tls() {
    let (server, client) = both_ends();
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { serve_https(listener, Page, &WsConfig::default(), server).await });
    let mut peer = connect(&client, address).await;
    peer.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").await;
    let answer = String::from_utf8(peer.rest().await).expect("text");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("a page"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_trusted_proxy_speaks_first_under_tls_too() {
    let mut config = WsConfig::default();
    config.trusted_proxies.push("127.0.0.1".parse().expect("a proxy"));
    let (mut door, client) = door(config).await;
    let mut socket = TcpStream::connect(door.address).await.expect("somebody listens");
    let header = crate::proxies::proxied([198, 51, 100, 7]);
    socket.write_all(&header).await.expect("the server reads");
    let name = ServerName::try_from("chat.test").expect("a name");
    let mut peer = Peer(soon(client.connect(name, socket)).await.expect("a TLS handshake"));
    peer.send(handshake("/chat", "")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    let address = door.accepted().await.connection.handshake.address;
    assert_eq!(address, Some([198, 51, 100, 7].into()));
}
