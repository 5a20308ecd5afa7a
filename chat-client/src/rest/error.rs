//! What a request can fail with.

use std::time::Duration;

use chat_protocol::{ErrorCode, Problem};

use crate::StoreError;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The address is not usable.
    #[error("not an http or https URL: {0:?}")]
    Url(String),
    /// The HTTP client could not be set up.
    #[error("failed to set up an HTTP client")]
    Setup(#[source] reqwest::Error),
    /// No answer in time, or one that is not readable.
    #[error("no readable answer from {path}")]
    Request {
        /// What was asked.
        path: String,
        /// What the HTTP client reported.
        source: reqwest::Error,
    },
    /// The server refused, and said why.
    #[error("{}: {}", .problem.title, .problem.detail)]
    Problem {
        /// What was asked.
        path: String,
        /// The server's answer.
        problem: Box<Problem>,
    },
    /// Something between here and the server refused, without saying why.
    #[error("{path} failed with status {status}")]
    Status {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The answer is of another life of the server's store: it was restored from a backup, and not all of its processes have
    /// noticed.
    #[error("{path} was answered from another generation of the store than the socket's")]
    OtherGeneration {
        /// What was asked.
        path: String,
    },
    /// What is to be reacted with is no emoji; the server was not asked.
    #[error("{0}")]
    Emoji(String),
    /// There is no token, or it is not accepted and no other can be had.
    #[error("not signed in")]
    SignedOut,
    /// Stored tokens could not be read or written.
    #[error("failed to read or write the stored tokens")]
    Store(#[source] StoreError),
    /// Somebody else held the lock of the token store for too long.
    #[error("another process held the lock of the token store for {} s", .0.as_secs())]
    StoreBusy(Duration),
    /// A file on this machine could not be read.
    #[error("failed to read {0}")]
    File(String, #[source] std::io::Error),
}

impl RestError {
    /// The cause that the server named.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Problem { problem, .. } => Some(problem.code),
            Self::Emoji(_) => Some(ErrorCode::Invalid),
            Self::SignedOut => Some(ErrorCode::Unauthenticated),
            _ => None,
        }
    }

    /// Whether the same request may succeed later. What sends something is safe to repeat with the same
    /// `Idempotency-Key` only.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => problem.retryable,
            Self::Status { status, .. } => matches!(status, 429 | 502..=504),
            Self::Request { source, .. } => !source.is_builder() && !source.is_redirect(),
            Self::StoreBusy(_) | Self::OtherGeneration { .. } => true,
            Self::Url(_)
            | Self::Setup(_)
            | Self::Emoji(_)
            | Self::SignedOut
            | Self::Store(_)
            | Self::File(..) => false,
        }
    }

    /// When to try again, when the server said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { problem, .. } => problem.retry_after_ms.map(Duration::from_millis),
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn unauthenticated(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => problem.code == ErrorCode::Unauthenticated,
            Self::Status { status, .. } => *status == 401,
            _ => false,
        }
    }
}
