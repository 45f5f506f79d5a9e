//! The client’s half.
