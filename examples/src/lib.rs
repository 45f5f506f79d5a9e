//! What the examples and the `chat-server` binary share.
#![forbid(unsafe_code)]
