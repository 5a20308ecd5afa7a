//! The certificates by which the processes of a `ChatCluster` know each other, and their renewal by overlap.
//!
//! An authority vouches for exactly one certificate, which all processes share, and its key is forgotten at once: nothing that
//! is kept anywhere can make another certificate. Renewal is one way for both, in three writes of the Secret, [`OVERLAP`] apart,
//! since a process reads its files up to two minutes later than another: first the next authority is trusted beside the present
//! one, then the certificate changes, then the old authority goes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
    /// The Secret stays as it is.
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

impl std::fmt::Display for CertificateChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made => "the first one was made",
            Self::Remade => "what was there could not be used or had expired, so a new one was made",
            Self::NextTrusted => "the next authority is trusted beside the present one",
            Self::Switched => "the next one is in use",
            Self::LastForgotten => "the last authority is not trusted any more",
        })
    }
}

/// Everything else of the Secret: times, what is ready for the next write, and a digest of the rest.
const STATE: &str = "state.json";
/// PEM: the certificate that is switched to next, while its authority is made known.
const NEXT_CERTIFICATE: &str = "next.crt";
/// PEM: its key.
const NEXT_KEY: &str = "next.key";

/// What is to be done about the certificates in a Secret, which is `None` when it is known not to be there. New ones, which are
/// good from `now`, come from `issue`.
///
/// # Errors
/// The errors of `issue`.
pub fn plan<E>(
    found: Option<&SecretData>,
    now: Timestamp,
    issue: impl FnOnce(Timestamp) -> Result<Issued, E>,
) -> Result<CertificatePlan, E> {
    let anew = |issued: Issued, change| replace(Contents::anew(issued, now), change);
    let Some(found) = found else { return Ok(anew(issue(now)?, CertificateChange::Made)) };
    let Some(contents) = Contents::read(found).filter(|contents| contents.current.made_at + LIFE > now)
    else {
        return Ok(anew(issue(now)?, CertificateChange::Remade));
    };
    Ok(match contents.stage {
        Stage::Alone if contents.renew_at() > now => CertificatePlan::Keep { until: contents.renew_at() },
        Stage::Alone => {
            let next = Dated { made_at: now, issued: issue(now)? };
            let stage = Stage::NextTrusted { next };
            replace(Contents { stage, ..contents }, CertificateChange::NextTrusted)
        }
        Stage::NextTrusted { ref next } if next.made_at + OVERLAP > now => {
            CertificatePlan::Keep { until: next.made_at + OVERLAP }
        }
        Stage::NextTrusted { next } => {
            let stage = Stage::Switched { last_authority: contents.current.issued.authority, at: now };
            replace(Contents { current: next, stage }, CertificateChange::Switched)
        }
        Stage::Switched { at, .. } if at + OVERLAP > now => CertificatePlan::Keep { until: at + OVERLAP },
        Stage::Switched { .. } => {
            replace(Contents { stage: Stage::Alone, ..contents }, CertificateChange::LastForgotten)
        }
    })
}

/// When the certificate in a Secret expires, for an annotation.
#[must_use]
pub fn expires_at(data: &SecretData) -> Option<Timestamp> {
    Contents::read(data).map(|contents| contents.current.made_at + LIFE)
}

fn replace(contents: Contents, change: CertificateChange) -> CertificatePlan {
    CertificatePlan::Replace { data: contents.write(), change }
}

/// What is in the Secret.
struct Contents {
    /// What is in use.
    current: Dated,
    stage: Stage,
}

/// A certificate, and when it was made.
struct Dated {
    made_at: Timestamp,
    issued: Issued,
}

/// How far a renewal is.
enum Stage {
    /// There is none.
    Alone,
    /// The next authority is trusted beside the one in use, since it was made.
    NextTrusted { next: Dated },
    /// The next is in use, since then, and the last authority is trusted still.
    Switched { last_authority: String, at: Timestamp },
}

impl Contents {
    fn anew(issued: Issued, now: Timestamp) -> Self {
        Self { current: Dated { made_at: now, issued }, stage: Stage::Alone }
    }

    fn renew_at(&self) -> Timestamp {
        self.current.made_at + (LIFE - RENEW_BEFORE)
    }

    /// `None` when it is not what [`Self::write`] wrote.
    fn read(data: &SecretData) -> Option<Self> {
        let state: State = serde_json::from_slice(data.get(STATE)?).ok()?;
        if state.digest != digest(data) {
            return None;
        }
        let text = |key| data.text(key).map(str::to_owned);
        let mut authorities = split(data.text(AUTHORITIES)?).into_iter();
        let authority = authorities.next()?;
        let issued = Issued { authority, certificate: text(CERTIFICATE)?, key: text(KEY)? };
        let stage = match state.stage {
            StateStage::Alone => Stage::Alone,
            StateStage::NextTrusted { made_at } => {
                let (certificate, key) = (text(NEXT_CERTIFICATE)?, text(NEXT_KEY)?);
                let issued = Issued { authority: authorities.next()?, certificate, key };
                Stage::NextTrusted { next: Dated { made_at, issued } }
            }
            StateStage::Switched { at } => Stage::Switched { last_authority: authorities.next()?, at },
        };
        Some(Self { current: Dated { made_at: state.made_at, issued }, stage })
    }

    fn write(self) -> SecretData {
        let Issued { authority, certificate, key } = self.current.issued;
        let mut data = SecretData::from_iter([(CERTIFICATE, certificate), (KEY, key)]);
        let (other_authority, stage) = match self.stage {
            Stage::Alone => (String::new(), StateStage::Alone),
            Stage::NextTrusted { next: Dated { made_at, issued } } => {
                data.insert(NEXT_CERTIFICATE, issued.certificate);
                data.insert(NEXT_KEY, issued.key);
                (issued.authority, StateStage::NextTrusted { made_at })
            }
            Stage::Switched { last_authority, at } => (last_authority, StateStage::Switched { at }),
        };
        // The one that is in use comes first.
        data.insert(AUTHORITIES, authority + &other_authority);
        let state = State { made_at: self.current.made_at, stage, digest: digest(&data) };
        data.insert(STATE, serde_json::to_vec(&state).expect("text and numbers are always JSON"));
        data
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(with = "super::milliseconds")]
    made_at: Timestamp,
    stage: StateStage,
    /// SHA-256 of all the rest, by which a change by somebody else shows.
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateStage {
    Alone,
    NextTrusted {
        #[serde(with = "super::milliseconds")]
        made_at: Timestamp,
    },
    Switched {
        #[serde(with = "super::milliseconds")]
        at: Timestamp,
    },
}

fn digest(data: &SecretData) -> String {
    let mut digest = Sha256::new();
    for (key, value) in data.iter().filter(|(key, _)| *key != STATE) {
        for part in [key.as_bytes(), value] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// The certificates of a bundle, each with its last line.
fn split(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = bundle.split_inclusive(END).filter(|part| part.contains(END));
    parts.map(|part| format!("{}\n", part.trim_start())).collect()
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
