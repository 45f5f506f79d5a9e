//! Benches and the load generator.
#![forbid(unsafe_code)]
