//! The watches. Each goes on for ever: what ends or fails begins again after a pause that grows, to half a minute at most.

use std::{collections::HashSet, pin::pin, sync::Arc};

use folkmoot_crds::ChatCluster;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    core::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{Key, Live};
use crate::{
    kinds::ChildKind,
    names::{COMPONENT_LABEL, Component, FIELD_MANAGER, MANAGED_BY_LABEL},
    role::Role,
};

/// Objects in one page of a list: what is parsed at once must fit into little memory.
const PAGE: u32 = 50;

/// Where is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole Kubernetes cluster.
    All,
    /// In one namespace.
    Namespace(String),
}

impl Scope {
    /// Those of a list of namespaces, which is empty for everywhere.
    #[must_use]
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            vec![Self::All]
        } else {
            namespaces.iter().cloned().map(Self::Namespace).collect()
        }
    }

    /// Whether this namespace is watched by it.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(only) => only == namespace,
        }
    }

    fn api(&self, client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
        match self {
            Self::All => Api::all_with(client.clone(), resource),
            Self::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("everywhere"),
            Self::Namespace(namespace) => write!(f, "in {namespace}"),
        }
    }
}

/// All watches of a process.
pub struct Watches {
    client: Client,
    live: Arc<Live>,
    scopes: Vec<Scope>,
    tasks: Mutex<JoinSet<()>>,
}

impl Watches {
    /// Begins to watch everything that every cluster knows.
    #[must_use]
    pub fn start(client: Client, live: Arc<Live>, scopes: Vec<Scope>) -> Self {
        let watches = Self { client, live, scopes, tasks: Mutex::new(JoinSet::new()) };
        for scope in &watches.scopes {
            watches.clusters(scope);
            watches.pods(scope);
            watches.replica_sets(scope);
            watches.secrets(scope);
        }
        for kind in ChildKind::ALL.into_iter().filter(|kind| !kind.is_optional()) {
            watches.begin(kind);
        }
        watches
    }

    /// Begins to watch a kind of children, such as one of an add-on that was found.
    pub fn begin(&self, kind: ChildKind) {
        for scope in &self.scopes {
            let api = scope.api(&self.client, &kind.resource());
            let (live, scope) = (Arc::clone(&self.live), scope.clone());
            let mut seen = HashSet::new();
            self.follow(
                format!("{kind:?} {scope}"),
                watcher::watcher(api, ours()),
                move |event| match event {
                    Event::Init => seen.clear(),
                    Event::InitApply(object) => {
                        seen.extend(Key::of_owner(&object).map(|key| (key, object.name_any())));
                        live.child_is(kind, &object);
                    }
                    Event::InitDone => live.only_these_children(kind, &scope, &std::mem::take(&mut seen)),
                    Event::Apply(object) => live.child_is(kind, &object),
                    Event::Delete(object) => {
                        if let Some(key) = Key::of_owner(&object) {
                            live.child_is_gone(kind, key, &object.name_any());
                        }
                    }
                },
            );
        }
    }

    fn clusters(&self, scope: &Scope) {
        let api: Api<ChatCluster> = match scope {
            Scope::All => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        };
        let (live, scope) = (Arc::clone(&self.live), scope.clone());
        let mut seen = HashSet::new();
        let config = watcher::Config::default().page_size(PAGE);
        self.follow(
            format!("ChatCluster {scope}"),
            watcher::watcher(api, config),
            move |event| match event {
                Event::Init => seen.clear(),
                Event::InitApply(cluster) => {
                    seen.insert(Key::of(&cluster));
                    live.cluster_is(cluster);
                }
                Event::InitDone => live.only_these_clusters(&scope, &std::mem::take(&mut seen)),
                Event::Apply(cluster) => live.cluster_is(cluster),
                Event::Delete(cluster) => live.cluster_is_gone(Key::of(&cluster)),
            },
        );
    }

    fn pods(&self, scope: &Scope) {
        let api = scope.api(&self.client, &ApiResource::erase::<Pod>(&()));
        let (live, scope) = (Arc::clone(&self.live), scope.clone());
        let mut seen = HashSet::new();
        self.follow(format!("Pod {scope}"), watcher::watcher(api, ours()), move |event| match event {
            Event::Init => seen.clear(),
            Event::InitApply(object) => {
                seen.extend(Key::of_owner(&object).map(|key| (key, object.name_any())));
                live.pod_is(&object);
            }
            Event::InitDone => live.only_these_pods(&scope, &std::mem::take(&mut seen)),
            Event::Apply(object) => live.pod_is(&object),
            Event::Delete(object) => {
                if let Some(key) = Key::of_owner(&object) {
                    live.pod_is_gone(key, &object.name_any());
                }
            }
        });
    }

    /// Which template of the gateways is the newest: their `ReplicaSet`s say so. Nothing but labels and annotations is asked for.
    fn replica_sets(&self, scope: &Scope) {
        let api: Api<PartialObjectMeta<ReplicaSet>> = match scope {
            Scope::All => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        };
        let (live, scope) = (Arc::clone(&self.live), scope.clone());
        let mut seen = HashSet::new();
        let labels = format!(
            "{MANAGED_BY_LABEL}={FIELD_MANAGER},{COMPONENT_LABEL}={}",
            Component::Role(Role::Gateway).as_str()
        );
        let config = watcher::Config::default().labels(&labels).page_size(PAGE);
        self.follow(format!("ReplicaSet metadata {scope}"), watcher::watcher(api, config), move |event| {
            match event {
                Event::Init => seen.clear(),
                Event::InitApply(set) => {
                    if let Some(key) = Key::of_labels(&set.metadata) {
                        seen.insert((key.clone(), set.name_any()));
                        live.replica_set_is(key, set.name_any(), &set.metadata);
                    }
                }
                Event::InitDone => live.only_these_replica_sets(&scope, &std::mem::take(&mut seen)),
                Event::Apply(set) => {
                    if let Some(key) = Key::of_labels(&set.metadata) {
                        live.replica_set_is(key, set.name_any(), &set.metadata);
                    }
                }
                Event::Delete(set) => {
                    if let Some(key) = Key::of_labels(&set.metadata) {
                        live.replica_set_is_gone(&key, &set.name_any());
                    }
                }
            }
        });
    }

    /// Names and versions of all Secrets; what is in them is read only of those that a `ChatCluster` refers to.
    fn secrets(&self, scope: &Scope) {
        let api: Api<PartialObjectMeta<Secret>> = match scope {
            Scope::All => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        };
        let (live, scope) = (Arc::clone(&self.live), scope.clone());
        let mut seen = HashSet::new();
        let config = watcher::Config::default().page_size(PAGE);
        self.follow(format!("Secret metadata {scope}"), watcher::watcher(api, config), move |event| {
            match event {
                Event::Init => seen.clear(),
                Event::InitApply(secret) => {
                    seen.insert(place(&secret));
                    live.secret_is(&place(&secret), secret.metadata.resource_version.as_deref());
                }
                Event::InitDone => live.only_these_secrets(&scope, &std::mem::take(&mut seen)),
                Event::Apply(secret) => {
                    live.secret_is(&place(&secret), secret.metadata.resource_version.as_deref());
                }
                Event::Delete(secret) => live.secret_is(&place(&secret), None),
            }
        });
    }

    fn follow<K>(
        &self,
        what: String,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
        mut take: impl FnMut(Event<K>) + Send + 'static,
    ) where
        K: Send + 'static,
    {
        let live = Arc::clone(&self.live);
        live.set_behind(&what, true);
        self.tasks.lock().spawn(async move {
            let mut stream = pin!(stream.default_backoff());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        let done = matches!(event, Event::InitDone);
                        take(event);
                        if done {
                            live.set_behind(&what, false);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(
                            what,
                            error = &error as &dyn std::error::Error,
                            "watching failed, trying again"
                        );
                    }
                }
            }
        });
    }
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}")).page_size(PAGE)
}

fn place(secret: &PartialObjectMeta<Secret>) -> (String, String) {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}
