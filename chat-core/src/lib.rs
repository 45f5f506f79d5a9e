//! The chat engine that Rust services link as a crate.
//!
//! A host brings its users, its database and its HTTP server; the engine brings conversations, messages, presence,
//! one order per conversation, dedup by id, and resume without loss, over whichever [`Transport`]s the host mounts
//! and on whichever [`Store`] it chooses. The store is the truth; the backplane is a bell.
#![forbid(unsafe_code)]

pub mod backplane;
pub mod bell;
pub mod clock;
pub mod conversation;
pub mod dedup;
pub mod engine;
pub mod hooks;
pub mod presence;
pub mod store;
pub mod transport;

pub use backplane::{Alone, Backplane};
pub use chat_protocol::{client_session, code, codec, command, event, frame, id, message, signal};
pub use clock::{Clock, SystemClock};
pub use engine::{Acceptor, Engine};
pub use hooks::{Hooks, Identity};
pub use store::Store;
pub use transport::Transport;
