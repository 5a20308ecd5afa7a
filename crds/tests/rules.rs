//! Every rule refuses its bad case with a message that says what is allowed, and lets good cases pass. Without a cluster: the rules
//! are evaluated by the same expressions that the API server gets.

use std::collections::BTreeSet;

use folkmoot_crds::{ChatCluster, reference};
use serde_json::{Value, json};

/// The example with a change (RFC 7386).
fn with(change: &Value) -> ChatCluster {
    let mut object: Value = serde_saphyr::from_str(reference::EXAMPLE).expect("the example is YAML");
    merge(&mut object, change);
    serde_json::from_value(object).unwrap_or_else(|error| panic!("{change}: {error}"))
}

fn merge(into: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let fields = into.as_object_mut().expect("it was just made an object");
    for (key, value) in change {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What the API server would say of it, new or in place of another.
fn said(cluster: &ChatCluster, old: Option<&ChatCluster>) -> Vec<String> {
    let result = match old {
        None => cluster.validate_cel(),
        Some(old) => cluster.validate_cel_update(old),
    };
    result
        .err()
        .map_or_else(Vec::new, |errors| errors.into_vec().into_iter().map(|error| error.message).collect())
}

/// A change of the example's, and what the message of the rule that refuses it begins with.
struct Bad {
    from: Option<Value>,
    change: Value,
    expected: &'static str,
}

fn new(change: Value, expected: &'static str) -> Bad {
    Bad { from: None, change, expected }
}

fn update(from: Value, change: Value, expected: &'static str) -> Bad {
    Bad { from: Some(from), change, expected }
}

fn spec(change: Value) -> Value {
    Value::Object([("spec".to_owned(), change)].into_iter().collect())
}

fn bad_cases() -> Vec<Bad> {
    let s3 = json!({"bucket": "files", "credentialsSecretRef": {"name": "s3", "key": "k"}});
    let keyspace = "keyspace must stay as it was";
    let namespace = "topicNamespace must stay as it was";
    let mut cases = vec![
        new(json!({"metadata": {"name": "a".repeat(41)}}), "the name must have at most 40 characters"),
        new(json!({"metadata": {"name": "1chat"}}), "the name must be of a-z, 0-9 and -"),
        new(json!({"metadata": {"name": "my.chat"}}), "the name must be of a-z, 0-9 and -"),
        update(
            spec(json!({"cassandra": {"keyspace": "a"}})),
            spec(json!({"cassandra": {"keyspace": "b"}})),
            keyspace,
        ),
        update(spec(json!({"cassandra": {"keyspace": "a"}})), json!({}), keyspace),
        update(json!({}), spec(json!({"cassandra": {"keyspace": "a"}})), keyspace),
        new(spec(json!({"cassandra": {"replication": {"dc2": 3}}})), "replication must name localDatacenter"),
        new(
            spec(json!({"cassandra": {"migrationCredentialsSecretRef": {"name": "owner"}}})),
            "migrationCredentialsSecretRef needs credentialsSecretRef",
        ),
        update(json!({}), spec(json!({"pulsar": {"tenant": "other"}})), "tenant must stay as it was"),
        update(json!({}), spec(json!({"pulsar": {"topicNamespace": "a"}})), namespace),
        update(
            spec(json!({"pulsar": {"topicNamespace": "a"}})),
            spec(json!({"pulsar": {"topicNamespace": "b"}})),
            namespace,
        ),
        update(
            spec(json!({"pulsar": {"partitions": 9}})),
            spec(json!({"pulsar": {"partitions": 8}})),
            "partitions must grow or stay",
        ),
        new(
            spec(json!({"pulsar": {"caSecretRef": {"name": "ca", "key": "ca.pem"}}})),
            "url must begin with pulsar+ssl:// or adminUrl with https://",
        ),
        new(
            spec(json!({"pulsar": {"retention": {"mebibytes": 512, "backlogQuotaMebibytes": 512}}})),
            "backlogQuotaMebibytes must be less than mebibytes",
        ),
        new(
            spec(json!({"gateway": {"drainSeconds": 60, "terminationGracePeriodSeconds": 104}})),
            "terminationGracePeriodSeconds must be at least drainSeconds + 45",
        ),
        new(
            spec(json!({"gateway": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}})),
            "maxReplicas must be at least minReplicas",
        ),
        new(
            spec(json!({"gateway": {"autoscaling": {"maxReplicas": 2, "horizontalPodAutoscaler": {}}}})),
            "horizontalPodAutoscaler needs mode: External",
        ),
        new(
            spec(json!({"gateway": {"maxConnections": 9_999, "autoscaling": {"maxReplicas": 2}}})),
            "autoscaling.targetConnectionsPerPod must be at most maxConnections",
        ),
        new(spec(json!({"gateway": {"maxConnectionAgeSeconds": 59}})), "maxConnectionAgeSeconds must be 0"),
        new(spec(json!({"exposure": {"host": "a"}})), "exactly one of ingress and httpRoute must be set"),
        new(
            spec(
                json!({"exposure": {"host": "a", "ingress": {}, "httpRoute": {"parentRefs": [{"name": "g"}]}}}),
            ),
            "exactly one of ingress and httpRoute must be set",
        ),
        new(spec(json!({"files": {"store": "S3"}})), "s3 must be set with store: S3"),
        new(spec(json!({"files": {"s3": s3}})), "s3 must be set with store: S3"),
        update(json!({}), spec(json!({"files": {"store": "S3", "s3": s3}})), "store must stay as it was"),
    ];
    for key in ["max_in_flight", "cassandra.keyspace", "Gateway.max_in_flight", "gateway.", "cluster.listen"]
    {
        cases.push(new(spec(json!({"settings": {key: "1"}})), "the keys must be like gateway.max_in_flight"));
    }
    for key in [
        "auth.signing_keys_file",
        "server.listen",
        "server.admin_token_file",
        "gateway.drain_window_seconds",
        "gateway.max_connection_age_seconds",
        "files.max_bytes",
    ] {
        cases.push(new(spec(json!({"settings": {key: "1"}})), "a key must not have a field of its own"));
    }
    cases
}

#[test]
fn bad_cases_are_refused_with_what_is_allowed() {
    for Bad { from, change, expected } in bad_cases() {
        let old = from.as_ref().map(with);
        let messages = said(&with(&change), old.as_ref());
        assert_eq!(messages.len(), 1, "{from:?} -> {change}: {messages:?}");
        assert!(messages[0].starts_with(expected), "{from:?} -> {change}: {messages:?}");
    }
}

#[test]
fn good_cases_pass() {
    let same = |change: Value| (change.clone(), change);
    let cases = [
        (json!({}), json!({})),
        same(json!({"metadata": {"name": "a".repeat(40)}})),
        same(spec(json!({"cassandra": {"keyspace": "a", "replication": {"dc1": 3, "dc2": 2}}}))),
        same(spec(json!({"cassandra": {
            "credentialsSecretRef": {"name": "login"}, "migrationCredentialsSecretRef": {"name": "owner"},
        }}))),
        same(spec(json!({"cassandra": {"localDatacenter": "east", "replication": {"east": 1}}}))),
        (spec(json!({"pulsar": {"partitions": 8}})), spec(json!({"pulsar": {"partitions": 64}}))),
        same(spec(
            json!({"pulsar": {"url": "pulsar+ssl://a:6651", "caSecretRef": {"name": "ca", "key": "k"}}}),
        )),
        same(spec(
            json!({"pulsar": {"adminUrl": "https://a:8443", "caSecretRef": {"name": "ca", "key": "k"}}}),
        )),
        same(spec(json!({"pulsar": {"retention": {"mebibytes": 513, "backlogQuotaMebibytes": 512}}}))),
        same(spec(json!({"gateway": {"drainSeconds": 60, "terminationGracePeriodSeconds": 105}}))),
        (
            spec(json!({"gateway": {"replicas": 1}})),
            spec(json!({"gateway": {"replicas": 9, "drainSeconds": 0}})),
        ),
        same(spec(json!({"gateway": {"autoscaling": {"maxReplicas": 1}}}))),
        same(spec(json!({"gateway": {
            "maxConnections": 1_000, "maxConnectionAgeSeconds": 60,
            "autoscaling": {"minReplicas": 3, "maxReplicas": 3, "targetConnectionsPerPod": 1_000},
        }}))),
        (
            spec(json!({"gateway": {"autoscaling": {"mode": "Operator", "maxReplicas": 9}}})),
            spec(json!({"gateway": {
                "autoscaling": {"mode": "External", "maxReplicas": 9, "horizontalPodAutoscaler": {}},
            }})),
        ),
        same(spec(json!({"exposure": {"host": "a", "ingress": {}}}))),
        same(spec(
            json!({"exposure": {"host": "a", "httpRoute": {"parentRefs": [{"name": "g"}], "tls": true}}}),
        )),
        (
            spec(json!({"exposure": {"host": "a", "ingress": {}}})),
            spec(json!({"exposure": {"host": "a", "httpRoute": {"parentRefs": [{"name": "g"}]}}})),
        ),
        same(spec(json!({"files": {
            "store": "S3", "s3": {"bucket": "files", "credentialsSecretRef": {"name": "s3", "key": "k"}},
        }}))),
        same(spec(
            json!({"settings": {"gateway.max_in_flight": "64", "log.level": "debug", "files.x": "y"}}),
        )),
        (spec(json!({"deletionPolicy": "Delete"})), spec(json!({"deletionPolicy": "Retain"}))),
        (json!({}), spec(json!({"image": {"reference": "chat-server:2"}}))),
    ];
    for (from, to) in cases {
        let (old, new) = (with(&from), with(&to));
        assert_eq!(said(&old, None), [""; 0], "{from}");
        assert_eq!(said(&new, None), [""; 0], "{to}");
        assert_eq!(said(&new, Some(&old)), [""; 0], "{from} -> {to}");
    }
}

#[test]
fn the_example_gets_the_defaults() {
    let spec = with(&json!({})).spec;
    assert_eq!((spec.gateway.replicas, spec.api.replicas, spec.auth.replicas), (2, 2, 2));
    assert_eq!((spec.gateway.drain_seconds, spec.gateway.max_connections), (30, 19_000));
    assert_eq!((spec.gateway.max_connection_age_seconds, spec.gateway.autoscaling), (86_400, None));
    assert_eq!((spec.pulsar.tenant.as_str(), spec.pulsar.partitions), ("folkmoot", 8));
    assert_eq!(spec.cassandra.local_datacenter, "dc1");
    assert!(spec.network_policy.enabled && spec.monitoring.enabled);
    assert_eq!(spec.deletion_policy, folkmoot_crds::DeletionPolicy::Retain);
}

#[test]
fn autoscaling_has_defaults() {
    let change = spec(
        json!({"gateway": {"autoscaling": {"mode": "External", "maxReplicas": 10, "horizontalPodAutoscaler": {}}}}),
    );
    let found = with(&change).spec.gateway.autoscaling.expect("it was asked for");
    assert_eq!((found.min_replicas, found.target_connections_per_pod, found.buffer_percent), (1, 10_000, 20));
    assert_eq!((found.stabilization_seconds, found.max_scale_up_per_minute), (300, 20));
    let metric = found.horizontal_pod_autoscaler.map(|autoscaler| autoscaler.metric);
    assert_eq!(metric.as_deref(), Some("folkmoot_gateway_connections"));
    let change = spec(json!({"gateway": {"autoscaling": {"maxReplicas": 10}}}));
    let found = with(&change).spec.gateway.autoscaling.expect("it was asked for");
    assert_eq!(found.mode, folkmoot_crds::AutoscalingMode::Operator);
}

fn rules(schema: &Value, found: &mut Vec<(String, String)>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
                found.push((text("rule"), text("message")));
            }
            fields.values().for_each(|value| rules(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| rules(value, found)),
        _ => {}
    }
}

#[test]
fn every_rule_has_a_message_and_a_bad_case() {
    let mut found = Vec::new();
    rules(&reference::schema(), &mut found);
    assert!(found.len() >= 15, "{found:?}");
    let tried: BTreeSet<&str> = bad_cases().iter().map(|bad| bad.expected).collect();
    for (rule, message) in found {
        assert!(message.contains(" must ") || message.contains(" needs "), "{rule}: {message}");
        assert!(tried.iter().any(|expected| message.starts_with(expected)), "no bad case: {rule}: {message}");
    }
}
