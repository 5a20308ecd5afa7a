//! Signing keys from a file that somebody else writes, such as a mounted Secret of Kubernetes, and replaces while we run.
//!
//! No error and no line of the log holds anything that was in the file, for that is secret: keys are named by where they
//! stand, and what a JSON parser says of a wrong value is left out.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_domain::chat::now_ms;
use chat_protocol::Millis;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt as _, sync::Mutex};

use super::keys::{Key, Times, key_id};

/// Larger files are not read, in bytes: no Secret of Kubernetes is larger.
const MAX_BYTES: u64 = 1024 * 1024;

/// A file of signing keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("failed to read the signing keys in {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// It holds something that cannot be used.
    #[error("the signing keys in {} cannot be used", path.display())]
    Contents {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with its contents.
        source: KeyFault,
    },
}

/// What is wrong with the contents of a file of signing keys. Keys count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It has more than 1 MiB.
    #[error("the file is too large: at most {MAX_BYTES} bytes are allowed")]
    TooLarge,
    /// It is not of the form that is described.
    #[error(
        "not JSON of the form {{\"keys\":[{{\"kid\":…,\"seed\":…,\"created_at\":…,\"sign_from\":…}}]}} \
         in line {line}, column {column}"
    )]
    Form {
        /// Where, counted from 1.
        line: usize,
        /// Where, counted from 1.
        column: usize,
    },
    /// A seed cannot be one.
    #[error("the seed of key {0} is not 32 bytes in base64url without padding")]
    Seed(usize),
    /// An id does not follow from its key.
    #[error(
        "the kid of key {at} is not {expected}, the first 12 bytes of the SHA-256 of its public key in base64url"
    )]
    Kid {
        /// Which key, from 1.
        at: usize,
        /// The id that follows from the key.
        expected: String,
    },
    /// A key is there twice.
    #[error("key {0} is there twice")]
    Twice(usize),
    /// There is nothing to sign with.
    #[error(
        "none of {0} keys signs now: one needs a sign_from that has come and a verify_until that has not"
    )]
    NoneSigns(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    kid: String,
    seed: String,
    created_at: Millis,
    sign_from: Millis,
    verify_until: Option<Millis>,
}

/// A file, and what was seen in it.
pub(super) struct KeyFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The digest of the contents that are in use.
    used: [u8; 32],
    /// What was last complained about, so that it is done once.
    complaint: Option<Complaint>,
}

#[derive(PartialEq, Eq)]
struct Complaint {
    /// The digest of what was there; `None`: nothing that could be read.
    contents: Option<[u8; 32]>,
    text: String,
}

impl KeyFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) async fn open(path: &Path) -> Result<(Self, Vec<Arc<Key>>), KeyFileError> {
        let contents = read(path).await?;
        let keys = parse(&contents, now_ms()).map_err(|source| unusable(path, source))?;
        let seen = Seen { used: digest(&contents), complaint: None };
        Ok((Self { path: path.to_owned(), seen: Mutex::new(seen) }, keys))
    }

    /// Looks at the file, and hands over its keys when they are others than before. What cannot be used is logged, once,
    /// and changes nothing.
    pub(super) async fn follow(&self, take: impl FnOnce(Vec<Arc<Key>>)) {
        // Held all the time, so that what is read later is also taken later.
        let mut seen = self.seen.lock().await;
        let (contents, error) = match read(&self.path).await {
            Ok(contents) => {
                let used = digest(&contents);
                if used == seen.used {
                    seen.complaint = None;
                    return;
                }
                // Each time anew, though nothing changed: a key may sign by now that did not before.
                match parse(&contents, now_ms()) {
                    Ok(keys) => {
                        let kids: Vec<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
                        tracing::info!(target: "audit", ?kids, path = %self.path.display(), "signing keys replaced");
                        *seen = Seen { used, complaint: None };
                        return take(keys);
                    }
                    Err(fault) => (Some(used), unusable(&self.path, fault)),
                }
            }
            Err(error) => (None, error),
        };
        let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let complaint = Complaint { contents, text };
        if seen.complaint.as_ref() != Some(&complaint) {
            tracing::error!(%error, source = complaint.text, "signing keys not replaced, the last ones stay in use");
            seen.complaint = Some(complaint);
        }
    }
}

fn unusable(path: &Path, source: KeyFault) -> KeyFileError {
    KeyFileError::Contents { path: path.to_owned(), source }
}

fn digest(contents: &[u8]) -> [u8; 32] {
    Sha256::digest(contents).into()
}

async fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let bounded = async {
        let mut contents = Vec::new();
        // One byte more, which shows that there is more.
        tokio::fs::File::open(path).await?.take(MAX_BYTES + 1).read_to_end(&mut contents).await?;
        Ok(contents)
    };
    bounded.await.map_err(|source| KeyFileError::Read { path: path.to_owned(), source })
}

/// The keys, the one that signs last first, when one of them signs at `now`.
fn parse(contents: &[u8], now: Millis) -> Result<Vec<Arc<Key>>, KeyFault> {
    if u64::try_from(contents.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(KeyFault::TooLarge);
    }
    let document: Document = serde_json::from_slice(contents)
        .map_err(|error| KeyFault::Form { line: error.line(), column: error.column() })?;
    let mut known = HashSet::new();
    let mut keys = Vec::with_capacity(document.keys.len());
    for (at, entry) in (1..).zip(document.keys) {
        let seed = URL_SAFE_NO_PAD.decode(&entry.seed).ok().and_then(|seed| seed.try_into().ok());
        let seed: [u8; 32] = seed.ok_or(KeyFault::Seed(at))?;
        let expected = key_id(&seed);
        if entry.kid != expected {
            return Err(KeyFault::Kid { at, expected });
        }
        let times = Times {
            created_at: entry.created_at,
            sign_from: entry.sign_from,
            verify_until: entry.verify_until,
        };
        if !known.insert(expected) {
            return Err(KeyFault::Twice(at));
        }
        keys.push(Arc::new(Key::new(entry.kid, &seed, times)));
    }
    keys.sort_by(|a, b| b.order().cmp(&a.order()));
    if keys.iter().any(|key| key.signs_at(now)) { Ok(keys) } else { Err(KeyFault::NoneSigns(keys.len())) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(seed: u8, sign_from: Millis, verify_until: Option<Millis>) -> Value {
        let seed = [seed; 32];
        json!({
            "kid": key_id(&seed),
            "seed": URL_SAFE_NO_PAD.encode(seed),
            "created_at": 1,
            "sign_from": sign_from,
            "verify_until": verify_until,
        })
    }

    fn changed(mut key: Value, field: &str, value: Value) -> Value {
        key[field] = value;
        key
    }

    #[test]
    fn the_newest_key_whose_time_has_come_signs() {
        let kid = |seed: u8| key_id(&[seed; 32]);
        for (keys, now, signs) in [
            (vec![key(1, 100, None)], 100, 1),
            (vec![key(1, 100, None), key(2, 200, None)], 199, 1),
            (vec![key(1, 100, None), key(2, 200, None)], 200, 2),
            (vec![key(2, 200, None), key(1, 100, None)], 200, 2),
            (vec![key(1, 100, Some(900)), key(3, 300, None), key(2, 200, Some(901))], 250, 2),
            // What nobody would believe is not signed.
            (vec![key(1, 100, None), key(2, 200, Some(299))], 300, 1),
        ] {
            let text = json!({ "keys": keys, "later": "fields are skipped" }).to_string();
            let parsed = parse(text.as_bytes(), now).expect("is usable");
            let signing = parsed.iter().find(|key| key.signs_at(now)).expect("one signs");
            assert_eq!(signing.kid, kid(signs), "{text} at {now}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_saying_what_is_secret() {
        let good = || key(1, 100, None);
        let seed = URL_SAFE_NO_PAD.encode([1; 32]);
        let keys = |keys: &[Value]| json!({ "keys": keys }).to_string();
        let kid = |at: usize, seed: u8| KeyFault::Kid { at, expected: key_id(&[seed; 32]) };
        let form = |column| KeyFault::Form { line: 1, column };
        for (text, fault) in [
            (String::new(), KeyFault::Form { line: 1, column: 0 }),
            (r#"{"keys":["#.to_owned(), form(9)),
            (format!(r#"{{"keys":["{seed}"]}}"#), form(54)),
            (json!({}).to_string(), form(2)),
            (keys(&[]), KeyFault::NoneSigns(0)),
            (keys(&[key(1, 101, None), key(2, 102, None)]), KeyFault::NoneSigns(2)),
            (keys(&[key(1, 100, Some(99))]), KeyFault::NoneSigns(1)),
            (keys(&[good(), changed(good(), "seed", json!("AAAA"))]), KeyFault::Seed(2)),
            (keys(&[changed(good(), "seed", json!(format!("{seed}=")))]), KeyFault::Seed(1)),
            (keys(&[good(), changed(key(2, 1, None), "kid", json!(seed))]), kid(2, 2)),
            (keys(&[key(2, 1, None), good(), good()]), KeyFault::Twice(3)),
            (" ".repeat(1024 * 1024 + 1), KeyFault::TooLarge),
        ] {
            let found = parse(text.as_bytes(), 100).err().expect("is refused");
            assert_eq!(found, fault, "{text}");
            let shown = format!("{found} {found:?}");
            assert!(!shown.contains(&seed), "{shown}");
        }
    }
}
