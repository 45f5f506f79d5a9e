//! Stories over real sockets: the engine behind its own WebSocket listener, the Rust client, a network that breaks.

// Helpers of tests may fail as loudly as tests, and say what they measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod crowd;
mod house;
mod proxy;
mod seeds;
mod slow;
