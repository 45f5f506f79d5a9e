//! What the examples and the `chat-server` binary share.
