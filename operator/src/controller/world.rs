//! A cluster that does at once what is asked, for tests of what is decided: objects that were built are there, Jobs end and pods
//! run as the test says. What only a real API server can show is tested on one.

use std::sync::Arc;

use folkmoot_crds::{ChatCluster, ChatClusterStatus, ImagePullPolicy, ImageSpec, PAUSED_ANNOTATION};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{
    Options,
    apply::{Outcome, Prepared, Resources},
    build::Capabilities,
    decide::{self, Changes, Decided},
    observe::Observed,
    status::View,
};
use crate::{
    datastore::{Health, Report},
    kinds::{Child, ChildKind},
    live::{Children, Detail, JobState, LiveChild, LivePod, Pods, ReplicaSets},
    names::{self, Component},
    role::Role,
    scaling::{memory::Gateways, policy::Decision},
    secrets::Secrets,
    validate::{ValidatedCluster, validate},
};

/// Everything that there is.
pub(super) struct World {
    pub cluster: ChatCluster,
    pub children: Children,
    pub pods: Pods,
    pub replica_sets: ReplicaSets,
    pub gateways: Gateways,
    /// What the policy decided.
    pub decision: Option<Decision>,
    pub cassandra: Health,
    pub pulsar: Health,
    pub now: Timestamp,
    /// Why the API server does not do what it is asked for.
    pub refused: Option<String>,
    /// Whether pods that are made become ready.
    pub pods_get_ready: bool,
}

/// The shortest `ChatCluster`, with changes (RFC 7396) to its spec.
pub(crate) fn cluster(changes: &Value) -> ChatCluster {
    let mut spec = json!({
        "image": { "reference": "folkmoot/chat-server:1" },
        "cassandra": { "contactPoints": ["cassandra:9042"] },
        "pulsar": { "url": "pulsar://pulsar:6650", "adminUrl": "http://pulsar:8080" },
    });
    merge(&mut spec, changes);
    serde_json::from_value(json!({
        "apiVersion": "folkmoot.dev/v1alpha1",
        "kind": "ChatCluster",
        "metadata": { "name": "demo", "namespace": "chat", "uid": "u-1", "generation": 1 },
        "spec": spec,
    }))
    .expect("is a ChatCluster")
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(into.entry(key).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

pub(super) fn unready(reason: &'static str) -> Health {
    Health::Unready { reason, message: "no answer".into(), since: Timestamp::UNIX_EPOCH }
}

impl World {
    pub(super) fn new(changes: &Value) -> Self {
        Self {
            cluster: cluster(changes),
            children: Children::new(),
            pods: Pods::new(),
            replica_sets: ReplicaSets::new(),
            gateways: Gateways { total_connections: Some(7), ..Gateways::default() },
            decision: None,
            cassandra: Health::Ready,
            pulsar: Health::Ready,
            now: "2026-01-01T00:00:00Z".parse().expect("is a time"),
            refused: None,
            pods_get_ready: true,
        }
    }

    pub(super) fn observed(&self) -> Observed {
        let secret =
            |name: String| match self.children.get(&(ChildKind::Secret, name)).map(|child| &child.detail) {
                Some(Detail::Secret(data)) => Some(data.clone()),
                _ => None,
            };
        Observed {
            children: self.children.clone(),
            pods: self.pods.clone(),
            secrets: Secrets::new(),
            keys: secret(names::signing_keys(&self.cluster.name_any())),
            certificates: secret(names::internal_tls(&self.cluster.name_any())),
            datastores: Report {
                cassandra: self.cassandra.clone(),
                pulsar: self.pulsar.clone(),
                drift: None,
                due: self.now + SignedDuration::from_secs(30),
            },
            gateways: self.gateways.clone(),
            replica_sets: self.replica_sets.clone(),
            admin_token: secret(names::admin_token(&self.cluster.name_any())),
            capabilities: Capabilities::default(),
        }
    }

    pub(super) fn pause(&mut self) {
        self.cluster.annotations_mut().insert(PAUSED_ANNOTATION.into(), "true".into());
    }

    pub(super) fn validated(&self) -> ValidatedCluster {
        let default_image = ImageSpec {
            reference: "folkmoot/chat-server:0".into(),
            pull_policy: ImagePullPolicy::default(),
            pull_secrets: Vec::new(),
        };
        validate(&Arc::new(self.cluster.clone()), Some(&default_image)).expect("is valid")
    }

    /// What is decided, and what is so once it is applied.
    fn decided(&self) -> (Decided, Changes) {
        let decision = self.decision.clone();
        decide::decide(&self.validated(), &self.observed(), decision, self.now, || [7; 32]).expect("decides")
    }

    pub(super) fn decide(&self) -> Decided {
        self.decided().0
    }

    pub(super) fn changes(&self) -> Changes {
        self.decided().1
    }

    pub(super) fn prepared(&self) -> Resources<Prepared> {
        let (decided, changes) = self.decided();
        Resources::prepared(&self.validated(), &decided, changes, &self.observed(), &Options::default())
            .expect("is not held")
    }

    /// One reconcile: what is decided is done, and the status is remembered. Answers what is shown to a person.
    pub(super) fn reconcile(&mut self) -> ChatClusterStatus {
        let cluster = self.validated();
        let (decided, changes) = self.decided();
        let prepared =
            Resources::prepared(&cluster, &decided, changes, &self.observed(), &Options::default());
        let outcome = match (prepared, &self.refused) {
            (Err(hold), _) => Outcome::Held(hold),
            (Ok(_), Some(why)) => Outcome::Refused(why.clone()),
            (Ok(prepared), None) => {
                prepared.children().iter().for_each(|child| self.apply(child));
                Outcome::Applied(Box::new(prepared.done()))
            }
        };
        let view = View::of(&cluster, &self.observed(), &decided, &decided.pulsar, &outcome);
        let status = view.at(&self.cluster, self.now);
        self.cluster.status = Some(status.clone());
        status
    }

    /// What an API server and its controllers make of an object.
    fn apply(&mut self, child: &Child) {
        let place = (child.kind, child.name().to_owned());
        let mut object = child.object.clone();
        object.metadata.uid = Some(format!("{:?}/{}", child.kind, child.name()));
        let mut live = LiveChild::of(child.kind, &object);
        if let Detail::Deployment(state) = &mut live.detail {
            state.observed = true;
            (state.replicas, state.updated) = (state.desired, state.desired);
            if self.pods_get_ready {
                (state.ready, state.available) = (state.desired, state.desired);
            }
        }
        let is_same = matches!(
            (self.children.get(&place).map(|child| &child.detail), &live.detail),
            (Some(Detail::Deployment(before)), Detail::Deployment(now))
                if (&before.image, &before.config) == (&now.image, &now.config)
        ) && !self.pods_get_ready;
        if child.kind != ChildKind::Job && !is_same || !self.children.contains_key(&place) {
            self.children.insert(place, live);
        }
    }

    /// Every Job that runs ends so.
    pub(super) fn jobs_end(&mut self, state: &JobState) {
        for child in self.children.values_mut() {
            if child.detail == Detail::Job(JobState::Running) {
                child.detail = Detail::Job(state.clone());
            }
        }
    }

    pub(super) fn pod_in_trouble(&mut self, component: Component, trouble: &str) {
        let component = component.as_str();
        let pod =
            LivePod { component: component.into(), trouble: Some(trouble.into()), ..LivePod::default() };
        self.pods.insert(format!("{component}-x"), pod);
    }

    pub(super) fn image_of(&self, role: Role) -> Option<String> {
        self.observed().deployment(&self.cluster.name_any(), role).map(|state| state.image.clone())
    }
}

/// `Type=Status/Reason` of a condition.
pub(super) fn condition(status: &ChatClusterStatus, kind: &str) -> String {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or_else(|| format!("{kind} is missing"), |found| format!("{}/{}", found.status, found.reason))
}
