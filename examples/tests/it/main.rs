//! Stories over the real binaries: chat-server and the line client, started, killed and started again.

mod line_clients;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod process;
mod server;
mod stores;
