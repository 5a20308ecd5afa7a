//! What is there, by watching: each `ChatCluster`, and little of each object and pod of it. Nothing here decides, and nothing is
//! read from the API server beyond the watches.

pub mod child;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use folkmoot_crds::ChatCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _, core::DynamicObject};
use parking_lot::Mutex;

use crate::{kinds::ChildKind, names, queue::Queue, secrets};
pub use child::{DeploymentState, Detail, JobState, LiveChild, LivePod, LiveReplicaSet};
pub use watch::{Scope, Watches};

/// Namespace and name of a `ChatCluster`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace of the `ChatCluster`.
    pub namespace: String,
    /// Name of the `ChatCluster`.
    pub name: String,
}

impl Key {
    /// Key of a namespace and a name.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Key of a `ChatCluster`.
    #[must_use]
    pub fn of(cluster: &ChatCluster) -> Self {
        Self::new(cluster.namespace().unwrap_or_default(), cluster.name_any())
    }

    /// Key of the `ChatCluster` that an object is labelled to belong to.
    fn of_owner(object: &DynamicObject) -> Option<Self> {
        Self::of_labels(&object.metadata)
    }

    fn of_labels(metadata: &ObjectMeta) -> Option<Self> {
        let instance = metadata.labels.as_ref()?.get(names::INSTANCE_LABEL)?;
        Some(Self::new(metadata.namespace.clone()?, instance))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The objects of a `ChatCluster`, by kind and name.
pub type Children = BTreeMap<(ChildKind, String), LiveChild>;
/// The pods of a `ChatCluster`, by name.
pub type Pods = BTreeMap<String, LivePod>;
/// The `ReplicaSet`s of a `ChatCluster`'s gateways, by name.
pub type ReplicaSets = BTreeMap<String, LiveReplicaSet>;

/// What is there now.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    queue: Arc<Queue<Key>>,
}

#[derive(Debug, Default)]
struct State {
    clusters: HashMap<Key, Arc<ChatCluster>>,
    children: HashMap<Key, Children>,
    pods: HashMap<Key, Pods>,
    replica_sets: HashMap<Key, ReplicaSets>,
    /// Versions of all Secrets, ours and others, by namespace and name.
    secrets: HashMap<(String, String), String>,
    /// Watches that have not yet seen everything that was there when they began.
    behind: BTreeSet<String>,
}

impl Live {
    /// Knows nothing yet; reports to `queue` which `ChatCluster` a change is about.
    #[must_use]
    pub fn new(queue: Arc<Queue<Key>>) -> Self {
        Self { state: Mutex::default(), queue }
    }

    /// The `ChatCluster` with this key.
    #[must_use]
    pub fn cluster(&self, key: &Key) -> Option<Arc<ChatCluster>> {
        self.state.lock().clusters.get(key).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn clusters(&self) -> Vec<Arc<ChatCluster>> {
        self.state.lock().clusters.values().cloned().collect()
    }

    /// What there is of a `ChatCluster`.
    #[must_use]
    pub fn children(&self, key: &Key) -> Children {
        self.state.lock().children.get(key).cloned().unwrap_or_default()
    }

    /// Pods of a `ChatCluster`.
    #[must_use]
    pub fn pods(&self, key: &Key) -> Pods {
        self.state.lock().pods.get(key).cloned().unwrap_or_default()
    }

    /// The `ReplicaSet`s of its gateways.
    #[must_use]
    pub fn replica_sets(&self, key: &Key) -> ReplicaSets {
        self.state.lock().replica_sets.get(key).cloned().unwrap_or_default()
    }

    /// The version of a Secret; `None` when there is none.
    #[must_use]
    pub fn secret_version(&self, namespace: &str, name: &str) -> Option<String> {
        self.state.lock().secrets.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Whether every watch has seen all that was there when it began: before, nothing may be decided.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.state.lock().behind.is_empty()
    }

    fn set_behind(&self, watch: &str, behind: bool) {
        let mut state = self.state.lock();
        if behind {
            state.behind.insert(watch.to_owned());
        } else {
            state.behind.remove(watch);
        }
    }

    fn cluster_is(&self, cluster: ChatCluster) {
        let key = Key::of(&cluster);
        let mut cluster = cluster;
        cluster.meta_mut().managed_fields = None;
        self.state.lock().clusters.insert(key.clone(), Arc::new(cluster));
        self.queue.touch(key);
    }

    fn cluster_is_gone(&self, key: Key) {
        self.state.lock().clusters.remove(&key);
        self.queue.touch(key);
    }

    fn child_is(&self, kind: ChildKind, object: &DynamicObject) {
        let Some(key) = Key::of_owner(object) else { return };
        let child = LiveChild::of(kind, object);
        let place = (kind, object.name_any());
        let before = {
            let mut state = self.state.lock();
            state.children.entry(key.clone()).or_default().insert(place, child.clone())
        };
        if before.is_none_or(|before| is_news(&before, &child)) {
            self.queue.touch(key);
        }
    }

    fn child_is_gone(&self, kind: ChildKind, key: Key, name: &str) {
        {
            let mut state = self.state.lock();
            if let Some(children) = state.children.get_mut(&key) {
                children.remove(&(kind, name.to_owned()));
                if children.is_empty() {
                    state.children.remove(&key);
                }
            }
        }
        self.queue.touch(key);
    }

    fn pod_is(&self, object: &DynamicObject) {
        let Some(key) = Key::of_owner(object) else { return };
        let pod = LivePod::of(object);
        let before = {
            let mut state = self.state.lock();
            state.pods.entry(key.clone()).or_default().insert(object.name_any(), pod.clone())
        };
        if before.is_none_or(|before| before != pod) {
            self.queue.touch(key);
        }
    }

    fn pod_is_gone(&self, key: Key, name: &str) {
        {
            let mut state = self.state.lock();
            if let Some(pods) = state.pods.get_mut(&key) {
                pods.remove(name);
                if pods.is_empty() {
                    state.pods.remove(&key);
                }
            }
        }
        self.queue.touch(key);
    }

    fn replica_set_is(&self, key: Key, name: String, metadata: &ObjectMeta) {
        let now = LiveReplicaSet::of(metadata);
        let before = {
            let mut state = self.state.lock();
            state.replica_sets.entry(key.clone()).or_default().insert(name, now.clone())
        };
        if before.is_none_or(|before| before != now) {
            self.queue.touch(key);
        }
    }

    fn replica_set_is_gone(&self, key: &Key, name: &str) {
        let mut state = self.state.lock();
        if let Some(sets) = state.replica_sets.get_mut(key) {
            sets.remove(name);
            if sets.is_empty() {
                state.replica_sets.remove(key);
            }
        }
    }

    /// A Secret of anybody's: whoever refers to it is reported.
    fn secret_is(&self, place: &(String, String), version: Option<&str>) {
        let touched = {
            let mut state = self.state.lock();
            let before = match version {
                Some(version) => state.secrets.insert(place.clone(), version.to_owned()),
                None => state.secrets.remove(place),
            };
            if before.as_deref() == version {
                return;
            }
            let refers = |(key, cluster): (&Key, &Arc<ChatCluster>)| {
                let refers = key.namespace == place.0 && secrets::referenced(cluster).contains(&place.1);
                refers.then(|| key.clone())
            };
            state.clusters.iter().filter_map(refers).collect::<Vec<_>>()
        };
        for key in touched {
            self.queue.touch(key);
        }
    }

    /// After a watch began anew: what it did not name is gone.
    fn only_these_clusters(&self, scope: &Scope, seen: &HashSet<Key>) {
        let gone: Vec<Key> = {
            let state = self.state.lock();
            state
                .clusters
                .keys()
                .filter(|key| scope.covers(&key.namespace) && !seen.contains(key))
                .cloned()
                .collect()
        };
        for key in gone {
            self.cluster_is_gone(key);
        }
    }

    fn only_these_children(&self, kind: ChildKind, scope: &Scope, seen: &HashSet<(Key, String)>) {
        let gone: Vec<(Key, String)> = {
            let state = self.state.lock();
            let all = state.children.iter().filter(|(key, _)| scope.covers(&key.namespace));
            let of_kind = all.flat_map(|(key, children)| {
                let names = children.keys().filter(|(of, _)| *of == kind);
                names.map(|(_, name)| (key.clone(), name.clone()))
            });
            of_kind.filter(|place| !seen.contains(place)).collect()
        };
        for (key, name) in gone {
            self.child_is_gone(kind, key, &name);
        }
    }

    fn only_these_pods(&self, scope: &Scope, seen: &HashSet<(Key, String)>) {
        let gone: Vec<(Key, String)> = {
            let state = self.state.lock();
            let all = state.pods.iter().filter(|(key, _)| scope.covers(&key.namespace));
            let names = all.flat_map(|(key, pods)| pods.keys().map(|name| (key.clone(), name.clone())));
            names.filter(|place| !seen.contains(place)).collect()
        };
        for (key, name) in gone {
            self.pod_is_gone(key, &name);
        }
    }

    fn only_these_replica_sets(&self, scope: &Scope, seen: &HashSet<(Key, String)>) {
        let mut state = self.state.lock();
        for (key, sets) in state.replica_sets.iter_mut().filter(|(key, _)| scope.covers(&key.namespace)) {
            sets.retain(|name, _| seen.contains(&(key.clone(), name.clone())));
        }
        state.replica_sets.retain(|_, sets| !sets.is_empty());
    }

    fn only_these_secrets(&self, scope: &Scope, seen: &HashSet<(String, String)>) {
        let gone: Vec<(String, String)> = {
            let state = self.state.lock();
            let covered = state.secrets.keys().filter(|(namespace, _)| scope.covers(namespace));
            covered.filter(|place| !seen.contains(place)).cloned().collect()
        };
        for place in gone {
            self.secret_is(&place, None);
        }
    }
}

/// Whether a change is one that a reconcile would see. Heartbeats of statuses are not.
fn is_news(before: &LiveChild, now: &LiveChild) -> bool {
    let LiveChild { uid, resource_version: _, owner, applied, owned, deleting, detail } = before;
    *uid != now.uid
        || *owner != now.owner
        || *applied != now.applied
        || *owned != now.owned
        || *deleting != now.deleting
        || *detail != now.detail
}
