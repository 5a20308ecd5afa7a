//! `ChatCluster`s to build for.

use std::sync::Arc;

use folkmoot_crds::{ChatCluster, ImageSpec};
use serde_json::{Value, json};

use super::super::{BuildInput, Capabilities, Config, GatewayNumbers, OperatorIdentity, SecretHashes, build};
use crate::{
    controller::rollout::{Revision, RolePlan, RolloutPlan, RolloutStep},
    datastore::cassandra::migration::MigrationJob,
    keys::SecretData,
    kinds::Child,
    scaling::decide::at_first,
    secrets::Secrets,
    validate::{ValidatedCluster, validate},
};

/// Name of each, and its spec.
pub(super) fn all() -> Vec<(&'static str, ChatCluster)> {
    vec![
        ("minimal", cluster(minimal())),
        ("everything", cluster(everything())),
        ("ingress", cluster(with("exposure", json!({"host": "chat.example.org", "ingress": {}})))),
        (
            "http-route",
            cluster(with(
                "exposure",
                json!({"host": "chat.example.org", "httpRoute": {"parentRefs": [{"name": "public"}]}}),
            )),
        ),
        (
            "s3",
            cluster(with(
                "files",
                json!({
                    "store": "S3",
                    "s3": {"bucket": "chat-files", "credentialsSecretRef": {"name": "s3", "key": "credentials"}},
                }),
            )),
        ),
        ("tls", cluster(tls())),
    ]
}

/// The one of that name.
pub(super) fn named(name: &str) -> ChatCluster {
    all().into_iter().find(|(other, _)| *other == name).unwrap().1
}

/// A `ChatCluster` of a spec.
pub(super) fn cluster(spec: Value) -> ChatCluster {
    let mut cluster = ChatCluster::new("chat", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("team".into());
    cluster.metadata.uid = Some("11111111-2222-3333-4444-555555555555".into());
    cluster
}

/// The least that somebody has to say.
pub(super) fn minimal() -> Value {
    json!({
        "cassandra": {"contactPoints": ["cassandra.data:9042"]},
        "pulsar": {"url": "pulsar://pulsar.data:6650", "adminUrl": "http://pulsar.data:8080"},
    })
}

/// The least, and one thing more.
pub(super) fn with(key: &str, value: Value) -> Value {
    let mut spec = minimal();
    spec[key] = value;
    spec
}

fn tls() -> Value {
    json!({
        "cassandra": {
            "contactPoints": ["cassandra.data:9142"],
            "credentialsSecretRef": {"name": "cassandra-login"},
            "migrationCredentialsSecretRef": {"name": "cassandra-owner"},
            "caSecretRef": {"name": "engines", "key": "ca.pem"},
        },
        "pulsar": {
            "url": "pulsar+ssl://pulsar.data:6651",
            "adminUrl": "https://pulsar.data:8443",
            "tokenSecretRef": {"name": "pulsar", "key": "token"},
            "adminTokenSecretRef": {"name": "pulsar-admin", "key": "token"},
            "caSecretRef": {"name": "engines", "key": "ca.pem"},
        },
    })
}

fn everything() -> Value {
    let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
    let mut spec = tls();
    spec["image"] = json!({
        "reference": "registry.example.org/folkmoot/chat-server:1.2.3",
        "pullPolicy": "Always",
        "pullSecrets": ["registry"],
    });
    spec["cassandra"]["contactPoints"] = json!(["c1.example.org:9142", "c2.example.org:9143"]);
    spec["cassandra"]["keyspace"] = json!("chat");
    spec["cassandra"]["localDatacenter"] = json!("east");
    spec["cassandra"]["replication"] = json!({"east": 3, "west": 2});
    spec["pulsar"]["tenant"] = json!("acme");
    spec["pulsar"]["topicNamespace"] = json!("chat");
    spec["gateway"] = json!({
        "replicas": 5,
        "drainSeconds": 120,
        "terminationGracePeriodSeconds": 300,
        "maxConnections": 15000,
        "resources": resources,
    });
    spec["api"] =
        json!({"replicas": 3, "resources": resources, "trustedProxies": ["192.0.2.1", "2001:db8::/32"]});
    spec["auth"] = json!({
        "replicas": 3,
        "resources": resources,
        "registration": "Closed",
        "accessTokenSeconds": 300,
        "keyRotationDays": 7,
    });
    spec["exposure"] = json!({
        "host": "chat.example.org",
        "ingress": {
            "className": "nginx",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "7200"},
            "tlsSecretName": "chat-tls",
        },
    });
    spec["files"] = json!({
        "store": "S3",
        "maxBytes": 1_048_576,
        "s3": {
            "bucket": "chat-files",
            "endpoint": "http://minio.data:9000",
            "region": "eu-central-1",
            "prefix": "chat/",
            "credentialsSecretRef": {"name": "s3", "key": "credentials"},
        },
    });
    spec["scheduling"] = json!({
        "nodeSelector": {"pool": "chat"},
        "tolerations": [{"key": "chat", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "important",
    });
    spec["networkPolicy"] = json!({"monitoringNamespaceLabels": {"purpose": "monitoring"}});
    spec["monitoring"] = json!({"labels": {"release": "prometheus"}});
    spec["settings"] = json!({"gateway.max_in_flight": "64", "log.level": "debug", "log.format": "text"});
    spec["deletionPolicy"] = json!("Delete");
    spec
}

/// The Secrets that specs refer to.
pub(super) fn secrets() -> Secrets {
    let of = |values: &[(&str, &str)]| {
        let mut data = SecretData::default();
        for (key, value) in values {
            data.insert(*key, *value);
        }
        data
    };
    Secrets::from([
        ("cassandra-login".into(), of(&[("username", "chat"), ("password", "p")])),
        ("cassandra-owner".into(), of(&[("username", "owner"), ("password", "o")])),
        ("engines".into(), of(&[("ca.pem", "CA")])),
        ("pulsar".into(), of(&[("token", "t")])),
        ("pulsar-admin".into(), of(&[("token", "a")])),
        ("s3".into(), of(&[("credentials", "id\nkey")])),
    ])
}

/// All that is built for a `ChatCluster` whose roles all run the target, in a cluster that knows every kind.
pub(super) fn built(cluster: &ChatCluster) -> Vec<Child> {
    built_with(cluster, &secrets(), |target| Some(RolePlan { revision: target.clone(), held: false }))
}

/// The same with other Secrets, or with roles that do not all run the target.
pub(super) fn built_with(
    cluster: &ChatCluster,
    secrets: &Secrets,
    plan_of: impl Fn(&Revision) -> Option<RolePlan>,
) -> Vec<Child> {
    let cluster = &validated(cluster);
    let config = Config::of(cluster, &SecretHashes::of(cluster, secrets));
    let target = Revision { image: cluster.image().reference.clone(), config: config.hash.clone() };
    let plan = plan_of(&target);
    let rollout =
        RolloutPlan { auth: plan.clone(), api: plan.clone(), gateway: plan, step: RolloutStep::Settled };
    let mut keys = SecretData::default();
    keys.insert("keys.json", r#"{"keys":[]}"#);
    let mut certificates = SecretData::default();
    for name in ["ca.crt", "tls.crt", "tls.key"] {
        certificates.insert(name, "PEM");
    }
    let migration = MigrationJob { identity: "identity".into(), attempt: 1, hash: "0123456789".into() };
    build(&BuildInput {
        cluster,
        rollout: &rollout,
        config: &config,
        keys: &keys,
        certificates: &certificates,
        admin_token: &[("token", "T")].into_iter().collect(),
        gateways: GatewayNumbers { replicas: at_first(cluster), newest: None },
        migration: Some(&migration),
        capabilities: &Capabilities { gateway_api: true, prometheus: true },
        operator: &OperatorIdentity {
            namespace: "folkmoot-system".into(),
            pod_labels: [("app.kubernetes.io/name".into(), "folkmoot-operator".into())].into(),
        },
    })
}

/// A valid one, run by such an operator.
pub(super) fn validated(cluster: &ChatCluster) -> ValidatedCluster {
    validate(&Arc::new(cluster.clone()), Some(&image(cluster))).unwrap()
}

/// That of the spec, or one that an operator could have been released with.
pub(super) fn image(cluster: &ChatCluster) -> ImageSpec {
    cluster.spec.image.clone().unwrap_or_else(|| {
        serde_json::from_value(json!({"reference": "folkmoot/chat-server:0.2.0"})).unwrap()
    })
}
