//! The reading example of a chat-core store: everything in memory, small and obvious.
