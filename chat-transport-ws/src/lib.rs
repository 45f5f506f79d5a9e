//! WebSocket transport for chat-core: a listener of its own and a service that any hyper host mounts.
//!
//! * [`WsTransport`] listens by itself: give it to the engine's builder.
//! * [`WsService`] is mounted in the host's own server, behind its middleware; [`WsService::begin`] in one that is not hyper.
//! * [`serve_http`] is a server for hosts that have pages beside the WebSocket and no server of their own.
//!
//! Both let in by the same rules ([`WsConfig`]). Subprotocols: `chat.v1.json` (text frames, also when none is asked
//! for) and `chat.v1.msgpack` (binary frames). Every faulty handshake gets an HTTP answer and every broken rule a
//! close code; neither is ever met with silence.
#![forbid(unsafe_code)]

mod answer;
mod attended;
mod carrier;
mod channels;
mod config;
mod forwarded;
mod framing;
mod handshake;
mod listener;
mod origin;
mod places;
mod proxied;
mod reader;
mod serve;
mod service;
mod socket;
mod upgrade;
mod wire;

pub use config::WsConfig;
pub use forwarded::{TrustedProxy, TrustedProxyError};
pub use framing::FRAMING;
pub use listener::WsTransport;
pub use origin::{OriginError, OriginRule};
pub use serve::serve_http;
#[cfg(feature = "tls")]
pub use serve::serve_https;
pub use service::WsService;
/// The rustls that configurations are of.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
pub use upgrade::Upgrade;
