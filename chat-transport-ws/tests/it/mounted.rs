//! The service in hosts that somebody else wrote: plain hyper, hyper-util's `auto`, and a stream that is no socket.

use crate::door::{Peer, frame, handshake};
use crate::opaque::Opaque;
use bytes::Bytes;
use chat_core::Identity;
use chat_core::engine::Acceptor;
use chat_core::id::UserId;
use chat_core::transport::Connection;
use chat_transport_ws::{WsConfig, WsService};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_service::Service;

#[derive(Clone, Copy)]
enum Host {
    Plain,
    Auto,
    Opaque,
}

/// A host whose session lets everybody in as Ana.
async fn host(kind: Host) -> (SocketAddr, mpsc::UnboundedReceiver<(IpAddr, Option<Identity>)>) {
    let (told, handshakes) = mpsc::unbounded_channel();
    let acceptor = Acceptor::probe(move |connection: Connection| {
        let address = connection.handshake.address.unwrap_or(IpAddr::from([0; 4]));
        let _ = told.send((address, connection.handshake.identity.clone()));
        async {
            crate::door::Held::of(connection).serve().await;
        }
    });
    let service = WsService::new(acceptor, WsConfig::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let service = service.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                let ana = UserId::new("ana").expect("a user id");
                request.extensions_mut().insert(Identity::new(ana));
                service.clone().call(request)
            });
            tokio::spawn(async move {
                let http1 = hyper::server::conn::http1::Builder::new();
                let auto = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                match kind {
                    Host::Plain => drop(
                        http1
                            .serve_connection(TokioIo::new(stream), service)
                            .with_upgrades()
                            .await,
                    ),
                    Host::Opaque => {
                        let stream = TokioIo::new(Opaque(stream));
                        drop(http1.serve_connection(stream, service).with_upgrades().await);
                    }
                    Host::Auto => {
                        drop(auto.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
                    }
                }
            });
        }
    });
    (address, handshakes)
}

async fn frames_go_there_and_back(kind: Host) -> IpAddr {
    let (address, mut handshakes) = host(kind).await;
    let mut peer = Peer::connect(address).await;
    let lines = "Origin: http://chat.test\r\n";
    let large = vec![b'x'; 60_000];
    // The first frame right behind the handshake, so that it is read together with it.
    let behind = [handshake("/any/where", lines).into_bytes(), frame(0x81, b"first")].concat();
    peer.send(behind).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(peer.frame().await, (0x81, b"first".to_vec()));
    peer.send([frame(0x81, &large), frame(0x89, b"?")].concat()).await;
    assert_eq!(peer.frame().await, (0x81, large));
    assert_eq!(peer.frame().await, (0x8a, b"?".to_vec()));
    peer.send(frame(0x83, b"")).await;
    assert_eq!(peer.closed().await.0, 1002);
    let (address, identity) = handshakes.recv().await.expect("accepted");
    let user = identity.map(|identity| identity.user.as_str().to_owned());
    assert_eq!(user.as_deref(), Some("ana"));
    address
}

#[tokio::test]
async fn a_host_on_plain_hyper_serves_it() {
    assert_eq!(
        frames_go_there_and_back(Host::Plain).await,
        IpAddr::from([127, 0, 0, 1])
    );
}

#[tokio::test]
async fn a_host_on_hyper_utils_auto_serves_it() {
    assert_eq!(frames_go_there_and_back(Host::Auto).await, IpAddr::from([127, 0, 0, 1]));
}

#[tokio::test]
async fn a_stream_that_is_no_socket_serves_it_through_a_queue() {
    let unknown = frames_go_there_and_back(Host::Opaque).await;
    assert_eq!(unknown, IpAddr::from([0; 4]), "the host did not say");
}

#[tokio::test]
async fn whom_a_session_let_in_needs_an_origin() {
    let (address, _handshakes) = host(Host::Plain).await;
    let mut peer = Peer::connect(address).await;
    peer.send(handshake("/", "")).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

/// A request to a service whose host has no middleware.
async fn asked(service: &mut WsService, lines: &[(&str, &str)]) -> http::Response<Full<Bytes>> {
    let mut request = Request::get("/").body(()).expect("a request");
    for (name, value) in lines {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    service.call(request).await.expect("infallible")
}

const HANDSHAKE: [(&str, &str); 5] = [
    ("host", "chat.test"),
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A writer for log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic inside").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn whom_no_middleware_named_is_not_let_in_and_the_host_is_told_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let acceptor = || Acceptor::probe(|_| async { panic!("nobody comes in") });
    let mut service = WsService::new(acceptor(), WsConfig::default());
    let good = HANDSHAKE.as_slice();
    let bearer = [good, &[("authorization", "Bearer abc")]].concat();
    let token = [good, &[("sec-websocket-protocol", "chat.v1.json, chat.token.abc")]].concat();
    let page = [good, &[("origin", "http://chat.test")]].concat();
    for request in [good, &bearer, &token, &page] {
        let response = asked(&mut service.clone(), request).await;
        assert_eq!(response.status(), 401, "{request:?}");
        assert!(response.headers().contains_key("www-authenticate"));
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let sentence = "the server does not know who you are: log in first, then connect\n";
        assert_eq!(body, sentence, "a stranger learns nothing of the host's code");
    }
    assert_eq!(
        asked(&mut service, &[]).await.status(),
        400,
        "what is no handshake is told so"
    );
    let said = String::from_utf8(lines.0.lock().expect("no panic inside").clone()).expect("text");
    assert_eq!(said.matches(" WARN ").count(), 1, "{said}");
    assert!(
        said.contains("chat_core::Identity") && said.contains("with_tokens"),
        "{said}"
    );

    let mut tokens = WsService::with_tokens(acceptor(), WsConfig::default());
    assert_eq!(asked(&mut tokens, good).await.status(), 101);
    let mut fallback = service.as_fallback();
    assert_eq!(
        asked(&mut fallback, good).await.status(),
        101,
        "a wrong path, closed 4510"
    );
}
