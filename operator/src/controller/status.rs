//! What is shown to a person. Pure but for writing it.

use std::time::Duration;

use folkmoot_crds::{ChatCluster, ChatClusterStatus, GatewayStatus, ImageSpec, RoleStatus, ScalingStatus};
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
    decide::Decided,
    events::{self, Notice},
    observe::{self, Observed},
    rollout::RolloutStep,
    scaling,
    validate::Problem,
};
use crate::{
    datastore::{Health, cassandra::migration::MigrationPlan},
    live::{Children, DeploymentState, Key},
    names::{self, Component, FIELD_MANAGER},
    role::Role,
    times::{self, whole_second},
};

/// A status of which only the number of sockets changed, or the reason for the number of gateways, is written at most this often.
const CONNECTIONS_EVERY: Duration = Duration::from_secs(30);
/// And this often while the number of sockets moves.
const MOVING_EVERY: Duration = Duration::from_millis(4_500);
/// It moves when it changed by more than a hundredth, and by more than this many.
const FEW: i64 = 10;
/// Longest message of a condition, in characters; the API server takes 32,768.
const MAX_MESSAGE: usize = 2_048;

/// One condition before it has a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

fn said(
    kind: &'static str,
    status: &'static str,
    reason: impl Into<String>,
    message: impl Into<String>,
) -> Said {
    Said { kind, status, reason: reason.into(), message: message.into() }
}

/// A status, computed.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    conditions: Vec<Said>,
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
            said("Ready", "False", "InvalidSpec", &message),
            said("Progressing", "False", "InvalidSpec", &message),
            said("Degraded", "True", "InvalidSpec", message),
        ];
        conditions.push(gateway_available(observe::deployment(children, &cluster.name_any(), Role::Gateway)));
        let status = ChatClusterStatus { connections: None, ..last };
        let scaling = scaling::status(cluster).cloned();
        Self { conditions, status: with_roles(status, cluster, children, scaling) }
    }

    /// Of everything else.
    #[must_use]
    pub fn of(
        cluster: &ChatCluster,
        image: &ImageSpec,
        observed: &Observed,
        decided: &Decided,
        outcome: &Outcome,
    ) -> Self {
        let name = cluster.name_any();
        let role = |role| observed.deployment(&name, role);
        let cassandra = engine("CassandraReady", "cassandra", &observed.datastores.cassandra);
        let pulsar = engine("PulsarReady", "pulsar", &observed.datastores.pulsar);
        let schema = schema(decided);
        let gateway = gateway_available(role(Role::Gateway));
        let progressing = progressing(cluster, observed, decided, outcome);
        let troubles = troubles(cluster, observed, decided, outcome, &[&cassandra, &pulsar, &schema]);
        let degraded = match troubles.first() {
            None => said("Degraded", "False", "AsExpected", "everything is as it should be"),
            Some((reason, _)) => {
                let messages: Vec<&str> = troubles.iter().map(|(_, message)| message.as_str()).collect();
                said("Degraded", "True", reason.clone(), messages.join("; "))
            }
        };
        let ready = ready(&name, observed, &[&cassandra, &pulsar, &schema, &gateway]);
        let conditions = vec![ready, progressing, degraded, cassandra, pulsar, schema, gateway];

        let last = cluster.status.clone().unwrap_or_default();
        let settled = decided.rollout.step == RolloutStep::Settled;
        let status = ChatClusterStatus {
            version: if settled { Some(names::image_version(&image.reference)) } else { last.version },
            url: Some(url(cluster)),
            connections: observed.connections.map(observe::told),
            migration: Some(decided.migration_status.clone()),
            keyspace: Some(names::keyspace(cluster)),
            pulsar_namespace: Some(format!(
                "{}/{}",
                cluster.spec.pulsar.tenant,
                names::pulsar_namespace(cluster)
            )),
            ..ChatClusterStatus::default()
        };
        // What was not done is not remembered as begun.
        let scaling = match outcome {
            Outcome::Applied(_) => decided.scaling.status.clone(),
            _ => scaling::status(cluster).cloned(),
        };
        Self { conditions, status: with_roles(status, cluster, &observed.children, scaling) }
    }

    /// The status at this time: a condition keeps the time of its last transition while its status is the same.
    pub(super) fn at(&self, cluster: &ChatCluster, now: Timestamp) -> ChatClusterStatus {
        let generation = cluster.metadata.generation;
        let before = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let conditions = self.conditions.iter().map(|said| {
            let last = before.iter().find(|last| last.type_ == said.kind && last.status == said.status);
            Condition {
                type_: said.kind.to_owned(),
                status: said.status.to_owned(),
                reason: said.reason.clone(),
                message: said.message.chars().take(MAX_MESSAGE).collect(),
                observed_generation: generation,
                last_transition_time: last
                    .map_or_else(|| times::to_api(now), |last| last.last_transition_time.clone()),
            }
        });
        let mut conditions: Vec<Condition> = conditions.collect();
        // What is not known now is as it was.
        let kept = before.iter().filter(|last| !self.conditions.iter().any(|said| said.kind == last.type_));
        conditions.extend(kept.cloned().map(|last| Condition { observed_generation: generation, ..last }));
        ChatClusterStatus { conditions, observed_generation: generation, ..self.status.clone() }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn engine(kind: &'static str, name: &str, health: &Health) -> Said {
    match health {
        Health::Unknown => said(kind, "Unknown", "NotAskedYet", format!("{name} was not asked yet")),
        Health::Ready => said(kind, "True", "Ready", format!("{name} answers and is as it should be")),
        Health::Unready { reason, message, since } => {
            let since = whole_second(*since);
            said(kind, "False", *reason, format!("{message} (since {since}); trying again every few seconds"))
        }
    }
}

fn schema(decided: &Decided) -> Said {
    const KIND: &str = "SchemaCurrent";
    match &decided.migration {
        MigrationPlan::Current => said(KIND, "True", "Current", "the tables are as this version needs them"),
        MigrationPlan::Run(_) if decided.awaits_cassandra => {
            said(KIND, "False", "AwaitingCassandra", "the migration begins as soon as cassandra answers")
        }
        MigrationPlan::Run(_) | MigrationPlan::Running(_) => {
            said(KIND, "False", "MigrationRunning", "tables are being made or brought up to date")
        }
        MigrationPlan::Failed { message, retry_at } => {
            let retry_at = whole_second(*retry_at);
            said(KIND, "False", "MigrationFailed", format!("{message}; the next try is at {retry_at}"))
        }
    }
}

fn gateway_available(gateways: Option<&DeploymentState>) -> Said {
    const KIND: &str = "GatewayAvailable";
    match gateways {
        None => said(KIND, "False", "Starting", "there are no gateways yet"),
        Some(state) if state.ready > 0 => said(
            KIND,
            "True",
            "Available",
            format!("{} of {} gateways take sockets", state.ready, state.desired),
        ),
        Some(state) => {
            said(KIND, "False", "Starting", format!("none of {} gateways is ready", state.desired))
        }
    }
}

fn progressing(cluster: &ChatCluster, observed: &Observed, decided: &Decided, outcome: &Outcome) -> Said {
    const KIND: &str = "Progressing";
    match outcome {
        Outcome::Applied(_) => {}
        Outcome::Paused => {
            let annotation = folkmoot_crds::PAUSED_ANNOTATION;
            let message = format!("nothing is changed while the annotation {annotation} is there");
            return said(KIND, "False", "Paused", message);
        }
        Outcome::SecretsMissing => {
            return said(KIND, "False", "SecretMissing", "waits for the Secrets that are missing");
        }
        Outcome::Refused(why) => return said(KIND, "False", "ApplyFailed", format!("{why}; trying again")),
    }
    if let Some(leaving) = decided.scaling.plan.leaving.as_ref() {
        let message = format!(
            "{} gateways stay; {} send their sockets away, until {} at the latest: {}",
            leaving.to,
            leaving.pods.len(),
            whole_second(leaving.deadline),
            leaving.pods.join(", ")
        );
        return said(KIND, "True", "ScalingDown", message);
    }
    match &decided.rollout.step {
        RolloutStep::Replacing(Role::Gateway) if decided.scaling.is_held => said(
            KIND,
            "True",
            "RolloutHeld",
            "gateways: more clients come back than they can take at once; the next one is replaced when that is over, or \
             after five minutes of it",
        ),
        RolloutStep::AwaitingSchema => {
            said(KIND, "True", "AwaitingSchema", "the roles follow when the tables are ready")
        }
        RolloutStep::Replacing(role) => {
            let state = observed.deployment(&cluster.name_any(), *role);
            let is_scaling = state.is_some_and(|state| {
                let runs = decided.rollout.of(*role).is_some_and(|plan| scaling::is_of(plan, state));
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
            let status = decided.scaling.status.as_ref();
            let goes_on = *role == Role::Gateway && status.is_some_and(|status| status.held_since.is_some());
            let note = if goes_on {
                "; it goes on although clients come back faster than they are taken"
            } else {
                ""
            };
            said(KIND, "True", reason, format!("{}: {counts}{note}", role.as_str()))
        }
        RolloutStep::Stalled { role, why } => said(
            KIND,
            "False",
            "RolloutStalled",
            format!("{} does not get ready, and what comes after it stays as it is: {why}", role.as_str()),
        ),
        RolloutStep::Settled => said(KIND, "False", "Settled", "all roles run what the spec says"),
    }
}

/// What a person should look at, most important first: reason and message.
fn troubles(
    cluster: &ChatCluster,
    observed: &Observed,
    decided: &Decided,
    outcome: &Outcome,
    conditions: &[&Said],
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
    let wants_route = cluster.spec.exposure.as_ref().is_some_and(|exposure| exposure.http_route.is_some());
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

fn ready(name: &str, observed: &Observed, needed: &[&Said]) -> Said {
    const KIND: &str = "Ready";
    for role in Role::ALL {
        let state = observed.deployment(name, role);
        if state.is_none_or(|state| state.ready == 0) {
            // What it waits for is the better reason.
            let cause = needed.iter().find(|condition| condition.status != "True");
            return match cause {
                Some(cause) if state.is_none() => {
                    said(KIND, "False", cause.reason.clone(), cause.message.clone())
                }
                _ => said(KIND, "False", "NotReadyYet", format!("no pod of {} is ready", role.as_str())),
            };
        }
    }
    // Tables that are being brought up to date serve the old version meanwhile.
    let unmet =
        needed.iter().find(|condition| condition.status == "False" && condition.kind != "SchemaCurrent");
    match unmet {
        Some(condition) => said(KIND, "False", condition.reason.clone(), condition.message.clone()),
        None => said(KIND, "True", "Ready", "people can chat"),
    }
}

fn of_notices(notices: &[Notice]) -> Vec<(bool, String, String)> {
    notices.iter().map(|notice| (notice.warning, notice.reason.to_owned(), notice.note.clone())).collect()
}

fn url(cluster: &ChatCluster) -> String {
    match &cluster.spec.exposure {
        Some(exposure) => {
            let ingress = exposure.ingress.as_ref().is_some_and(|ingress| ingress.tls_secret_name.is_some());
            let route = exposure.http_route.as_ref().is_some_and(|route| route.tls);
            format!("{}://{}", if ingress || route { "https" } else { "http" }, exposure.host)
        }
        None => {
            format!("http://{}.{}.svc", cluster.name_any(), cluster.namespace().unwrap_or_default())
        }
    }
}

fn with_roles(
    status: ChatClusterStatus,
    cluster: &ChatCluster,
    children: &Children,
    scaling: Option<ScalingStatus>,
) -> ChatClusterStatus {
    let name = cluster.name_any();
    let of = |role: Role| {
        observe::deployment(children, &name, role).map_or_else(RoleStatus::default, |state| RoleStatus {
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
            selector: Some(names::selector_text(&name, Component::Role(Role::Gateway))),
            scaling,
        }),
        api: Some(of(Role::Api)),
        auth: Some(of(Role::Auth)),
        ..status
    }
}

/// Whether a status is worth a write.
fn is_news(before: Option<&ChatClusterStatus>, now: &ChatClusterStatus, told: Option<Instant>) -> bool {
    let Some(before) = before else { return true };
    if before == now {
        return false;
    }
    let mut quiet = ChatClusterStatus { connections: now.connections, ..before.clone() };
    let reason = |status: &ChatClusterStatus| status.gateway.as_ref()?.scaling.as_ref()?.reason.clone();
    if let Some(scaling) = quiet.gateway.as_mut().and_then(|gateway| gateway.scaling.as_mut()) {
        scaling.reason = reason(now);
    }
    let told = told.map(|told| told.elapsed());
    quiet != *now
        || is_worth_telling(before.connections, now.connections, told)
        || told.is_none_or(|told| told >= CONNECTIONS_EVERY)
}

/// Whether the number of sockets is worth a write of the status, which was written last so long ago.
#[must_use]
pub fn is_worth_telling(before: Option<i64>, now: Option<i64>, told: Option<Duration>) -> bool {
    let is_moving = match (before, now) {
        (Some(before), Some(now)) => before.abs_diff(now) > (before.max(now) / 100).max(FEW).unsigned_abs(),
        (None, Some(_)) => true,
        // Most often it is known again after a moment.
        (_, None) => false,
    };
    let enough = if is_moving { MOVING_EVERY } else { CONNECTIONS_EVERY };
    before != now && told.is_none_or(|told| told >= enough)
}

impl Controller {
    /// Writes the status when it differs, and publishes what changed.
    pub(super) async fn tell(
        &self,
        cluster: &ChatCluster,
        view: &View,
        notices: &[Notice],
    ) -> Result<(), ReconcileError> {
        let key = Key::of(cluster);
        let status = view.at(cluster, Timestamp::now());
        let told = self.known.lock().get(&key).and_then(|known| known.told);
        let mut changed = Vec::new();
        if is_news(cluster.status.as_ref(), &status, told) {
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
            if let Some(known) = self.known.lock().get_mut(&key) {
                known.told = Some(Instant::now());
            }
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
