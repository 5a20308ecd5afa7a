//! The token by which the operator orders gateways to send their sockets away. It never expires: whoever wants another one deletes the
//! Secret.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::SecretData;

/// Key in the Secret.
pub const TOKEN: &str = "token";
/// Shorter ones are not ours.
const SHORTEST: usize = 43;

/// The token, if there is one that can be used.
#[must_use]
pub fn text(data: &SecretData) -> Option<&str> {
    data.text(TOKEN).filter(|token| {
        token.len() >= SHORTEST && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    })
}

/// What is found, or else a token of 32 random bytes.
pub fn kept_or_made(found: Option<&SecretData>, seed: impl FnOnce() -> [u8; 32]) -> SecretData {
    match found {
        Some(data) if text(data).is_some() => data.clone(),
        _ => [(TOKEN, BASE64_URL_SAFE_NO_PAD.encode(seed()))].into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once() {
        let made = kept_or_made(None, || [7; 32]);
        assert_eq!(text(&made).map(str::len), Some(43));
        assert_eq!(kept_or_made(Some(&made), || [8; 32]), made);
        for useless in ["", "short", &"a b".repeat(20)] {
            let found: SecretData = [(TOKEN, useless)].into_iter().collect();
            assert_eq!(kept_or_made(Some(&found), || [7; 32]), made, "{useless}");
        }
    }
}
