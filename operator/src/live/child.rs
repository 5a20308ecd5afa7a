//! What is remembered of an object that is there: little, since there are many.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::Timestamp;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    keys::SecretData,
    kinds::ChildKind,
    names::{self, FIELD_MANAGER},
    times,
};

/// An object of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveChild {
    /// Uid of the object.
    pub uid: String,
    /// Resource version of the object.
    pub resource_version: String,
    /// The uid of the `ChatCluster` that it belongs to.
    pub owner: Option<String>,
    /// Hash of the object that was applied last, by the annotation.
    pub applied: Option<String>,
    /// Hash of the set of fields that are ours. Whoever else changes one of them takes it out of this set (server-side apply), so
    /// a change behind our back shows here, without the object being kept.
    pub owned: u64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What is decided by.
    pub detail: Detail,
}

/// What decisions are made by, of the few kinds where that is more than that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Nothing more is needed.
    None,
    /// State of a Deployment.
    Deployment(DeploymentState),
    /// State of a Job.
    Job(JobState),
    /// Data of a Secret.
    Secret(SecretData),
}

/// State of a Deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentState {
    /// The image of its revision.
    pub image: String,
    /// The configuration of its revision.
    pub config: String,
    /// Whether its controller has seen the last change of the spec.
    pub observed: bool,
    /// Pods that should be there.
    pub desired: i32,
    /// Pods that are there.
    pub replicas: i32,
    /// Pods of the template as it is.
    pub updated: i32,
    /// Pods that take traffic.
    pub ready: i32,
    /// Pods that have been taking traffic for long enough.
    pub available: i32,
    /// Why its controller gave up; `None`: it did not.
    pub stalled: Option<String>,
}

impl DeploymentState {
    /// Whether all pods are of the template as it is, and take traffic.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.observed
            && self.updated >= self.desired
            && self.replicas == self.updated
            && self.available >= self.desired
    }
}

impl DeploymentState {
    /// Whether all pods are of the template as it is, and take traffic, for however long.
    #[must_use]
    pub const fn is_replaced(&self) -> bool {
        self.observed
            && self.updated >= self.desired
            && self.replicas == self.updated
            && self.ready >= self.desired
    }
}

/// How far a Job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It has not ended.
    Running,
    /// It did its work.
    Succeeded,
    /// It gave up, for this reason, at this time.
    Failed {
        /// What the Job's condition says.
        message: String,
        /// When it gave up.
        at: Timestamp,
    },
}

impl LiveChild {
    /// What is to be remembered of an object.
    #[must_use]
    pub fn of(kind: ChildKind, object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        let owner = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true) && owner.kind == "ChatCluster")
            .map(|owner| owner.uid.clone());
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        let detail = match kind {
            ChildKind::Deployment => Detail::Deployment(deployment(
                &object.data,
                metadata.generation.unwrap_or_default(),
                annotation(names::IMAGE).unwrap_or_default(),
                annotation(names::CONFIG).unwrap_or_default(),
            )),
            ChildKind::Job => Detail::Job(job(&object.data)),
            ChildKind::Secret => {
                let data: BTreeMap<String, ByteString> = read(&object.data["data"]);
                Detail::Secret(data.into_iter().map(|(key, value)| (key, value.0)).collect())
            }
            _ => Detail::None,
        };
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            owner,
            applied: annotation(names::APPLIED),
            owned: owned(object),
            deleting: metadata.deletion_timestamp.is_some(),
            detail,
        }
    }
}

/// Hash of the set of fields of an object that are ours.
fn owned(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    let ours = object.metadata.managed_fields.iter().flatten().filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.is_none()
    });
    for fields in ours.filter_map(|entry| entry.fields_v1.as_ref()) {
        fields.0.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

/// What is not there, or is not as it should be, counts as its default.
fn read<T: DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn deployment(data: &Value, generation: i64, image: String, config: String) -> DeploymentState {
    let status = &data["status"];
    let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default();
    let stalled = status["conditions"].as_array().into_iter().flatten().find(|condition| {
        condition["type"] == "Progressing"
            && condition["status"] == "False"
            && condition["reason"] == "ProgressDeadlineExceeded"
    });
    DeploymentState {
        image,
        config,
        observed: status["observedGeneration"].as_i64().unwrap_or_default() >= generation,
        desired: data["spec"]["replicas"].as_i64().map_or(1, |n| i32::try_from(n).unwrap_or(i32::MAX)),
        replicas: number(&status["replicas"]),
        updated: number(&status["updatedReplicas"]),
        ready: number(&status["readyReplicas"]),
        available: number(&status["availableReplicas"]),
        stalled: stalled.map(|condition| condition["message"].as_str().unwrap_or_default().to_owned()),
    }
}

fn job(data: &Value) -> JobState {
    let conditions = data["status"]["conditions"].as_array();
    let ended = |kind: &str| {
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    if ended("Complete").is_some() {
        return JobState::Succeeded;
    }
    ended("Failed").map_or(JobState::Running, |condition| JobState::Failed {
        message: condition["message"].as_str().unwrap_or_default().to_owned(),
        at: condition["lastTransitionTime"]
            .as_str()
            .and_then(|at| at.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

/// A pod of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LivePod {
    /// Which part it is of, by its label.
    pub component: String,
    /// The Job that it is of.
    pub job: Option<String>,
    /// IP address of the pod.
    pub address: Option<std::net::IpAddr>,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Since when it does, or does not.
    pub since: Option<Timestamp>,
    /// Uid of the pod.
    pub uid: String,
    /// Which template it was made from: the label that Deployments give.
    pub hash: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// The zone of that node, where Kubernetes or somebody else wrote it on the pod: nodes are not the operator's to read.
    pub zone: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is marked as one that goes first.
    pub marked: bool,
    /// What keeps it from running, or how its last container ended: for people.
    pub trouble: Option<String>,
}

impl LivePod {
    /// What is to be remembered of a pod.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Self {
        let label = |key: &str| object.metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
        let status = &object.data["status"];
        let leaving = object.metadata.deletion_timestamp.is_some();
        let condition = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        let ready = !leaving && condition.is_some_and(|condition| condition["status"] == "True");
        let created = object.metadata.creation_timestamp.as_ref().map(times::of_api);
        let since = condition.and_then(|condition| condition["lastTransitionTime"].as_str()?.parse().ok());
        Self {
            component: label(names::COMPONENT_LABEL).unwrap_or_default(),
            job: label("batch.kubernetes.io/job-name"),
            address: status["podIP"].as_str().and_then(|address| address.parse().ok()),
            ready,
            since: since.or(created),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            hash: label(names::TEMPLATE_LABEL).unwrap_or_default(),
            node: object.data["spec"]["nodeName"].as_str().map(str::to_owned),
            zone: label(names::ZONE_LABEL),
            deleting: leaving,
            marked: object
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(names::DELETION_COST))
                .is_some_and(|cost| cost == names::GOES_FIRST),
            trouble: trouble(status),
        }
    }
}

/// A `ReplicaSet` of gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveReplicaSet {
    /// The label by which its pods are distinguished from those of others.
    pub hash: String,
    /// Which template of the Deployment it is: the highest is the template as it is now, also after a step back.
    pub revision: u64,
}

impl LiveReplicaSet {
    /// What is to be remembered of one.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let label = metadata.labels.as_ref().and_then(|all| all.get(names::TEMPLATE_LABEL));
        let revision = metadata.annotations.as_ref().and_then(|all| all.get(names::REVISION));
        Self {
            hash: label.cloned().unwrap_or_default(),
            revision: revision.and_then(|revision| revision.parse().ok()).unwrap_or_default(),
        }
    }
}

/// Reasons of a container that waits which are nothing to speak of.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

fn trouble(status: &Value) -> Option<String> {
    let text =
        |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let unscheduled = status["conditions"].as_array().into_iter().flatten().find_map(|condition| {
        let is_it = condition["type"] == "PodScheduled" && condition["status"] == "False";
        is_it.then(|| text(&condition["message"])).flatten()
    });
    let containers = || status["containerStatuses"].as_array().into_iter().flatten();
    let ended = containers().find_map(|container| {
        [&container["state"]["terminated"], &container["lastState"]["terminated"]].into_iter().find_map(
            |end| {
                let failed = end["exitCode"].as_i64().is_some_and(|code| code != 0);
                failed.then(|| text(&end["message"]).or_else(|| text(&end["reason"]))).flatten()
            },
        )
    });
    let waiting = containers().find_map(|container| {
        let waiting = &container["state"]["waiting"];
        let reason = text(&waiting["reason"]).filter(|reason| !USUAL.contains(&reason.as_str()))?;
        Some(text(&waiting["message"]).map_or(reason.clone(), |message| format!("{reason}: {message}")))
    });
    unscheduled.or(ended).or(waiting).map(|text| text.chars().take(MAX_TROUBLE).collect())
}

/// Characters of somebody else's text that go into a condition.
const MAX_TROUBLE: usize = 1_024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("is an object")
    }

    fn with_fields(fields: &Value, manager: &str, operation: &str, subresource: Option<&str>) -> u64 {
        let mut entry = json!({
            "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
            "time": "2026-01-01T00:00:00Z",
        });
        if let Some(subresource) = subresource {
            entry["subresource"] = json!(subresource);
        }
        owned(&object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "chat", "managedFields": [entry] },
        })))
    }

    #[test]
    fn what_is_ours_changes_when_somebody_takes_a_field() {
        let all = json!({ "f:spec": { "f:ports": {}, "f:selector": {} } });
        let one_taken = json!({ "f:spec": { "f:ports": {} } });
        let ours = with_fields(&all, FIELD_MANAGER, "Apply", None);
        assert_eq!(ours, with_fields(&all, FIELD_MANAGER, "Apply", None));
        assert_ne!(ours, with_fields(&one_taken, FIELD_MANAGER, "Apply", None));
        let nothing = with_fields(&all, "kubectl-edit", "Update", None);
        assert_ne!(ours, nothing);
        assert_eq!(nothing, with_fields(&one_taken, FIELD_MANAGER, "Apply", Some("status")));
        assert_eq!(nothing, with_fields(&all, FIELD_MANAGER, "Update", None));
    }

    fn deployment_of(generation: i64, status: &Value) -> DeploymentState {
        let object = object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "chat-api", "generation": generation, "annotations": { names::IMAGE: "i:1", names::CONFIG: "c" } },
            "spec": { "replicas": 2 }, "status": status,
        }));
        match LiveChild::of(ChildKind::Deployment, &object).detail {
            Detail::Deployment(state) => state,
            other => panic!("expected a Deployment, got {other:?}"),
        }
    }

    #[test]
    fn a_deployment_is_settled_when_all_of_it_is() {
        let whole = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2 });
        assert!(deployment_of(2, &whole).is_settled());
        assert!(!deployment_of(3, &whole).is_settled(), "its controller has not seen the last change");
        for (field, value) in [("replicas", 3), ("updatedReplicas", 1), ("availableReplicas", 1)] {
            let mut status = whole.clone();
            status[field] = json!(value);
            assert!(!deployment_of(2, &status).is_settled(), "{field} is {value}");
        }
        assert!(!deployment_of(1, &Value::Null).is_settled());
        let state = deployment_of(2, &whole);
        assert_eq!((state.image.as_str(), state.config.as_str(), state.desired), ("i:1", "c", 2));
    }

    #[test]
    fn a_deployment_that_gave_up_says_so() {
        let condition = |status: &str, reason: &str| {
            let condition =
                json!({ "type": "Progressing", "status": status, "reason": reason, "message": "timed out" });
            deployment_of(1, &json!({ "conditions": [condition] })).stalled
        };
        assert_eq!(condition("False", "ProgressDeadlineExceeded").as_deref(), Some("timed out"));
        assert_eq!(condition("True", "NewReplicaSetAvailable"), None);
    }

    #[test]
    fn a_job_ends_once() {
        let of = |conditions: Value| job(&json!({ "status": { "conditions": conditions } }));
        assert_eq!(of(Value::Null), JobState::Running);
        assert_eq!(of(json!([{ "type": "Failed", "status": "False" }])), JobState::Running);
        assert_eq!(of(json!([{ "type": "Complete", "status": "True" }])), JobState::Succeeded);
        let failed = json!([{ "type": "Failed", "status": "True", "message": "no", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let at = "2026-01-01T00:00:00Z".parse().expect("is a time");
        assert_eq!(of(failed), JobState::Failed { message: "no".into(), at });
    }

    #[test]
    fn a_pod_says_what_keeps_it_from_running() {
        let waiting = |reason: &str| json!({ "containerStatuses": [{ "state": { "waiting": { "reason": reason, "message": "m" } } }] });
        let ended = |code: i32| {
            json!({ "containerStatuses": [{
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": code, "message": "last words\n" } },
        }] })
        };
        for (status, expected) in [
            (Value::Null, None),
            (waiting("ContainerCreating"), None),
            (waiting("ImagePullBackOff"), Some("ImagePullBackOff: m")),
            (ended(1), Some("last words")),
            (ended(0), Some("CrashLoopBackOff")),
            (
                json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no nodes" }] }),
                Some("no nodes"),
            ),
        ] {
            assert_eq!(trouble(&status).as_deref(), expected, "{status}");
        }
    }

    #[test]
    fn a_pod_that_leaves_is_not_ready() {
        let pod = |deleted: Option<&str>| {
            LivePod::of(&object(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "p", "uid": "u", "deletionTimestamp": deleted, "creationTimestamp": "2026-01-01T00:00:00Z",
                    "labels": {
                        names::COMPONENT_LABEL: "gateway", "pod-template-hash": "abc", "topology.kubernetes.io/zone": "z",
                    },
                    "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-1000" },
                },
                "spec": { "nodeName": "n" },
                "status": { "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
            })))
        };
        assert!(pod(None).ready);
        assert_eq!(pod(None).component, "gateway");
        assert_eq!(pod(None).address, "10.0.0.1".parse().ok());
        assert!(!pod(Some("2026-01-01T00:00:00Z")).ready && pod(Some("2026-01-01T00:00:00Z")).deleting);
        let found = pod(None);
        assert_eq!((found.uid.as_str(), found.hash.as_str()), ("u", "abc"));
        assert_eq!((found.node.as_deref(), found.zone.as_deref()), (Some("n"), Some("z")));
        assert!(found.marked && !found.deleting && found.since.is_some());
    }
}
