//! Keeps a store that struggles from taking the service with it.
//!
//! [`Guarded`] stands before any [`Store`] and is one itself. Each call belongs to a [`Class`] with a budget of its own:
//! how many may be under way (`limiter`: a limit that follows how the store does), how many may wait and for how long
//! (`gate`: those who are connected and write come first), and how long one may take. When the store is away, a
//! `breaker` says so within microseconds instead of letting everybody wait, and `probe` looks for its return.
//!
//! Who is sent away gets [`StoreError::Overloaded`]: nothing was done, and when to come back.

mod breaker;
mod budget;
mod calls;
mod gate;
mod limiter;
mod metrics;
mod probe;

use std::{future::Future, sync::Arc};

use chat_domain::store::{Store, StoreError, class::Class, layer::Call};
use prometheus_client::registry::Registry;

pub use self::{breaker::BreakerState, limiter::LimitBounds};
use self::{
    budget::{Dependency, budget},
    gate::{Gate, Outcome, Permit},
};

/// A store behind limits, deadlines and breakers.
pub struct Guarded<S: ?Sized> {
    inner: Arc<S>,
    gate: Arc<Gate>,
}

impl Default for LimitBounds {
    fn default() -> Self {
        Self { min: 8, initial: 128, max: 1_024, appends: 16 }
    }
}

impl<S: Store + ?Sized> Guarded<S> {
    /// Stands before `inner`, and looks after it in the background for as long as the result lives.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(inner: Arc<S>, bounds: LimitBounds) -> Self {
        let gate = Gate::new(bounds);
        probe::spawn(&inner, &gate);
        Self { inner, gate }
    }

    /// Makes its metrics part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(&self.gate, registry);
    }

    /// Where the breaker of appends is, and that of everything else.
    #[must_use]
    pub fn breakers(&self) -> [BreakerState; 2] {
        Dependency::ALL.map(|dependency| self.gate.breaker(dependency))
    }

    /// Calls of a class that are under way, and that wait.
    #[must_use]
    pub fn load(&self, class: Class) -> (u32, usize) {
        let load = self.gate.load(class);
        (load.in_flight, load.queued)
    }

    /// Runs a call that was let in.
    async fn run<T>(
        &self,
        permit: Permit,
        call: Call,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let result = tokio::time::timeout(budget(call.class).deadline, answer)
            .await
            .unwrap_or_else(|_| Err(call.unanswered()));
        permit.finish(outcome(&result));
        result
    }
}

/// What a result says about the store. What it refuses is an answer; so is a bug that one kind of call runs into, which
/// must not close the door to all others.
const fn outcome<T>(result: &Result<T, StoreError>) -> Outcome {
    match result {
        Ok(_) | Err(StoreError::Failed(_)) => Outcome::Answered,
        Err(StoreError::Overloaded { .. }) => Outcome::Overloaded,
        Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) => Outcome::Failed,
    }
}
