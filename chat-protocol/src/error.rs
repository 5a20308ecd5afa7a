//! What can go wrong, reported the same way on the socket and over REST.

use serde::{Deserialize, Serialize};

/// Machine-readable cause of a refused command or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ErrorCode {
    /// The frame or body is not readable as what it should be.
    Malformed,
    /// The frame's `type` is not known.
    UnknownType,
    /// Readable, but a value is not allowed; the message says what is.
    Invalid,
    /// No valid token.
    Unauthenticated,
    /// The user may not do this.
    Forbidden,
    /// It does not exist, or the user may not know that it does.
    NotFound,
    /// It clashes with what is there: a name that is taken, a message that was deleted.
    Conflict,
    /// The message has as many reactions as it may have, or as one person may give it.
    TooManyReactions,
    /// The channel is archived.
    Archived,
    /// Larger than the limit.
    TooLarge,
    /// There is no room for it: the person has stored as much as one may, or the disk is almost full.
    NoSpace,
    /// The content's type is not accepted.
    UnsupportedMediaType,
    /// The requested range cannot be served.
    RangeNotSatisfiable,
    /// The method is not allowed on this path.
    MethodNotAllowed,
    /// Too many requests from this user or address; see `retry_after_ms`.
    RateLimited,
    /// The server protects itself; nothing was done; see `retry_after_ms`.
    Overloaded,
    /// Something the server needs is away, or the outcome is unknown: resend with the same client id.
    Unavailable,
    /// A bug in the server. It was logged.
    Internal,
    /// A code this version does not know. Never sent.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status that goes with it (RFC 9110 §15).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::UnknownType => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict | Self::TooManyReactions | Self::Archived => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::Invalid => 422,
            Self::RateLimited => 429,
            Self::Overloaded | Self::Unavailable => 503,
            Self::Internal | Self::Unknown => 500,
            // RFC 4918 §11.5, RFC 4331 §6.
            Self::NoSpace => 507,
        }
    }

    /// Whether sending the same again, with the same client id, may succeed.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::Unavailable | Self::Internal)
    }

    /// A short summary that does not change from occurrence to occurrence (RFC 9457 §3.1.3).
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "not readable",
            Self::UnknownType => "unknown frame type",
            Self::Invalid => "value not allowed",
            Self::Unauthenticated => "sign in first",
            Self::Forbidden => "not permitted",
            Self::NotFound => "not found",
            Self::Conflict => "conflicts with what is there",
            Self::TooManyReactions => "too many reactions",
            Self::Archived => "channel is archived",
            Self::TooLarge => "too large",
            Self::NoSpace => "no space left",
            Self::UnsupportedMediaType => "media type not accepted",
            Self::RangeNotSatisfiable => "range not satisfiable",
            Self::MethodNotAllowed => "method not allowed",
            Self::RateLimited => "too many requests",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "temporarily unavailable",
            Self::Internal => "internal error",
            Self::Unknown => "unknown error",
        }
    }
}

/// An error body over REST: `application/problem+json` (RFC 9457), with Folkmoot's `code` and retry hints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI that names the kind of problem: `https://folkmoot.dev/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time and what was expected.
    pub detail: String,
    /// The same cause as on the socket.
    pub code: ErrorCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_future_are_readable() {
        let code: ErrorCode = serde_json::from_str(r#""quantum_flux""#).expect("readable");
        assert_eq!(code, ErrorCode::Unknown);
    }

    #[test]
    fn what_may_be_retried_has_a_status_that_says_so() {
        for code in [ErrorCode::RateLimited, ErrorCode::Overloaded, ErrorCode::Unavailable] {
            assert!(code.retryable() && matches!(code.status(), 429 | 503));
        }
        assert!(!ErrorCode::Forbidden.retryable());
    }
}
