//! Gateways are asked every few seconds; the pods of those that leave are marked, ordered to drain and deleted.

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
    decide::Changes,
    observe::{self, Observed},
    status,
};
use crate::{
    keys::admin,
    live::{Key, LivePod, Pods},
    metrics::Chat,
    names::{self, FIELD_MANAGER},
    role::Role,
    sampler::DrainFault,
    scaling::{
        decide::{self as scaling, Scaling, gateways as gateway_pods},
        machine::Step,
        memory::{Asked, DrainOrder, Gateways},
        policy::Decision,
    },
    validate::{ValidatedCluster, validate},
};

/// Gateways are asked this often.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// `ChatCluster`s whose gateways are asked at once.
const CLUSTERS_AT_ONCE: usize = 16;
/// Gateways that are ordered to drain at once.
const DRAINS_AT_ONCE: usize = 32;

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

    async fn look_at_gateways(&self, cluster: &Arc<ChatCluster>) {
        let key = Key::of(cluster);
        let pods = self.live.pods(&key);
        let is_there = cluster.metadata.deletion_timestamp.is_none() && gateway_pods(&pods).next().is_some();
        let cluster = validate(cluster, self.options.default_image.as_ref()).ok().filter(|_| is_there);
        let Some(cluster) = cluster else {
            self.metrics.forget_gateways(&chat(&key));
            return;
        };
        // Just asked by a reconcile.
        self.ask_gateways(&key, &pods, SAMPLE_EVERY / 2).await;
        let desired =
            observe::deployment(&self.live.children(&key), &key.name, Role::Gateway).map(|live| live.desired);
        let decision = self.decide_number(&key, &cluster, &pods, desired);
        self.measure(&key, decision.as_ref());
        let gateways = self.gateways_of(&key);
        let last = scaling::status(cluster.status());
        let moves = scaling::leaving(cluster.status()).is_some()
            || last.is_some_and(|last| last.held_since.is_some())
            || (gateways.is_pressed && scaling::is_mixed(&pods));
        let why = decision.as_ref().map(|decision| decision.plan.why().to_string());
        let decides = decision.as_ref().is_some_and(|decision| decision.plan.direction() != "Hold")
            || (why.is_some() && why != last.and_then(|last| last.reason.clone()));
        let before = cluster.status().and_then(|status| status.connections);
        let connections = gateways.total_connections.map(status::connections);
        let written_at = self.memories.with(&key, |memory| memory.status_written_at).flatten();
        let is_news = status::is_worth_writing(before, connections, written_at.map(|at| at.elapsed()));
        if moves || decides || is_news {
            self.queue.touch(key);
        }
    }

    /// What the policy makes of what gateways reported last. It is asked once a round.
    pub(super) fn decide_number(
        &self,
        key: &Key,
        cluster: &ValidatedCluster,
        pods: &Pods,
        desired: Option<i32>,
    ) -> Option<Decision> {
        let now = Timestamp::now();
        self.memories.with(key, |memory| memory.gateways.decide(cluster, pods, desired, now)).flatten()
    }

    fn measure(&self, key: &Key, decision: Option<&Decision>) {
        // Under the lock: who forgets a chat forgets its metrics after it.
        let measured = self.memories.with(key, |memory| {
            let (stay, leave) = memory.gateways.numbers();
            let decision = decision?;
            self.metrics.gateways(&chat(key), decision.desired, stay.saturating_add(leave), leave);
            Some(())
        });
        if measured.flatten().is_none() {
            self.metrics.forget_gateways(&chat(key));
        }
    }

    /// What is known of the gateways.
    pub(super) fn gateways_of(&self, key: &Key) -> Gateways {
        self.memories.with(key, |memory| memory.gateways.gateways.clone()).unwrap_or_default()
    }

    /// Asks all gateways, unless that was done within `fresh`.
    pub(super) async fn ask_gateways(&self, key: &Key, pods: &Pods, fresh: Duration) {
        let asked_at = self.memories.with(key, |memory| memory.gateways_asked_at).flatten();
        if asked_at.is_some_and(|at| at.elapsed() < fresh) {
            return;
        }
        let running: Vec<(&String, &LivePod, SocketAddr)> = gateway_pods(pods)
            .filter_map(|(name, pod)| Some((name, pod, SocketAddr::new(pod.address?, ADMIN_PORT))))
            .collect();
        let addresses: Vec<SocketAddr> = running.iter().map(|(_, _, address)| *address).collect();
        let samples = self.sampler.sample(&addresses).await;
        let round: Vec<Asked<'_>> = running
            .iter()
            .zip(samples)
            .map(|((name, pod, _), sample)| (name.as_str(), *pod, sample))
            .collect();
        self.memories.with(key, |memory| {
            memory.gateways.record(pods, &round, Timestamp::now());
            memory.gateways_asked_at = Some(Instant::now());
        });
    }

    /// Remembers how many pods the Deployment was asked for; `None`: it is not known.
    pub(super) fn remember_requested(&self, key: &Key, replicas: Option<i32>) {
        self.memories.with(key, |memory| memory.gateways.gateways.requested = replicas);
    }

    /// Marks, empties and deletes the pods that the plan says.
    pub(super) async fn act_on_gateways(
        &self,
        key: &Key,
        observed: &Observed,
        changes: &Changes,
    ) -> Result<(), ReconcileError> {
        let plan = &changes.scaling.plan;
        self.count(key, changes);
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
        let token = admin::text(&changes.admin_token).unwrap_or_default();
        let orders = plan.order_to_drain.iter();
        stream::iter(orders.filter_map(|name| Some((name, observed.pods.get(name)?.address?))))
            .for_each_concurrent(DRAINS_AT_ONCE, |(name, address)| async move {
                if self.leadership.check().is_ok() {
                    self.order_to_drain(key, name, SocketAddr::new(address, ADMIN_PORT), token).await;
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

    fn count(&self, key: &Key, changes: &Changes) {
        let plan = &changes.scaling.plan;
        let decision = changes.decision.as_ref().map(|decision| &decision.plan);
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

    async fn order_to_drain(&self, key: &Key, name: &str, address: SocketAddr, token: &str) {
        let order = match self.sampler.drain(address, token).await {
            Ok(connections) => {
                tracing::info!(chatcluster = %key, name, connections, "a gateway sends its sockets away");
                DrainOrder::Accepted(Timestamp::now())
            }
            Err(DrainFault::Unsupported) => {
                tracing::warn!(chatcluster = %key, name, "a gateway takes no order to drain, so it does that when it ends");
                DrainOrder::Unsupported
            }
            Err(fault) => {
                tracing::warn!(chatcluster = %key, name, error = &fault as &dyn std::error::Error, "trying again");
                return;
            }
        };
        self.memories
            .with(key, |memory| memory.gateways.gateways.drain_orders.insert(name.to_owned(), order));
    }

    /// From now on others write `spec.gateway.replicas`, and begin with the number that runs: the one write of the operator to a
    /// spec.
    pub(super) async fn hand_over(
        &self,
        key: &Key,
        cluster: &ValidatedCluster,
        scaling: &Scaling,
    ) -> Result<(), ReconcileError> {
        let Some(replicas) = scaling.hand_over else { return Ok(()) };
        self.leadership.check()?;
        let api: Api<ChatCluster> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({
            // Refused when somebody changed it meanwhile: then it is looked at anew.
            "metadata": { "resourceVersion": cluster.metadata().resource_version },
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

/// The labels of a chat in metrics.
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
