//! Ed25519 keys that sign access tokens, and their public halves as a JWK set.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_domain::{
    chat::{ChatError, now_ms},
    store::{SigningKeyRow, Store},
};
use chat_protocol::Millis;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::RwLock;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{MAX_TOKEN_LIFE, OpenError, key_file::KeyFile, tokens::LEEWAY};

/// What stands before the 32 bytes of the seed in a PKCS#8 Ed25519 key (RFC 8410 §7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Keys that are not known here are looked for at most this often, whatever tokens arrive.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// The store is asked for keys this often without a reason: another process may have retired one.
const STORE_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// A file is looked at this often without a reason: nobody says when it is replaced.
const FILE_REFRESH_INTERVAL: Duration = Duration::from_secs(3);

/// A public key (RFC 7517 §4, RFC 8037 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Jwk {
    /// Key type, always `OKP`.
    pub kty: &'static str,
    /// The curve, always `Ed25519`.
    pub crv: &'static str,
    /// The algorithm, always `EdDSA`.
    pub alg: &'static str,
    /// What the key is for, always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// What tokens name the key by.
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

/// The keys that tokens are verified with (RFC 7517 §5), newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct JwkSet {
    /// All keys, newest first.
    pub keys: Vec<Jwk>,
}

/// What tokens name the key of this seed by.
pub(super) fn key_id(seed: &[u8; 32]) -> String {
    let public = SigningKey::from_bytes(seed).verifying_key().to_bytes();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12])
}

/// A new key, which nobody knows yet.
#[must_use]
pub fn new_key() -> SigningKeyRow {
    let seed: [u8; 32] = rand::random();
    SigningKeyRow { kid: key_id(&seed), seed, created_at: now_ms(), verify_until: None }
}

/// A key, ready for use.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    public: [u8; 32],
    times: Times,
}

/// When a key is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) created_at: Millis,
    /// It signs from then on, until a newer one does.
    pub(super) sign_from: Millis,
    /// It verifies until then, from the beginning.
    pub(super) verify_until: Option<Millis>,
}

impl Key {
    pub(super) fn new(kid: String, seed: &[u8; 32], times: Times) -> Self {
        let public = SigningKey::from_bytes(seed).verifying_key().to_bytes();
        let mut pkcs8 = PKCS8_ED25519.to_vec();
        pkcs8.extend_from_slice(seed);
        Self {
            kid,
            encoding: EncodingKey::from_ed_der(&pkcs8),
            decoding: DecodingKey::from_ed_der(&public),
            public,
            times,
        }
    }

    fn of_row(row: &SigningKeyRow) -> Self {
        // The newest of the store signs at once, also when the clock of the process that made it is ahead.
        let times = Times { created_at: row.created_at, sign_from: 0, verify_until: row.verify_until };
        Self::new(row.kid.clone(), &row.seed, times)
    }

    fn verifies_at(&self, now: Millis) -> bool {
        self.times.verify_until.is_none_or(|until| now <= until)
    }

    /// Whether it may sign; the newest that may does.
    pub(super) fn signs_at(&self, now: Millis) -> bool {
        self.times.sign_from <= now && self.verifies_at(now)
    }

    /// Newer keys have more of it.
    pub(super) fn order(&self) -> (Millis, Millis, &str) {
        (self.times.sign_from, self.times.created_at, &self.kid)
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: self.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(self.public),
        }
    }
}

/// The signing keys: the newest signs, retired ones verify until the last token they signed has expired.
pub struct KeyRing {
    source: Source,
    /// All keys that count now, newest first.
    keys: RwLock<Arc<Vec<Arc<Key>>>>,
    /// When keys were last looked for because of an unknown one, and what came of it.
    reloaded: tokio::sync::Mutex<Option<(Instant, Result<(), ChatError>)>>,
}

/// Where the keys are.
enum Source {
    /// All processes make them there.
    Store(Arc<dyn Store>),
    /// Somebody else makes them, and says by their times when each is used.
    File(KeyFile),
}

impl KeyRing {
    /// The keys of this store, which may be none; or of this file, when its path is not empty.
    ///
    /// # Errors
    /// When the store cannot be asked, or the file cannot be used.
    pub async fn load(store: &Arc<dyn Store>, file: &Path) -> Result<Self, OpenError> {
        let (source, keys) = if file.as_os_str().is_empty() {
            (Source::Store(Arc::clone(store)), keys_in(&**store).await?)
        } else {
            let (file, keys) = KeyFile::open(file).await?;
            (Source::File(file), keys)
        };
        let keys = RwLock::new(Arc::new(keys));
        Ok(Self { source, keys, reloaded: tokio::sync::Mutex::new(None) })
    }

    /// Makes the first key if there is none. Keys in a file are made by whoever owns it.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn ensure(&self) -> Result<(), ChatError> {
        if self.keys.read().is_empty() { self.rotate().await.map(drop) } else { Ok(()) }
    }

    /// Makes a new key and signs with it from now on; the others still verify what they signed. Answers its id, or nothing
    /// when keys are in a file: whoever owns it rotates.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn rotate(&self) -> Result<Option<String>, ChatError> {
        let Source::Store(store) = &self.source else { return Ok(None) };
        let row = new_key();
        let kid = row.kid.clone();
        let overlap = MAX_TOKEN_LIFE + LEEWAY;
        let retire_at = row.created_at + u64::try_from(overlap.as_millis()).unwrap_or(Millis::MAX);
        store.add_signing_key(&row, retire_at).await?;
        self.reload().await?;
        tracing::info!(target: "audit", kid, "signing key added");
        Ok(Some(kid))
    }

    /// Rotates when the signing key is older than `age`, if it is ours to rotate.
    ///
    /// # Errors
    /// When the store cannot be asked or does not take the new key.
    pub async fn rotate_when_older(&self, age: Duration) -> Result<bool, ChatError> {
        if matches!(self.source, Source::File(_)) {
            return Ok(false);
        }
        // Another process may have rotated already.
        self.reload().await?;
        let age = u64::try_from(age.as_millis()).unwrap_or(Millis::MAX);
        let due =
            self.keys.read().first().is_none_or(|key| now_ms().saturating_sub(key.times.created_at) > age);
        if due {
            self.rotate().await?;
        }
        Ok(due)
    }

    /// The keys that verify now.
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let now = now_ms();
        JwkSet { keys: self.keys.read().iter().filter(|key| key.verifies_at(now)).map(|k| k.jwk()).collect() }
    }

    /// The key that signs.
    pub(super) fn signing(&self) -> Option<Arc<Key>> {
        let now = now_ms();
        self.keys.read().iter().find(|key| key.signs_at(now)).cloned()
    }

    /// The key of this id, if it still verifies.
    pub(super) async fn verifying(&self, kid: &str) -> Result<Option<Arc<Key>>, ChatError> {
        if let Some(key) = self.find(kid) {
            return Ok(Some(key).filter(|key| key.verifies_at(now_ms())));
        }
        // A token may be signed with a key made a moment ago by another process: it is not refused before keys were
        // looked for after it came. All that wait share one look.
        let came = Instant::now();
        let mut reloaded = self.reloaded.lock().await;
        if self.find(kid).is_none() {
            if reloaded.as_ref().is_none_or(|(at, _)| *at < came) {
                if let Some((at, _)) = *reloaded {
                    tokio::time::sleep_until(at + RELOAD_INTERVAL).await;
                }
                let asked = Instant::now();
                *reloaded = Some((asked, self.reload().await));
            }
            if let Some((_, outcome)) = &*reloaded {
                outcome.clone()?;
            }
        }
        drop(reloaded);
        Ok(self.find(kid).filter(|key| key.verifies_at(now_ms())))
    }

    /// Reads the keys once in a while, for as long as the ring lives.
    pub(super) fn keep_fresh(self: &Arc<Self>) {
        tokio::spawn(refresh(Arc::downgrade(self), self.refresh_interval()));
    }

    fn find(&self, kid: &str) -> Option<Arc<Key>> {
        self.keys.read().iter().find(|key| key.kid == kid).cloned()
    }

    /// Reads the keys again.
    pub(super) async fn reload(&self) -> Result<(), ChatError> {
        let take = |keys| *self.keys.write() = Arc::new(keys);
        match &self.source {
            Source::Store(store) => take(keys_in(&**store).await?),
            Source::File(file) => file.follow(take).await,
        }
        Ok(())
    }

    fn refresh_interval(&self) -> Duration {
        match self.source {
            Source::Store(_) => STORE_REFRESH_INTERVAL,
            Source::File(_) => FILE_REFRESH_INTERVAL,
        }
    }
}

async fn keys_in(store: &dyn Store) -> Result<Vec<Arc<Key>>, ChatError> {
    let rows = store.signing_keys().await?;
    Ok(rows.iter().map(|row| Arc::new(Key::of_row(row))).collect())
}

async fn refresh(ring: Weak<KeyRing>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(ring) = ring.upgrade() else { return };
        if let Err(error) = ring.reload().await {
            tracing::warn!(%error, "signing keys not read, trying again in a minute");
        }
    }
}
