//! WebSocket over real sockets: what a peer sees, byte by byte where it matters.

mod broken_rules;
mod door;
mod handshakes;
mod mounted;
mod session;
