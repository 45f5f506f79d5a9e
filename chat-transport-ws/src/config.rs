//! The limits and rules of this transport.

use crate::forwarded::TrustedProxy;
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
    /// Proxies whose word is believed about whom they stand for; none means that each client is its own peer. Default
    /// none.
    ///
    /// From them, and from nobody else, count `X-Forwarded-For` and `Forwarded` (RFC 7239), read from the right to the
    /// first address that is no trusted proxy; what cannot be read in them, or does not agree between them, counts as the
    /// proxy that said it. `X-Forwarded-Host` counts as the host that pages must be of. At our own listeners a trusted
    /// proxy may also begin with a header of the PROXY protocol, version 2.
    ///
    /// All limits per address are then about clients. One knows a client late: a socket of a trusted proxy holds none of
    /// [`handshakes_per_address_max`](WsConfig::handshakes_per_address_max) until the PROXY header or the head of its
    /// request has said who it stands for, and until then only
    /// [`handshakes_max`](WsConfig::handshakes_max) bounds it. So trust only what belongs to you.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// From accepting a socket to the last byte of its request's head; then it is closed. Default 5 s.
    pub handshake_timeout: Duration,
    /// From then on to the last byte of an HTTP answer; what its reader has not taken by then is cut off. Default 5 s.
    pub answer_timeout: Duration,
    /// Sockets that are no WebSocket yet; when there are as many, further ones wait in the system's queue. Default 1,024.
    pub handshakes_max: usize,
    /// How many of them one address may hold; a further one is answered 503 at once. Default 64.
    pub handshakes_per_address_max: usize,
    /// The longest first message in bytes, over it 1009 at its header. It is the hello, and nobody has said yet who they
    /// are. Default 8 KiB.
    pub first_message_max: usize,
    /// The longest frame and the longest message in bytes, over it 1009 at the header. Default 64 KiB.
    pub message_max: usize,
    /// From the first to the last fragment of a message, then 4006. Default 10 s.
    pub assembly_timeout: Duration,
    /// Fragments of one message; a further one is 1009. Default 1,024.
    pub fragments_max: usize,
    /// Bytes a second of what is no message: the headers of frames, pings, pongs. Over it the socket is read more
    /// slowly; the bytes of messages have their budget in the session. Default 16 KiB.
    pub overhead_bytes_per_second: u32,
    /// As many of these bytes at once. Default 64 KiB.
    pub overhead_bytes_burst: u32,
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
            trusted_proxies: Vec::new(),
            handshake_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            handshakes_max: 1024,
            handshakes_per_address_max: 64,
            first_message_max: 8 * 1024,
            message_max: 64 * 1024,
            assembly_timeout: Duration::from_secs(10),
            fragments_max: 1024,
            overhead_bytes_per_second: 16 * 1024,
            overhead_bytes_burst: 64 * 1024,
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
        for (name, bound) in [
            ("handshakes_max", self.handshakes_max),
            ("handshakes_per_address_max", self.handshakes_per_address_max),
            ("first_message_max", self.first_message_max),
            ("message_max", self.message_max),
            ("fragments_max", self.fragments_max),
            ("write_buffer", self.write_buffer),
        ] {
            if bound == 0 {
                return Err(TransportError::Config(format!("{name} must be more than 0")));
            }
        }
        Ok(())
    }
}
