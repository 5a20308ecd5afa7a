//! The system of record, behind one contract: [`Store`].
//!
//! [`LogStore::append`] is the one durable write path of a channel. Everything else that a store keeps about
//! channels (members, names, markers' starting points) is a projection that it derives from the appended
//! [`chat_protocol::EventBody`]s, in the same transaction where the engine has one.

pub mod class;
mod files;
pub mod follow;
mod generation;
pub mod layer;
pub mod numbers;
mod standing;

use std::sync::Arc;

use async_trait::async_trait;
pub use chat_log::{
    Appended, Authority, Body, NewEvent, Refusal,
    count::{Counts, End, Marker},
    name_claims, name_key,
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, Event, InvitationId, Millis, Seq, SessionId, UserId,
    rest::{Member, Message, Role, User},
};

pub use files::{FileHold, FileRow, FileStore, FileTask, FileWork, LEAST_CHARGED, Stored};
pub use generation::{GenerationRow, GenerationStore};
pub use standing::{Account, Standing, StandingChange};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its queue is full. Nothing was done.
    #[error("store is overloaded, expected to be free again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// It cannot be reached, or is shutting down. Nothing was done.
    #[error("store is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A write may or may not have been committed. Writing it again with the same client id settles it.
    #[error("outcome of the write is unknown")]
    UnknownOutcome(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A bug, a full disk or a damaged file. Nothing was done.
    #[error("store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Everything a store does.
pub trait Store: LogStore + DirectoryStore + FileStore + AuthStore + GenerationStore {}

impl<T: LogStore + DirectoryStore + FileStore + AuthStore + GenerationStore> Store for T {}

/// What became of the events of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// One for each event, in order.
    pub outcomes: Vec<Appended>,
    /// The end of the log right before the first event that is new. [`End::after`] each new one follows from it, as long as
    /// their positions are consecutive.
    pub before: Option<End>,
    /// Positions of the new messages that their authors' read markers move to (see [`NewEvent::seen`]), ascending.
    pub read: Vec<Seq>,
}

/// A committed event as it stands in the store now: bodies of deleted messages and of their edits are scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The channel whose log it is in.
    pub channel: ChannelId,
    /// Its position in the log.
    pub seq: Seq,
    /// When it was committed.
    pub at: Millis,
    /// Who did it.
    pub by: UserId,
    /// The client id it was sent with.
    pub id: Option<ClientId>,
    /// [`chat_protocol::EventBody`] as JSON, kept as text so that kinds of a newer version pass through unharmed.
    pub body: Arc<str>,
    /// What was counted up to it; `None` when a server of 0.1.0 wrote it.
    pub counts: Option<Counts>,
}

impl StoredEvent {
    /// The event as clients get it, with a body of this version's kinds.
    ///
    /// # Errors
    /// The body is damaged.
    pub fn parsed(&self) -> Result<Event, serde_json::Error> {
        let Self { channel, seq, at, by, id, .. } = *self;
        Ok(Event { channel, seq, at, by, id, body: serde_json::from_str(&self.body)? })
    }
}

/// The channels' logs.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// [`LogStore::commit`], of which only the outcomes are wanted.
    async fn append(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        Ok(self.commit(channel, events).await?.outcomes)
    }

    /// Appends `events` in order and answers for each, once all of them are durable. Accepted events get
    /// consecutive positions from the log's head on; another process's event stands between two of one call only
    /// where a store must split it: between partitions of a log, or when it is too large for one write. The first
    /// hundred events of a log are never split. On an error nothing was committed, except for
    /// [`StoreError::UnknownOutcome`]. Each event is decided by [`chat_log::State::decide`] as of the position that it gets.
    /// A read marker that an event moves (see [`NewEvent::seen`]) follows within moments.
    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError>;

    /// [`LogStore::commit`] of what `take` gives, which is asked once the store has room for it: what gathers while others
    /// are written becomes part of the same write. `take` is called once, or not at all when there was no room; nothing
    /// was done then.
    async fn commit_when_there_is_room(
        &self,
        channel: ChannelId,
        take: &mut (dyn FnMut() -> Vec<NewEvent> + Send),
    ) -> Result<Commit, StoreError> {
        let events = take();
        if events.is_empty() { Ok(Commit::default()) } else { self.commit(channel, events).await }
    }

    /// Whether the log takes appends at the moment; reads may work when it does not.
    async fn check(&self) -> Result<(), StoreError>;

    /// Up to `limit` events after position `after`, ascending.
    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// The position and time of the event that was committed with this `(channel, by, id)`, within
    /// [`chat_protocol::limits::IDEMPOTENCY_WINDOW_MS`].
    async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, StoreError>;

    /// Reads one event; `None` when the log has no such position.
    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError>;

    /// Up to `limit` messages before position `before` (exclusive; [`Seq::MAX`] for the newest), newest first,
    /// with edits and deletions applied.
    async fn messages(
        &self,
        channel: ChannelId,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// Where each of these logs ends; channels that do not exist are left out.
    async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, StoreError>;

    /// The last position of each of these logs; channels that do not exist are left out.
    async fn heads(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, Seq)>, StoreError> {
        Ok(self.ends(channels).await?.into_iter().map(|(channel, end)| (channel, end.head)).collect())
    }
}

/// A channel without anything that depends on who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Id of the channel.
    pub id: ChannelId,
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Its name, for public and private channels.
    pub name: Option<String>,
    /// What it is about.
    pub topic: String,
    /// Whether it is archived, that is, read-only.
    pub archived: bool,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Millis,
    /// Where its log ends.
    pub end: End,
}

/// A user's place in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Id of the channel.
    pub channel: ChannelId,
    /// The seq of the event with which they joined.
    pub since: Seq,
    /// The last seq they have seen. Starts at `since`.
    pub read: Seq,
    /// What was counted up to `read`, when it is known.
    pub counts: Option<Counts>,
    /// Their own last message; 0 for none.
    pub own: Seq,
}

impl Membership {
    /// What unread messages are counted from.
    #[must_use]
    pub const fn marker(&self) -> Marker {
        Marker { seq: self.read, counts: self.counts, own: self.own }
    }
}

/// People, channels, memberships, markers.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    /// Reads one channel.
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError>;

    /// Several channels; those that do not exist are left out. Any order.
    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<ChannelRow>, StoreError>;

    /// Up to `limit` channels of all, in an order of the store's own, after that one; with their
    /// kind, unless they are just being made.
    async fn all_channels(
        &self,
        after: Option<ChannelId>,
        limit: usize,
    ) -> Result<Vec<(ChannelId, Option<ChannelKind>)>, StoreError>;

    /// Up to `limit` public channels in order of `(name_key, id)`, after that position. Archived ones included.
    async fn public_channels(
        &self,
        after: Option<(String, ChannelId)>,
        limit: usize,
    ) -> Result<Vec<ChannelRow>, StoreError>;

    /// All of a user's channels, in order of channel id, in one single-partition read.
    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError>;

    /// A user's place in one channel.
    async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>, StoreError>;

    /// Up to `limit` members of a channel in order of user id, after that one.
    async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError>;

    /// Those of these users who are members. Any order.
    async fn members_among(&self, channel: ChannelId, users: &[UserId]) -> Result<Vec<UserId>, StoreError>;

    /// Moves a read marker forward, never back and never beyond the head. Answers the place with the marker as it is now,
    /// and where the log ends; `None` when the user is not a member.
    async fn set_read(
        &self,
        user: UserId,
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Option<(Membership, End)>, StoreError>;

    /// Adds a user. False when the handle is taken, or [looks](chat_log::text::look) like one that is; nothing was done then.
    async fn create_user(&self, user: &User) -> Result<bool, StoreError>;

    /// Whether any user exists.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// Reads one user.
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// One user by handle (lower case).
    async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError>;

    /// Several users; those that do not exist are left out. Any order.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError>;

    /// Up to `limit` users in order of handle, after that handle; with `prefix`, only those whose handle or
    /// display name begins with it, without regard to case.
    async fn list_users(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<User>, StoreError>;

    /// One user with their version, as one state of both.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Changes a user's display name and nothing else. False when there is no such user.
    async fn set_display_name(&self, user: UserId, name: &str) -> Result<bool, StoreError>;

    /// Changes a user's role and whether their account is closed, and nothing else, if their version still is
    /// `expected`; the version rises with it. There is always an owner whose account is not closed: whatever happens at the
    /// same time, the last one stays. `at` is when, for [`DirectoryStore::auth_versions_since`].
    async fn change_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError>;

    /// The versions of users whose standing changed at or after `since`, a day back at most. A user may be in it twice; the
    /// highest version counts.
    async fn auth_versions_since(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError>;
}

/// A session as stored. Its refresh token is kept only as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Id of the session.
    pub id: SessionId,
    /// The user who signed in.
    pub user: UserId,
    /// When it began.
    pub created_at: Millis,
    /// When its tokens were last refreshed.
    pub used_at: Millis,
    /// It cannot be refreshed after this.
    pub expires_at: Millis,
    /// Name of the device.
    pub device: String,
    /// SHA-256 of the newest refresh token.
    pub refresh_hash: [u8; 32],
    /// Where each refresh token comes from, together with the one before it; `None` while 0.1.0 has made them all.
    pub chain: Option<[u8; 32]>,
    /// The network that it was last used from, as a hash; `None` when that is not known.
    pub network: Option<u64>,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, user, created_at, used_at, expires_at, revoked_at, .. } = self;
        let mut row = f.debug_struct("SessionRow");
        row.field("id", id).field("user", user).field("created_at", created_at).field("used_at", used_at);
        row.field("expires_at", expires_at).field("revoked_at", revoked_at).finish_non_exhaustive()
    }
}

/// A session's next refresh token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// SHA-256 of the token that it replaces.
    pub from: [u8; 32],
    /// SHA-256 of the token itself.
    pub to: [u8; 32],
    /// Where it comes from, see [`SessionRow::chain`].
    pub chain: [u8; 32],
    /// The network that asks for it, as a hash.
    pub network: Option<u64>,
    /// When that is.
    pub at: Millis,
    /// The session cannot be refreshed after this.
    pub expires_at: Millis,
}

/// What lets somebody make accounts, or set the password of one. Its code is kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationRow {
    /// Id of the invitation.
    pub id: InvitationId,
    /// SHA-256 of the secret part of its code; for a password, of that hash and the hash of the password that it replaces.
    pub code_hash: [u8; 32],
    /// Whose password it sets; `None`: it makes accounts.
    pub account: Option<UserId>,
    /// Role of the accounts that are made with it; of `account`, when it was made.
    pub role: Role,
    /// How often it can still be used.
    pub uses_left: u32,
    /// Who made it; `None`: the server's command line.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Millis,
    /// It cannot be used after this.
    pub expires_at: Millis,
    /// What its maker wrote about it.
    pub note: String,
}

/// A key that signs access tokens. The secret is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// The `kid` (RFC 7515 §4.1.4).
    pub kid: String,
    /// Ed25519 seed (RFC 8032 §5.1.5).
    pub seed: [u8; 32],
    /// When it was made. The newest key signs.
    pub created_at: Millis,
    /// Until when tokens signed with it may live; after that it is dropped from the JWKS.
    pub verify_until: Option<Millis>,
}

impl std::fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRow").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Credentials, sessions and signing keys.
#[async_trait]
pub trait AuthStore: Send + Sync + 'static {
    /// A user's password hash (PHC string).
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError>;

    /// Sets a user's password hash, whatever it was.
    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError>;

    /// Sets a user's password hash if it still is `from`, `None` for none yet. False when it is not: nothing was done.
    async fn replace_password(&self, user: UserId, from: Option<&str>, phc: &str)
    -> Result<bool, StoreError>;

    /// Adds a session.
    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError>;

    /// One session, revoked or not.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Replaces the refresh hash if it still is `from` and the session is neither revoked nor expired at `at`.
    /// False when it is not: nothing was done.
    async fn rotate_session(&self, id: SessionId, next: Rotation) -> Result<bool, StoreError>;

    /// Revokes a session. False when there is none or it was revoked before.
    async fn revoke_session(&self, id: SessionId, at: Millis) -> Result<bool, StoreError>;

    /// A user's sessions that are neither revoked nor expired at `now`, newest first.
    async fn sessions_of(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError>;

    /// Sessions revoked at or after `since`.
    async fn revoked_since(&self, since: Millis) -> Result<Vec<SessionId>, StoreError>;

    /// Adds an invitation. False when there are [`MAX_INVITATIONS`] that are still good at its time: nothing was done.
    async fn create_invitation(&self, invitation: &InvitationRow) -> Result<bool, StoreError>;

    /// One invitation, good or not, until it is forgotten some time after its end.
    async fn invitation(&self, id: InvitationId) -> Result<Option<InvitationRow>, StoreError>;

    /// Sets how often an invitation can still be used, if it still is `from`. False when it is not: nothing was done.
    async fn change_uses(&self, id: InvitationId, from: u32, to: u32) -> Result<bool, StoreError>;

    /// The invitations that are still good at `now`, newest first; about [`MAX_INVITATIONS`] at most.
    async fn invitations(&self, now: Millis) -> Result<Vec<InvitationRow>, StoreError>;

    /// All signing keys, newest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;

    /// Adds a signing key and sets `verify_until` on those before it that have none.
    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError>;
}

/// Invitations that can be good at one time; a few more when several are made at once.
pub const MAX_INVITATIONS: usize = 1_000;

/// The role a first user gets, and everybody after.
#[must_use]
pub const fn initial_role(first: bool) -> Role {
    if first { Role::Owner } else { Role::Member }
}
