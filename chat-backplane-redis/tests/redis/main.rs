//! Against real servers: the contract of backplanes, by every way in which a node may be cut off, and what is Redis' own.
// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod contract;
mod own;
