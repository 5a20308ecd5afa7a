//! How many gateways there are, which of them go, to which new sockets are led and whether a roll-out waits: what
//! follows from the spec, the status, what is there and what gateways reported. Pure.

use std::collections::BTreeSet;

use folkmoot_crds::{AutoscalingMode, AutoscalingSpec, ChatClusterStatus, LeavingStatus, ScalingStatus};
use jiff::{SignedDuration, Timestamp};

use super::{
    machine::{self, Drain, GatewayPod, Leaving, Plan, Situation, Step},
    memory::{DrainOrder, Gateways},
    policy::{Decision, ScalePlan, Settings},
    sample::GatewaySample,
    victims::{self, Candidate},
};
use crate::{
    live::{DeploymentState, LivePod, Pods, ReplicaSets},
    role::Role,
    times,
    validate::ValidatedCluster,
};

/// A roll-out waits for gateways that are pressed no longer than this.
const MAX_HOLD: SignedDuration = SignedDuration::from_mins(5);
/// A pod takes sockets for some seconds after it was ordered to drain, until load balancers have heard of it.
const LEAVES_AFTER: SignedDuration = SignedDuration::from_secs(7);

/// What is to be done about gateways.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// The steps of a scale-down.
    pub plan: Plan,
    /// Whether the roll-out waits for gateways that are pressed.
    pub is_held: bool,
    /// Whether pods are being emptied, so that no roll-out replaces gateways meanwhile.
    pub is_draining: bool,
    /// Template to which new sockets are led, while there are several.
    pub newest: Option<String>,
    /// Number that is to be written into `spec.gateway.replicas`, since from now on others write it.
    pub hand_over: Option<i32>,
    /// What the status is to show.
    pub status: Option<ScalingStatus>,
}

impl Scaling {
    /// Whether more is to be done soon.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.plan.leaving.is_some() || self.is_held || self.hand_over.is_some()
    }
}

/// What the number of gateways follows from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The `ChatCluster` whose gateways they are.
    pub cluster: &'a ValidatedCluster,
    /// State of the gateways' Deployment; `None`: there is none.
    pub deployment: Option<&'a DeploymentState>,
    /// All pods of the `ChatCluster`.
    pub pods: &'a Pods,
    /// The `ReplicaSet`s of gateways.
    pub replica_sets: &'a ReplicaSets,
    /// What gateways reported.
    pub gateways: &'a Gateways,
    /// What the policy decided, where the operator decides.
    pub decision: Option<&'a Decision>,
    /// Whether the roll-out is about to change the gateways' template.
    pub is_replacing: bool,
    /// The current time.
    pub now: Timestamp,
}

/// Who decides how many there are.
#[must_use]
pub fn mode(cluster: &ValidatedCluster) -> AutoscalingMode {
    cluster.gateway().autoscaling.as_ref().map_or(AutoscalingMode::External, |spec| spec.mode)
}

/// How many there are of a `ChatCluster` that has none yet.
#[must_use]
pub fn at_first(cluster: &ValidatedCluster) -> i32 {
    match autoscaled(cluster) {
        None => cluster.gateway().replicas,
        Some(spec) => {
            let last = status(cluster.status())
                .and_then(|status| status.desired_replicas)
                .unwrap_or(spec.min_replicas);
            last.min(spec.max_replicas).max(spec.min_replicas)
        }
    }
}

/// The settings of the policy, where the operator decides.
#[must_use]
pub fn settings(cluster: &ValidatedCluster) -> Option<Settings> {
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

fn autoscaled(cluster: &ValidatedCluster) -> Option<&AutoscalingSpec> {
    cluster.gateway().autoscaling.as_ref().filter(|spec| spec.mode == AutoscalingMode::Operator)
}

/// The part of a status that is about the number of gateways.
#[must_use]
pub fn status(of: Option<&ChatClusterStatus>) -> Option<&ScalingStatus> {
    of?.gateway.as_ref()?.scaling.as_ref()
}

/// The scale-down that a status shows.
#[must_use]
pub fn leaving(of: Option<&ChatClusterStatus>) -> Option<Leaving> {
    let leaving = status(of)?.leaving.as_ref()?;
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

/// The template that new sockets are led to, while there are several: the newest, as soon as one of its pods takes
/// traffic. Whoever is sent away then comes back to a pod that stays.
#[must_use]
pub fn newest(pods: &Pods, sets: &ReplicaSets) -> Option<String> {
    if !is_mixed(pods) {
        return None;
    }
    let newest = sets.values().max_by_key(|set| set.revision)?;
    gateways(pods).any(|(_, pod)| pod.ready && pod.hash == newest.hash).then(|| newest.hash.clone())
}

/// Decides what is to be done about gateways.
#[must_use]
pub fn decide(input: &Input<'_>) -> Scaling {
    let Input { cluster, pods, gateways: reported, now, .. } = *input;
    let last = status(cluster.status()).cloned().unwrap_or_default();
    let Some(live) = input.deployment else {
        let replicas = at_first(cluster);
        let next = Next { desired: replicas, mode: auto_mode(cluster), ..Next::default() };
        return Scaling {
            plan: Plan::resting(replicas),
            is_held: false,
            is_draining: false,
            newest: None,
            hand_over: None,
            status: next_status(input, &last, next),
        };
    };
    let current = reported.requested.unwrap_or(live.desired);
    let leaving = leaving(cluster.status());
    let is_mixed = is_mixed(pods);

    let hand_over = hand_over(cluster, &last, leaving.as_ref().map_or(current, |leaving| leaving.to));
    let desired = match (&hand_over, mode(cluster)) {
        (Some(_), _) => None,
        (None, AutoscalingMode::External) => Some(cluster.gateway().replicas),
        (None, AutoscalingMode::Operator) => input.decision.and_then(desired_of),
    };
    let gateway_pods: Vec<GatewayPod<'_>> = gateways(pods)
        .map(|(name, pod)| GatewayPod {
            name,
            deleting: pod.deleting,
            marked: pod.marked,
            drain: drain(name, pod, reported),
        })
        .collect();
    let situation = Situation {
        current,
        desired,
        limit: autoscaled(cluster).map_or(i32::MAX, |spec| spec.max_replicas),
        leaving: leaving.as_ref(),
        pods: &gateway_pods,
        is_rolling: is_mixed || (input.is_replacing && leaving.is_none()),
        is_through: live.observed && live.replicas <= current,
        drain: SignedDuration::from_secs(cluster.gateway().drain_seconds.into()),
        now,
    };
    let plan = machine::plan(&situation, |count| {
        let spec = cluster.gateway();
        let target = spec.autoscaling.as_ref().map(|spec| spec.target_connections_per_pod);
        victims::choose(&candidates(input), count, target.unwrap_or(spec.max_connections))
    });

    let held_since = pressed_since(input, is_mixed, &last);
    let is_held = held_since.is_some_and(|since| now.duration_since(since) < MAX_HOLD);
    let number = plan.leaving.as_ref().map_or(plan.replicas, |leaving| leaving.to);
    let mode = if hand_over.is_some() { last.mode } else { auto_mode(cluster) };
    let next = Next { desired: number, mode, leaving: plan.leaving.as_ref(), held_since };
    let mut status = next_status(input, &last, next);
    if let (Step::Grow { .. }, Some(status)) = (&plan.step, &mut status) {
        status.last_scale_up = Some(times::to_api(now));
    }
    let is_draining = plan.leaving.is_some() && leaving.is_some();
    Scaling { plan, is_held, is_draining, newest: newest(pods, input.replica_sets), hand_over, status }
}

/// Until this is written nobody else's number counts.
fn hand_over(cluster: &ValidatedCluster, last: &ScalingStatus, number: i32) -> Option<i32> {
    let is_due = mode(cluster) == AutoscalingMode::External
        && last.mode == Some(AutoscalingMode::Operator)
        && cluster.gateway().replicas != number;
    is_due.then_some(number)
}

fn desired_of(decision: &Decision) -> Option<i32> {
    match &decision.plan {
        ScalePlan::Hold { .. } => None,
        ScalePlan::Up { to, .. } | ScalePlan::Down { to, .. } => i32::try_from(*to).ok(),
    }
}

fn drain(name: &str, pod: &LivePod, reported: &Gateways) -> Drain {
    let sample = reported.samples.get(name);
    let runs = pod.address.is_some() && (pod.ready || pod.trouble.is_none() || sample.is_some());
    match reported.drain_orders.get(name) {
        // One that never began, or that ends again and again, holds nothing.
        _ if !runs => Drain::Empty,
        None => Drain::NotOrdered,
        Some(DrainOrder::Unsupported) => Drain::Empty,
        Some(DrainOrder::Accepted(since)) => {
            let is_empty = |(at, sample): &(Timestamp, GatewaySample)| {
                sample.draining && sample.connections == 0 && at.duration_since(*since) >= LEAVES_AFTER
            };
            // Its process started again, and does not know about the order.
            let restarted = |(at, sample): &(Timestamp, GatewaySample)| {
                !sample.draining && at.duration_since(*since) >= LEAVES_AFTER
            };
            match sample {
                Some(sample) if is_empty(sample) => Drain::Empty,
                Some(sample) if restarted(sample) => Drain::NotOrdered,
                _ => Drain::Ordered,
            }
        }
    }
}

fn candidates(input: &Input<'_>) -> Vec<Candidate> {
    let revision =
        |hash: &str| input.replica_sets.values().find(|set| set.hash == hash).map_or(0, |set| set.revision);
    gateways(input.pods)
        .filter(|(_, pod)| !pod.deleting)
        .map(|(name, pod)| Candidate {
            name: name.clone(),
            ready: pod.ready,
            draining: input.gateways.samples.get(name).is_some_and(|(_, sample)| sample.draining),
            revision: revision(&pod.hash),
            connections: input.gateways.connections.get(name).copied(),
            node: pod.node.clone(),
            zone: pod.zone.clone(),
        })
        .collect()
}

/// Since when a roll-out meets gateways that are pressed.
fn pressed_since(input: &Input<'_>, is_mixed: bool, last: &ScalingStatus) -> Option<Timestamp> {
    let is_pressed = is_mixed && input.gateways.is_pressed;
    is_pressed.then(|| last.held_since.as_ref().map_or(input.now, times::of_api))
}

fn auto_mode(cluster: &ValidatedCluster) -> Option<AutoscalingMode> {
    cluster.gateway().autoscaling.as_ref().map(|spec| spec.mode)
}

/// What the next status is made of.
#[derive(Clone, Copy, Default)]
struct Next<'a> {
    mode: Option<AutoscalingMode>,
    desired: i32,
    leaving: Option<&'a Leaving>,
    held_since: Option<Timestamp>,
}

/// What the status is to show; nothing, when nothing happens and nobody but the spec decides.
fn next_status(input: &Input<'_>, last: &ScalingStatus, next: Next<'_>) -> Option<ScalingStatus> {
    if next.mode.is_none() && next.leaving.is_none() && next.held_since.is_none() {
        return None;
    }
    let by_policy = input.decision.map(|decision| decision.plan.why().to_string());
    let reason = match mode(input.cluster) {
        AutoscalingMode::Operator => by_policy.or_else(|| last.reason.clone()),
        AutoscalingMode::External => Some("spec.gateway.replicas".to_owned()),
    };
    let since = last.since.clone().filter(|_| last.desired_replicas == Some(next.desired));
    Some(ScalingStatus {
        mode: next.mode,
        desired_replicas: Some(next.desired),
        reason,
        since: since.or_else(|| Some(times::to_api(input.now))),
        last_scale_up: last.last_scale_up.clone(),
        leaving: next.leaving.map(|leaving| LeavingStatus {
            pods: leaving.pods.clone(),
            to: leaving.to,
            since: Some(times::to_api(leaving.since)),
            deadline: Some(times::to_api(leaving.deadline)),
        }),
        held_since: next.held_since.map(times::to_api),
    })
}
