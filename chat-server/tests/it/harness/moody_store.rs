//! A store that does as a test says: on request it is away, hangs, is slow, or loses answers.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat_domain::store::{
    Commit, DirectoryStore as _, GenerationRow, GenerationStore as _, LogStore as _, NewEvent, StoreError,
    layer::{Call, Layer},
};
use chat_protocol::{ChannelId, UserId, rest::User};
use chat_sqlite::SqliteStore;
use tokio::sync::watch;

/// How it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As the store behind it.
    Well,
    /// Nothing can be reached, and that is known at once.
    Away,
    /// Nothing is answered until that changes; appends have been done by then, and nobody knows.
    Hangs,
    /// Nothing is done until that changes, and then it is done as ever.
    Held,
    /// Every call takes this much longer.
    Slow(Duration),
}

/// The store, and what it does.
pub struct MoodyStore {
    inner: SqliteStore,
    mood: watch::Sender<Mood>,
    calls: AtomicUsize,
    appends: AtomicUsize,
}

impl MoodyStore {
    pub fn new(inner: SqliteStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            mood: watch::Sender::new(Mood::Well),
            calls: AtomicUsize::new(0),
            appends: AtomicUsize::new(0),
        })
    }

    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Calls so far, without probes.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls of append so far.
    pub fn appends(&self) -> usize {
        self.appends.load(Ordering::Relaxed)
    }

    async fn before(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.mood().await.map(drop)
    }

    /// Whether it hung meanwhile.
    async fn mood(&self) -> Result<bool, StoreError> {
        let mut mood = self.mood.subscribe();
        let now = *mood.borrow_and_update();
        match now {
            Mood::Well => Ok(false),
            Mood::Away => Err(StoreError::Unavailable(None)),
            Mood::Slow(by) => {
                tokio::time::sleep(by).await;
                Ok(false)
            }
            Mood::Held => {
                let _ = mood.wait_for(|mood| *mood != Mood::Held).await;
                Ok(false)
            }
            Mood::Hangs => {
                let _ = mood.wait_for(|mood| *mood != Mood::Hangs).await;
                Ok(true)
            }
        }
    }
}

impl Layer for MoodyStore {
    type Inner = SqliteStore;

    fn inner(&self) -> &SqliteStore {
        &self.inner
    }

    async fn pass<T: Send>(
        &self,
        _: Call,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.before().await?;
        answer.await
    }

    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.appends.fetch_add(1, Ordering::Relaxed);
        let hangs = *self.mood.borrow() == Mood::Hangs;
        if !hangs {
            self.mood().await?;
            return self.inner.commit(channel, events).await;
        }
        let done = self.inner.commit(channel, events).await;
        self.mood().await?;
        done.and(Err(StoreError::UnknownOutcome(None)))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.mood().await?;
        self.inner.check().await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        // A probe asks for nobody.
        if id.0.is_nil() {
            self.mood().await?;
        } else {
            self.before().await?;
        }
        self.inner.user(id).await
    }

    async fn generation(&self) -> Result<GenerationRow, StoreError> {
        // Asked every few seconds, by nobody's request.
        self.mood().await?;
        self.inner.generation().await
    }
}
