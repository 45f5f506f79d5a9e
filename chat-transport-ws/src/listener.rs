//! The way in with a listener of its own.

use crate::config::WsConfig;
use crate::socket::Socket;
use crate::upgrade::{Door, Pending};
use crate::wire::Source;
use async_trait::async_trait;
use chat_core::Acceptor;
use chat_core::transport::{Stop, Transport, TransportError};
use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

const HEADER_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// How long to wait when the system gives no socket, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A WebSocket listener.
///
/// Speaks HTTP/1.1 without TLS: put a proxy before it, or mount a [`WsService`](crate::WsService) in a host that has
/// TLS.
#[derive(Debug)]
pub struct WsTransport {
    listen: SocketAddr,
    config: Arc<WsConfig>,
    listener: Option<TcpListener>,
}

impl WsTransport {
    /// A listener at this address; port 0 takes a free one.
    pub fn new(listen: SocketAddr, config: WsConfig) -> Self {
        Self {
            listen,
            config: Arc::new(config),
            listener: None,
        }
    }
}

#[async_trait]
impl Transport for WsTransport {
    async fn bind(&mut self) -> Result<String, TransportError> {
        self.config.check()?;
        let error = |source| TransportError::Bind {
            address: self.listen.to_string(),
            source,
        };
        let listener = TcpListener::bind(self.listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        self.listener = Some(listener);
        Ok(format!("ws://{address}{}", self.config.path))
    }

    async fn serve(self: Box<Self>, acceptor: Acceptor, stop: Stop) {
        let config = self.config;
        let Some(listener) = self.listener else {
            return tracing::error!("the WebSocket transport was not bound: nobody can connect");
        };
        let handshakes = Arc::new(Semaphore::new(config.handshakes_max));
        let door = Door { acceptor, config };
        loop {
            let accepted = async {
                let handshakes = Arc::clone(&handshakes);
                let place = handshakes.acquire_owned().await.expect("the semaphore is never closed");
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = stop.stopped() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let socket = Socket::new(stream);
                    let door = door.clone();
                    // Ends with the session, which the engine ends, or at the handshake's deadline.
                    tokio::spawn(async move {
                        let pending = Box::pin(shake_hands(socket, peer, &door)).await;
                        drop(place);
                        if let Some(pending) = pending {
                            pending.run().await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::select! {
                        biased;
                        () = stop.stopped() => return,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

/// Answers one request, and none after it: every answer of ours but 101 says `Connection: close`.
async fn shake_hands(socket: Socket, peer: SocketAddr, door: &Door) -> Option<Pending> {
    socket.set_nodelay();
    let address = Some(peer.ip().to_canonical());
    let begun: Mutex<Option<Pending>> = Mutex::default();
    let answer = |mut request: Request<_>| {
        let (response, pending) = door.begin(&mut request, Some(&door.config.path), address);
        *begun.lock().expect("the lock is never poisoned: no panic inside") = pending;
        async { Ok::<_, Infallible>(response) }
    };
    let served = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(2 * HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket.clone()), service_fn(answer))
        .with_upgrades();
    match timeout(door.config.handshake_timeout, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
        Err(_) => {
            tracing::debug!("the handshake took too long");
            return None;
        }
    }
    let pending = begun.into_inner().expect("the lock is never poisoned: no panic inside");
    if pending.is_none() {
        // So that the answer is not lost to a reset when the request had more than was read.
        socket.shutdown();
        let deadline = Instant::now() + door.config.linger_timeout;
        Source::Socket(socket)
            .discard(deadline, door.config.linger_bytes_max)
            .await;
    }
    pending
}
