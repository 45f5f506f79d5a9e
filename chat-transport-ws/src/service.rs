//! The way in for hosts that have a server of their own.

use crate::config::WsConfig;
use crate::upgrade::{Door, Unidentified, Upgrade};
use bytes::Bytes;
use chat_core::Acceptor;
use http::{Request, Response};
use http_body_util::Full;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use tower_service::Service;

/// A `tower` service that upgrades to WebSocket and hands the connection to the engine.
///
/// Any hyper host mounts it, at a path of its choice: in axum, `Router::route_service("/chat", service)`. The host's
/// server must allow upgrades and run on tokio.
///
/// A host that is not hyper calls [`begin`](WsService::begin) instead.
///
/// # Mounting
/// There are two kinds. Behind [`new`](WsService::new) the host's middleware says who a client is, and without its word
/// nobody comes in. Behind [`with_tokens`](WsService::with_tokens) clients bring a token, which
/// [`Hooks::authenticate`](chat_core::Hooks::authenticate) judges.
///
/// What the host's middleware puts into the request's extensions is used:
/// * [`Identity`](chat_core::Identity): whom its session let in. Such a request needs an `Origin` that is allowed, or
///   a token beside it.
/// * [`SocketAddr`](std::net::SocketAddr): the socket's peer, for the limits per address. If it is one of
///   [`trusted_proxies`](WsConfig::trusted_proxies), the headers say whose address counts instead. Without it a plain
///   socket's peer is told to the engine once the upgrade is done, too late to be refused for its address.
///
/// A plain TCP socket is written directly; any other stream, TLS for one, through a small buffer.
#[derive(Debug, Clone)]
pub struct WsService {
    door: Door,
    knows_path: bool,
}

impl WsService {
    /// A service behind the host's own login: its middleware puts an [`Identity`](chat_core::Identity) into the
    /// request's extensions, and a request without one is answered 401. The first such request also writes a line to
    /// the log that says what is missing.
    pub fn new(acceptor: Acceptor, config: WsConfig) -> Self {
        Self::of(acceptor, config, Unidentified::Refused(Arc::new(Once::new())))
    }

    /// A service for clients that bring a token: in their first frame, in `Authorization: Bearer`, or as a subprotocol
    /// `chat.token.…`. [`Hooks::authenticate`](chat_core::Hooks::authenticate) judges it; who brings none, or none that
    /// is good, is closed by the engine. An [`Identity`](chat_core::Identity) in the request's extensions counts here
    /// too.
    pub fn with_tokens(acceptor: Acceptor, config: WsConfig) -> Self {
        Self::of(acceptor, config, Unidentified::MayBringToken)
    }

    fn of(acceptor: Acceptor, config: WsConfig, unidentified: Unidentified) -> Self {
        let door = Door {
            acceptor,
            config: Arc::new(config),
            unidentified,
            unaddressed: Arc::new(Once::new()),
        };
        Self {
            door,
            knows_path: false,
        }
    }

    /// Answers also for the host's other paths, as [`WsTransport`](crate::WsTransport) does: mount it as the host's
    /// fallback. An upgrade anywhere but at [`WsConfig::path`] is accepted and closed 4510, which a browser can read,
    /// and a plain request there gets 404 with the same sentence.
    #[must_use]
    pub fn as_fallback(mut self) -> Self {
        self.knows_path = true;
        self
    }

    /// Judges a handshake for a host that is not hyper: by the same rules, for the same wire.
    ///
    /// Send the answer as it is. If an [`Upgrade`] came with it, the answer is 101, and the bytes of the connection from
    /// then on, both ways, are its own: [`Upgrade::run`] takes a stream, [`Upgrade::run_channels`] a pair of channels.
    /// The request needs its method, version, address and headers, and the extensions named
    /// [above](WsService#mounting).
    ///
    /// ```
    /// # async fn host<S>(service: chat_transport_ws::WsService, request: http::Request<()>, stream: S)
    /// # where S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {
    /// let (answer, upgrade) = service.begin(&request);
    /// // … the host writes `answer` to `stream` …
    /// # drop(answer);
    /// if let Some(upgrade) = upgrade {
    ///     tokio::spawn(upgrade.run(stream));
    /// }
    /// # }
    /// ```
    pub fn begin<B>(&self, request: &Request<B>) -> (Response<Bytes>, Option<Upgrade>) {
        let path = self.knows_path.then_some(self.door.config.path.as_str());
        self.door.begin(request, path)
    }
}

impl<B> Service<Request<B>> for WsService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (response, upgrade) = self.begin(&request);
        if let Some(upgrade) = upgrade {
            // Ends with the session, which the engine ends; the permit inside counts it until then.
            tokio::spawn(upgrade.run_upgraded(hyper::upgrade::on(&mut request)));
        }
        ready(Ok(response.map(Full::new)))
    }
}
