//! The API server's audit log: what which account and which of its pods asked for.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// Extra of a token that is bound to a pod: the pod's name (kubernetes/kubernetes, `pkg/serviceaccount`).
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// A request that was answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `get`, `patch` and so on.
    pub verb: String,
    user: User,
    /// What of; absent for paths that are no objects, such as `/apis`.
    pub object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    /// When it came.
    pub request_received_timestamp: Timestamp,
    /// When it was answered.
    pub stage_timestamp: Timestamp,
    stage: String,
}

#[derive(Debug, Clone, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// API group; empty for the core.
    pub api_group: String,
    /// Plural name of the kind.
    pub resource: String,
    /// `status` and so on.
    pub subresource: String,
    /// Namespace of the object; empty when it has none.
    pub namespace: String,
    /// Which; empty for all.
    pub name: String,
}

impl ObjectRef {
    /// As rules of RBAC say it: `pods`, `pods/log`.
    #[must_use]
    pub fn rule_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl Entry {
    /// The pod that asked.
    #[must_use]
    pub fn pod(&self) -> &str {
        self.user.extra.get(POD_NAME).and_then(|names| names.first()).map(String::as_str).unwrap_or_default()
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// The status of the answer.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }

    /// A description for messages.
    #[must_use]
    pub fn title(&self) -> String {
        let object = self.object_ref.clone().unwrap_or_default();
        format!(
            "{} {} {} {}/{} by {}: {}",
            self.stage_timestamp,
            self.verb,
            object.rule_resource(),
            object.namespace,
            object.name,
            self.pod(),
            self.code()
        )
    }
}

/// What the accounts of a namespace asked for, in the order of the answers. Watches are recorded when they begin and when they end.
///
/// # Errors
/// When the log cannot be read.
pub fn of_accounts_in(log: &Path, namespace: &str) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(log).with_context(|| format!("expected to read {}", log.display()))?;
    let accounts = format!("system:serviceaccount:{namespace}:");
    // The last line may still be written.
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    Ok(entries
        .filter(|entry| entry.user.username.starts_with(&accounts))
        .filter(|entry| matches!(entry.stage.as_str(), "ResponseComplete" | "ResponseStarted"))
        .collect())
}
