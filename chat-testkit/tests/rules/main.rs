//! Limits and codes are data (`docs/limits.toml`): the documents show them, the code keeps them.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod data;
mod documents;
