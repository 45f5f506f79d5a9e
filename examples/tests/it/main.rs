//! Stories over the real binaries: chat-server and the line client, started, killed and started again.

mod line_clients;
mod process;
mod server;
