//! WebSocket over real sockets: what a peer sees, byte by byte where it matters.

#[cfg(target_os = "linux")]
mod abuse;
mod adapters;
mod broken_rules;
mod contract;
mod door;
mod handshakes;
mod mounted;
mod opaque;
mod peer;
mod proxies;
mod session;
mod strangers;
#[cfg(feature = "tls")]
mod tls;
