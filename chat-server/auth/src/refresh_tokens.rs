//! Refresh tokens: `<session id>.<secret>`, where each secret follows from the one before and a key of the session's.
//!
//! So a server that stores only the newest one's hash knows of any that it is shown whether it was ever good: only such a
//! one, used again, may be stolen (RFC 9700 §4.14.2), and ends the session. The one just before the newest is let in again
//! for a while, for the same client and to the same successor: an answer that is lost must not sign anybody out.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256};

/// Bytes of a secret that nobody can guess, and of what says that it is one of the session's.
const RANDOM: usize = 32;
const TAG: usize = 16;

/// One session's key. Whoever has it can end the session, and with one of its tokens make those that follow.
pub(super) struct Chain([u8; 32]);

/// The second part of a refresh token.
pub(super) struct Secret {
    pub(super) text: String,
    pub(super) hash: [u8; 32],
}

impl Chain {
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    pub(super) const fn of(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(super) const fn key(&self) -> [u8; 32] {
        self.0
    }

    /// One that follows from none.
    pub(super) fn first(&self) -> Secret {
        self.tagged(rand::random())
    }

    /// The one that this client gets for one that it shows.
    pub(super) fn next(&self, shown: &str, client: &str) -> Secret {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.tagged(self.mac(&[b"next", &shown, client.as_bytes()]))
    }

    /// Whether this was once the session's.
    pub(super) fn made(&self, shown: &str) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(shown).ok();
        let parts = bytes.as_deref().and_then(|bytes| bytes.split_first_chunk::<RANDOM>());
        parts.is_some_and(|(random, tag)| tag == self.tag(random))
    }

    fn tagged(&self, random: [u8; RANDOM]) -> Secret {
        Secret::of(URL_SAFE_NO_PAD.encode([&random[..], &self.tag(&random)].concat()))
    }

    /// Comparing it needs no constant time: it only tells whether a token was the session's, which lets nobody in.
    fn tag(&self, random: &[u8; RANDOM]) -> [u8; TAG] {
        let mac = self.mac(&[b"made", random]);
        std::array::from_fn(|i| mac[i])
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // Shorter keys are filled up with zeros (RFC 2104 §2).
        let mut block = [0; 64];
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl Secret {
    /// One that nobody knows.
    pub(super) fn random() -> Self {
        Self::of(URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM]>()))
    }

    /// A fast hash suffices: the secret has 256 bits, nobody guesses those.
    pub(super) fn of(text: String) -> Self {
        let hash = Sha256::digest(&text).into();
        Self { text, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_knows_its_own_secrets_and_no_others() {
        let chain = Chain::new();
        let first = chain.first();
        let second = chain.next(&first.text, "web");
        assert!(chain.made(&first.text) && chain.made(&second.text));
        assert_ne!(first.hash, second.hash);
        assert_eq!(chain.next(&first.text, "web").text, second.text, "the same successor");
        assert_ne!(chain.next(&first.text, "cli").text, second.text, "another client's is another one");
        let mut changed = first.text.clone().into_bytes();
        changed[0] = if changed[0] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("is ASCII");
        for rubbish in ["", "rubbish", &changed, &first.text[..60], &Chain::new().first().text] {
            assert!(!chain.made(rubbish), "{rubbish}");
        }
        assert!(Chain::of(chain.key()).made(&first.text));
    }
}
