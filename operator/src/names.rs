//! Names, labels and annotations of what is made for a `ChatCluster`.

use std::collections::BTreeMap;

use folkmoot_crds::ChatCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use sha2::{Digest as _, Sha256};

use crate::{identity::Identity, role::Role};

/// Who owns the fields that the operator writes.
pub const FIELD_MANAGER: &str = "folkmoot-operator";
/// Holds a `ChatCluster` while its keyspace and topics are deleted.
pub const FINALIZER: &str = "folkmoot.dev/datastores";
/// Annotation of every child: hash of the object that was applied.
pub const APPLIED: &str = "folkmoot.dev/applied";
/// Annotation of Deployments and their templates: the image of their revision.
pub const IMAGE: &str = "folkmoot.dev/image";
/// Annotation of Deployments and their templates: the hash of their revision's configuration.
pub const CONFIG: &str = "folkmoot.dev/config";
/// Annotation of the Secret with certificates: when the certificate expires (RFC 3339).
pub const EXPIRES: &str = "folkmoot.dev/expires";
/// Label: what it is. Always `folkmoot`.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Label: name of the `ChatCluster`.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// Label: which part, see [`Component`].
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The zone of a node. Kubernetes writes it on the node's pods too, from 1.35 on (KEP-4742).
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Label: who made it. Always [`FIELD_MANAGER`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label of Deployments: the version of their image.
pub const VERSION_LABEL: &str = "app.kubernetes.io/version";
/// Label that a Deployment gives to its `ReplicaSet`s and pods: which template they are made from.
pub const TEMPLATE_LABEL: &str = "pod-template-hash";
/// Annotation that a Deployment gives to its `ReplicaSet`s: a number that grows.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation of a pod: a `ReplicaSet` that needs fewer takes those with the lowest first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// [`DELETION_COST`] of pods that are to go; that of others is 0.
pub const GOES_FIRST: &str = "-1000";

/// Longest name of a keyspace (Cassandra's limit).
const MAX_KEYSPACE: usize = 48;
/// Characters of a hash in a name.
const HASH: usize = 10;

/// What a child is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Part of one role.
    Role(Role),
    /// The Jobs that make tables, or drop them.
    Migrate,
    /// What all roles share.
    Shared,
}

impl Component {
    /// Value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role(role) => role.as_str(),
            Self::Migrate => "migrate",
            Self::Shared => "shared",
        }
    }
}

/// Name of a role's Deployment, Service, ServiceAccount, PodDisruptionBudget and NetworkPolicy.
#[must_use]
pub fn role(cluster: &str, role: Role) -> String {
    format!("{cluster}-{}", role.as_str())
}

/// Name of the ServiceAccount and the NetworkPolicy of Jobs.
#[must_use]
pub fn migrate(cluster: &str) -> String {
    format!("{cluster}-migrate")
}

/// Name of the ConfigMap with a configuration of this hash.
#[must_use]
pub fn config(cluster: &str, hash: &str) -> String {
    format!("{cluster}-config-{hash}")
}

/// Name of the Secret with the keys that sign access tokens.
#[must_use]
pub fn signing_keys(cluster: &str) -> String {
    format!("{cluster}-signing-keys")
}

/// Name of the Secret with the certificates by which processes know each other.
#[must_use]
pub fn internal_tls(cluster: &str) -> String {
    format!("{cluster}-internal-tls")
}

/// Name of the Secret with the token by which the operator orders gateways to send their sockets away.
#[must_use]
pub fn admin_token(cluster: &str) -> String {
    format!("{cluster}-admin-token")
}

/// Name of the Job of a migration with this hash.
#[must_use]
pub fn migrate_job(cluster: &str, hash: &str) -> String {
    format!("{cluster}-migrate-{hash}")
}

/// Name of the Job that drops the keyspace. It outlives its `ChatCluster`, and another one may have the same name.
#[must_use]
pub fn drop_job(cluster: &Identity) -> String {
    format!("{}-drop-{}", cluster.name, hash(&[&cluster.uid]))
}

/// Name of the keyspace: that of the spec, else `folkmoot_NAMESPACE_NAME`. Where a dash had to become an underscore, so that
/// another namespace and name would give the same, or where it is too long, it ends in a hash of both.
#[must_use]
pub fn keyspace(cluster: &ChatCluster) -> String {
    if let Some(keyspace) = &cluster.spec.cassandra.keyspace {
        return keyspace.clone();
    }
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    let clean = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let mut keyspace = format!("folkmoot_{}_{}", clean(&namespace), clean(&name));
    if !is_plain(&namespace) || !is_plain(&name) || keyspace.len() > MAX_KEYSPACE {
        keyspace.truncate(MAX_KEYSPACE - HASH - 1);
        keyspace = format!("{keyspace}_{}", hash(&[&namespace, &name]));
    }
    keyspace
}

/// Name of the namespace in Pulsar: that of the spec, else `NAMESPACE.NAME`. Namespaces of Kubernetes have no dots, so no other
/// `ChatCluster` has the same.
#[must_use]
pub fn pulsar_namespace(cluster: &ChatCluster) -> String {
    cluster
        .spec
        .pulsar
        .topic_namespace
        .clone()
        .unwrap_or_else(|| format!("{}.{}", cluster.namespace().unwrap_or_default(), cluster.name_any()))
}

/// Labels by which the pods of a component are selected. They never change.
#[must_use]
pub fn selector(cluster: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = instance(cluster);
    labels.insert(COMPONENT_LABEL.to_owned(), component.as_str().to_owned());
    labels
}

/// Labels that all pods of a `ChatCluster` have in common.
#[must_use]
pub fn instance(cluster: &str) -> BTreeMap<String, String> {
    [(NAME_LABEL, "folkmoot"), (INSTANCE_LABEL, cluster)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of a child: those of [`selector`], and who made it.
#[must_use]
pub fn labels(cluster: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector(cluster, component);
    labels.insert(MANAGED_BY_LABEL.to_owned(), FIELD_MANAGER.to_owned());
    labels
}

/// [`selector`] as `kubectl` and the `scale` subresource take it.
#[must_use]
pub fn selector_text(cluster: &str, component: Component) -> String {
    let pairs: Vec<String> =
        selector(cluster, component).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The reference by which children go with their `ChatCluster`.
#[must_use]
pub fn owner(cluster: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: ChatCluster::api_version(&()).into_owned(),
        kind: ChatCluster::kind(&()).into_owned(),
        name: cluster.name.clone(),
        uid: cluster.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The version in an image's reference: its tag, or else the first twelve digits of its digest. A label can hold it.
#[must_use]
pub fn image_version(reference: &str) -> String {
    let (name, digest) =
        reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let file = name.rsplit('/').next().unwrap_or_default();
    match (file.split_once(':'), digest) {
        (Some((_, tag)), _) => {
            let tag: String = tag.chars().take(63).collect();
            tag.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
        }
        (None, Some(digest)) => digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect(),
        (None, None) => "latest".to_owned(),
    }
}

/// Ten characters, fit for a DNS label, that stand for texts in this order.
#[must_use]
pub fn hash(parts: &[&str]) -> String {
    hash_bytes(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
}

/// The same as [`hash`] for bytes.
#[must_use]
pub fn hash_bytes(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // The length first: otherwise `ab`, `c` were the same as `a`, `bc`.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(namespace: &str, name: &str) -> ChatCluster {
        let spec = json!({
            "cassandra": {"contactPoints": ["a:1"]},
            "pulsar": {"url": "pulsar://a:1", "adminUrl": "http://a:1"},
        });
        let mut cluster = ChatCluster::new(name, serde_json::from_value(spec).unwrap());
        cluster.metadata.namespace = Some(namespace.into());
        cluster
    }

    #[test]
    fn keyspaces_are_valid_and_never_shared() {
        assert_eq!(keyspace(&cluster("team", "chat")), "folkmoot_team_chat");
        let long = "x".repeat(63);
        let mut seen = std::collections::BTreeSet::new();
        for (namespace, name) in [
            ("team", "chat"),
            ("a-b", "c"),
            ("a", "b-c"),
            ("a--b", "c"),
            ("a", "b--c"),
            (long.as_str(), "chat"),
            (long.as_str(), "chatter"),
        ] {
            let keyspace = keyspace(&cluster(namespace, name));
            assert!(keyspace.len() <= MAX_KEYSPACE && keyspace.starts_with("folkmoot_"), "{keyspace}");
            assert!(keyspace.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            assert!(seen.insert(keyspace), "{namespace}/{name} shares");
            assert!(seen.insert(pulsar_namespace(&cluster(namespace, name))), "{namespace}/{name} shares");
        }
        let mut named = cluster("team", "chat");
        named.spec.cassandra.keyspace = Some("mine".into());
        named.spec.pulsar.topic_namespace = Some("ours".into());
        assert_eq!((keyspace(&named), pulsar_namespace(&named)), ("mine".into(), "ours".into()));
    }

    #[test]
    fn versions_of_images() {
        for (reference, expected) in [
            ("folkmoot/chat-server:0.2.0", "0.2.0"),
            ("registry:5000/folkmoot/chat-server:1.2.3-rc.1", "1.2.3-rc.1"),
            ("registry:5000/folkmoot/chat-server", "latest"),
            ("chat-server@sha256:0123456789abcdef", "0123456789ab"),
            ("chat-server:1.2@sha256:0123456789abcdef", "1.2"),
            ("chat-server:_odd-", "odd"),
        ] {
            assert_eq!(image_version(reference), expected, "{reference}");
        }
    }

    #[test]
    fn hashes_tell_apart_what_is_joined_otherwise() {
        assert_eq!(hash(&["ab", "c"]).len(), 10);
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a"]), hash(&["a", ""]));
    }
}
