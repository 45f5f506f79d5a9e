//! Hosts that are not hyper: they write the answer themselves and hand over what carries the bytes behind it.

use crate::door::{Held, held};
use crate::peer::{Peer, frame, soon};
use bytes::Bytes;
use chat_core::transport::Received;
use chat_transport_ws::{Upgrade, WsConfig, WsService};
use http::{Request, StatusCode};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const HANDSHAKE: [(&str, &str); 5] = [
    ("host", "chat.test"),
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn request() -> Request<()> {
    let mut request = Request::get("/any/where").body(()).expect("a request");
    for (name, value) in HANDSHAKE {
        let value = value.parse().expect("a value");
        request.headers_mut().insert(name, value);
    }
    request
}

/// A good handshake, and where its connection comes out.
fn begun() -> (Upgrade, mpsc::UnboundedReceiver<Held>) {
    begun_with(WsConfig::default())
}

fn begun_with(config: WsConfig) -> (Upgrade, mpsc::UnboundedReceiver<Held>) {
    let (acceptor, connections) = held();
    let service = WsService::with_tokens(acceptor, config);
    let (answer, upgrade) = service.begin(&request());
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let accept = answer.headers().get("sec-websocket-accept").expect("the key's answer");
    assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    (upgrade.expect("a connection"), connections)
}

async fn accepted(connections: &mut mpsc::UnboundedReceiver<Held>) -> Held {
    soon(connections.recv()).await.expect("accepted")
}

/// What a host does whose streams are its own: copies between them and two channels.
fn over_channels(upgrade: Upgrade) -> DuplexStream {
    let (from_client, incoming) = mpsc::channel(8);
    let (outgoing, mut to_client) = mpsc::channel::<Bytes>(8);
    tokio::spawn(upgrade.run_channels(incoming, outgoing));
    let (client, host) = duplex(4096);
    let (mut read, mut write) = tokio::io::split(host);
    tokio::spawn(async move {
        let mut room = [0; 1000];
        while let Ok(count @ 1..) = read.read(&mut room).await {
            if from_client.send(Bytes::copy_from_slice(&room[..count])).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(chunk) = to_client.recv().await {
            if write.write_all(&chunk).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    client
}

async fn socket_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connects"), accepted.expect("accepts").0)
}

/// Frames there and back, from the one that the host read too early to the close code.
async fn frames_go_there_and_back<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: S, held: Held) {
    let server = tokio::spawn(held.serve());
    let mut peer = Peer(stream);
    assert_eq!(peer.frame().await, (0x81, b"early".to_vec()));
    let large = vec![b'x'; 60_000];
    let (mut read, mut write) = tokio::io::split(&mut peer.0);
    let sent = async {
        write
            .write_all(&[frame(0x81, &large), frame(0x89, b"?")].concat())
            .await
    };
    let seen = async {
        let mut reader = Peer(tokio::io::join(&mut read, tokio::io::empty()));
        assert_eq!(reader.frame().await, (0x81, large.clone()));
        assert_eq!(reader.frame().await, (0x8a, b"?".to_vec()));
    };
    let (sent, ()) = tokio::join!(sent, seen);
    sent.expect("the server reads");
    peer.send(frame(0x83, b"")).await;
    assert_eq!(peer.closed().await.0, 1002);
    let last = server.await.expect("no panic");
    assert!(matches!(last, Received::Violation(..)), "{last:?}");
}

#[tokio::test]
async fn any_stream_carries_a_session() {
    let (upgrade, mut connections) = begun();
    // Smaller than a frame: everything has to wait for its reader.
    let (client, host) = duplex(1000);
    let run = tokio::spawn(upgrade.already_read(frame(0x81, b"early")).run(host));
    frames_go_there_and_back(client, accepted(&mut connections).await).await;
    soon(run).await.expect("ends with the session");
}

#[tokio::test]
async fn a_tcp_stream_is_written_directly() {
    let (upgrade, mut connections) = begun();
    let (client, host) = socket_pair().await;
    let peer: SocketAddr = client.local_addr().expect("an address");
    let run = tokio::spawn(upgrade.already_read(frame(0x81, b"early")).run(host));
    let held = accepted(&mut connections).await;
    assert_eq!(
        held.connection.handshake.address,
        Some(peer.ip()),
        "nobody said, so the socket does"
    );
    let chunk = vec![0; 2 * WsConfig::default().write_buffer];
    let outlet = &held.connection.outlet;
    // No buffer of ours takes as much: it went to the kernel.
    let whole = frame_of(&chunk);
    assert_eq!(outlet.try_write(&[IoSlice::new(&whole)]).expect("written"), whole.len());
    let mut client = Peer(client);
    assert_eq!(client.frame().await, (0x82, chunk));
    frames_go_there_and_back(client.0, held).await;
    soon(run).await.expect("ends with the session");
}

/// A frame as a server sends it.
fn frame_of(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&[0x82, 126], &length[..], payload].concat()
}

#[tokio::test]
async fn two_channels_carry_a_session() {
    let (upgrade, mut connections) = begun();
    let client = over_channels(upgrade.already_read(frame(0x81, b"early")));
    frames_go_there_and_back(client, accepted(&mut connections).await).await;
}

#[tokio::test]
async fn who_does_not_take_from_a_channel_holds_up_the_session_and_loses_nothing() {
    let (upgrade, mut connections) = begun();
    let (from_client, incoming) = mpsc::channel(2);
    let (outgoing, mut to_client) = mpsc::channel::<Bytes>(2);
    let run = tokio::spawn(upgrade.run_channels(incoming, outgoing));
    let mut held = accepted(&mut connections).await;
    let config = WsConfig::default();
    let mut written = Vec::new();
    let mut number = 0_u32;
    loop {
        let part: Vec<u8> = (0..1000).flat_map(|_| number.to_be_bytes()).collect();
        match held.connection.outlet.try_write(&[IoSlice::new(&part)]) {
            Ok(count) => {
                written.extend_from_slice(&part[..count]);
                number += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                let room = timeout(Duration::from_millis(100), held.connection.outlet.writable());
                match room.await {
                    Ok(room) => room.expect("open"),
                    Err(_) => break,
                }
            }
        }
        assert!(written.len() <= 4 * config.write_buffer, "what waits is bounded");
    }
    let mut taken = Vec::new();
    while taken.len() < written.len() {
        let chunk = soon(to_client.recv()).await.expect("open");
        assert!(chunk.len() <= config.write_buffer, "a chunk is bounded");
        taken.extend_from_slice(&chunk);
    }
    assert!(taken == written, "in order, and nothing lost");
    soon(held.connection.outlet.writable()).await.expect("room again");

    // The other direction: nobody reads here now, so the host is held up.
    let mut sent = 0;
    let message = Bytes::from(frame(0x81, &[b'x'; 3000]));
    while let Ok(outcome) = timeout(Duration::from_millis(100), from_client.send(message.clone())).await {
        outcome.expect("open");
        sent += 1;
        assert!(sent <= 3, "what waits is bounded");
    }
    for _ in 0..sent {
        assert_eq!(held.recv().await, Received::Frame(vec![b'x'; 3000].into()));
    }
    drop(held);
    soon(run).await.expect("ends with the session");
    assert!(from_client.is_closed());
}

#[tokio::test]
async fn dropping_the_hosts_end_of_either_channel_ends_the_session() {
    for drops_incoming in [true, false] {
        let (upgrade, mut connections) = begun();
        let (from_client, incoming) = mpsc::channel(2);
        let (outgoing, to_client) = mpsc::channel(2);
        let run = tokio::spawn(upgrade.run_channels(incoming, outgoing));
        let mut held = accepted(&mut connections).await;
        let _other: Box<dyn std::any::Any> = match drops_incoming {
            true => {
                drop(from_client);
                Box::new(to_client)
            }
            false => {
                drop(to_client);
                Box::new(from_client)
            }
        };
        // Nothing is written and nothing comes: it is noticed all the same.
        assert_eq!(held.recv().await, Received::Lost, "incoming: {drops_incoming}");
        drop(held);
        soon(run).await.expect("ends with the session");
    }
}

#[tokio::test]
async fn the_outgoing_channel_ends_behind_the_close_frame() {
    let mut config = WsConfig::default();
    config.linger_timeout = Duration::from_secs(60);
    let (upgrade, mut connections) = begun_with(config);
    let (from_client, incoming) = mpsc::channel(2);
    let (outgoing, mut to_client) = mpsc::channel(2);
    tokio::spawn(upgrade.run_channels(incoming, outgoing));
    tokio::spawn(accepted(&mut connections).await.serve());
    from_client.send(frame(0x83, b"").into()).await.expect("open");
    let mut bytes = Vec::new();
    // Well before the time is over in which a closing connection is still read.
    let all = async {
        while let Some(chunk) = to_client.recv().await {
            bytes.extend_from_slice(&chunk);
        }
    };
    soon(all).await;
    assert_eq!(bytes[..4], [0x88, bytes[1], 0x03, 0xea]);
    assert_eq!(bytes.len(), 2 + usize::from(bytes[1]), "nothing follows a close");
}

#[tokio::test]
async fn a_bad_handshake_is_answered_and_brings_no_connection() {
    let (acceptor, _connections) = held();
    let service = WsService::with_tokens(acceptor.clone(), WsConfig::default());
    let mut old = request();
    old.headers_mut()
        .insert("sec-websocket-version", "8".parse().expect("a value"));
    let (answer, upgrade) = service.begin(&old);
    assert_eq!(
        (answer.status(), upgrade.is_none()),
        (StatusCode::UPGRADE_REQUIRED, true)
    );
    assert!(answer.body().starts_with(b"send Sec-WebSocket-Version"));
    let (answer, upgrade) = WsService::new(acceptor, WsConfig::default()).begin(&request());
    assert_eq!((answer.status(), upgrade.is_none()), (StatusCode::UNAUTHORIZED, true));
}
