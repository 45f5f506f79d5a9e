//! The chat engine that Rust services link as a crate.
//!
//! A host brings its users, its database and its HTTP server; the engine brings conversations, messages, presence,
//! one order per conversation, dedup by id, and resume without loss, over whichever [`Transport`]s the host mounts
//! and on whichever [`Store`] it chooses. The store is the truth; the backplane is a bell.
#![forbid(unsafe_code)]

mod admission;
pub mod backplane;
mod bell;
pub mod clock;
pub mod conversation;
pub mod dedup;
mod delivery;
pub mod engine;
mod entropy;
pub mod error;
mod execute;
pub mod hooks;
mod hub;
mod interest;
mod limits;
mod news;
mod presence;
mod rates;
mod receipts;
mod session;
pub mod store;
mod tasks;
pub mod transport;

pub use backplane::{Alone, Backplane};
pub use chat_protocol::{
    check, client_session, code, codec, command, event, frame, id, message, server_session, signal,
};
pub use clock::{Clock, SystemClock};
pub use engine::{Acceptor, Act, BuildError, Builder, Engine};
pub use error::CommandError;
pub use hooks::{Guests, Hooks, Identity};
pub use limits::Limits;
pub use store::Store;
pub use transport::Transport;
