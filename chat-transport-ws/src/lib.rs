//! WebSocket transport for chat-core: a listener of its own and a service that any hyper host mounts.
