//! Where uploaded files lie.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::SecretKeyRef;

/// Where the bytes of files are kept.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileStore {
    /// In Cassandra, in bounded chunks.
    #[default]
    Cassandra,
    /// In an object store that speaks S3.
    S3,
}

const fn max_bytes() -> u32 {
    26_214_400
}

/// Where uploaded files are kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.store == 'S3') == has(self.s3)")
        .message("s3 must be set with store: S3, and only with it"),
    validation = Rule::new("self.store == oldSelf.store")
        .message("store must stay as it was: files that were uploaded do not move")
)]
pub struct FilesSpec {
    /// Where their bytes are kept. It never changes.
    #[serde(default)]
    pub store: FileStore,
    /// Largest file, in bytes; at most 25 MiB.
    #[serde(default = "max_bytes")]
    #[schemars(range(min = 1, max = 26_214_400))]
    pub max_bytes: u32,
    /// The object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Spec>,
}

impl Default for FilesSpec {
    fn default() -> Self {
        Self { store: FileStore::Cassandra, max_bytes: max_bytes(), s3: None }
    }
}

fn region() -> String {
    "us-east-1".into()
}

fn prefix() -> String {
    "folkmoot/".into()
}

/// A bucket that exists.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct S3Spec {
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// URL of the service; without it AWS's own for the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://"))]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default = "region")]
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// What the keys of our objects begin with.
    #[serde(default = "prefix")]
    #[schemars(length(max = 256))]
    pub prefix: String,
    /// Two lines: the access key id and the secret access key.
    pub credentials_secret_ref: SecretKeyRef,
}
