//! The load generator and what it measures: a server of ours beside two bare ones.
//!
//! * [`fanout`]: loads the servers in turn and counts their CPU per delivery
//! * [`ours`]: the engine on the memory store behind its own WebSocket listener
//! * [`baseline`]: the two bare servers, a floor under every figure of ours
//! * [`load`]: the names and frames that all of them use, so that each moves the same bytes
#![forbid(unsafe_code)]

pub mod baseline;
pub mod fanout;
pub mod load;
pub mod ours;
