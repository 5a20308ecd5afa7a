//! Events, users and channels that no other test uses.

use chat_domain::store::{Appended, NewEvent, SessionRow, Store};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, EventBody, Millis, Seq, SessionId, UserId,
    rest::{Role, User},
};

/// A time like those of real events: engines purge by it.
pub(crate) fn now() -> Millis {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Millis::try_from(since_epoch.as_millis()).unwrap()
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn new_user(handle: &str, display_name: &str) -> User {
    User {
        id: UserId::new(),
        handle: handle.into(),
        display_name: display_name.into(),
        role: Role::Member,
        created_at: now(),
        deactivated: false,
    }
}

/// Good for an hour; the hash of its refresh token is all ones.
pub(crate) fn new_session(user: UserId, created_at: Millis) -> SessionRow {
    SessionRow {
        id: SessionId::new(),
        user,
        created_at,
        used_at: created_at,
        expires_at: created_at + 3_600_000,
        device: "phone".into(),
        refresh_hash: [1; 32],
        chain: None,
        network: None,
        revoked_at: None,
    }
}

pub(crate) fn event(by: UserId, body: EventBody) -> NewEvent {
    NewEvent::of_server(by, now(), body)
}

pub(crate) fn named(event: NewEvent, id: ClientId) -> NewEvent {
    NewEvent { id: Some(id), ..event }
}

pub(crate) fn message(by: UserId, text: &str) -> NewEvent {
    event(by, EventBody::Message { text: text.into(), files: vec![], deleted: false })
}

pub(crate) fn created(by: UserId, kind: ChannelKind, name: Option<&str>) -> NewEvent {
    event(
        by,
        EventBody::ChannelCreated { channel_kind: kind, name: name.map(Into::into), topic: String::new() },
    )
}

pub(crate) fn joined(user: UserId) -> NewEvent {
    event(user, EventBody::MemberJoined { user })
}

/// Makes a private channel with `members`; its head is `1 + members.len()`.
pub(crate) async fn new_channel(store: &dyn Store, members: &[UserId]) -> ChannelId {
    let channel = ChannelId::new();
    let by = members.first().copied().unwrap_or_default();
    let mut events = vec![created(by, ChannelKind::Private, Some(&unique("channel")))];
    events.extend(members.iter().copied().map(joined));
    let expected: Vec<_> = (1..).take(events.len()).map(|seq| Appended::New { seq }).collect();
    assert_eq!(store.append(channel, events).await.unwrap(), expected);
    channel
}

/// Appends one event and answers what became of it.
pub(crate) async fn append(store: &dyn Store, channel: ChannelId, event: NewEvent) -> Appended {
    let outcomes = store.append(channel, vec![event]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

/// Appends one event that must be committed.
pub(crate) async fn commit(store: &dyn Store, channel: ChannelId, event: NewEvent) -> Seq {
    match append(store, channel, event).await {
        Appended::New { seq } => seq,
        other => panic!("expected a new event, got {other:?}"),
    }
}
