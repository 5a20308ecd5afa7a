//! What the operator keeps secret for a `ChatCluster`: the keys that sign access tokens, and the certificates by which its
//! processes know each other. Nothing of it is ever logged.

pub mod admin;
pub mod certificates;
pub mod issue;
mod milliseconds;
pub mod signing;

use std::{collections::BTreeMap, fmt};

/// What is in a Secret: names and bytes. It can be compared and sent, not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretData(BTreeMap<String, Vec<u8>>);

impl SecretData {
    /// What stands under a name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// The same, when it is text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Puts something under a name.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.insert(key.into(), value.into());
    }

    /// Names and bytes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// The names, which are not secret.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<BTreeMap<String, Vec<u8>>> for SecretData {
    fn from(data: BTreeMap<String, Vec<u8>>) -> Self {
        Self(data)
    }
}

impl<K: Into<String>, V: Into<Vec<u8>>> FromIterator<(K, V)> for SecretData {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_bytes() {
        let data: SecretData = [("tls.key", "hunter2")].into_iter().collect();
        assert_eq!(format!("{data:?}"), r#"{"tls.key"}"#);
        assert_eq!(format!("{data:#?}"), "{\n    \"tls.key\",\n}");
        assert_eq!(data.text("tls.key"), Some("hunter2"));
    }
}
