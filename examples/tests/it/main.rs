//! Stories over the real binaries: chat-server and the line client, started, killed and started again.

mod hosts;
mod jwt;
mod line_clients;
mod mounted;
mod order_service;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod process;
mod server;
mod signer;
mod stores;
mod tls;
mod tokens;
mod wire;
