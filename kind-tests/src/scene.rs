//! A test's own namespace, and what is done in it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::{ChatCluster, ChatClusterStatus};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    children::{self, Child, Kind},
    command, manifest,
    settings::Settings,
    wait::until,
};

/// The name of every test's `ChatCluster`.
pub const CHAT: &str = "chat";
/// How soon a `ChatCluster` is to be ready on a machine that does nothing else and has its images.
pub const FRESH: Duration = Duration::from_secs(120);
/// The same on one that runs other tests meanwhile, whose time says nothing.
pub const READY: Duration = Duration::from_secs(300);

/// A test's own namespace. Cheap to clone.
#[derive(Clone)]
pub struct Scene {
    /// Of the API server.
    pub client: Client,
    /// Where everything is.
    pub settings: Arc<Settings>,
    /// Name of its namespace.
    pub namespace: String,
}

impl Scene {
    /// Objects of a kind in the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes the Secrets that say how to log in to the engines.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn make_secrets(&self) -> Result<()> {
        for secret in manifest::secrets(&self.settings) {
            self.apply(&secret).await?;
        }
        Ok(())
    }

    /// `kubectl apply --server-side` of one object.
    ///
    /// # Errors
    /// When it is refused: with what kubectl said.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let manager = format!("--field-manager={}", manifest::MANAGER);
        let namespace = self.namespace.as_str();
        let arguments =
            ["-n", namespace, "apply", "--server-side", "--force-conflicts", manager.as_str(), "-f", "-"];
        command::kubectl(&arguments, &object.to_string()).await?.succeeded().map(drop)
    }

    /// The chat of this test as the API server has it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn chat(&self) -> Result<ChatCluster> {
        Ok(self.api::<ChatCluster>().get(CHAT).await?)
    }

    /// A merge patch of the chat.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn change(&self, patch: &Value) -> Result<ChatCluster> {
        let parameters =
            PatchParams { field_manager: Some(manifest::MANAGER.into()), ..PatchParams::default() };
        Ok(self.api::<ChatCluster>().patch(CHAT, &parameters, &Patch::Merge(patch)).await?)
    }

    /// Waits until a condition has this status, for the spec as it is.
    ///
    /// # Errors
    /// When it has not within `deadline`: with all conditions as they are.
    pub async fn until_condition(&self, kind: &str, status: &str, deadline: Duration) -> Result<Condition> {
        until(&format!("condition {kind} to be {status}"), deadline, async || {
            let chat = self.chat().await?;
            let found = condition(&chat, kind)
                .with_context(|| format!("there is no such condition: {}", conditions(&chat)))?;
            let observed = found.observed_generation.unwrap_or_default();
            let generation = chat.metadata.generation.unwrap_or_default();
            ensure!(
                found.status == status && observed >= generation,
                "generation {generation}, observed {observed}: {}",
                conditions(&chat)
            );
            Ok(found)
        })
        .await
    }

    /// Waits until everything runs what the spec says.
    ///
    /// # Errors
    /// When it does not within `deadline`.
    pub async fn until_ready(&self, deadline: Duration) -> Result<ChatCluster> {
        self.until_condition("Ready", "True", deadline).await?;
        self.until_condition("Progressing", "False", deadline).await?;
        self.chat().await
    }

    /// A chat with one process of each role, ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn small_chat(&self) -> Result<ChatCluster> {
        self.make_secrets().await?;
        self.apply(&manifest::small(&self.settings)).await?;
        self.until_ready(READY).await
    }

    /// What the operator made for it, Jobs excepted.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn children(&self) -> Result<Vec<Child>> {
        children::lasting(&self.client, &self.namespace).await
    }

    /// What it made of one kind.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn children_of(&self, kind: Kind) -> Result<Vec<Child>> {
        children::list(&self.client, &self.namespace, kind).await
    }

    /// The pods of the chat.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let of_chat =
            ListParams::default().labels("app.kubernetes.io/name=folkmoot,app.kubernetes.io/instance=chat");
        Ok(self.api::<Pod>().list(&of_chat).await?.items)
    }

    /// Deletes the chat and waits until it is gone.
    ///
    /// # Errors
    /// When it is not within `deadline`.
    pub async fn delete_chat(&self, deadline: Duration) -> Result<()> {
        let api = self.api::<ChatCluster>();
        if let Err(error) = api.delete(CHAT, &DeleteParams::default()).await {
            ensure!(is_not_found(&error), error);
        }
        self.until_gone::<ChatCluster>(CHAT, deadline).await
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it is not within `deadline`.
    pub async fn until_gone<K>(&self, name: &str, deadline: Duration) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        until(&format!("{name} to be gone"), deadline, async || {
            let found = self.api::<K>().get_opt(name).await?;
            ensure!(found.is_none(), "it is there: {:?}", found.map(|object| object.meta().clone()));
            Ok(())
        })
        .await
    }

    /// Gives the chat a new annotation, which says nothing but makes the operator look at it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn touch(&self) -> Result<()> {
        let annotations = json!({ "kind-tests/touched": jiff::Timestamp::now().to_string() });
        self.change(&json!({ "metadata": { "annotations": annotations } })).await.map(drop)
    }
}

/// Whether the API server answered that there is no such thing.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// The state of a chat; empty when there is none.
#[must_use]
pub fn status(chat: &ChatCluster) -> ChatClusterStatus {
    chat.status.clone().unwrap_or_default()
}

/// One of its conditions.
#[must_use]
pub fn condition(chat: &ChatCluster, kind: &str) -> Option<Condition> {
    status(chat).conditions.into_iter().find(|condition| condition.type_ == kind)
}

/// All of its conditions, for a message.
#[must_use]
pub fn conditions(chat: &ChatCluster) -> String {
    let reported: Vec<_> = status(chat)
        .conditions
        .iter()
        .map(|found| format!("{}={} {}: {}", found.type_, found.status, found.reason, found.message))
        .collect();
    if reported.is_empty() { "no conditions".into() } else { reported.join("; ") }
}
