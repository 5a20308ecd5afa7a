//! Requests over HTTP/2 run as tasks of their own. The end of such a task before its answer's end resets the stream (RFC 9113 §5.4.2), also
//! while its client lets nothing of it come: hyper itself would not look at the answer until then.

use std::sync::{Arc, OnceLock};

use hyper::rt::Executor;
use tokio::task::AbortHandle;

tokio::task_local! {
    static CURRENT: Arc<OnceLock<AbortHandle>>;
}

/// What hyper runs the requests of a connection on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests;

impl<F> Executor<F> for Requests
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, request: F) {
        let current = Arc::new(OnceLock::new());
        let task = tokio::spawn(CURRENT.scope(Arc::clone(&current), request));
        // There is no other who sets it.
        let _ = current.set(task.abort_handle());
    }
}

/// Ends a request whose stream is to be reset.
#[derive(Clone)]
pub(super) struct Reset(Arc<OnceLock<AbortHandle>>);

impl Reset {
    /// Of the request over HTTP/2 that is running here.
    pub(super) fn of_current() -> Option<Self> {
        CURRENT.try_with(|current| Self(Arc::clone(current))).ok()
    }

    /// What was handed over of its answer and is not sent is dropped too. Nothing happens when all of it was handed over.
    pub(super) fn reset(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}
