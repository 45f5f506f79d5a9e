//! Rust client SDK for the chat engine: reconnect, resume, and an outbox that survives a kill.
