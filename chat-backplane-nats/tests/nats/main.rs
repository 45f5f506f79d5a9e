//! Against real servers: the contract of backplanes, and what is NATS' own.
// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod contract;
mod own;
