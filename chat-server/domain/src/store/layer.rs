//! Stores that stand before another store.
//!
//! A [`Layer`] does the same around every call: it limits, delays or counts. It implements [`Layer::pass`] and is a
//! [`Store`] by that. What it does differently for one method, it overrides. The table at the end of this file has one
//! line for each method of a store, which says what kind of call it is; no layer repeats it.

use std::future::Future;

use async_trait::async_trait;
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, FileId, InvitationId, Millis, Seq, SessionId, UserId,
    rest::{Member, Message, User},
};

use super::{
    Account, AuthStore, ChannelRow, Commit, DirectoryStore, End, FileHold, FileRow, FileStore, FileWork,
    GenerationRow, GenerationStore, InvitationRow, LogStore, Membership, NewEvent, Rotation, SessionRow,
    SigningKeyRow, Standing, StandingChange, Store, StoreError, Stored, StoredEvent, class::Class,
};

/// What kind of call is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub class: Class,
    /// Whether it changes something.
    pub writes: bool,
}

impl Call {
    const fn read(class: Class) -> Self {
        Self { class, writes: false }
    }

    const fn write(class: Class) -> Self {
        Self { class, writes: true }
    }

    /// The error of such a call when it was not answered in time.
    #[must_use]
    pub const fn unanswered(self) -> StoreError {
        if self.writes { StoreError::UnknownOutcome(None) } else { StoreError::Unavailable(None) }
    }
}

/// The newest messages are read by whoever comes in; those further back by whoever scrolls.
fn page_before(before: Seq) -> Class {
    if before == Seq::MAX { Class::Recent } else { Class::OldHistory }
}

/// Makes [`Layer`], whose methods pass each call of the table on, and makes every layer a store.
///
/// A line of the table is a method's signature without `&self` and without the `Result`, then what kind of call it is;
/// that may depend on the arguments. `also` has the methods that are not passed on.
macro_rules! layer {
    ($(impl $store:ident { $(
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty = $call:expr;
    )+ } $(also { $($more:tt)* })?)+) => {
        /// A store that does something around each call to another one. Import it where a layer is implemented and nowhere
        /// else: its methods have the names of the store's.
        pub trait Layer: Send + Sync + 'static {
            /// The store behind it.
            type Inner: Store + ?Sized;

            /// The store behind it.
            fn inner(&self) -> &Self::Inner;

            /// What is done around each call. `answer` does nothing before it is awaited.
            fn pass<T: Send>(
                &self,
                call: Call,
                answer: impl Future<Output = Result<T, StoreError>> + Send,
            ) -> impl Future<Output = Result<T, StoreError>> + Send;

            /// [`LogStore::commit_when_there_is_room`]. `take` is called at once and [`Layer::commit`] with what it gives.
            fn commit_when_there_is_room(
                &self,
                channel: ChannelId,
                take: &mut (dyn FnMut() -> Vec<NewEvent> + Send),
            ) -> impl Future<Output = Result<Commit, StoreError>> + Send {
                async move {
                    let events = take();
                    if events.is_empty() { Ok(Commit::default()) } else { Layer::commit(self, channel, events).await }
                }
            }

            /// Forgets what is remembered, see [`GenerationStore::forget`].
            fn forget(&self) {
                self.inner().forget();
            }

            $($(
                #[doc = concat!("[`", stringify!($store), "::", stringify!($method), "`].")]
                fn $method(
                    &self,
                    $($argument: $type),*
                ) -> impl Future<Output = Result<$answer, StoreError>> + Send {
                    async move { self.pass($call, self.inner().$method($($argument),*)).await }
                }
            )+)+
        }

        $(
            #[async_trait]
            impl<L: Layer> $store for L {
                $(
                    async fn $method(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                        Layer::$method(self, $($argument),*).await
                    }
                )+
                $($($more)*)?
            }
        )+
    };
}

layer! {
    impl LogStore {
        commit(channel: ChannelId, events: Vec<NewEvent>) -> Commit = Call::write(Class::Append);
        check() -> () = Call::read(Class::Lookup);
        events(channel: ChannelId, after: Seq, limit: usize) -> Vec<StoredEvent> = Call::read(Class::Recent);
        committed_as(channel: ChannelId, by: UserId, id: ClientId) -> Option<(Seq, Millis)> = Call::read(Class::Lookup);
        event(channel: ChannelId, seq: Seq) -> Option<StoredEvent> = Call::read(Class::Lookup);
        messages(channel: ChannelId, before: Seq, limit: usize) -> Vec<Message> = Call::read(page_before(before));
        // Gap repair asks for these too: what was acknowledged must arrive before anybody new comes in.
        ends(channels: &[ChannelId]) -> Vec<(ChannelId, End)> = Call::read(Class::Recent);
    } also {
        async fn commit_when_there_is_room(
            &self,
            channel: ChannelId,
            take: &mut (dyn FnMut() -> Vec<NewEvent> + Send),
        ) -> Result<Commit, StoreError> {
            Layer::commit_when_there_is_room(self, channel, take).await
        }
    }
    impl DirectoryStore {
        channel(id: ChannelId) -> Option<ChannelRow> = Call::read(Class::Lookup);
        channels(ids: &[ChannelId]) -> Vec<ChannelRow> = Call::read(Class::Directory);
        all_channels(after: Option<ChannelId>, limit: usize) -> Vec<(ChannelId, Option<ChannelKind>)> =
            Call::read(Class::Directory);
        public_channels(after: Option<(String, ChannelId)>, limit: usize) -> Vec<ChannelRow> =
            Call::read(Class::Directory);
        memberships(user: UserId) -> Vec<Membership> = Call::read(Class::Connect);
        membership(channel: ChannelId, user: UserId) -> Option<Membership> = Call::read(Class::Lookup);
        members(channel: ChannelId, after: Option<UserId>, limit: usize) -> Vec<Member> = Call::read(Class::Directory);
        members_among(channel: ChannelId, users: &[UserId]) -> Vec<UserId> = Call::read(Class::Lookup);
        set_read(user: UserId, channel: ChannelId, seq: Seq) -> Option<(Membership, End)> = Call::write(Class::Lookup);
        create_user(user: &User) -> bool = Call::write(Class::Directory);
        has_users() -> bool = Call::read(Class::Directory);
        user(id: UserId) -> Option<User> = Call::read(Class::Lookup);
        user_by_handle(handle: &str) -> Option<User> = Call::read(Class::Directory);
        users(ids: &[UserId]) -> Vec<User> = Call::read(Class::Directory);
        list_users(prefix: Option<&str>, after: Option<&str>, limit: usize) -> Vec<User> = Call::read(Class::Directory);
        account(id: UserId) -> Option<Account> = Call::read(Class::Lookup);
        set_display_name(user: UserId, name: &str) -> bool = Call::write(Class::Directory);
        change_standing(user: UserId, expected: u64, to: Standing, at: Millis) -> StandingChange =
            Call::write(Class::Directory);
        auth_versions_since(since: Millis) -> Vec<(UserId, u64)> = Call::read(Class::Auth);
    }
    impl FileStore {
        put_file(file: &FileRow) -> () = Call::write(Class::Upload);
        file(id: FileId) -> Option<FileRow> = Call::read(Class::Lookup);
        stored_by(owner: UserId) -> Stored = Call::read(Class::Upload);
        is_attached(file: FileId) -> bool = Call::read(Class::Lookup);
        hold(files: &[FileRow], hold: FileHold) -> Vec<FileId> = Call::write(Class::Lookup);
        let_go(files: &[FileId], hold: FileHold) -> Vec<FileId> = Call::write(Class::Lookup);
        attach(files: &[FileRow], channel: ChannelId, seq: Seq) -> () = Call::write(Class::Lookup);
        detach(files: &[FileId], channel: ChannelId, seq: Seq) -> Vec<FileId> = Call::write(Class::Lookup);
        retire(file: FileId) -> bool = Call::write(Class::Upload);
        erase_file(file: FileId) -> () = Call::write(Class::Upload);
        add_file_work(work: &[FileWork]) -> () = Call::write(Class::Lookup);
        due_file_work(now: Millis, limit: usize) -> Vec<FileWork> = Call::read(Class::Upload);
        file_work_done(work: &[FileWork]) -> () = Call::write(Class::Upload);
    }
    impl AuthStore {
        password(user: UserId) -> Option<String> = Call::read(Class::Auth);
        set_password(user: UserId, phc: &str) -> () = Call::write(Class::Auth);
        replace_password(user: UserId, from: Option<&str>, phc: &str) -> bool = Call::write(Class::Auth);
        create_session(session: &SessionRow) -> () = Call::write(Class::Auth);
        session(id: SessionId) -> Option<SessionRow> = Call::read(Class::Auth);
        rotate_session(id: SessionId, next: Rotation) -> bool = Call::write(Class::Auth);
        revoke_session(id: SessionId, at: Millis) -> bool = Call::write(Class::Auth);
        create_invitation(invitation: &InvitationRow) -> bool = Call::write(Class::Auth);
        invitation(id: InvitationId) -> Option<InvitationRow> = Call::read(Class::Auth);
        change_uses(id: InvitationId, from: u32, to: u32) -> bool = Call::write(Class::Auth);
        invitations(now: Millis) -> Vec<InvitationRow> = Call::read(Class::Auth);
        sessions_of(user: UserId, now: Millis) -> Vec<SessionRow> = Call::read(Class::Auth);
        revoked_since(since: Millis) -> Vec<SessionId> = Call::read(Class::Auth);
        signing_keys() -> Vec<SigningKeyRow> = Call::read(Class::Auth);
        add_signing_key(key: &SigningKeyRow, retire_others_at: Millis) -> () = Call::write(Class::Auth);
    }
    impl GenerationStore {
        generation() -> GenerationRow = Call::read(Class::Auth);
        begin_generation(next: GenerationRow, key: Option<SigningKeyRow>) -> u64 = Call::write(Class::Auth);
    } also {
        fn forget(&self) {
            Layer::forget(self);
        }
    }
}
