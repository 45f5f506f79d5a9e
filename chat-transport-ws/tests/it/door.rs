//! A listener with an engine that is none, and a peer that speaks in bytes.

use chat_core::engine::Acceptor;
use chat_core::transport::{Connection, Incoming, Received, Stop, Transport};
use chat_transport_ws::{WsConfig, WsTransport};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A listener that hands its connections to the test.
pub struct Door {
    pub address: SocketAddr,
    pub connections: mpsc::UnboundedReceiver<Held>,
    stop: Stop,
}

/// A connection in the test's hands; dropping it ends it.
pub struct Held {
    pub connection: Connection,
    _over: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Door {
    pub async fn open() -> Self {
        Self::open_with(WsConfig::default()).await
    }

    pub async fn open_with(config: WsConfig) -> Self {
        let (held, connections) = mpsc::unbounded_channel();
        let acceptor = Acceptor::probe(move |connection| {
            let (over, ended) = tokio::sync::oneshot::channel();
            let _ = held.send(Held {
                connection,
                _over: Some(over),
            });
            async move {
                let _ = ended.await;
            }
        });
        Self::open_for(acceptor, config, connections).await
    }

    /// A listener whose node is full.
    pub async fn full(retry_after: Duration) -> Self {
        let (_, connections) = mpsc::unbounded_channel();
        Self::open_for(Acceptor::refusing(retry_after), WsConfig::default(), connections).await
    }

    async fn open_for(acceptor: Acceptor, config: WsConfig, connections: mpsc::UnboundedReceiver<Held>) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut transport = Box::new(WsTransport::new(any_port, config));
        let url = transport.bind().await.expect("a free port");
        let address = url.trim_start_matches("ws://").split('/').next();
        let address = address.and_then(|address| address.parse().ok()).expect("an address");
        let stop = Stop::default();
        tokio::spawn(transport.serve(acceptor, stop.clone()));
        Self {
            address,
            connections,
            stop,
        }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/chat", self.address)
    }

    pub async fn accepted(&mut self) -> Held {
        soon(self.connections.recv()).await.expect("the listener runs")
    }

    /// A peer whose handshake is done.
    pub async fn peer(&mut self) -> (Peer, Held) {
        let mut peer = Peer::connect(self.address).await;
        peer.send(&handshake("/chat", "")).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (peer, self.accepted().await)
    }

    pub fn stop(&self) {
        self.stop.stop();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Held {
    pub fn of(connection: Connection) -> Self {
        Self {
            connection,
            _over: None,
        }
    }

    pub async fn recv(&mut self) -> Received {
        soon(self.connection.incoming.recv()).await
    }

    pub fn incoming(&mut self) -> &mut dyn Incoming {
        &mut *self.connection.incoming
    }

    /// Writes wire bytes through the outlet, however many pieces it takes.
    pub async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let outlet = &self.connection.outlet;
        while !bytes.is_empty() {
            match outlet.try_write(&[IoSlice::new(bytes)]) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => outlet.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the engine does with a connection: answers until it ends, closes as told, lingers. Says what was last.
    pub async fn serve(mut self) -> Received {
        let framing = self.connection.outlet.framing();
        loop {
            let received = self.recv().await;
            let (bytes, is_last) = match &received {
                Received::Frame(payload) => (Some((framing.frame)(self.connection.handshake.codec, payload)), false),
                Received::Answer(bytes) => (Some(bytes.clone()), false),
                Received::Closed(bytes) => (bytes.clone(), true),
                Received::Violation(code, reason) => ((framing.close)(*code, reason), true),
                Received::Lost => return received,
            };
            if let Some(bytes) = bytes
                && self.write(&bytes).await.is_err()
            {
                return Received::Lost;
            }
            if is_last {
                self.incoming().linger().await;
                return received;
            }
        }
    }
}

/// A client in bytes.
pub struct Peer(pub TcpStream);

impl Peer {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("somebody listens"))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.expect("the server reads");
    }

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.0.read_u8()).await.expect("a whole head, never silence"));
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest))
            .await
            .expect("closed without a reset");
        rest
    }

    /// The next frame: first byte and payload.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = soon(self.0.read_u8()).await.expect("a frame");
        let length = match soon(self.0.read_u8()).await.expect("a length") {
            126 => usize::from(soon(self.0.read_u16()).await.expect("a length")),
            127 => soon(self.0.read_u64()).await.expect("a length") as usize,
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        soon(self.0.read_exact(&mut payload)).await.expect("a payload");
        (first, payload)
    }

    /// The close frame, and that the server closes after it.
    pub async fn closed(&mut self) -> (u16, String) {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88, "a close frame");
        let rest = self.rest().await;
        assert!(rest.is_empty(), "nothing follows a close: {rest:?}");
        let number = u16::from_be_bytes([payload[0], payload[1]]);
        (number, String::from_utf8(payload[2..].to_vec()).expect("ASCII"))
    }
}

/// What does not come is a failure, not a test that hangs.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(10);
    timeout(deadline, future).await.expect("comes in time")
}

/// A good handshake, with further header lines.
pub fn handshake(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// A frame as a client sends it, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | length as u8),
        length @ ..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
