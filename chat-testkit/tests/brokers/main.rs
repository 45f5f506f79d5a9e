//! Real brokers: what tests rely on when they break one of their own, and what users notice when one breaks.
#![cfg(target_os = "linux")]
// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod faults;
mod servers;
mod stage;
