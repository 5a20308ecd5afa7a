//! Which `ChatCluster` something belongs to.

use folkmoot_crds::ChatCluster;
use kube::ResourceExt as _;

/// What never changes about a `ChatCluster`, and needs no validation. Another one of the same name has another uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the `ChatCluster`, and of everything that is made for it.
    pub namespace: String,
    /// Name of the `ChatCluster`.
    pub name: String,
    /// Uid of the `ChatCluster`; empty for one that no API server has seen.
    pub uid: String,
}

impl Identity {
    /// Identity of a `ChatCluster`.
    #[must_use]
    pub fn of(cluster: &ChatCluster) -> Self {
        Self {
            namespace: cluster.namespace().unwrap_or_default(),
            name: cluster.name_any(),
            uid: cluster.uid().unwrap_or_default(),
        }
    }
}
