//! Every bound by its name, with its default, its unit and what happens when it is hit.

use crate::conversation::RuleLimits;
use chat_protocol::server_session::ServerConfig;
use std::time::Duration;

/// The bounds of a node. Every value is a default that a host may change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// What one connection may do; the bounds that the session's machine keeps by itself.
    pub connection: ServerConfig,
    /// The bounds inside conversations; over them `limit_exceeded`.
    pub rules: RuleLimits,

    /// Open connections of this node (50,000); over it handshakes are answered 503.
    pub connections_max: usize,
    /// Open connections from one address, or network of 64 bits in IPv6 (200); over it handshakes are answered 503.
    pub connections_per_address_max: usize,
    /// Open connections of one user (20); over it a new one is closed 4506.
    pub connections_per_user_max: usize,
    /// Connections that have not said hello (1,000); over it handshakes are answered 503.
    pub unauthenticated_max: usize,
    /// Handshakes a second from one address (10), with a burst of five seconds' worth.
    pub handshakes_per_address: u32,
    /// Handshakes a second on this node (200), with a burst of five seconds' worth.
    pub handshakes_per_second: u32,

    /// Bytes waiting for one session (256 KiB); over it its events fall back to the log.
    pub session_queue_bytes_max: usize,
    /// Frames waiting for one session (512); over it its events fall back to the log.
    pub session_queue_frames_max: usize,
    /// Signals waiting for one session (512), the latest of each key; over it the oldest are dropped, typing first.
    pub session_signals_max: usize,
    /// Bytes of signals waiting for one session, beside its other bytes (64 KiB); over it the oldest are dropped.
    pub session_signal_bytes_max: usize,
    /// Bytes waiting on this node (256 MiB), a shared payload counted once: from 60 % on no session that has something
    /// waiting is read ahead for, at 80 % new connections are refused, at 95 % events that would have to wait fall back
    /// to the log, the largest queues first.
    pub node_queue_bytes_max: usize,
    /// Reads of the store that all sessions of this node have under way for what they missed (8): the others wait their turn,
    /// so that clients that come back all at once leave the store room for what is written and asked.
    pub session_reads_max: usize,
    /// How long a socket may take nothing while something waits for it (30 s); then 4003.
    pub write_stall_max: Duration,

    /// Events on a page of the log, and messages on a page of history (200).
    pub page_events_max: usize,
    /// Bytes after which a page ends (48 KiB); it holds at least one item.
    pub page_bytes_max: usize,
    /// Entries on a page of the inbox, members on a page of members (50).
    pub page_entries_max: usize,

    /// How long a hook may take (2 s); then `unavailable`.
    pub hook_timeout: Duration,
    /// How long a client waits for the store (2 s); then `unavailable`, while the commit goes on.
    pub store_timeout: Duration,
    /// Events waiting for `after_commit` (4,096); more are dropped and counted.
    pub after_commit_queue_max: usize,

    /// Messages a second from one user (5) and the burst (20); over it `rate_limited`.
    pub sends_per_user: (u32, u32),
    /// Messages a second in one conversation (50) and the burst (200); over it `rate_limited`.
    pub sends_per_conversation: (u32, u32),
    /// New direct conversations an hour by one user (10), unless a hook allows more; over it `rate_limited`.
    pub directs_per_hour: u32,

    /// Commands waiting for one conversation's task (1,024); over it senders wait, then `unavailable`.
    pub mailbox_max: usize,
    /// Commands in one append (256).
    pub batch_max: usize,
    /// After this long without work a conversation's task ends (30 s).
    pub conversation_idle: Duration,
    /// How long a fan-out goes on before it lets others run (1 ms).
    pub fan_out_slice: Duration,

    /// Users whose presence one session watches (200).
    pub presence_watches_max: usize,
    /// Conversations whose typing and receipts one session watches (20).
    pub conversation_watches_max: usize,
    /// Receipts are signalled in groups of at most so many members (100).
    pub receipt_members_max: u64,
    /// The least time between two receipts of one member in one conversation (1 s).
    pub receipt_interval: Duration,
    /// The least time between two signals of one session in one conversation that its user types (3 s); that they
    /// stopped is told at once.
    pub typing_interval: Duration,

    /// How often this node asks the store what changed (5 s).
    pub reconcile_interval: Duration,
    /// For how long a node's lease holds (10 s).
    pub lease_ttl: Duration,
    /// How often it is renewed (4 s).
    pub lease_interval: Duration,
    /// For how long a user whose last connection dropped still counts as online (10 s).
    pub presence_grace: Duration,
    /// Topics that conversations, and users, hash to (1,024); the same on every node.
    pub topics: u16,
    /// For how long a topic is listened to after its last listener went (30 s).
    pub topic_linger: Duration,
    /// Bells waiting for the backplane (4,096); more are dropped and counted: reconcile heals.
    pub bell_queue_max: usize,
    /// Bytes of the bells waiting for the backplane (16 MiB); as above.
    pub bell_queue_bytes_max: usize,
    /// Bytes of a bell (48 KiB), or fewer when the backplane carries fewer: a larger batch rings with its head alone,
    /// signals and lists of users ring in parts, and display data that does not fit is told on this node alone.
    pub bell_bytes_max: usize,
    /// Over how long a draining node spreads its clients' return (5 s).
    pub drain_spread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connection: ServerConfig::default(),
            rules: RuleLimits::default(),
            connections_max: 50_000,
            connections_per_address_max: 200,
            connections_per_user_max: 20,
            unauthenticated_max: 1_000,
            handshakes_per_address: 10,
            handshakes_per_second: 200,
            session_queue_bytes_max: 256 * 1024,
            session_queue_frames_max: 512,
            session_signals_max: 512,
            session_signal_bytes_max: 64 * 1024,
            node_queue_bytes_max: 256 * 1024 * 1024,
            session_reads_max: 8,
            write_stall_max: Duration::from_secs(30),
            page_events_max: 200,
            page_bytes_max: 48 * 1024,
            page_entries_max: 50,
            hook_timeout: Duration::from_secs(2),
            store_timeout: Duration::from_secs(2),
            after_commit_queue_max: 4_096,
            sends_per_user: (5, 20),
            sends_per_conversation: (50, 200),
            directs_per_hour: 10,
            mailbox_max: 1_024,
            batch_max: 256,
            conversation_idle: Duration::from_secs(30),
            fan_out_slice: Duration::from_millis(1),
            presence_watches_max: 200,
            conversation_watches_max: 20,
            receipt_members_max: 100,
            receipt_interval: Duration::from_secs(1),
            typing_interval: Duration::from_secs(3),
            reconcile_interval: Duration::from_secs(5),
            lease_ttl: Duration::from_secs(10),
            lease_interval: Duration::from_secs(4),
            presence_grace: Duration::from_secs(10),
            topics: 1_024,
            topic_linger: Duration::from_secs(30),
            bell_queue_max: 4_096,
            bell_queue_bytes_max: 16 * 1024 * 1024,
            bell_bytes_max: 48 * 1024,
            drain_spread: Duration::from_secs(5),
        }
    }
}
