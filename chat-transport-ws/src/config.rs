//! The limits and rules of this transport.

use crate::origin::OriginRule;
use chat_core::transport::TransportError;
use std::time::Duration;

/// How WebSocket connections are let in, and what they may do.
///
/// ```
/// use chat_transport_ws::WsConfig;
///
/// let mut config = WsConfig::default();
/// config.path = "/socket".to_owned();
/// config.origins.push("https://app.example.com".parse()?);
/// # Ok::<(), chat_transport_ws::OriginError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsConfig {
    /// Where [`WsTransport`](crate::WsTransport) serves; another path is answered with this one. A mounted
    /// [`WsService`](crate::WsService) leaves paths to its host, unless it is the host's fallback. Default `/chat`.
    pub path: String,
    /// Which pages may connect, others get 403; none means those of the same host only. Default none.
    pub origins: Vec<OriginRule>,
    /// From accepting a socket to the end of its handshake; then it is closed. Default 5 s.
    pub handshake_timeout: Duration,
    /// Sockets in their handshake; when there are as many, further ones wait in the system's queue. Default 1,024.
    pub handshakes_max: usize,
    /// The longest frame and the longest message in bytes, over it 1009. Default 64 KiB.
    pub message_max: usize,
    /// From the first to the last fragment of a message, then 4006. Default 10 s.
    pub assembly_timeout: Duration,
    /// Pings and pongs in a row, one more each second; then 4004. Default 32.
    pub pings_max: u32,
    /// How long a closing connection is read, so that the close code reaches its peer. Default 1 s.
    pub linger_timeout: Duration,
    /// What is read and discarded in that time, in bytes; more is left unread. Default 256 KiB.
    pub linger_bytes_max: usize,
    /// What waits for a socket that cannot be written directly (TLS), in bytes; when it is full, the session's own
    /// queue fills. Default 16 KiB.
    pub write_buffer: usize,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            path: "/chat".to_owned(),
            origins: Vec::new(),
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 1024,
            message_max: 64 * 1024,
            assembly_timeout: Duration::from_secs(10),
            pings_max: 32,
            linger_timeout: Duration::from_secs(1),
            linger_bytes_max: 256 * 1024,
            write_buffer: 16 * 1024,
        }
    }
}

impl WsConfig {
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !self.path.starts_with('/') || !self.path.bytes().all(is_path) {
            let sentence = format!("`{}` is no path: write it like `/chat`", self.path);
            return Err(TransportError::Config(sentence));
        }
        if self.message_max == 0 || self.handshakes_max == 0 || self.write_buffer == 0 {
            return Err(TransportError::Config(
                "message_max, handshakes_max and write_buffer must be more than 0".to_owned(),
            ));
        }
        Ok(())
    }
}
