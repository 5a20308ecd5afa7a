//! Makes an authority, and the one certificate that it vouches for.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::certificates::LIFE;

/// The DNS name by which chat-server knows a process of its own cluster (`cluster::tls::CERTIFICATE_NAME` there).
pub const NAME: &str = "processes.folkmoot.internal";
/// Clocks of nodes differ.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// An authority's certificate, and a certificate of it with its key; all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The authority. Its key was forgotten.
    pub authority: String,
    /// The certificate as PEM.
    pub certificate: String,
    /// Its private key as PEM.
    pub key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a certificate")]
pub struct IssueError(#[from] rcgen::Error);

/// Makes both, good from an hour before `now`, since clocks differ, until [`LIFE`] after it.
///
/// # Errors
/// When the system has no randomness.
pub fn issue(now: Timestamp) -> Result<Issued, IssueError> {
    let authority_key = KeyPair::generate()?;
    let mut authority = parameters(now, "Folkmoot processes: authority", Vec::new())?;
    // It vouches for certificates, and for no further authority.
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut process = parameters(now, NAME, vec![NAME.to_owned()])?;
    process.use_authority_key_identifier_extension = true;
    process.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    process.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = process.signed_by(&key, &issuer)?;
    Ok(Issued {
        authority: authority_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn parameters(now: Timestamp, name: &str, dns_names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(dns_names)?;
    parameters.not_before = (UNIX_EPOCH + since_epoch(now - SKEW)).into();
    parameters.not_after = (UNIX_EPOCH + since_epoch(now + LIFE)).into();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

/// Whole seconds, as certificates have them.
fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}
