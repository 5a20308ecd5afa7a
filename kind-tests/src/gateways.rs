//! The gateways of a chat: what its status says of them, and their pods.

use anyhow::{Result, ensure};
use folkmoot_crds::{GatewayStatus, ScalingStatus};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::Value;

use crate::{
    chat::{self, Endpoint},
    command::kubectl,
    manifest, process,
    scene::{READY, Scene, status},
};

/// Label selector of their pods.
pub const GATEWAYS: &str = "app.kubernetes.io/instance=chat,app.kubernetes.io/component=gateway";
/// Name of the gateways' Deployment.
pub const DEPLOYMENT: &str = "chat-gateway";
/// What says which pods a ReplicaSet is to delete first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A small chat with these fields of its gateways, ready, and the way to it for a load; `None` where there is none that leads to all
/// gateways ([`chat::shared_endpoint`]), and so nothing to test.
///
/// # Errors
/// When it does not get ready.
pub async fn serve(scene: &Scene, fields: &Value) -> Result<Option<Endpoint>> {
    scene.make_secrets().await?;
    let mut object = manifest::small(&scene.settings);
    for (field, value) in fields.as_object().into_iter().flatten() {
        object["spec"]["gateway"][field.as_str()] = value.clone();
    }
    scene.apply(&object).await?;
    scene.until_ready(READY).await?;
    chat::shared_endpoint(scene).await
}

/// The gateways of a test's chat.
pub struct Gateways<'a>(pub &'a Scene);

impl Gateways<'_> {
    /// What the status says.
    ///
    /// # Errors
    /// When there is no such chat.
    pub async fn reported(&self) -> Result<GatewayStatus> {
        Ok(status(&self.0.chat().await?).gateway.unwrap_or_default())
    }

    /// What it says of their number.
    ///
    /// # Errors
    /// When there is no such chat.
    pub async fn scaling(&self) -> Result<ScalingStatus> {
        Ok(self.reported().await?.scaling.unwrap_or_default())
    }

    /// How many the Deployment is to have.
    ///
    /// # Errors
    /// When there is none.
    pub async fn wanted(&self) -> Result<i32> {
        Ok(self.0.api::<Deployment>().get(DEPLOYMENT).await?.spec.replicas.unwrap_or(1))
    }

    /// Their pods that are not being deleted.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.0.api::<Pod>().list(&ListParams::default().labels(GATEWAYS)).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// Their names, in order.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<_> = self.pods().await?.iter().map(kube::ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    /// Those that are said to cost least to delete.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn marked(&self) -> Result<Vec<String>> {
        let mut pods = self.pods().await?;
        pods.retain(|pod| pod.annotations().get(DELETION_COST).is_some_and(|cost| cost.starts_with('-')));
        Ok(pods.iter().map(kube::ResourceExt::name_any).collect())
    }

    /// That the chat has `count` of them: wanted, there, ready and reported, and none on its way out.
    ///
    /// # Errors
    /// When it has not.
    pub async fn are(&self, count: usize) -> Result<()> {
        let (wanted, pods, reported) = (self.wanted().await?, self.pods().await?, self.reported().await?);
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let number = i32::try_from(count)?;
        ensure!(
            wanted == number && pods.len() == count && ready == count,
            "the Deployment is to have {wanted}, {ready} of {} pods are ready; {reported:?}",
            pods.len()
        );
        ensure!(
            reported.replicas == number && reported.ready_replicas == number,
            "the status says {reported:?}"
        );
        let leaving = reported.scaling.and_then(|scaling| scaling.leaving);
        ensure!(leaving.is_none(), "some are leaving: {leaving:?}");
        Ok(())
    }

    /// Reason and message of each event of the chat.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn events(&self) -> Result<Vec<String>> {
        let arguments = [
            "-n",
            self.0.namespace.as_str(),
            "get",
            "events",
            "--field-selector",
            "involvedObject.kind=ChatCluster",
            "--sort-by=.metadata.creationTimestamp",
            "-o",
            r#"jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}"#,
        ];
        Ok(kubectl(&arguments, "").await?.succeeded()?.lines().map(str::to_owned).collect())
    }
}

/// Whether a pod is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|reported| reported.type_ == "Ready").any(|reported| reported.status == "True")
}

/// How often the containers of a pod were begun again.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

/// Ends a pod's chat-server as [`process::kill`] does.
///
/// # Errors
/// When it cannot.
pub async fn kill(scene: &Scene, pod: &Pod) -> Result<()> {
    process::kill(&scene.api::<Pod>(), pod, "chat-server").await
}
