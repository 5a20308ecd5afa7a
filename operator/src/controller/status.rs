//! What is shown to a person. Pure but for writing it.

use std::time::Duration;

use folkmoot_crds::{ChatCluster, ChatClusterStatus, GatewayStatus, RoleStatus, ScalingStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Controller, ReconcileError,
    apply::Outcome,
    context::ask,
    decide::{Decided, Hold},
    events::{self, Notice},
    observe::{self, Observed},
    rollout::RolloutStep,
};
use crate::{
    datastore::{Health, cassandra::migration::MigrationPlan},
    live::{Children, DeploymentState, Key},
    names::{self, Component, FIELD_MANAGER},
    role::Role,
    scaling::decide as scaling,
    times::{self, whole_second},
    validate::{Problem, Route, ValidatedCluster},
};

/// A status of which only the number of sockets changed, or the reason for the number of gateways, is written at most this often.
const CONNECTIONS_EVERY: Duration = Duration::from_secs(30);
/// And this often while the number of sockets moves.
const MOVING_EVERY: Duration = Duration::from_millis(4_500);
/// It moves when it changed by more than a hundredth, and by more than this many.
const FEW: i64 = 10;
/// Longest message of a condition, in characters; the API server takes 32,768.
const MAX_MESSAGE: usize = 2_048;

/// A condition before it has a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Draft {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

fn draft(
    kind: &'static str,
    status: &'static str,
    reason: impl Into<String>,
    message: impl Into<String>,
) -> Draft {
    Draft { kind, status, reason: reason.into(), message: message.into() }
}

/// A status, computed.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    conditions: Vec<Draft>,
    status: ChatClusterStatus,
}

/// Whether people can chat, by what was written last.
#[must_use]
pub fn is_ready(cluster: &ChatCluster) -> bool {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether a condition is one that a person should look at.
#[must_use]
pub fn is_trouble(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Degraded" => condition.status == "True",
        "Progressing" => condition.reason == "RolloutStalled",
        // Not ready because it is being made is nothing to worry about.
        _ => condition.status == "False" && !USUAL.contains(&condition.reason.as_str()),
    }
}

/// Reasons of what is on its way.
const USUAL: [&str; 7] = [
    "MigrationRunning",
    "AwaitingCassandra",
    "AwaitingSchema",
    "NotReadyYet",
    "NotAskedYet",
    "Starting",
    "Paused",
];

impl View {
    /// Of a spec that only a person can put right. Running workloads are left untouched.
    #[must_use]
    pub fn invalid(cluster: &ChatCluster, children: &Children, problems: &[Problem]) -> Self {
        let last = cluster.status.clone().unwrap_or_default();
        let listed = list(problems);
        let message = format!(
            "{listed}; nothing is changed until the spec is put right, and running workloads are left untouched"
        );
        let mut conditions = vec![
            draft("Ready", "False", "InvalidSpec", &message),
            draft("Progressing", "False", "InvalidSpec", &message),
            draft("Degraded", "True", "InvalidSpec", message),
        ];
        conditions.push(gateway_available(observe::deployment(children, &cluster.name_any(), Role::Gateway)));
        let status = ChatClusterStatus { connections: None, ..last };
        let scaling = scaling::status(cluster.status.as_ref()).cloned();
        Self { conditions, status: with_roles(status, &cluster.name_any(), children, scaling) }
    }

    /// Of everything else. `pulsar` is how Pulsar does after what differed was put right.
    #[must_use]
    pub fn of(
        cluster: &ValidatedCluster,
        observed: &Observed,
        decided: &Decided,
        pulsar: &Health,
        outcome: &Outcome,
    ) -> Self {
        let name = cluster.name();
        let role = |role| observed.deployment(name, role);
        let cassandra = engine("CassandraReady", "cassandra", &observed.datastores.cassandra);
        let pulsar = engine("PulsarReady", "pulsar", pulsar);
        let schema = schema(decided);
        let gateway = gateway_available(role(Role::Gateway));
        let progressing = progressing(name, observed, decided, outcome);
        let troubles = troubles(cluster, observed, decided, outcome, &[&cassandra, &pulsar, &schema]);
        let degraded = match troubles.first() {
            None => draft("Degraded", "False", "AsExpected", "everything is as it should be"),
            Some((reason, _)) => {
                let messages: Vec<&str> = troubles.iter().map(|(_, message)| message.as_str()).collect();
                draft("Degraded", "True", reason.clone(), messages.join("; "))
            }
        };
        let ready = ready(name, observed, &[&cassandra, &pulsar, &schema, &gateway]);
        let conditions = vec![ready, progressing, degraded, cassandra, pulsar, schema, gateway];

        let last = cluster.status().cloned().unwrap_or_default();
        let settled = decided.rollout.step == RolloutStep::Settled;
        let status = ChatClusterStatus {
            version: if settled {
                Some(names::image_version(&cluster.image().reference))
            } else {
                last.version
            },
            url: Some(url(cluster)),
            connections: observed.gateways.total_connections.map(connections),
            migration: Some(decided.migration_status.clone()),
            keyspace: Some(cluster.keyspace().to_owned()),
            pulsar_namespace: Some(format!("{}/{}", cluster.pulsar().tenant, cluster.pulsar_namespace())),
            ..ChatClusterStatus::default()
        };
        // What was not done is not remembered as begun.
        let scaling = match outcome {
            Outcome::Applied(resources) => resources.scaling().status.clone(),
            _ => scaling::status(cluster.status()).cloned(),
        };
        Self { conditions, status: with_roles(status, name, &observed.children, scaling) }
    }

    /// The status at this time: a condition keeps the time of its last transition while its status is the same.
    pub(super) fn at(&self, cluster: &ChatCluster, now: Timestamp) -> ChatClusterStatus {
        let generation = cluster.metadata.generation;
        let before = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let conditions = self.conditions.iter().map(|draft| {
            let last = before.iter().find(|last| last.type_ == draft.kind && last.status == draft.status);
            Condition {
                type_: draft.kind.to_owned(),
                status: draft.status.to_owned(),
                reason: draft.reason.clone(),
                message: draft.message.chars().take(MAX_MESSAGE).collect(),
                observed_generation: generation,
                last_transition_time: last
                    .map_or_else(|| times::to_api(now), |last| last.last_transition_time.clone()),
            }
        });
        let mut conditions: Vec<Condition> = conditions.collect();
        // What is not known now is as it was.
        let kept = before.iter().filter(|last| !self.conditions.iter().any(|draft| draft.kind == last.type_));
        conditions.extend(kept.cloned().map(|last| Condition { observed_generation: generation, ..last }));
        ChatClusterStatus { conditions, observed_generation: generation, ..self.status.clone() }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn engine(kind: &'static str, name: &str, health: &Health) -> Draft {
    match health {
        Health::Unknown => draft(kind, "Unknown", "NotAskedYet", format!("{name} was not asked yet")),
        Health::Ready => draft(kind, "True", "Ready", format!("{name} answers and is as it should be")),
        Health::Unready { reason, message, since } => {
            let since = whole_second(*since);
            draft(
                kind,
                "False",
                *reason,
                format!("{message} (since {since}); trying again every few seconds"),
            )
        }
    }
}

fn schema(decided: &Decided) -> Draft {
    const KIND: &str = "SchemaCurrent";
    match &decided.migration {
        MigrationPlan::Current => draft(KIND, "True", "Current", "the tables are as this version needs them"),
        MigrationPlan::Run(_) if decided.awaits_cassandra => {
            draft(KIND, "False", "AwaitingCassandra", "the migration begins as soon as cassandra answers")
        }
        MigrationPlan::Run(_) | MigrationPlan::Running(_) => {
            draft(KIND, "False", "MigrationRunning", "tables are being made or brought up to date")
        }
        MigrationPlan::Failed { message, retry_at } => {
            let retry_at = whole_second(*retry_at);
            draft(KIND, "False", "MigrationFailed", format!("{message}; the next try is at {retry_at}"))
        }
    }
}

fn gateway_available(gateways: Option<&DeploymentState>) -> Draft {
    const KIND: &str = "GatewayAvailable";
    match gateways {
        None => draft(KIND, "False", "Starting", "there are no gateways yet"),
        Some(state) if state.ready > 0 => draft(
            KIND,
            "True",
            "Available",
            format!("{} of {} gateways take sockets", state.ready, state.desired),
        ),
        Some(state) => {
            draft(KIND, "False", "Starting", format!("none of {} gateways is ready", state.desired))
        }
    }
}

fn progressing(name: &str, observed: &Observed, decided: &Decided, outcome: &Outcome) -> Draft {
    const KIND: &str = "Progressing";
    let scaling = match outcome {
        Outcome::Applied(resources) => resources.scaling(),
        Outcome::Held(Hold::Paused) => {
            let annotation = folkmoot_crds::PAUSED_ANNOTATION;
            let message = format!("nothing is changed while the annotation {annotation} is there");
            return draft(KIND, "False", "Paused", message);
        }
        Outcome::Held(Hold::SecretsMissing) => {
            return draft(KIND, "False", "SecretMissing", "waits for the Secrets that are missing");
        }
        Outcome::Refused(why) => return draft(KIND, "False", "ApplyFailed", format!("{why}; trying again")),
    };
    if let Some(leaving) = scaling.plan.leaving.as_ref() {
        let message = format!(
            "{} gateways stay; {} send their sockets away, until {} at the latest: {}",
            leaving.to,
            leaving.pods.len(),
            whole_second(leaving.deadline),
            leaving.pods.join(", ")
        );
        return draft(KIND, "True", "ScalingDown", message);
    }
    match &decided.rollout.step {
        RolloutStep::Replacing(Role::Gateway) if scaling.is_held => draft(
            KIND,
            "True",
            "RolloutHeld",
            "gateways: more clients come back than they can take at once; the next one is replaced when that is over, or \
             after five minutes of it",
        ),
        RolloutStep::AwaitingSchema => {
            draft(KIND, "True", "AwaitingSchema", "the roles follow when the tables are ready")
        }
        RolloutStep::Replacing(role) => {
            let state = observed.deployment(name, *role);
            let is_scaling = state.is_some_and(|state| {
                let runs = decided.rollout.of(*role).is_some_and(|plan| plan.is_in(state));
                let is_short = state.ready < state.desired || state.replicas != state.desired;
                runs && is_short && state.updated >= state.replicas && !scaling::is_mixed(&observed.pods)
            });
            let reason = match role {
                Role::Auth => "RollingAuth",
                Role::Api => "RollingApi",
                Role::Gateway if is_scaling => "ScalingGateway",
                Role::Gateway => "RollingGateway",
            };
            let counts = state.map_or_else(
                || "being made".to_owned(),
                |state| format!("{} of {} updated, {} ready", state.updated, state.desired, state.ready),
            );
            let status = scaling.status.as_ref();
            let goes_on = *role == Role::Gateway && status.is_some_and(|status| status.held_since.is_some());
            let note = if goes_on {
                "; it goes on although clients come back faster than they are taken"
            } else {
                ""
            };
            draft(KIND, "True", reason, format!("{}: {counts}{note}", role.as_str()))
        }
        RolloutStep::Stalled { role, why } => draft(
            KIND,
            "False",
            "RolloutStalled",
            format!("{} does not get ready, and what comes after it stays as it is: {why}", role.as_str()),
        ),
        RolloutStep::Settled => draft(KIND, "False", "Settled", "all roles run what the spec says"),
    }
}

/// What a person should look at, most important first: reason and message.
fn troubles(
    cluster: &ValidatedCluster,
    observed: &Observed,
    decided: &Decided,
    outcome: &Outcome,
    conditions: &[&Draft],
) -> Vec<(String, String)> {
    let mut troubles = Vec::new();
    if let Outcome::Refused(why) = outcome {
        troubles.push(("ApplyFailed".to_owned(), why.clone()));
    }
    if !decided.missing.is_empty() {
        troubles.push(("SecretMissing".to_owned(), list(&decided.missing)));
    }
    for condition in conditions {
        let name = condition.kind.trim_end_matches("Ready").trim_end_matches("Current");
        if condition.status == "False" && !USUAL.contains(&condition.reason.as_str()) {
            let reason = if condition.kind == "SchemaCurrent" {
                condition.reason.clone()
            } else {
                format!("{name}{}", condition.reason)
            };
            troubles.push((reason, condition.message.clone()));
        }
    }
    // An image that no node can pull never fails, it only does not begin.
    if let MigrationPlan::Running(_) = decided.migration
        && let Some(trouble) = observed.trouble(Component::Migrate.as_str())
    {
        troubles.push(("MigrationPodNotReady".to_owned(), format!("the pod of the migration: {trouble}")));
    }
    let wants_route =
        cluster.exposure().is_some_and(|exposure| matches!(exposure.route, Route::HttpRoute(_)));
    if wants_route && !observed.capabilities.gateway_api {
        let message = "this Kubernetes does not know the Gateway API's HTTPRoute; install it, or use spec.exposure.ingress";
        troubles.push(("GatewayApiMissing".to_owned(), message.to_owned()));
    }
    if let RolloutStep::Stalled { role, why } = &decided.rollout.step {
        troubles.push(("RolloutStalled".to_owned(), format!("{}: {why}", role.as_str())));
    } else {
        for role in Role::ALL {
            if let Some(trouble) = observed.trouble(role.as_str()) {
                troubles.push(("PodsNotReady".to_owned(), format!("a pod of {}: {trouble}", role.as_str())));
            }
        }
    }
    troubles
}

fn ready(name: &str, observed: &Observed, needed: &[&Draft]) -> Draft {
    const KIND: &str = "Ready";
    for role in Role::ALL {
        let state = observed.deployment(name, role);
        if state.is_none_or(|state| state.ready == 0) {
            // What it waits for is the better reason.
            let cause = needed.iter().find(|condition| condition.status != "True");
            return match cause {
                Some(cause) if state.is_none() => {
                    draft(KIND, "False", cause.reason.clone(), cause.message.clone())
                }
                _ => draft(KIND, "False", "NotReadyYet", format!("no pod of {} is ready", role.as_str())),
            };
        }
    }
    // Tables that are being brought up to date serve the old version meanwhile.
    let unmet =
        needed.iter().find(|condition| condition.status == "False" && condition.kind != "SchemaCurrent");
    match unmet {
        Some(condition) => draft(KIND, "False", condition.reason.clone(), condition.message.clone()),
        None => draft(KIND, "True", "Ready", "people can chat"),
    }
}

fn of_notices(notices: &[Notice]) -> Vec<(bool, String, String)> {
    notices.iter().map(|notice| (notice.warning, notice.reason.to_owned(), notice.note.clone())).collect()
}

fn url(cluster: &ValidatedCluster) -> String {
    match cluster.exposure() {
        Some(exposure) => {
            let is_tls = match &exposure.route {
                Route::Ingress(ingress) => ingress.tls_secret_name.is_some(),
                Route::HttpRoute(route) => route.tls,
            };
            format!("{}://{}", if is_tls { "https" } else { "http" }, exposure.host)
        }
        None => format!("http://{}.{}.svc", cluster.name(), cluster.namespace()),
    }
}

/// A number of sockets as a status has it.
pub(super) fn connections(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn with_roles(
    status: ChatClusterStatus,
    name: &str,
    children: &Children,
    scaling: Option<ScalingStatus>,
) -> ChatClusterStatus {
    let of = |role: Role| {
        observe::deployment(children, name, role).map_or_else(RoleStatus::default, |state| RoleStatus {
            replicas: state.replicas,
            ready_replicas: state.ready,
            updated_replicas: state.updated,
            image: Some(state.image.clone()),
        })
    };
    let gateway = of(Role::Gateway);
    ChatClusterStatus {
        gateway: Some(GatewayStatus {
            replicas: gateway.replicas,
            ready_replicas: gateway.ready_replicas,
            updated_replicas: gateway.updated_replicas,
            image: gateway.image,
            selector: Some(names::selector_text(name, Component::Role(Role::Gateway))),
            scaling,
        }),
        api: Some(of(Role::Api)),
        auth: Some(of(Role::Auth)),
        ..status
    }
}

/// Whether a status is worth a write.
fn is_news(before: Option<&ChatClusterStatus>, now: &ChatClusterStatus, written_at: Option<Instant>) -> bool {
    let Some(before) = before else { return true };
    if before == now {
        return false;
    }
    let mut quiet = ChatClusterStatus { connections: now.connections, ..before.clone() };
    let reason = |status: &ChatClusterStatus| status.gateway.as_ref()?.scaling.as_ref()?.reason.clone();
    if let Some(scaling) = quiet.gateway.as_mut().and_then(|gateway| gateway.scaling.as_mut()) {
        scaling.reason = reason(now);
    }
    let age = written_at.map(|at| at.elapsed());
    quiet != *now
        || is_worth_writing(before.connections, now.connections, age)
        || age.is_none_or(|age| age >= CONNECTIONS_EVERY)
}

/// Whether the number of sockets is worth a write of the status, whose last write has this age.
#[must_use]
pub fn is_worth_writing(before: Option<i64>, now: Option<i64>, age: Option<Duration>) -> bool {
    let is_moving = match (before, now) {
        (Some(before), Some(now)) => before.abs_diff(now) > (before.max(now) / 100).max(FEW).unsigned_abs(),
        (None, Some(_)) => true,
        // Most often it is known again after a moment.
        (_, None) => false,
    };
    let enough = if is_moving { MOVING_EVERY } else { CONNECTIONS_EVERY };
    before != now && age.is_none_or(|age| age >= enough)
}

impl Controller {
    /// Writes the status when it differs, and publishes what changed.
    pub(super) async fn write_status(
        &self,
        cluster: &ChatCluster,
        view: &View,
        notices: &[Notice],
    ) -> Result<(), ReconcileError> {
        let key = Key::of(cluster);
        let status = view.at(cluster, Timestamp::now());
        let written_at = self.memories.with(&key, |memory| memory.status_written_at).flatten();
        let mut changed = Vec::new();
        if is_news(cluster.status.as_ref(), &status, written_at) {
            self.leadership.check()?;
            let api: Api<ChatCluster> = Api::namespaced(self.client.clone(), &key.namespace);
            let patch = Patch::Apply(json!({
                "apiVersion": "folkmoot.dev/v1alpha1",
                "kind": "ChatCluster",
                // What follows from an older version than the one that is there may not replace what was reported of that: above all
                // which gateways leave. The change that is not yet seen brings the next look.
                "metadata": {
                    "name": key.name,
                    "uid": cluster.metadata.uid,
                    "resourceVersion": cluster.metadata.resource_version,
                },
                "status": status,
            }));
            let params = PatchParams::apply(FIELD_MANAGER).force();
            match ask("write the status", api.patch_status(&key.name, &params, &patch)).await {
                // It was changed or deleted meanwhile.
                Err(error) if matches!(error.code(), Some(404 | 409)) => {
                    self.publish(cluster, of_notices(notices)).await;
                    return Ok(());
                }
                written => drop(written?),
            }
            self.metrics.wrote_status();
            self.memories.with(&key, |memory| memory.status_written_at = Some(Instant::now()));
            let before = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
            changed = events::transitions(before, &status.conditions);
        }
        changed.extend(of_notices(notices));
        self.publish(cluster, changed).await;
        Ok(())
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
