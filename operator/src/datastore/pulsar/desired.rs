//! What should be in Pulsar, and what is found there, in the same types.

use folkmoot_crds::PulsarSpec;
use serde::{Deserialize, Serialize};

/// What a `ChatCluster` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Name of the tenant.
    pub tenant: String,
    /// The namespace in it.
    pub namespace: String,
    /// Policies of the namespace.
    pub policies: Policies,
    /// Partitions of the topic of events, at least.
    pub partitions: u32,
    /// The role of the processes, when its rights are to be granted: that of the operator needs not be.
    pub role: Option<String>,
}

/// What the role of the processes must be allowed to do in the namespace.
pub const NEEDED: [&str; 2] = ["produce", "consume"];

/// Policies of the namespace that are ours to set; the others are left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// What is kept of messages.
    pub retention: Option<Retention>,
    /// After how many seconds a message that nobody acknowledged is dropped.
    pub message_ttl: Option<u64>,
    /// What a subscription may hold back.
    pub backlog_quota: Option<BacklogQuota>,
    /// What becomes of topics that nobody uses.
    pub inactive_topics: Option<InactiveTopics>,
}

/// What is kept of messages, as Pulsar writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How long, in minutes.
    #[serde(rename = "retentionTimeInMinutes")]
    pub minutes: i64,
    /// How much, in MiB.
    #[serde(rename = "retentionSizeInMB")]
    pub mebibytes: i64,
}

/// What a subscription may hold back, as Pulsar writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogQuota {
    /// The limit in bytes.
    #[serde(rename = "limitSize", default)]
    pub bytes: i64,
    /// What happens then.
    pub policy: String,
}

/// What becomes of unused topics, as Pulsar writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InactiveTopics {
    /// What counts as unused.
    pub inactive_topic_delete_mode: String,
    /// Seconds without use after which they are deleted.
    pub max_inactive_duration_seconds: i64,
    /// Whether it is deleted then.
    pub delete_while_inactive: bool,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is no namespace.
    Nothing {
        /// Whether the tenant is there.
        tenant: bool,
    },
    /// The namespace is there.
    Namespace {
        /// Policies of the namespace.
        policies: Policies,
        /// Partitions of the topic of events; 0 when there is none.
        partitions: u32,
        /// Whether the topic of presence and typing is there.
        ephemeral: bool,
        /// Whether the role that is desired may do what it needs; also when none is.
        granted: bool,
    },
}

/// What this spec needs, in this namespace, for this role.
#[must_use]
pub fn desired(spec: &PulsarSpec, namespace: &str, role: Option<String>) -> Desired {
    let retention = &spec.retention;
    let policies = Policies {
        retention: Some(Retention {
            minutes: retention.minutes.into(),
            mebibytes: retention.mebibytes.into(),
        }),
        // Gateways read without a subscription and leave nothing behind. Should somebody else subscribe and go away, nothing
        // is kept for them.
        message_ttl: Some(u64::from(retention.minutes) * 60),
        backlog_quota: Some(BacklogQuota {
            bytes: i64::from(retention.backlog_quota_mebibytes) << 20,
            policy: "consumer_backlog_eviction".into(),
        }),
        // A chat in which nobody is for a minute would lose its topics, and brokers that make none by themselves would refuse
        // the next one who comes.
        inactive_topics: Some(InactiveTopics {
            inactive_topic_delete_mode: "delete_when_no_subscriptions".into(),
            max_inactive_duration_seconds: 60,
            delete_while_inactive: false,
        }),
    };
    Desired {
        tenant: spec.tenant.clone(),
        namespace: namespace.to_owned(),
        policies,
        partitions: spec.partitions,
        role,
    }
}
