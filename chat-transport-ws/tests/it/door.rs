//! A listener with an engine that is none.

use crate::peer::soon;
pub use crate::peer::{Peer, frame, handshake};
use chat_core::engine::Acceptor;
use chat_core::transport::{Connection, Incoming, Received, Stop, Transport};
use chat_transport_ws::{WsConfig, WsTransport};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::mpsc;

pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The address in a URL such as `ws://127.0.0.1:7000/chat`.
pub fn address_in(url: &str) -> SocketAddr {
    let address = url.split('/').nth(2).and_then(|address| address.parse().ok());
    address.expect("an address")
}

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

/// An acceptor that hands its connections to the test.
pub fn held() -> (Acceptor, mpsc::UnboundedReceiver<Held>) {
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
    (acceptor, connections)
}

impl Door {
    pub async fn open() -> Self {
        Self::open_with(WsConfig::default()).await
    }

    pub async fn open_with(config: WsConfig) -> Self {
        let (acceptor, connections) = held();
        Self::open_for(acceptor, config, connections).await
    }

    /// A listener whose node is full.
    pub async fn full(retry_after: Duration) -> Self {
        let (_, connections) = mpsc::unbounded_channel();
        Self::open_for(Acceptor::refusing(retry_after), WsConfig::default(), connections).await
    }

    async fn open_for(acceptor: Acceptor, config: WsConfig, connections: mpsc::UnboundedReceiver<Held>) -> Self {
        Self::open_through(WsTransport::new(ANY_PORT, config), acceptor, connections).await
    }

    /// This listener, which is not bound yet.
    pub async fn open_through(
        transport: WsTransport,
        acceptor: Acceptor,
        connections: mpsc::UnboundedReceiver<Held>,
    ) -> Self {
        let mut transport = Box::new(transport);
        let url = transport.bind().await.expect("a free port");
        let address = address_in(&url);
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
