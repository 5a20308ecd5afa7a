//! How many gateways there are, which of them go, where new sockets are led and whether a roll-out waits: what follows from the
//! spec, the status, what is there and what gateways said. Pure.

use std::collections::{BTreeMap, BTreeSet};

use folkmoot_crds::{AutoscalingMode, AutoscalingSpec, ChatCluster, LeavingStatus, ScalingStatus};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::{
    events::Notice,
    observe::Observed,
    rollout::{RolePlan, RolloutPlan},
};
use crate::{
    live::{DeploymentState, LivePod, Pods, ReplicaSets},
    role::Role,
    sampler::GatewaySample,
    scaling::{
        machine::{self, Drain, GatewayPod, Leaving, Plan, Situation, Step},
        policy::{Decision, ScalePlan, Settings},
        victims::{self, Candidate},
    },
    times,
};

/// A roll-out waits for gateways that are pressed no longer than this.
const HELD_MOST: SignedDuration = SignedDuration::from_mins(5);
/// A pod takes sockets for some seconds after it was ordered to drain, until load balancers have heard of it.
const LEAVES_AFTER: SignedDuration = SignedDuration::from_secs(7);

/// Outcome of the order to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It does so since then.
    Drains(Timestamp),
    /// It does not know how: it drains when it gets the signal to end.
    Cannot,
}

/// What gateways said, and what this process remembers of them.
#[derive(Debug, Clone, Default)]
pub struct Gateways {
    /// What each said last, and when.
    pub samples: BTreeMap<String, (Timestamp, GatewaySample)>,
    /// Sockets of those that said so lately.
    pub connections: BTreeMap<String, u64>,
    /// Whether one of them has more clients that come back than it can take at once.
    pub is_pressed: bool,
    /// What the policy said, where the operator decides.
    pub decision: Option<Decision>,
    /// Which were ordered to drain.
    pub told: BTreeMap<String, Told>,
    /// How many pods this process asked the Deployment for last.
    pub sent: Option<i32>,
}

/// What is to be done about gateways.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// The steps of a scale-down.
    pub plan: Plan,
    /// Whether the roll-out waits for gateways that are pressed.
    pub is_held: bool,
    /// Template to which new sockets are led, while there are several.
    pub newest: Option<String>,
    /// Number that is to be written into `spec.gateway.replicas`, since from now on others write it.
    pub hand_over: Option<i32>,
    /// What is to be remembered.
    pub status: Option<ScalingStatus>,
}

/// Who decides how many there are.
#[must_use]
pub fn mode(cluster: &ChatCluster) -> AutoscalingMode {
    cluster.spec.gateway.autoscaling.as_ref().map_or(AutoscalingMode::External, |spec| spec.mode)
}

/// How many there are of a `ChatCluster` that has none yet.
#[must_use]
pub fn at_first(cluster: &ChatCluster) -> i32 {
    match autoscaled(cluster) {
        None => cluster.spec.gateway.replicas,
        Some(spec) => {
            let last =
                status(cluster).and_then(|status| status.desired_replicas).unwrap_or(spec.min_replicas);
            last.min(spec.max_replicas).max(spec.min_replicas)
        }
    }
}

/// The settings of the policy, where the operator decides.
#[must_use]
pub fn settings(cluster: &ChatCluster) -> Option<Settings> {
    let number = |value: i32| u32::try_from(value).unwrap_or(1).max(1);
    autoscaled(cluster).map(|spec| Settings {
        min_replicas: number(spec.min_replicas),
        max_replicas: number(spec.max_replicas),
        target_connections: spec.target_connections_per_pod.max(1),
        buffer_percent: spec.buffer_percent,
        stabilization: SignedDuration::from_secs(spec.stabilization_seconds.into()),
        max_scale_up_per_minute: number(spec.max_scale_up_per_minute),
    })
}

fn autoscaled(cluster: &ChatCluster) -> Option<&AutoscalingSpec> {
    cluster.spec.gateway.autoscaling.as_ref().filter(|spec| spec.mode == AutoscalingMode::Operator)
}

/// What the status says of it.
#[must_use]
pub fn status(cluster: &ChatCluster) -> Option<&ScalingStatus> {
    cluster.status.as_ref()?.gateway.as_ref()?.scaling.as_ref()
}

/// The scale-down that the status shows.
#[must_use]
pub fn leaving(cluster: &ChatCluster) -> Option<Leaving> {
    let leaving = status(cluster)?.leaving.as_ref()?;
    Some(Leaving {
        pods: leaving.pods.clone(),
        to: leaving.to,
        since: leaving.since.as_ref().map(times::of_api)?,
        deadline: leaving.deadline.as_ref().map(times::of_api)?,
    })
}

/// Pods of gateways, with their names.
pub fn gateways(pods: &Pods) -> impl Iterator<Item = (&String, &LivePod)> {
    pods.iter().filter(|(_, pod)| pod.component == Role::Gateway.as_str())
}

/// Whether there are gateways of several templates, of which none is being deleted.
#[must_use]
pub fn is_mixed(pods: &Pods) -> bool {
    let hashes: BTreeSet<&str> =
        gateways(pods).filter(|(_, pod)| !pod.deleting).map(|(_, pod)| pod.hash.as_str()).collect();
    hashes.len() > 1
}

/// The template that new sockets are led to, while there are several: the newest, as soon as one of its pods takes traffic. Whoever
/// is sent away then comes back to a pod that stays.
#[must_use]
pub fn newest(pods: &Pods, sets: &ReplicaSets) -> Option<String> {
    if !is_mixed(pods) {
        return None;
    }
    let newest = sets.values().max_by_key(|set| set.revision)?;
    gateways(pods).any(|(_, pod)| pod.ready && pod.hash == newest.hash).then(|| newest.hash.clone())
}

/// Decides. `rollout` is what all roles are to run; that of gateways is held while pods leave, or while they are pressed.
#[must_use]
pub fn decide(
    cluster: &ChatCluster,
    observed: &Observed,
    rollout: &mut RolloutPlan,
    now: Timestamp,
) -> Scaling {
    let last = status(cluster).cloned().unwrap_or_default();
    let Some(live) = observed.deployment(&cluster.name_any(), Role::Gateway) else {
        let replicas = at_first(cluster);
        let status = told(
            cluster,
            observed,
            &last,
            Now { desired: replicas, mode: auto_mode(cluster), ..Now::at(now) },
        );
        return Scaling {
            plan: Plan::resting(replicas),
            is_held: false,
            newest: None,
            hand_over: None,
            status,
        };
    };
    let current = observed.gateways.sent.unwrap_or(live.desired);
    let leaving = leaving(cluster);
    let is_mixed = is_mixed(&observed.pods);
    let turns = rollout.gateway.as_ref().is_some_and(|plan| !plan.held && !is_of(plan, live));

    let hand_over = hand_over(cluster, &last, leaving.as_ref().map_or(current, |leaving| leaving.to));
    let desired = match (&hand_over, mode(cluster)) {
        (Some(_), _) => None,
        (None, AutoscalingMode::External) => Some(cluster.spec.gateway.replicas),
        (None, AutoscalingMode::Operator) => observed.gateways.decision.as_ref().and_then(desired_of),
    };
    let pods: Vec<GatewayPod<'_>> = gateways(&observed.pods)
        .map(|(name, pod)| GatewayPod {
            name,
            deleting: pod.deleting,
            marked: pod.marked,
            drain: drain(name, pod, &observed.gateways),
        })
        .collect();
    let situation = Situation {
        current,
        desired,
        limit: autoscaled(cluster).map_or(i32::MAX, |spec| spec.max_replicas),
        leaving: leaving.as_ref(),
        pods: &pods,
        is_rolling: is_mixed || (turns && leaving.is_none()),
        is_through: live.observed && live.replicas <= current,
        drain: SignedDuration::from_secs(cluster.spec.gateway.drain_seconds.into()),
        now,
    };
    let plan = machine::plan(&situation, |count| {
        let target = cluster.spec.gateway.autoscaling.as_ref();
        let target =
            target.map_or(cluster.spec.gateway.max_connections, |spec| spec.target_connections_per_pod);
        victims::choose(&candidates(observed), count, target)
    });

    let held_since = pressed_since(observed, is_mixed, &last, now);
    let is_held = held_since.is_some_and(|since| now.duration_since(since) < HELD_MOST);
    if let Some(gateway) = &mut rollout.gateway {
        if plan.leaving.is_some() && leaving.is_some() && turns {
            // One after the other: who is sent away by both would move twice.
            gateway.revision =
                super::rollout::Revision { image: live.image.clone(), config: live.config.clone() };
        }
        gateway.held |= live.replicas > 0 && (is_held || (plan.leaving.is_some() && leaving.is_some()));
    }
    let number = plan.leaving.as_ref().map_or(plan.replicas, |leaving| leaving.to);
    let mode = if hand_over.is_some() { last.mode } else { auto_mode(cluster) };
    let now_so = Now { desired: number, mode, leaving: plan.leaving.as_ref(), held_since, ..Now::at(now) };
    let mut status = told(cluster, observed, &last, now_so);
    if let (Step::Grow { .. }, Some(status)) = (&plan.step, &mut status) {
        status.last_scale_up = Some(times::to_api(now));
    }
    Scaling { plan, is_held, newest: newest(&observed.pods, &observed.replica_sets), hand_over, status }
}

/// Whether a Deployment has the template of a plan.
#[must_use]
pub fn is_of(plan: &RolePlan, live: &DeploymentState) -> bool {
    plan.revision.image == live.image && plan.revision.config == live.config
}

/// Until this is written nobody else's number counts.
fn hand_over(cluster: &ChatCluster, last: &ScalingStatus, number: i32) -> Option<i32> {
    let is_due = mode(cluster) == AutoscalingMode::External
        && last.mode == Some(AutoscalingMode::Operator)
        && cluster.spec.gateway.replicas != number;
    is_due.then_some(number)
}

fn desired_of(decision: &Decision) -> Option<i32> {
    match &decision.plan {
        ScalePlan::Hold { .. } => None,
        ScalePlan::Up { to, .. } | ScalePlan::Down { to, .. } => i32::try_from(*to).ok(),
    }
}

fn drain(name: &str, pod: &LivePod, gateways: &Gateways) -> Drain {
    let sample = gateways.samples.get(name);
    let runs = pod.address.is_some() && (pod.ready || pod.trouble.is_none() || sample.is_some());
    match gateways.told.get(name) {
        // One that never began, or that ends again and again, holds nothing.
        _ if !runs => Drain::Empty,
        None => Drain::Untold,
        Some(Told::Cannot) => Drain::Empty,
        Some(Told::Drains(since)) => {
            let is_empty = |(at, sample): &(Timestamp, GatewaySample)| {
                sample.draining && sample.connections == 0 && at.duration_since(*since) >= LEAVES_AFTER
            };
            // It began anew, and knows of nothing.
            let forgot = |(at, sample): &(Timestamp, GatewaySample)| {
                !sample.draining && at.duration_since(*since) >= LEAVES_AFTER
            };
            match sample {
                Some(sample) if is_empty(sample) => Drain::Empty,
                Some(sample) if forgot(sample) => Drain::Untold,
                _ => Drain::Told,
            }
        }
    }
}

fn candidates(observed: &Observed) -> Vec<Candidate> {
    let revision = |hash: &str| {
        observed.replica_sets.values().find(|set| set.hash == hash).map_or(0, |set| set.revision)
    };
    gateways(&observed.pods)
        .filter(|(_, pod)| !pod.deleting)
        .map(|(name, pod)| Candidate {
            name: name.clone(),
            ready: pod.ready,
            draining: observed.gateways.samples.get(name).is_some_and(|(_, sample)| sample.draining),
            revision: revision(&pod.hash),
            connections: observed.gateways.connections.get(name).copied(),
            node: pod.node.clone(),
            zone: pod.zone.clone(),
        })
        .collect()
}

/// Since when a roll-out meets gateways that are pressed.
fn pressed_since(
    observed: &Observed,
    is_mixed: bool,
    last: &ScalingStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_pressed = is_mixed && observed.gateways.is_pressed;
    is_pressed.then(|| last.held_since.as_ref().map_or(now, times::of_api))
}

/// What is so now.
#[derive(Clone, Copy)]
struct Now<'a> {
    mode: Option<AutoscalingMode>,
    desired: i32,
    leaving: Option<&'a Leaving>,
    held_since: Option<Timestamp>,
    at: Timestamp,
}

impl Now<'_> {
    const fn at(at: Timestamp) -> Self {
        Self { mode: None, desired: 0, leaving: None, held_since: None, at }
    }
}

fn auto_mode(cluster: &ChatCluster) -> Option<AutoscalingMode> {
    cluster.spec.gateway.autoscaling.as_ref().map(|spec| spec.mode)
}

/// What is to be remembered; nothing, when nothing happens and nobody but the spec decides.
fn told(
    cluster: &ChatCluster,
    observed: &Observed,
    last: &ScalingStatus,
    now: Now<'_>,
) -> Option<ScalingStatus> {
    if now.mode.is_none() && now.leaving.is_none() && now.held_since.is_none() {
        return None;
    }
    let by_policy = observed.gateways.decision.as_ref().map(|decision| decision.plan.why().to_string());
    let reason = match mode(cluster) {
        AutoscalingMode::Operator => by_policy.or_else(|| last.reason.clone()),
        AutoscalingMode::External => Some("spec.gateway.replicas".to_owned()),
    };
    let since = last.since.clone().filter(|_| last.desired_replicas == Some(now.desired));
    Some(ScalingStatus {
        mode: now.mode,
        desired_replicas: Some(now.desired),
        reason,
        since: since.or_else(|| Some(times::to_api(now.at))),
        last_scale_up: last.last_scale_up.clone(),
        leaving: now.leaving.map(|leaving| LeavingStatus {
            pods: leaving.pods.clone(),
            to: leaving.to,
            since: Some(times::to_api(leaving.since)),
            deadline: Some(times::to_api(leaving.deadline)),
        }),
        held_since: now.held_since.map(times::to_api),
    })
}

impl Scaling {
    /// Whether more is to be done soon.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.plan.leaving.is_some() || self.is_held || self.hand_over.is_some()
    }

    /// What is worth an event once it is done.
    #[must_use]
    pub fn notices(&self, gateways: &Gateways) -> Vec<Notice> {
        let to = self.plan.replicas;
        let why = gateways.decision.as_ref().map(|decision| format!(": {}", decision.plan.why()));
        let why = why.unwrap_or_default();
        match &self.plan.step {
            Step::Grow { from } => vec![Notice::normal("ScaledUp", format!("gateways: {from} -> {to}{why}"))],
            Step::Lower { from, occupied: 0 } => {
                vec![Notice::normal(
                    "ScaledDown",
                    format!("gateways: {from} -> {to}; those that went were empty"),
                )]
            }
            Step::Lower { from, occupied } => vec![Notice::normal(
                "ScaledDown",
                format!(
                    "gateways: {from} -> {to}; {occupied} of those that went had sockets left after their time, which \
                     they send away while they end"
                ),
            )],
            Step::Forgo { from } => {
                vec![Notice::normal("ScaledDown", format!("gateways: {from} -> {to}; those had not begun"))]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
