//! What can be set of an object store.

use std::path::PathBuf;

/// An object store that speaks the S3 protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// `https://` of the service; empty: AWS's own for the region.
    pub endpoint: String,
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region of the bucket.
    pub region: String,
    /// What the keys of our objects begin with.
    pub prefix: String,
    /// File with two lines: the access key id and the secret access key.
    pub credentials_file: PathBuf,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            bucket: String::new(),
            region: "us-east-1".into(),
            prefix: "folkmoot/".into(),
            credentials_file: PathBuf::new(),
        }
    }
}
