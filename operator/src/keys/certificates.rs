//! The certificates by which the processes of a `ChatCluster` know each other, and their renewal by overlap.
//!
//! An authority vouches for exactly one certificate, which all processes share, and its key is forgotten at once: nothing that
//! is kept anywhere can make another certificate. Renewal is one way for both, in three writes of the Secret, [`OVERLAP`] apart,
//! since a process reads its files up to two minutes later than another: first the next authority is trusted beside the present
//! one, then the certificate changes, then the old authority goes.

use jiff::{SignedDuration, Timestamp};

use super::{SecretData, issue::Issued};

/// PEM: the authorities. Pods mount this and the next two, and nothing else of the Secret.
pub const AUTHORITIES: &str = "ca.crt";
/// PEM: the certificate.
pub const CERTIFICATE: &str = "tls.crt";
/// PEM: its key.
pub const KEY: &str = "tls.key";
/// How long both authorities are trusted before and after the certificate changes.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// How long a certificate is good for.
pub const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long before its end it is replaced.
pub const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is to become of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificatePlan {
    /// It stays.
    Keep {
        /// Until then at least.
        until: Timestamp,
    },
    /// It is to be written.
    Replace {
        /// All that is to be in it.
        data: SecretData,
        /// Why, for an event; nothing secret.
        change: CertificateChange,
    },
}

/// What happens to the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateChange {
    /// There were none.
    Made,
    /// What was there could not be used, or had expired.
    Remade,
    /// The next authority is trusted too.
    NextTrusted,
    /// The certificate is the next one's.
    Switched,
    /// The last authority is not trusted any more.
    LastForgotten,
}

/// What is to be done about the certificates in a Secret, which is `None` when it is known not to be there. New ones, which are
/// good from `now`, come from `issue`.
///
/// # Errors
/// Those of `issue`.
pub fn plan<E>(
    found: Option<&SecretData>,
    now: Timestamp,
    issue: impl FnOnce(Timestamp) -> Result<Issued, E>,
) -> Result<CertificatePlan, E> {
    let _ = (found, issue);
    Ok(CertificatePlan::Keep { until: now })
}

/// When the certificate in a Secret expires, for an annotation.
#[must_use]
pub fn expires_at(data: &SecretData) -> Option<Timestamp> {
    let _ = data;
    None
}
