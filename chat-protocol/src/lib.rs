//! What travels between a chat client and the engine, and the machines that both ends share.
//!
//! Pure: no sockets, no clock, no randomness, no runtime. Bytes come in, values go out; time and ids are given.
//!
//! * vocabulary: [`id`], [`message`], [`conversation`], [`command`], [`event`], [`signal`], [`code`]
//! * frames and codecs: [`frame`], [`codec`], and [`check`] for what a command may contain
//! * machines: [`server_session`], [`client_session`], and the [`budget`] of a rate with a burst
#![forbid(unsafe_code)]

pub mod budget;
pub mod check;
pub mod client_session;
pub mod code;
pub mod codec;
pub mod command;
pub mod conversation;
pub mod event;
pub mod frame;
mod heartbeat;
pub mod id;
pub mod message;
#[doc(hidden)]
pub mod planted;
pub mod server_session;
pub mod signal;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
