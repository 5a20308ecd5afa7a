//! What reconciles share.

use std::{future::Future, sync::Arc, time::Duration};

use folkmoot_crds::ImageSpec;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    build::{Capabilities, OperatorIdentity},
    gateways,
    memory::Memories,
    secrets::SecretReader,
};
use crate::{
    datastore::Datastores,
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

    /// For a person, with the answer of the API server.
    pub(super) fn message(&self) -> String {
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

/// Brings what is there in line with each `ChatCluster`.
pub struct Controller {
    pub(super) client: Client,
    pub(super) live: Arc<Live>,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) leadership: Leadership,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: Options,
    pub(super) datastores: Datastores,
    pub(super) sampler: Sampler,
    pub(super) secrets: SecretReader,
    pub(super) recorder: Recorder,
    pub(super) capabilities: Mutex<Capabilities>,
    pub(super) memories: Memories,
}

impl Controller {
    /// A controller that has not begun to reconcile.
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
            sampler: Sampler::new()?,
            secrets: SecretReader::default(),
            capabilities: Mutex::default(),
            memories: Memories::default(),
        }))
    }

    /// Sets the kinds of add-ons that the cluster serves; when they change, every `ChatCluster` is reconciled.
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
        self.memories.is_running_longer_than(STUCK)
    }

    pub(super) fn forget(&self, key: &Key) {
        self.memories.forget(key);
        self.queue.forget(key);
        self.metrics.forget_gateways(&gateways::chat(key));
    }
}
