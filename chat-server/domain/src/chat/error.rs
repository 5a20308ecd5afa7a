//! One error for everything a user can ask of the domain; the socket and REST show it each in its own form.

use chat_log::permission::Denial;
use chat_protocol::{ErrorCode, limits::IDEMPOTENCY_WINDOW_MS};

use crate::store::{Refusal, StoreError};

/// A refused command: the cause, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ChatError {
    /// The cause, as a code of the protocol.
    pub code: ErrorCode,
    /// What was expected, for the developer of the client.
    pub message: String,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl ChatError {
    /// An error with this cause and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// A value that is not allowed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// Something that is not there, or that the user may not know of.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("no such {what}, or not yours to see"))
    }

    /// Something the user may not do.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// The server protects itself; nothing was done.
    #[must_use]
    pub fn overloaded(retry_after_ms: u64) -> Self {
        Self {
            code: ErrorCode::Overloaded,
            message: "too much to do at the moment; nothing was done".into(),
            retry_after_ms: Some(retry_after_ms),
        }
    }

    /// Asked too often.
    #[must_use]
    pub fn rate_limited(retry_after_ms: u64) -> Self {
        Self {
            code: ErrorCode::RateLimited,
            message: format!("too many requests; try again in {retry_after_ms} ms"),
            retry_after_ms: Some(retry_after_ms),
        }
    }

    /// Nobody knows whether it was done.
    #[must_use]
    pub fn unknown_outcome() -> Self {
        let hours = IDEMPOTENCY_WINDOW_MS / 3_600_000;
        Self {
            code: ErrorCode::Unavailable,
            message: format!("the outcome is not known; resend with the same id within {hours} hours"),
            retry_after_ms: Some(500),
        }
    }
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded { retry_after_ms } => Self::overloaded(retry_after_ms),
            StoreError::Unavailable(_) => Self {
                code: ErrorCode::Unavailable,
                message: "the store cannot be reached; nothing was done".into(),
                retry_after_ms: Some(1_000),
            },
            StoreError::UnknownOutcome(_) => Self::unknown_outcome(),
            StoreError::Failed(source) => {
                tracing::error!(error = %source, "store failed");
                Self::new(ErrorCode::Internal, "the store failed; it was logged")
            }
        }
    }
}

impl From<Denial> for ChatError {
    fn from(denial: Denial) -> Self {
        Self::new(denial.code(), denial.message())
    }
}

impl From<Refusal> for ChatError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.message())
    }
}
