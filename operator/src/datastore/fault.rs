//! Why an engine cannot be used.

use std::fmt;

/// Why, as the reason of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nobody answers in time.
    Unreachable,
    /// It does not take the login.
    Unauthorized,
    /// No TLS connection comes about.
    TlsFailed,
    /// A referenced Secret, or a key in it, is missing.
    SecretMissing,
    /// It answers, and not as it should.
    Refused,
    /// Something differs from what it should be, and may not be put right now.
    Drifted,
}

impl Reason {
    /// As it stands in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Unauthorized => "Unauthorized",
            Self::TlsFailed => "TlsFailed",
            Self::SecretMissing => "SecretMissing",
            Self::Refused => "Refused",
            Self::Drifted => "Drifted",
        }
    }
}

/// Why an engine cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Reason for a program.
    pub reason: Reason,
    /// Message for a person: which address, what was expected, what came, what to do.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
