//! The rules of the `ChatCluster`, as `kubectl apply` meets them. That each accepts its good cases is tested beside their types.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kind_tests::{command::kubectl, manifest, scene::Scene};
use kube::Api;
use serde_json::{Value, json};

/// JSON pointer to what is set in the spec, and the value; with a `null`, it is removed.
type Change = (&'static str, fn() -> Value);

/// What is changed in a good object, and what the refusal is to say.
struct Case {
    /// All at once.
    changes: &'static [Change],
    /// Part of the message.
    says: &'static str,
}

/// Of an object that is made.
const MADE: &[Case] = &[
    Case {
        changes: &[("/exposure", || json!({ "host": "chat.example.org" }))],
        says: "exactly one of ingress and httpRoute must be set",
    },
    Case {
        changes: &[(
            "/exposure",
            || json!({ "host": "chat.example.org", "ingress": {}, "httpRoute": { "parentRefs": [{ "name": "edge" }] } }),
        )],
        says: "exactly one of ingress and httpRoute must be set",
    },
    Case {
        changes: &[("/cassandra/replication", || json!({ "elsewhere": 3 }))],
        says: "replication must name localDatacenter",
    },
    Case {
        changes: &[
            ("/cassandra/credentialsSecretRef", || Value::Null),
            ("/cassandra/migrationCredentialsSecretRef", || json!({ "name": "cassandra" })),
        ],
        says: "migrationCredentialsSecretRef needs credentialsSecretRef",
    },
    Case {
        changes: &[
            ("/pulsar/url", || json!("pulsar://pulsar:6650")),
            ("/pulsar/adminUrl", || json!("http://pulsar:8080")),
            ("/pulsar/caSecretRef", || json!({ "name": "authorities", "key": "pulsar" })),
        ],
        says: "url must begin with pulsar+ssl://",
    },
    Case {
        changes: &[("/pulsar/retention", || json!({ "mebibytes": 100, "backlogQuotaMebibytes": 100 }))],
        says: "backlogQuotaMebibytes must be less than mebibytes",
    },
    Case { changes: &[("/files", || json!({ "store": "S3" }))], says: "s3 must be set with store: S3" },
    Case {
        changes: &[(
            "/files",
            || json!({ "s3": { "bucket": "files", "credentialsSecretRef": { "name": "s3", "key": "credentials" } } }),
        )],
        says: "s3 must be set with store: S3",
    },
    Case {
        changes: &[("/gateway", || json!({ "drainSeconds": 60, "terminationGracePeriodSeconds": 100 }))],
        says: "terminationGracePeriodSeconds must be at least drainSeconds + 45",
    },
    Case {
        changes: &[("/gateway", || json!({ "autoscaling": { "minReplicas": 3, "maxReplicas": 2 } }))],
        says: "maxReplicas must be at least minReplicas",
    },
    Case {
        changes: &[(
            "/gateway",
            || json!({ "autoscaling": { "maxReplicas": 2, "horizontalPodAutoscaler": {} } }),
        )],
        says: "horizontalPodAutoscaler needs mode: External",
    },
    Case {
        changes: &[("/gateway", || json!({ "maxConnections": 9_999, "autoscaling": { "maxReplicas": 2 } }))],
        says: "autoscaling.targetConnectionsPerPod must be at most maxConnections",
    },
    Case {
        changes: &[("/gateway", || json!({ "maxConnectionAgeSeconds": 59 }))],
        says: "maxConnectionAgeSeconds must be 0",
    },
    Case {
        changes: &[("/settings", || json!({ "cassandra.keyspace": "mine" }))],
        says: "the keys must be like gateway.max_in_flight",
    },
    Case {
        changes: &[("/settings", || json!({ "server.listen": "0.0.0.0:1" }))],
        says: "a key must not have a field of its own",
    },
];

/// Of one that is there, and is changed.
const CHANGED: &[Case] = &[
    Case { changes: &[("/cassandra/keyspace", || json!("another"))], says: "keyspace must stay as it was" },
    Case { changes: &[("/cassandra/keyspace", || Value::Null)], says: "keyspace must stay as it was" },
    Case { changes: &[("/pulsar/tenant", || json!("another"))], says: "tenant must stay as it was" },
    Case {
        changes: &[("/pulsar/topicNamespace", || json!("another"))],
        says: "topicNamespace must stay as it was",
    },
    Case { changes: &[("/pulsar/partitions", || json!(4))], says: "partitions must grow or stay" },
    Case {
        changes: &[("/files", || {
            let credentials = json!({ "name": "s3", "key": "credentials" });
            json!({ "store": "S3", "s3": { "bucket": "files", "credentialsSecretRef": credentials } })
        })],
        says: "store must stay as it was",
    },
];

/// Names that cannot be, and what the refusal is to say.
const NAMES: [(&str, &str); 3] = [
    ("a-name-that-is-as-long-as-forty-one-signs", "the name must have at most 40 characters"),
    ("1chat", "the name must be of a-z, 0-9 and -"),
    ("chat.example", "the name must be of a-z, 0-9 and -"),
];

pub(crate) async fn each_refuses_its_bad_case(scene: Scene) -> Result<()> {
    let mut good = manifest::small(&scene.settings);
    // Nothing is to be made of it.
    good["metadata"]["annotations"] = json!({ "folkmoot.dev/paused": "true" });
    good["spec"]["cassandra"]["keyspace"] = json!("rules");
    good["spec"]["pulsar"]["topicNamespace"] = json!("rules");
    scene.apply(&good).await?;

    for case in CHANGED {
        refused(&scene, &changed(&good, case), case.says).await?;
    }
    let mut another = good.clone();
    another["metadata"]["name"] = json!("another");
    for case in MADE {
        refused(&scene, &changed(&another, case), case.says).await?;
    }
    for (name, says) in NAMES {
        another["metadata"]["name"] = json!(name);
        refused(&scene, &another, says).await?;
    }

    let names = NAMES.iter().map(|(_, says)| *says);
    let says: Vec<_> = MADE.iter().chain(CHANGED).map(|case| case.says).chain(names).collect();
    let all = messages(&scene).await?;
    ensure!(all.len() >= 15, "expected the rules of the definition, found {all:?}");
    let without: Vec<_> =
        all.iter().filter(|message| !says.iter().any(|part| message.contains(part))).collect();
    ensure!(without.is_empty(), "expected a bad case for each rule; these have none: {without:#?}");
    Ok(())
}

fn changed(good: &Value, case: &Case) -> Value {
    let mut object = good.clone();
    for (path, value) in case.changes {
        let (parent, field) = path.rsplit_once('/').unwrap_or_default();
        let parent = object.pointer_mut(&format!("/spec{parent}")).and_then(Value::as_object_mut);
        let Some(parent) = parent else { continue };
        match value() {
            Value::Null => parent.remove(field),
            value => parent.insert(field.to_owned(), value),
        };
    }
    object
}

async fn refused(scene: &Scene, object: &Value, says: &str) -> Result<()> {
    let manager = format!("--field-manager={}", manifest::MANAGER);
    let namespace = scene.namespace.as_str();
    let arguments =
        ["-n", namespace, "apply", "--server-side", "--dry-run=server", manager.as_str(), "-f", "-"];
    let said = kubectl(&arguments, &object.to_string()).await?;
    ensure!(!said.status.success(), "expected a refusal that says {says:?}, it was taken: {object}");
    ensure!(said.err.contains(says), "expected a refusal that says {says:?}, it says: {}", said.err);
    Ok(())
}

/// What the rules of the definition say, as the API server has it.
async fn messages(scene: &Scene) -> Result<BTreeSet<String>> {
    let api: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let definition = serde_json::to_value(api.get("chatclusters.folkmoot.dev").await?)?;
    let mut found = BTreeSet::new();
    collect(&definition, &mut found);
    Ok(found)
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                found.extend(rule["message"].as_str().map(str::to_owned));
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
