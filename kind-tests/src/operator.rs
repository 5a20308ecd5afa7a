//! The operator's own processes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{Api, api::ListParams};

use crate::{command, process, scene::Scene, wait::until};

/// Counter of the operator: how often it looked at a `ChatCluster`.
const RECONCILES: &str = "folkmoot_operator_reconciles_total";

/// Name of the Deployment, the Lease and the account.
pub const NAME: &str = "folkmoot-operator";
/// The length of a Lease, as the operator sets it: by its end another one writes.
pub const LEASE: Duration = Duration::from_secs(15);

/// The operator of this cluster.
pub struct Operator<'a> {
    scene: &'a Scene,
}

impl<'a> Operator<'a> {
    /// That of a test's cluster.
    #[must_use]
    pub fn of(scene: &'a Scene) -> Self {
        Self { scene }
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.scene.client.clone(), &self.scene.settings.system)
    }

    /// Its pods.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let ours = ListParams::default().labels("app.kubernetes.io/name=folkmoot-operator");
        Ok(self.pod_api().list(&ours).await?.items)
    }

    /// The Lease.
    ///
    /// # Errors
    /// When there is none.
    pub async fn lease(&self) -> Result<Lease> {
        let api: Api<Lease> = Api::namespaced(self.scene.client.clone(), &self.scene.settings.system);
        api.get(NAME).await.context("expected the Lease of the operator")
    }

    /// The pod that holds the Lease.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn leader(&self) -> Result<Pod> {
        let holder = self.lease().await?.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods = self.pods().await?;
        let names =
            |pod: &&Pod| pod.metadata.name.as_ref().is_some_and(|name| holder.starts_with(name.as_str()));
        pods.iter()
            .find(names)
            .cloned()
            .with_context(|| format!("expected the holder {holder:?} to be a pod"))
    }

    /// Waits until all of its replicas are ready.
    ///
    /// # Errors
    /// When they are not within a minute.
    pub async fn until_whole(&self) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.scene.client.clone(), &self.scene.settings.system);
        until("all replicas of the operator to be ready", Duration::from_secs(60), async || {
            let deployment = api.get(NAME).await?;
            let (spec, status) = (deployment.spec, deployment.status.unwrap_or_default());
            let (wanted, ready) = (spec.replicas.unwrap_or(1), status.ready_replicas.unwrap_or(0));
            ensure!(
                status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == Some(wanted)
                    && status.replicas == Some(wanted)
                    && ready == wanted,
                "{ready} of {wanted} are"
            );
            self.leader().await.map(drop)
        })
        .await
    }

    /// The sum of a counter or gauge over all labels, of one pod.
    ///
    /// # Errors
    /// When the pod does not answer, or has no such metric.
    pub async fn metric(&self, pod: &Pod, name: &str) -> Result<f64> {
        let system = self.scene.settings.system.as_str();
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{system}/pods/{pod}:8080/proxy/metrics");
        let text = command::kubectl(&["get", "--raw", path.as_str()], "").await?.succeeded()?;
        let mut found = None;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name) else { continue };
            let value = match rest.chars().next() {
                Some(' ') => rest,
                Some('{') => rest.rsplit_once('}').map_or("", |(_, value)| value),
                _ => continue,
            };
            found = Some(found.unwrap_or(0.0) + value.trim().parse::<f64>()?);
        }
        found.with_context(|| format!("expected a metric {name} of {pod}"))
    }

    /// Waits until the leader has looked at the chat, from a moment that is after this was called: what it was going to do by
    /// then, it has done.
    ///
    /// # Errors
    /// When it does not look within a minute.
    pub async fn has_looked(&self) -> Result<()> {
        // The first look may have begun before; the second one has not.
        for _ in 0..2 {
            let leader = self.leader().await?;
            let reconciles = self.metric(&leader, RECONCILES).await?;
            self.scene.touch().await?;
            until("the operator to look at the chat", Duration::from_secs(60), async || {
                ensure!(self.metric(&leader, RECONCILES).await? > reconciles, "it did not");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Ends a pod's process as [`process::kill`] does.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn kill(&self, pod: &Pod) -> Result<()> {
        process::kill(&self.pod_api(), pod, NAME).await
    }

    /// Lets a pod's process hang, or go on. Whether it could be done: its process must be to be seen from here.
    ///
    /// # Errors
    /// When the process cannot be found.
    pub async fn hang(&self, pod: &Pod, hang: bool) -> Result<bool> {
        process::signal(pod, NAME, if hang { "STOP" } else { "CONT" }).await
    }
}
