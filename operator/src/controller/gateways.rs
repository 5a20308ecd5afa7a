//! What gateways say of themselves, every few seconds, and what is done to the pods of those that leave.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use folkmoot_crds::ChatCluster;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Controller, ReconcileError,
    build::ADMIN_PORT,
    context::ask,
    decide::{self, Decided},
    observe::{self, Observed},
    scaling::{self, Gateways, Scaling, Told},
    status,
};
use crate::{
    keys::admin,
    live::{Key, LivePod, Pods},
    metrics::Chat,
    names::{self, FIELD_MANAGER},
    role::Role,
    sampler::{DrainFault, GatewaySample},
    scaling::{
        answers::{Answer, Answers},
        history::History,
        machine::{Plan, Step},
        policy::{self, LOST_AFTER, MEMORY_PRESSURE_PERCENT},
    },
};

/// Gateways are asked this often.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// `ChatCluster`s whose gateways are asked at once.
const CLUSTERS_AT_ONCE: usize = 16;
/// Gateways that are ordered to drain at once.
const TOLD_AT_ONCE: usize = 32;

/// What is remembered of the gateways of a `ChatCluster`.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// When they were asked last.
    asked: Option<Instant>,
    answers: Answers,
    history: Option<History>,
    /// Sockets that all hold together, when all said so.
    connections: Option<u64>,
    /// How many stay, and how many leave.
    numbers: (u32, u32),
    gateways: Gateways,
}

impl Memory {
    /// What decisions are made from.
    pub(super) fn seen(&self) -> (Option<u64>, Gateways) {
        (self.connections, self.gateways.clone())
    }
}

impl Controller {
    /// Asks the gateways of all `ChatCluster`s again and again, and has those looked at of which something follows.
    pub(super) async fn watch_gateways(self: Arc<Self>) {
        let mut ticks = interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            stream::iter(self.live.clusters())
                .for_each_concurrent(CLUSTERS_AT_ONCE, |cluster| {
                    let controller = Arc::clone(&self);
                    async move { controller.look_at_gateways(&cluster).await }
                })
                .await;
        }
    }

    async fn look_at_gateways(&self, cluster: &ChatCluster) {
        let key = Key::of(cluster);
        let pods = self.live.pods(&key);
        if cluster.metadata.deletion_timestamp.is_some() || scaling::gateways(&pods).next().is_none() {
            self.metrics.forget_gateways(&chat(&key));
            return;
        }
        // Just asked by a reconcile.
        self.ask_gateways(&key, cluster, &pods, SAMPLE_EVERY / 2).await;
        let (connections, gateways) = self.gateways_of(&key);
        self.measure(&key, &gateways);
        let told = self.known.lock().get(&key).and_then(|known| known.told);
        let last = scaling::status(cluster);
        let moves = scaling::leaving(cluster).is_some()
            || last.is_some_and(|last| last.held_since.is_some())
            || (gateways.is_pressed && scaling::is_mixed(&pods));
        let why = gateways.decision.as_ref().map(|decision| decision.plan.why().to_string());
        let decides = gateways.decision.as_ref().is_some_and(|decision| decision.plan.direction() != "Hold")
            || (why.is_some() && why != last.and_then(|last| last.reason.clone()));
        let before = cluster.status.as_ref().and_then(|status| status.connections);
        let connections = connections.map(observe::told);
        let is_told = status::is_worth_telling(before, connections, told.map(|told| told.elapsed()));
        if moves || decides || is_told {
            self.queue.touch(key);
        }
    }

    fn measure(&self, key: &Key, gateways: &Gateways) {
        // Under the lock: who forgets a chat forgets its metrics after it.
        let known = self.known.lock();
        match known.get(key).zip(gateways.decision.as_ref()) {
            Some((known, decision)) => {
                let (stay, leave) = known.gateways.numbers;
                self.metrics.gateways(&chat(key), decision.desired, stay.saturating_add(leave), leave);
            }
            None => self.metrics.forget_gateways(&chat(key)),
        }
    }

    /// What is known of the gateways.
    pub(super) fn gateways_of(&self, key: &Key) -> (Option<u64>, Gateways) {
        self.known.lock().get(key).map(|known| known.gateways.seen()).unwrap_or_default()
    }

    /// Asks all gateways, unless that was done within `fresh`.
    pub(super) async fn ask_gateways(&self, key: &Key, cluster: &ChatCluster, pods: &Pods, fresh: Duration) {
        let asked = self.known.lock().get(key).and_then(|known| known.gateways.asked);
        if asked.is_some_and(|asked| asked.elapsed() < fresh) {
            return;
        }
        let running: Vec<(&String, &LivePod, SocketAddr)> = scaling::gateways(pods)
            .filter_map(|(name, pod)| Some((name, pod, SocketAddr::new(pod.address?, ADMIN_PORT))))
            .collect();
        let addresses: Vec<SocketAddr> = running.iter().map(|(_, _, address)| *address).collect();
        let samples = self.sampler.sample(&addresses).await;
        let children = self.live.children(key);
        let desired = observe::deployment(&children, &key.name, Role::Gateway).map(|live| live.desired);
        let round: Vec<(&str, &LivePod, Option<GatewaySample>)> = running
            .iter()
            .zip(samples)
            .map(|((name, pod, _), sample)| (name.as_str(), *pod, sample))
            .collect();
        if let Some(known) = self.known.lock().get_mut(key) {
            known.gateways.take(cluster, pods, desired, &round, Timestamp::now());
        }
    }

    /// The Deployment was asked for that many pods; `None`: it is not known.
    pub(super) fn remember_sent(&self, key: &Key, replicas: Option<i32>) {
        if let Some(known) = self.known.lock().get_mut(key) {
            known.gateways.gateways.sent = replicas;
        }
    }

    /// Marks, empties and deletes the pods that the plan says.
    pub(super) async fn act(
        &self,
        key: &Key,
        observed: &Observed,
        decided: &Decided,
    ) -> Result<(), ReconcileError> {
        let plan = &decided.scaling.plan;
        self.count(key, observed, plan);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        for name in &plan.mark {
            self.leadership.check()?;
            let patch = Patch::Merge(
                json!({ "metadata": { "annotations": { names::DELETION_COST: names::GOES_FIRST } } }),
            );
            let params = PatchParams::apply(FIELD_MANAGER);
            gone_is_fine(
                ask(format!("mark the pod {name}"), pods.patch_metadata(name, &params, &patch)).await,
            )?;
            self.metrics.wrote_pod("patch");
        }
        let token = admin::text(&decided.admin_token).unwrap_or_default();
        stream::iter(plan.tell.iter().filter_map(|name| Some((name, observed.pods.get(name)?.address?))))
            .for_each_concurrent(TOLD_AT_ONCE, |(name, address)| async move {
                if self.leadership.check().is_ok() {
                    self.tell_to_drain(key, name, SocketAddr::new(address, ADMIN_PORT), token).await;
                }
            })
            .await;
        for name in &plan.delete {
            self.leadership.check()?;
            let uid = observed.pods.get(name).map(|pod| pod.uid.clone());
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid, resource_version: None }),
                ..DeleteParams::default()
            };
            gone_is_fine(ask(format!("delete the pod {name}"), pods.delete(name, &params)).await)?;
            self.metrics.wrote_pod("delete");
            tracing::info!(chatcluster = %key, name, "an emptied gateway was left, and is replaced");
        }
        Ok(())
    }

    fn count(&self, key: &Key, observed: &Observed, plan: &Plan) {
        let decision = observed.gateways.decision.as_ref().map(|decision| &decision.plan);
        match (&plan.step, decision) {
            (Step::Grow { .. } | Step::Begin | Step::Forgo { .. }, Some(decision)) => {
                self.metrics.scaled(&chat(key), decision.direction(), decision.why().code());
            }
            (Step::Lower { from, occupied }, _) => {
                let gone = usize::try_from(from - plan.replicas).unwrap_or_default();
                for index in 0..gone {
                    self.metrics.drained(&chat(key), index >= *occupied);
                }
            }
            _ => {}
        }
    }

    async fn tell_to_drain(&self, key: &Key, name: &str, address: SocketAddr, token: &str) {
        let told = match self.sampler.drain(address, token).await {
            Ok(connections) => {
                tracing::info!(chatcluster = %key, name, connections, "a gateway sends its sockets away");
                Told::Drains(Timestamp::now())
            }
            Err(DrainFault::Unsupported) => {
                tracing::warn!(chatcluster = %key, name, "a gateway cannot be told to drain, so it does that when it ends");
                Told::Cannot
            }
            Err(fault) => {
                tracing::warn!(chatcluster = %key, name, error = &fault as &dyn std::error::Error, "trying again");
                return;
            }
        };
        if let Some(known) = self.known.lock().get_mut(key) {
            known.gateways.gateways.told.insert(name.to_owned(), told);
        }
    }

    /// From now on others write `spec.gateway.replicas`, and begin with the number that runs: the one write of the operator to a
    /// spec.
    pub(super) async fn hand_over(
        &self,
        key: &Key,
        cluster: &ChatCluster,
        scaling: &Scaling,
    ) -> Result<(), ReconcileError> {
        let Some(replicas) = scaling.hand_over else { return Ok(()) };
        self.leadership.check()?;
        let api: Api<ChatCluster> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({
            // Refused when somebody changed it meanwhile: then it is looked at anew.
            "metadata": { "resourceVersion": cluster.metadata.resource_version },
            "spec": { "replicas": replicas },
        }));
        let params = PatchParams::apply(FIELD_MANAGER);
        let written = ask("write the number of gateways", api.patch_scale(&key.name, &params, &patch)).await;
        if written.is_ok() {
            tracing::info!(chatcluster = %key, replicas, "others write the number of gateways from now on");
        }
        gone_is_fine(written)
    }
}

/// As metrics name it.
pub(super) fn chat(key: &Key) -> Chat {
    Chat { chat_namespace: key.namespace.clone(), chat: key.name.clone() }
}

/// What is gone, or is another by now, needs nothing done.
fn gone_is_fine<T>(answer: Result<T, ReconcileError>) -> Result<(), ReconcileError> {
    match answer {
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        other => other.map(drop),
    }
}

impl Memory {
    /// A round of questions has ended.
    fn take(
        &mut self,
        cluster: &ChatCluster,
        pods: &Pods,
        desired: Option<i32>,
        round: &[(&str, &LivePod, Option<GatewaySample>)],
        now: Timestamp,
    ) {
        self.asked = Some(Instant::now());
        let is_mixed = scaling::is_mixed(pods);
        let mut is_pressed = false;
        let mut said = Vec::new();
        for (name, pod, sample) in round {
            let before = self.gateways.samples.get(*name).map(|(_, sample)| *sample);
            let answer = sample.as_ref().map(|sample| {
                is_pressed |= !pod.deleting && before.is_some_and(|before| sample.is_pressed(&before));
                Answer {
                    connections: sample.connections,
                    // Sockets are led to the few new ones, so that these may be full while there is room enough.
                    refuses: !is_mixed && before.is_some_and(|before| sample.refuses(&before)),
                    memory_pressure: sample
                        .memory_percent()
                        .is_some_and(|percent| percent > MEMORY_PRESSURE_PERCENT),
                }
            });
            if let Some(sample) = sample {
                self.gateways.samples.insert((*name).to_owned(), (now, *sample));
            }
            said.push((*name, answer));
        }
        self.answers.round(now, said.iter().copied());
        self.gateways.is_pressed = is_pressed;
        self.gateways.samples.retain(|name, _| pods.contains_key(name));
        self.gateways.told.retain(|name, _| pods.contains_key(name));
        self.gateways.connections = round
            .iter()
            .filter_map(|(name, _, _)| Some(((*name).to_owned(), self.answers.of(now, name)?.connections)))
            .collect();
        let serving = round.iter().filter(|(_, pod, _)| pod.ready).count();
        let has_said = |name: &str| self.gateways.connections.contains_key(name);
        let all_said = serving > 0
            && scaling::gateways(pods).filter(|(_, pod)| pod.ready).all(|(name, _)| has_said(name));
        self.connections = all_said.then(|| self.gateways.connections.values().sum());
        self.decide(cluster, pods, desired, round, now);
    }

    /// Asks the policy, where the operator decides.
    fn decide(
        &mut self,
        cluster: &ChatCluster,
        pods: &Pods,
        desired: Option<i32>,
        round: &[(&str, &LivePod, Option<GatewaySample>)],
        now: Timestamp,
    ) {
        let (Some(settings), Some(desired)) = (scaling::settings(cluster), desired) else {
            (self.history, self.gateways.decision) = (None, None);
            return;
        };
        // While somebody else may change everything nothing follows.
        if decide::is_paused(cluster) {
            self.history = None;
            return;
        }
        let current = self.gateways.sent.unwrap_or(desired);
        let leaving = scaling::leaving(cluster);
        let number = |count: i32| u32::try_from(count).unwrap_or_default();
        let stays = number(leaving.as_ref().map_or(current, |leaving| leaving.to));
        let is_leaving =
            |name: &str| leaving.as_ref().is_some_and(|leaving| leaving.pods.iter().any(|pod| pod == name));
        let drains = |name: &str| self.gateways.samples.get(name).is_some_and(|(_, sample)| sample.draining);
        let leave = count(scaling::gateways(pods).filter(|(name, pod)| !pod.deleting && is_leaving(name)));
        self.numbers = (stays, leave);
        let seen = policy::Observed {
            replicas: stays,
            leaving: leave,
            lost: count(scaling::gateways(pods).filter(|(name, pod)| {
                let is_long = pod.since.is_some_and(|since| now.duration_since(since) > LOST_AFTER);
                !pod.ready && !pod.deleting && is_long && !drains(name) && !is_leaving(name)
            })),
            gateways: round
                .iter()
                // One that is being deleted and says nothing has ended, or its node is lost.
                .filter(|(name, pod, _)| !pod.deleting || self.answers.of(now, name).is_some())
                .map(|(name, pod, _)| {
                    let answer = self.answers.of(now, name);
                    policy::Gateway {
                        connections: answer.map(|answer| answer.connections),
                        ready: pod.ready,
                        draining: pod.deleting || drains(name) || is_leaving(name),
                        refuses: answer.is_some_and(|answer| answer.refuses),
                        memory_pressure: answer.is_some_and(|answer| answer.memory_pressure),
                    }
                })
                .collect(),
        };
        let last_scale_up = scaling::status(cluster).and_then(|status| status.last_scale_up.as_ref());
        let history = self
            .history
            .get_or_insert_with(|| History::starting(now, stays, last_scale_up.map(crate::times::of_api)));
        self.gateways.decision = Some(policy::decide(&settings, &seen, history, now));
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
