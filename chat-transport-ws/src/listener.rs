//! The way in with a listener of its own.

use crate::carrier::Security;
use crate::config::WsConfig;
use crate::serve::serve;
use crate::service::WsService;
use async_trait::async_trait;
use chat_core::Acceptor;
use chat_core::transport::{Stop, Transport, TransportError};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A WebSocket listener.
///
/// Speaks HTTP/1.1, without TLS unless it is given some (feature `tls`, [`with_tls`](WsTransport::with_tls)).
#[derive(Debug)]
pub struct WsTransport {
    listen: SocketAddr,
    config: WsConfig,
    security: Security,
    listener: Option<TcpListener>,
}

impl WsTransport {
    /// A listener at this address; port 0 takes a free one.
    pub fn new(listen: SocketAddr, config: WsConfig) -> Self {
        Self {
            listen,
            config,
            security: Security::None,
            listener: None,
        }
    }

    /// Listens for TLS instead of plain HTTP; clients connect by `wss://`.
    ///
    /// The host makes the configuration, and so chooses the provider of cryptography; `alpn_protocols` may hold
    /// `http/1.1` and not `h2`. The TLS handshake is part of what [`handshake_timeout`](WsConfig::handshake_timeout) and
    /// the places per address bound.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: std::sync::Arc<tokio_rustls::rustls::ServerConfig>) -> Self {
        self.security = Security::Tls(tls.into());
        self
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
        let scheme = if self.security.is_none() { "ws" } else { "wss" };
        Ok(format!("{scheme}://{address}{}", self.config.path))
    }

    async fn serve(self: Box<Self>, acceptor: Acceptor, stop: Stop) {
        let config = &self.config;
        let Some(listener) = &self.listener else {
            return tracing::error!("the WebSocket transport was not bound: nobody can connect");
        };
        let service = WsService::with_tokens(acceptor, config.clone()).as_fallback();
        let mut handshakes = JoinSet::new();
        tokio::select! {
            biased;
            () = stop.stopped() => {}
            never = serve(listener, service, config, &self.security, &mut handshakes) => match never {},
        }
        // They end by themselves, at the latest at their deadline.
        handshakes.detach_all();
    }
}
