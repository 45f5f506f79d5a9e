//! What must hold: contract suites for every door of chat-core, the in-process transport and backplane, and the seeded
//! simulator.
#![forbid(unsafe_code)]

pub mod backplane;
pub mod contract;
pub mod transport;
