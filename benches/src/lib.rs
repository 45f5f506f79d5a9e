//! The load generators and what they measure: ours beside others that do less.
//!
//! * [`fanout`]: loads our server and two bare ones in turn and counts their CPU per delivery
//! * [`cluster`]: the same as `fanout` with two nodes on one Redis
//! * [`append`]: stores and reads by the engine and by the plain way on the same database
//! * [`ours`]: the engine on the memory store behind its own WebSocket listener
//! * [`baseline`]: the two bare servers, a floor under every figure of ours
//! * [`load`]: the names and frames that all of them use, so that each moves the same bytes
//! * [`cpu`], [`figures`]: what a process used, and how measurements are summed up
#![forbid(unsafe_code)]

pub mod append;
pub mod baseline;
pub mod bells;
pub mod cluster;
pub mod cpu;
pub mod fanout;
pub mod figures;
pub mod load;
pub mod ours;
mod report;
