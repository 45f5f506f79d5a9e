//! What a command can come to, other than its outcome.

use crate::store::{Refusal, StoreError};
use chat_protocol::code::ErrorCode;
use chat_protocol::frame::ErrorFrame;
use std::time::Duration;
use thiserror::Error;

/// A command that was not carried out, or whose outcome is unknown.
///
/// Every code but `unavailable` is definite: nothing was stored, and nothing will be by this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CommandError {
    code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
    version: Option<u64>,
}

impl CommandError {
    /// An error with the sentence that says what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            version: None,
        }
    }

    pub(crate) fn not_found() -> Self {
        Refusal::NotFound.into()
    }

    /// The outcome is unknown: the same id settles it.
    pub(crate) fn unavailable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(ErrorCode::Unavailable, "the outcome is unknown: send the same id again")
        }
    }

    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                ErrorCode::RateLimited,
                "too many, too fast: send it again after retry_after_ms",
            )
        }
    }

    /// The code on the wire.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// Whether the same command may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// With `version_conflict`, the version that is current.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    pub(crate) fn frame(self, req: u64) -> ErrorFrame {
        let frame = ErrorFrame {
            version: self.version,
            ..ErrorFrame::new(Some(req), self.code, self.message)
        };
        match self.retry_after {
            Some(wait) => frame.retry_after(wait),
            None => frame,
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::NotFound => ErrorCode::NotFound,
            Refusal::Forbidden(_) => ErrorCode::Forbidden,
            Refusal::Conflict(_) => ErrorCode::Conflict,
            Refusal::IdConflict => ErrorCode::IdConflict,
            Refusal::VersionConflict(_) => ErrorCode::VersionConflict,
            Refusal::Gone => ErrorCode::Gone,
            Refusal::LimitExceeded(_) => ErrorCode::LimitExceeded,
            Refusal::InvalidArgument(_) => ErrorCode::InvalidArgument,
        };
        let version = if let Refusal::VersionConflict(version) = refusal {
            Some(version)
        } else {
            None
        };
        Self {
            version,
            ..Self::new(code, refusal.to_string())
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store did not answer");
        Self::unavailable()
    }
}
