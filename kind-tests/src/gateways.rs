//! The gateways of a chat: what its status says of them, and their pods.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt as _, api::ListParams};
use serde::Deserialize;

use crate::{
    command::kubectl,
    process,
    scene::{CHAT, Scene},
};

/// Label selector of their pods.
pub const GATEWAYS: &str = "app.kubernetes.io/instance=chat,app.kubernetes.io/component=gateway";
/// The Deployment.
pub const DEPLOYMENT: &str = "chat-gateway";
/// What says which pods a ReplicaSet is to delete first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `status.gateway`, as a reader of the JSON sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Pods that there are to be.
    pub replicas: i64,
    /// Those that are ready.
    pub ready_replicas: i64,
    /// What is known of their number.
    pub scaling: Scaling,
}

/// `status.gateway.scaling`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scaling {
    /// How many there should be.
    pub wish: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// The mode that was honoured last.
    pub mode: Option<String>,
    /// When there became more for the last time.
    pub last_scale_up: Option<Timestamp>,
    /// Those that are on their way out.
    pub leaving: Option<Leaving>,
}

/// `status.gateway.scaling.leaving`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leaving {
    /// Which.
    pub pods: Vec<String>,
    /// How many stay.
    pub to: i64,
}

/// The gateways of a test's chat.
pub struct Gateways<'a>(pub &'a Scene);

impl Gateways<'_> {
    /// What the status says.
    ///
    /// # Errors
    /// When there is no such chat.
    pub async fn told(&self) -> Result<Told> {
        let chat = serde_json::to_value(self.raw().await?)?;
        Ok(serde_json::from_value(chat["status"]["gateway"].clone()).unwrap_or_default())
    }

    async fn raw(&self) -> Result<serde_json::Value> {
        let arguments = ["-n", self.0.namespace.as_str(), "get", "chat", CHAT, "-o", "json"];
        Ok(serde_json::from_str(&kubectl(&arguments, "").await?.succeeded()?)?)
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

    /// That the chat has `count` of them: wanted, there, ready and told, and none on its way out.
    ///
    /// # Errors
    /// When it has not.
    pub async fn are(&self, count: usize) -> Result<()> {
        let (wanted, pods, told) = (self.wanted().await?, self.pods().await?, self.told().await?);
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let number = i64::try_from(count)?;
        ensure!(
            i64::from(wanted) == number && pods.len() == count && ready == count,
            "the Deployment is to have {wanted}, {ready} of {} pods are ready; {told:?}",
            pods.len()
        );
        ensure!(told.replicas == number && told.ready_replicas == number, "the status says {told:?}");
        ensure!(told.scaling.leaving.is_none(), "some are leaving: {told:?}");
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
    conditions.filter(|told| told.type_ == "Ready").any(|told| told.status == "True")
}

/// Ends a pod's chat-server as a crash would. Where its process is not to be seen from here, the pod is deleted by force.
///
/// # Errors
/// When it cannot.
pub async fn kill(scene: &Scene, pod: &Pod) -> Result<()> {
    if process::signal(pod, "chat-server", "KILL").await? {
        return Ok(());
    }
    let name = pod.metadata.name.as_deref().context("expected a name")?;
    let namespace = scene.namespace.as_str();
    kubectl(&["-n", namespace, "delete", "pod", name, "--grace-period=0", "--force"], "")
        .await?
        .succeeded()?;
    Ok(())
}
