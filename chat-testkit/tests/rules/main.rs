//! Limits, codes and rules for input are data (`docs/limits.toml`): the documents show them, the code keeps them, and
//! every rule has rows in one table of bad input, which runs over WebSocket and in this process, in both codecs.

// Helpers of tests may fail as loudly as tests, and say what they measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod commands;
mod data;
mod documents;
mod envelopes;
mod frames;
mod greetings;
mod handshakes;
mod line;
#[path = "../../../chat-transport-ws/tests/it/peer.rs"]
mod peer;
mod row;
mod sequences;
mod stage;
mod table;
mod texts;
