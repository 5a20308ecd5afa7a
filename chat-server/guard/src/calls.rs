//! What the guard does around each call, and the few that it treats in another way.

use std::{future::Future, time::Duration};

use chat_domain::store::class::Class;
use chat_domain::store::{
    Commit, GenerationRow, NewEvent, SigningKeyRow, Store, StoreError,
    layer::{Call, Layer},
};
use chat_protocol::ChannelId;

use super::{Guarded, metrics::Reason};

/// How long a check for readiness may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// How the gate counts an append.
const APPEND: Call = Call { class: Class::Append, writes: true };

impl<S: Store + ?Sized> Layer for Guarded<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let permit = self.gate.enter(call.class).await?;
        self.run(permit, call, answer).await
    }

    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        let mut events = Some(events);
        self.commit_when_there_is_room(channel, &mut || events.take().unwrap_or_default()).await
    }

    async fn commit_when_there_is_room(
        &self,
        channel: ChannelId,
        take: &mut (dyn FnMut() -> Vec<NewEvent> + Send),
    ) -> Result<Commit, StoreError> {
        let permit = self.gate.enter(APPEND.class).await?;
        let events = take();
        if events.is_empty() {
            return Ok(Commit::default());
        }
        let commit = self.run(permit, APPEND, self.inner.commit(channel, events)).await;
        // Nothing was done and the same again will do: no different from being sent away at the door.
        commit.map_err(|error| match error {
            StoreError::Unavailable(_) => {
                StoreError::Overloaded { retry_after_ms: Reason::BreakerOpen.retry_after_ms() }
            }
            other => other,
        })
    }

    async fn check(&self) -> Result<(), StoreError> {
        // For readiness: what is asked here is the store itself, which takes no place of anybody's.
        let check = tokio::time::timeout(CHECK_DEADLINE, self.inner.check());
        check.await.unwrap_or(Err(StoreError::Unavailable(None)))
    }

    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError> {
        // Not a call of those who chat, and one that takes its time.
        self.inner.begin_generation(next, key).await
    }
}
