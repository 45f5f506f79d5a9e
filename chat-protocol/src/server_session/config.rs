//! The bounds of a session.

use std::time::Duration;

/// The bounds of a session; the defaults are the ones to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// From the connection to the hello; then close 4001.
    pub auth_timeout: Duration,
    /// Bytes of the hello; more is close 1009.
    pub hello_bytes_max: usize,
    /// Bytes of any other frame; more is close 1009.
    pub frame_bytes_max: usize,
    /// Silence after which the client is asked.
    pub heartbeat_interval: Duration,
    /// Silence after the question; then close 4000.
    pub heartbeat_timeout: Duration,
    /// Commands a second; more are answered `rate_limited`.
    pub commands_per_second: u32,
    /// Commands at once.
    pub commands_burst: u32,
    /// Commands without an answer; the next is not read.
    pub commands_in_flight_max: usize,
    /// The client's own `ping` and `pong` frames a second; more is close 4004.
    pub pings_per_second: u32,
    /// Pings at once.
    pub pings_burst: u32,
    /// Bytes a second; over it frames are read more slowly.
    pub inbound_bytes_per_second: u32,
    /// Bytes at once.
    pub inbound_bytes_burst: u32,
    /// Cursors in all resume frames together; more is close 4500.
    pub resume_cursors_max: usize,
    /// Errors of the protocol within the window; the last of them is followed by close 4509.
    pub protocol_errors_max: usize,
    /// How long an error of the protocol is remembered.
    pub protocol_errors_window: Duration,
    /// How long before the token runs out the client is told.
    pub expiry_warning: Duration,
    /// How long after the token ran out the connection stays, without taking commands; then close 4002.
    pub expiry_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            auth_timeout: Duration::from_secs(5),
            hello_bytes_max: 8 * 1024,
            frame_bytes_max: 64 * 1024,
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(10),
            commands_per_second: 20,
            commands_burst: 60,
            commands_in_flight_max: 8,
            pings_per_second: 1,
            pings_burst: 20,
            inbound_bytes_per_second: 64 * 1024,
            inbound_bytes_burst: 256 * 1024,
            resume_cursors_max: 10_000,
            protocol_errors_max: 20,
            protocol_errors_window: Duration::from_secs(60),
            expiry_warning: Duration::from_secs(60),
            expiry_grace: Duration::from_secs(25),
        }
    }
}
