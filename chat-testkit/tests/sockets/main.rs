//! Stories over real sockets: the engine behind its own WebSocket listener, the Rust client, a network that breaks.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod crowd;
mod house;
mod proxy;
mod seeds;
mod slow;
