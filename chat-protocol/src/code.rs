//! Error codes, reset reasons and close codes.

use crate::conversation::open_enum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

open_enum! {
    /// What went wrong with a command.
    ErrorCode {
        /// The token ran out: refresh in band and send again.
        TokenExpired = "token_expired",
        /// The frame is not of the protocol.
        Malformed = "malformed",
        /// No command has this name.
        UnknownCommand = "unknown_command",
        /// A field is missing, unknown, or of the wrong type or range.
        InvalidArgument = "invalid_argument",
        /// A text, a list or the whole is over its limit.
        TooLarge = "too_large",
        /// Not there, or not for this caller to see.
        NotFound = "not_found",
        /// The caller's role or the host says no.
        Forbidden = "forbidden",
        /// The state does not allow it.
        Conflict = "conflict",
        /// The id is taken by another command in this conversation.
        IdConflict = "id_conflict",
        /// The message has changed since; the error carries its version.
        VersionConflict = "version_conflict",
        /// Too many too fast: wait `retry_after_ms`.
        RateLimited = "rate_limited",
        /// The outcome is unknown: the same id settles it.
        Unavailable = "unavailable",
        /// A count is at its limit.
        LimitExceeded = "limit_exceeded",
        /// It was deleted.
        Gone = "gone",
    }
}

impl ErrorCode {
    /// Whether the same command may succeed later without change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TokenExpired | Self::RateLimited | Self::Unavailable)
    }

    /// Whether it counts towards close 4509.
    pub fn is_protocol_error(&self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::UnknownCommand | Self::InvalidArgument | Self::TooLarge
        )
    }
}

open_enum! {
    /// Why a client has to forget what it has.
    ResetReason {
        /// The store's log is another incarnation, or went another way.
        Epoch = "epoch",
        /// The cursor is ahead of the head.
        Ahead = "ahead",
        /// What was missed is no longer kept, or the client asked for the short way.
        TooOld = "too_old",
        /// There is no such conversation for this user.
        NotFound = "not_found",
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $reason:literal),+ $(,)?) => {
        /// Why a connection was closed. 4000–4499: come back and resume. 4500–4999: do not come back by yourself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $variant,)+
            /// A number that this version does not know.
            Other(u16),
        }

        impl CloseCode {
            /// Every code that this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The number in the close frame.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// The code of a number in a close frame.
            pub const fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }

            /// The reason that goes with it when there is nothing more to say.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant => $reason,)+
                    Self::Other(_) => "",
                }
            }
        }
    };
}

close_codes! {
    /// Done.
    Normal = 1000 "normal",
    /// The peer goes away.
    GoingAway = 1001 "going_away",
    /// WebSocket was not spoken.
    Protocol = 1002 "protocol",
    /// A frame kind that the subprotocol does not use.
    Unsupported = 1003 "unsupported",
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007 "invalid_utf8",
    /// A frame over the limit.
    TooBig = 1009 "too_big",
    /// The server failed.
    Internal = 1011 "internal",
    /// The server restarts: resume.
    Restart = 1012 "restart",
    /// The server has too much to do.
    Overload = 1013 "overload",
    /// Nothing was heard for too long.
    HeartbeatTimeout = 4000 "heartbeat_timeout",
    /// No hello in time.
    AuthTimeout = 4001 "auth_timeout",
    /// The token ran out and was not refreshed.
    TokenExpired = 4002 "token_expired",
    /// The socket made no progress for too long.
    SlowConsumer = 4003 "slow_consumer",
    /// Too many too fast.
    RateLimited = 4004 "rate_limited",
    /// A fragmented message was not finished in time.
    AssemblyTimeout = 4006 "assembly_timeout",
    /// A frame that cannot be read.
    Malformed = 4500 "malformed",
    /// No version of the protocol in common.
    UnsupportedVersion = 4501 "unsupported_version",
    /// Something came before hello.
    NotAuthenticated = 4502 "not_authenticated",
    /// The token was refused.
    AuthFailed = 4503 "auth_failed",
    /// Hello came twice.
    AlreadyAuthenticated = 4504 "already_authenticated",
    /// The host ended the session.
    SessionRevoked = 4505 "session_revoked",
    /// Too many connections.
    ConnectionLimit = 4506 "connection_limit",
    /// A newer attempt of the same session took over.
    Replaced = 4507 "replaced",
    /// The host says no.
    Forbidden = 4508 "forbidden",
    /// Too many protocol errors.
    TooManyErrors = 4509 "too_many_errors",
    /// No engine listens at this path; the reason names the one that does.
    WrongPath = 4510 "wrong_path",
}

impl CloseCode {
    /// Whether a client comes back by itself after this code.
    pub const fn is_retryable(self) -> bool {
        !matches!(self.number(), 1000 | 1002 | 1003 | 1007 | 1009 | 4500..=4999)
    }
}

/// Cuts a close reason to what a close frame carries: ASCII, at most 123 bytes (RFC 6455, 5.5.1).
pub fn close_reason(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~')).take(123).collect()
}
