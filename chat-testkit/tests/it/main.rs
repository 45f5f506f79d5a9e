//! The testkit's own implementations keep the contracts that it holds others to; and stories: engines, clients and a
//! store together, on one thread under paused time.
// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod alone;
mod astray;
mod in_process_backplane;
mod in_process_transport;
#[cfg(feature = "sim")]
mod simulator;
mod stories;
