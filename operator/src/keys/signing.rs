//! The keys that sign access tokens: their form in the Secret, and their rotation by overlap.
//!
//! chat-server reads them from a file (`auth.signing_keys_file`): of the keys whose `sign_from` has come the newest signs, and
//! every key verifies from the moment it is in the file until its `verify_until`. Kubelets take up to two minutes to renew a
//! mounted Secret. So the next key is published [`LEAD`] before it signs, and the one before it verifies for [`GRACE`] more.

use std::collections::HashSet;

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
/// Keys that are to sign later than this from now were made by a clock that was wrong.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24);

/// What is to become of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningPlan {
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

impl std::fmt::Display for SigningChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made => "the first key was made",
            Self::Remade => "what was there could not be used, so a new key was made",
            Self::Published => "the next key is known and signs in ten minutes",
            Self::Tidied => "keys whose time is over were removed",
        })
    }
}

/// What is to be done about the keys in a Secret, which is `None` when it is known not to be there. `rotate_after` is the age,
/// counted from when it began to sign, at which a key is replaced. A seed for a new key comes from `seed`.
#[must_use]
pub fn plan(
    found: Option<&SecretData>,
    rotate_after: SignedDuration,
    now: Timestamp,
    seed: impl FnOnce() -> [u8; 32],
) -> SigningPlan {
    let anew =
        |seed: [u8; 32], change| SigningPlan::Replace { data: write(&[Key::new(seed, now, now)]), change };
    let Some(found) = found else { return anew(seed(), SigningChange::Made) };
    let Some(read) = found.get(FILE).and_then(read) else { return anew(seed(), SigningChange::Remade) };
    let mut keys = tidied(&read, now);
    let Some(signs) = keys.iter().rev().find(|key| key.sign_from <= now) else {
        return anew(seed(), SigningChange::Remade);
    };
    let publish_at = later(signs.sign_from, rotate_after.saturating_sub(LEAD));
    let next_is_known = keys.last().is_some_and(|key| key.sign_from > now);
    if publish_at <= now && !next_is_known {
        keys.push(Key::new(seed(), now, later(now, LEAD)));
        return SigningPlan::Replace { data: write(&tidied(&keys, now)), change: SigningChange::Published };
    }
    if keys != read {
        return SigningPlan::Replace { data: write(&keys), change: SigningChange::Tidied };
    }
    let ends = keys.iter().filter_map(|key| key.verify_until);
    let next = if next_is_known { keys.last().map(|key| key.sign_from) } else { Some(publish_at) };
    SigningPlan::Keep { until: ends.chain(next).min().unwrap_or(publish_at) }
}

/// A key as chat-server reads it. Its seed is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    kid: String,
    #[serde(with = "base64url")]
    seed: [u8; 32],
    #[serde(with = "super::milliseconds")]
    created_at: Timestamp,
    #[serde(with = "super::milliseconds")]
    sign_from: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::milliseconds::optional")]
    verify_until: Option<Timestamp>,
}

impl Key {
    fn new(seed: [u8; 32], created_at: Timestamp, sign_from: Timestamp) -> Self {
        Self {
            kid: key_id(&seed),
            seed,
            created_at: whole(created_at),
            sign_from: whole(sign_from),
            verify_until: None,
        }
    }

    fn order(&self) -> (Timestamp, Timestamp, &str) {
        (self.sign_from, self.created_at, &self.kid)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Key>,
}

/// What tokens name a key by.
fn key_id(seed: &[u8; 32]) -> String {
    let public = SigningKey::from_bytes(seed).verifying_key().to_bytes();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12])
}

/// Keys that chat-server would take too.
fn read(file: &[u8]) -> Option<Vec<Key>> {
    let keys = serde_json::from_slice::<Document>(file).ok()?.keys;
    let mut known = HashSet::new();
    let usable = keys.iter().all(|key| key.kid == key_id(&key.seed) && known.insert(key.kid.as_str()));
    usable.then_some(keys)
}

fn write(keys: &[Key]) -> SecretData {
    let document = Document { keys: keys.to_vec() };
    let text = serde_json::to_vec(&document).expect("text and numbers are always JSON");
    SecretData::from_iter([(FILE, text)])
}

/// The keys in the order in which they sign, with the times that follow from it: each verifies until [`GRACE`] after the next
/// one began to sign, the last for ever. Without those whose time is over, and without those that only a wrong clock could
/// have made.
fn tidied(keys: &[Key], now: Timestamp) -> Vec<Key> {
    let believable = later(now, FARTHEST);
    let mut keys: Vec<Key> = keys.iter().filter(|key| key.sign_from <= believable).cloned().collect();
    keys.sort_by(|a, b| a.order().cmp(&b.order()));
    let ends: Vec<_> =
        keys.iter().skip(1).map(|next| Some(later(next.sign_from, GRACE))).chain([None]).collect();
    for (key, end) in keys.iter_mut().zip(ends) {
        key.verify_until = end;
    }
    keys.retain(|key| key.verify_until.is_none_or(|end| end > now));
    keys
}

fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Rounded to the precision of the file.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

mod base64url {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(seed: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(seed))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        // What came is secret, so the error does not have it.
        let seed = URL_SAFE_NO_PAD.decode(String::deserialize(from)?).ok();
        seed.and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| D::Error::custom("not 32 bytes in base64url"))
    }
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;
