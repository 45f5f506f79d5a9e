//! The chat engine that Rust services link as a crate: one order per conversation, dedup by id, resume without loss.
