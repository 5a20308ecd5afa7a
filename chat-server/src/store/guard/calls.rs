//! Which class each call belongs to.

use std::time::Duration;

use async_trait::async_trait;
use chat_protocol::{
    ChannelId, ClientId, FileId, Millis, Seq, SessionId, UserId,
    rest::{Member, Message, User},
};

use super::{Class, Guarded, metrics::Reason};
use crate::store::{
    Account, AuthStore, ChannelRow, Commit, DirectoryStore, End, FileRow, GenerationRow, GenerationStore,
    LogStore, Membership, NewEvent, SessionRow, SigningKeyRow, Standing, StandingChange, Store, StoreError,
    StoredEvent,
};

/// How long a check for readiness may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// A read that did not come back.
const fn away() -> StoreError {
    StoreError::Unavailable(None)
}

/// A write that did not come back.
const fn unknown() -> StoreError {
    StoreError::UnknownOutcome(None)
}

#[async_trait]
impl<S: Store + ?Sized> LogStore for Guarded<S> {
    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        let mut events = Some(events);
        self.commit_when_there_is_room(channel, &mut || events.take().unwrap_or_default()).await
    }

    async fn commit_when_there_is_room(
        &self,
        channel: ChannelId,
        take: &mut (dyn FnMut() -> Vec<NewEvent> + Send),
    ) -> Result<Commit, StoreError> {
        let permit = self.gate.enter(Class::Append).await?;
        let events = take();
        if events.is_empty() {
            return Ok(Commit::default());
        }
        let commit = self.run(permit, Class::Append, unknown, self.inner.commit(channel, events)).await;
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
        tokio::time::timeout(CHECK_DEADLINE, self.inner.check()).await.unwrap_or_else(|_| Err(away()))
    }

    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.call(Class::Recent, away, self.inner.events(channel, after, limit)).await
    }

    async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, StoreError> {
        self.call(Class::Lookup, away, self.inner.committed_as(channel, by, id)).await
    }

    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.call(Class::Lookup, away, self.inner.event(channel, seq)).await
    }

    async fn messages(
        &self,
        channel: ChannelId,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let class = if before == Seq::MAX { Class::Recent } else { Class::OldHistory };
        self.call(class, away, self.inner.messages(channel, before, limit)).await
    }

    async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, StoreError> {
        // Gap repair asks for these too: what was acknowledged must arrive before anybody new comes in.
        self.call(Class::Recent, away, self.inner.ends(channels)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> DirectoryStore for Guarded<S> {
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError> {
        self.call(Class::Lookup, away, self.inner.channel(id)).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<ChannelRow>, StoreError> {
        self.call(Class::Directory, away, self.inner.channels(ids)).await
    }

    async fn public_channels(
        &self,
        after: Option<(String, ChannelId)>,
        limit: usize,
    ) -> Result<Vec<ChannelRow>, StoreError> {
        self.call(Class::Directory, away, self.inner.public_channels(after, limit)).await
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        self.call(Class::Connect, away, self.inner.memberships(user)).await
    }

    async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>, StoreError> {
        self.call(Class::Lookup, away, self.inner.membership(channel, user)).await
    }

    async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.call(Class::Directory, away, self.inner.members(channel, after, limit)).await
    }

    async fn set_read(
        &self,
        user: UserId,
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Option<(Membership, End)>, StoreError> {
        self.call(Class::Lookup, unknown, self.inner.set_read(user, channel, seq)).await
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        self.call(Class::Directory, unknown, self.inner.create_user(user)).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.call(Class::Directory, away, self.inner.has_users()).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.call(Class::Lookup, away, self.inner.user(id)).await
    }

    async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError> {
        self.call(Class::Directory, away, self.inner.user_by_handle(handle)).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
        self.call(Class::Directory, away, self.inner.users(ids)).await
    }

    async fn list_users(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<User>, StoreError> {
        self.call(Class::Directory, away, self.inner.list_users(prefix, after, limit)).await
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.call(Class::Lookup, away, self.inner.account(id)).await
    }

    async fn set_display_name(&self, user: UserId, name: &str) -> Result<bool, StoreError> {
        self.call(Class::Directory, unknown, self.inner.set_display_name(user, name)).await
    }

    async fn change_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError> {
        self.call(Class::Directory, unknown, self.inner.change_standing(user, expected, to, at)).await
    }

    async fn auth_versions_since(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError> {
        self.call(Class::Auth, away, self.inner.auth_versions_since(since)).await
    }

    async fn put_file(&self, file: &FileRow) -> Result<(), StoreError> {
        self.call(Class::Upload, unknown, self.inner.put_file(file)).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        self.call(Class::Lookup, away, self.inner.file(id)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> AuthStore for Guarded<S> {
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.call(Class::Auth, away, self.inner.password(user)).await
    }

    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        self.call(Class::Auth, unknown, self.inner.set_password(user, phc)).await
    }

    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.call(Class::Auth, unknown, self.inner.create_session(session)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.call(Class::Auth, away, self.inner.session(id)).await
    }

    async fn rotate_session(
        &self,
        id: SessionId,
        from: [u8; 32],
        to: [u8; 32],
        at: Millis,
        expires_at: Millis,
    ) -> Result<bool, StoreError> {
        self.call(Class::Auth, unknown, self.inner.rotate_session(id, from, to, at, expires_at)).await
    }

    async fn revoke_session(&self, id: SessionId, at: Millis) -> Result<bool, StoreError> {
        self.call(Class::Auth, unknown, self.inner.revoke_session(id, at)).await
    }

    async fn sessions_of(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError> {
        self.call(Class::Auth, away, self.inner.sessions_of(user, now)).await
    }

    async fn revoked_since(&self, since: Millis) -> Result<Vec<SessionId>, StoreError> {
        self.call(Class::Auth, away, self.inner.revoked_since(since)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.call(Class::Auth, away, self.inner.signing_keys()).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError> {
        self.call(Class::Auth, unknown, self.inner.add_signing_key(key, retire_others_at)).await
    }
}

#[async_trait]
impl<S: Store + ?Sized> GenerationStore for Guarded<S> {
    async fn generation(&self) -> Result<GenerationRow, StoreError> {
        self.call(Class::Auth, away, self.inner.generation()).await
    }

    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError> {
        // Not a call of those who chat, and one that takes its time.
        self.inner.begin_generation(next, key).await
    }

    fn forget(&self) {
        self.inner.forget();
    }
}
