//! The keys that sign access tokens: their form in the Secret, and their rotation by overlap.
//!
//! chat-server reads them from a file (`auth.signing_keys_file`): of the keys whose `sign_from` has come the newest signs, and
//! every key verifies from the moment it is in the file until its `verify_until`. Kubelets take up to two minutes to renew a
//! mounted Secret. So the next key is published [`LEAD`] before it signs, and the one before it verifies for [`GRACE`] more.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SecretData;

/// The key of the Secret, and the name of the file in pods.
pub const FILE: &str = "keys.json";
/// How long all processes know a key before it signs. The first one has nobody to wait for.
pub const LEAD: SignedDuration = SignedDuration::from_mins(10);
/// How long a key verifies after the next one began to sign: a token lives for 24 hours at most, and the rest is for clocks
/// that differ and processes that have not read the next key.
pub const GRACE: SignedDuration = SignedDuration::from_hours(25);

/// What is to become of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningPlan {
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
        change: SigningChange,
    },
}

/// What happens to the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningChange {
    /// There were none.
    Made,
    /// What was there could not be used, or none of it signs. People sign in again with what they have: only access tokens of
    /// the old keys are refused.
    Remade,
    /// The next key is known from now on, and signs after [`LEAD`].
    Published,
    /// Keys whose last token has expired are gone, or times that somebody changed are right again.
    Tidied,
}

/// What is to be done about the keys in a Secret, which is `None` when it is known not to be there. `rotate_after` is the age,
/// counted from when it began to sign, at which a key is replaced. Seeds for new keys come from `seed`.
#[must_use]
pub fn plan(
    found: Option<&SecretData>,
    rotate_after: SignedDuration,
    now: Timestamp,
    seed: impl FnOnce() -> [u8; 32],
) -> SigningPlan {
    let _ = (found, rotate_after, now, seed);
    SigningPlan::Keep { until: now }
}
