//! Where the bus is.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::SecretKeyRef;

fn tenant() -> String {
    "folkmoot".into()
}

const fn partitions() -> u32 {
    8
}

/// Apache Pulsar. The operator makes tenant, namespace, policies and topics, and puts them right when somebody changes them; it
/// does not run Pulsar.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.tenant == oldSelf.tenant")
        .message("tenant must stay as it was: processes of two tenants would not hear each other"),
    validation = Rule::new("has(self.topicNamespace) == has(oldSelf.topicNamespace) && (!has(self.topicNamespace) || self.topicNamespace == oldSelf.topicNamespace)")
        .message("topicNamespace must stay as it was: processes of two namespaces would not hear each other"),
    validation = Rule::new("self.partitions >= oldSelf.partitions")
        .message("partitions must grow or stay: fewer would lose what lies in the others"),
    validation = Rule::new("!has(self.caSecretRef) || self.url.startsWith('pulsar+ssl://') || self.adminUrl.startsWith('https://')")
        .message("url must begin with pulsar+ssl:// or adminUrl with https://, since caSecretRef is given")
)]
pub struct PulsarSpec {
    /// `pulsar://host:port`, or `pulsar+ssl://host:port` for TLS; several hosts are separated by commas.
    #[schemars(length(max = 1024), regex(pattern = r"^pulsar(\+ssl)?://[^/\s]+$"))]
    pub url: String,
    /// `http://` or `https://` of the admin interface, which only the operator uses.
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/\s]+/?$"))]
    pub admin_url: String,
    /// The tenant. It is made if it is not there, and never changes.
    #[serde(default = "tenant")]
    #[schemars(length(max = 64), regex(pattern = "^[A-Za-z0-9_=:.-]{1,64}$"))]
    pub tenant: String,
    /// The namespace in it; not called `namespace`, since that is a word of CEL, which checks it. Without it, one of the namespace and name of the `ChatCluster`. It never changes, and nothing but
    /// this chat may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), regex(pattern = "^[A-Za-z0-9_=:.-]{1,100}$"))]
    pub topic_namespace: Option<String>,
    /// Partitions of the topic of events; 8 carry several thousand messages a second. They only grow.
    #[serde(default = "partitions")]
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: u32,
    /// How long events are kept for processes that were away.
    #[serde(default)]
    pub retention: RetentionSpec,
    /// Token of the processes; it may produce and consume in the namespace. Read again when it changes, without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// Token of the operator, which may make tenants and namespaces; without it the operator uses the one of the processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_token_secret_ref: Option<SecretKeyRef>,
    /// PEM bundle with the authorities that vouch for the brokers; without it the usual public ones do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

const fn minutes() -> u32 {
    15
}

const fn mebibytes() -> u32 {
    1_024
}

const fn backlog_quota_mebibytes() -> u32 {
    512
}

/// What Pulsar keeps of events. The store has them for ever; this is for processes that go on where they were.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.backlogQuotaMebibytes < self.mebibytes")
        .message("backlogQuotaMebibytes must be less than mebibytes: Pulsar refuses a quota above what is retained")
)]
pub struct RetentionSpec {
    /// How long, in minutes. It is also the time after which a message that nobody acknowledged is dropped.
    #[serde(default = "minutes")]
    #[schemars(range(min = 1, max = 10080))]
    pub minutes: u32,
    /// How much, in MiB.
    #[serde(default = "mebibytes")]
    #[schemars(range(min = 2, max = 1_048_576))]
    pub mebibytes: u32,
    /// How much a subscription that somebody made and forgot may hold back, in MiB.
    #[serde(default = "backlog_quota_mebibytes")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub backlog_quota_mebibytes: u32,
}

impl Default for RetentionSpec {
    fn default() -> Self {
        Self {
            minutes: minutes(),
            mebibytes: mebibytes(),
            backlog_quota_mebibytes: backlog_quota_mebibytes(),
        }
    }
}
