//! A store that does as a test says: as it is told to, it is away, hangs, is slow, or loses answers.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_protocol::{
    ChannelId, ClientId, FileId, Millis, Seq, SessionId, UserId,
    rest::{Member, Message, User},
};
use chat_server::store::{
    Account, AuthStore, ChannelRow, Commit, DirectoryStore, End, FileRow, GenerationRow, GenerationStore,
    LogStore, Membership, NewEvent, SessionRow, SigningKeyRow, Standing, StandingChange, StoreError,
    StoredEvent, sqlite::SqliteStore,
};
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

#[async_trait]
impl LogStore for MoodyStore {
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

    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.before().await?;
        self.inner.events(channel, after, limit).await
    }

    async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, StoreError> {
        self.before().await?;
        self.inner.committed_as(channel, by, id).await
    }

    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.before().await?;
        self.inner.event(channel, seq).await
    }

    async fn messages(
        &self,
        channel: ChannelId,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.before().await?;
        self.inner.messages(channel, before, limit).await
    }

    async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, StoreError> {
        self.before().await?;
        self.inner.ends(channels).await
    }
}

#[async_trait]
impl DirectoryStore for MoodyStore {
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError> {
        self.before().await?;
        self.inner.channel(id).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<ChannelRow>, StoreError> {
        self.before().await?;
        self.inner.channels(ids).await
    }

    async fn public_channels(
        &self,
        after: Option<(String, ChannelId)>,
        limit: usize,
    ) -> Result<Vec<ChannelRow>, StoreError> {
        self.before().await?;
        self.inner.public_channels(after, limit).await
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        self.before().await?;
        self.inner.memberships(user).await
    }

    async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>, StoreError> {
        self.before().await?;
        self.inner.membership(channel, user).await
    }

    async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.before().await?;
        self.inner.members(channel, after, limit).await
    }

    async fn set_read(
        &self,
        user: UserId,
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Option<(Membership, End)>, StoreError> {
        self.before().await?;
        self.inner.set_read(user, channel, seq).await
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.create_user(user).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.has_users().await
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

    async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError> {
        self.before().await?;
        self.inner.user_by_handle(handle).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
        self.before().await?;
        self.inner.users(ids).await
    }

    async fn list_users(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<User>, StoreError> {
        self.before().await?;
        self.inner.list_users(prefix, after, limit).await
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.before().await?;
        self.inner.account(id).await
    }

    async fn set_display_name(&self, user: UserId, name: &str) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.set_display_name(user, name).await
    }

    async fn change_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError> {
        self.before().await?;
        self.inner.change_standing(user, expected, to, at).await
    }

    async fn auth_versions_since(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError> {
        self.before().await?;
        self.inner.auth_versions_since(since).await
    }

    async fn put_file(&self, file: &FileRow) -> Result<(), StoreError> {
        self.before().await?;
        self.inner.put_file(file).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        self.before().await?;
        self.inner.file(id).await
    }
}

#[async_trait]
impl AuthStore for MoodyStore {
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.before().await?;
        self.inner.password(user).await
    }

    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        self.before().await?;
        self.inner.set_password(user, phc).await
    }

    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.before().await?;
        self.inner.create_session(session).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.before().await?;
        self.inner.session(id).await
    }

    async fn rotate_session(
        &self,
        id: SessionId,
        from: [u8; 32],
        to: [u8; 32],
        at: Millis,
        expires_at: Millis,
    ) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.rotate_session(id, from, to, at, expires_at).await
    }

    async fn revoke_session(&self, id: SessionId, at: Millis) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.revoke_session(id, at).await
    }

    async fn sessions_of(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError> {
        self.before().await?;
        self.inner.sessions_of(user, now).await
    }

    async fn revoked_since(&self, since: Millis) -> Result<Vec<SessionId>, StoreError> {
        self.before().await?;
        self.inner.revoked_since(since).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.before().await?;
        self.inner.signing_keys().await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError> {
        self.before().await?;
        self.inner.add_signing_key(key, retire_others_at).await
    }
}

#[async_trait]
impl GenerationStore for MoodyStore {
    async fn generation(&self) -> Result<GenerationRow, StoreError> {
        // Asked every few seconds, by nobody's request.
        self.mood().await?;
        self.inner.generation().await
    }

    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError> {
        self.before().await?;
        self.inner.begin_generation(next, key).await
    }
}
