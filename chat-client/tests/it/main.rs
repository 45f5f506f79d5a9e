//! Stories through the public API, against a server of a screenful.
#![allow(clippy::unwrap_used, reason = "a story that breaks fails loudly")]

mod backpressure;
mod delivery;
mod file;
mod lifecycle;
mod server;
mod ws;
