//! What reconciles share.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use folkmoot_crds::{ChatCluster, ImageSpec};
use kube::{
    Client, ResourceExt as _,
    runtime::events::{Recorder, Reporter},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    apply::Memory,
    build::{Capabilities, OperatorIdentity},
    gateways,
    secrets::SecretReader,
};
use crate::{
    datastore::{Datastores, Report},
    keys::issue::IssueError,
    kinds::ChildKind,
    lease::{Leadership, NotLeader, WRITE_WITHIN},
    live::{Key, Live},
    metrics::Metrics,
    names::FIELD_MANAGER,
    queue::Queue,
    sampler::Sampler,
};

/// A reconcile that takes longer than this does not come to its end any more; it is twice the longest that one may take.
const STUCK: Duration = Duration::from_secs(240);

/// Why a reconcile did not come to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server cannot be asked, or refuses.
    #[error("failed to {action}")]
    Api {
        /// What it was asked for.
        action: String,
        /// Why it did not do it.
        source: Box<kube::Error>,
    },
    /// It does not answer in time.
    #[error("failed to {action}: the API server gave no answer within {} s", WRITE_WITHIN.as_secs())]
    Late {
        /// What it was asked for.
        action: String,
    },
    /// An object of this name is there, which is not the `ChatCluster`'s.
    #[error(
        "the {kind:?} {name} belongs to somebody else; nothing was done to it. Delete it, or give the ChatCluster another name"
    )]
    NameTaken {
        /// Kind of the object.
        kind: ChildKind,
        /// Name of the object.
        name: String,
    },
    /// Somebody else may write now.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// No certificate can be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] IssueError),
}

impl ReconcileError {
    /// The status of the API server's answer, when it refused.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(answer) => Some(answer.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// For a person, with what the API server said.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(answer) => format!("{self}: {}", answer.message),
                other => format!("{self}: {other}"),
            },
            other => other.to_string(),
        }
    }
}

/// The answer of the API server to a request, which is made to do something.
///
/// # Errors
/// When it refuses, or does not answer in time.
pub(super) async fn ask<T>(
    action: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReconcileError> {
    match timeout(WRITE_WITHIN, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ReconcileError::Api { action: action.into(), source: Box::new(source) }),
        Err(_) => Err(ReconcileError::Late { action: action.into() }),
    }
}

/// How the operator is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The image of a `ChatCluster` that names none.
    pub default_image: Option<ImageSpec>,
    /// Where the operator's own pods are.
    pub identity: OperatorIdentity,
    /// Names this process in events.
    pub instance: String,
}

/// Makes what `ChatCluster`s say true.
pub struct Controller {
    pub(super) client: Client,
    pub(super) live: Arc<Live>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) leadership: Leadership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: Options,
    pub(super) datastores: Datastores,
    /// What the engines said last.
    pub(super) reports: Mutex<HashMap<Key, Report>>,
    /// `ChatCluster`s whose engines are being asked.
    pub(super) asking: Mutex<HashSet<Key>>,
    pub(super) sampler: Sampler,
    pub(super) secrets: SecretReader,
    pub(super) recorder: Recorder,
    pub(super) applied: Memory,
    pub(super) capabilities: Mutex<Capabilities>,
    /// Consecutive failures of each cluster.
    pub(super) failures: Mutex<HashMap<Key, u32>>,
    pub(super) known: Mutex<HashMap<Key, Known>>,
    running: Mutex<HashMap<Key, Instant>>,
}

/// What is remembered of a `ChatCluster` from one reconcile to the next; nothing depends on it.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    pub uid: String,
    /// What gateways said.
    pub gateways: gateways::Memory,
    /// When the status was written last.
    pub told: Option<Instant>,
    /// Whether the namespace in Pulsar was deleted.
    pub pulsar_deleted: bool,
}

impl Controller {
    /// Of these parts.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        client: Client,
        live: Arc<Live>,
        queue: Arc<Queue<Key>>,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        options: Options,
    ) -> Result<Arc<Self>, reqwest::Error> {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: (!options.instance.is_empty()).then(|| options.instance.clone()),
        };
        Ok(Arc::new(Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            live,
            queue,
            leadership,
            metrics,
            options,
            datastores: Datastores::new(),
            reports: Mutex::default(),
            asking: Mutex::default(),
            sampler: Sampler::new()?,
            secrets: SecretReader::default(),
            applied: Memory::default(),
            capabilities: Mutex::default(),
            failures: Mutex::default(),
            known: Mutex::default(),
            running: Mutex::default(),
        }))
    }

    /// What the cluster knows; a change is looked at by all `ChatCluster`s.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        let changed = std::mem::replace(&mut *self.capabilities.lock(), capabilities) != capabilities;
        if changed {
            for cluster in self.live.clusters() {
                self.queue.touch(Key::of(&cluster));
            }
        }
    }

    /// Whether a reconcile does not come to its end.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.running.lock().values().any(|began| began.elapsed() > STUCK)
    }

    pub(super) fn begun(&self, key: &Key, at: Instant) {
        self.running.lock().insert(key.clone(), at);
    }

    pub(super) fn ended(&self, key: &Key) {
        self.running.lock().remove(key);
    }

    /// Another `ChatCluster` of the same name is another one.
    pub(super) fn remember(&self, key: &Key, cluster: &ChatCluster) {
        let uid = cluster.uid().unwrap_or_default();
        let mut known = self.known.lock();
        let entry = known.entry(key.clone()).or_default();
        if entry.uid != uid {
            let last = std::mem::replace(entry, Known { uid, ..Known::default() });
            drop(known);
            self.datastores.forget(&last.uid);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.failures.lock().remove(key);
        self.applied.forget(key);
        self.reports.lock().remove(key);
        self.queue.forget(key);
        if let Some(known) = self.known.lock().remove(key) {
            self.datastores.forget(&known.uid);
        }
        self.metrics.forget_gateways(&gateways::chat(key));
    }
}
