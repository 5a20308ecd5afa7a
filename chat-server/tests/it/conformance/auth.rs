//! The contract of [`chat_domain::store::AuthStore`].

use std::sync::Arc;

use chat_domain::store::{InvitationRow, Rotation, SessionRow, SigningKeyRow, Store};
use chat_protocol::{InvitationId, Millis, SessionId, UserId, rest::Role};

use super::fixtures::{new_session, now, unique};

const HOUR: Millis = 3_600_000;

fn rotation(to: u8, at: Millis, expires_at: Millis) -> Rotation {
    Rotation { from: [1; 32], to: [to; 32], chain: [9; 32], network: Some(u64::MAX), at, expires_at }
}

pub(crate) async fn a_password_is_replaced(store: Arc<dyn Store>) {
    let ada = UserId::new();
    assert_eq!(store.password(ada).await.unwrap(), None);
    store.set_password(ada, "$argon2id$one").await.unwrap();
    store.set_password(ada, "$argon2id$two").await.unwrap();
    assert_eq!(store.password(ada).await.unwrap().as_deref(), Some("$argon2id$two"));
    assert_eq!(store.password(UserId::new()).await.unwrap(), None);

    // On what was read, or not at all.
    assert!(!store.replace_password(ada, Some("$argon2id$one"), "$argon2id$three").await.unwrap());
    assert_eq!(store.password(ada).await.unwrap().as_deref(), Some("$argon2id$two"));
    let mut attempts = tokio::task::JoinSet::new();
    for attempt in 0..8 {
        let store = Arc::clone(&store);
        attempts.spawn(async move {
            let phc = format!("$argon2id${attempt}");
            store.replace_password(ada, Some("$argon2id$two"), &phc).await.unwrap().then_some(phc)
        });
    }
    let winners: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
    let [phc] = winners.as_slice() else { panic!("expected one winner, got {winners:?}") };
    assert_eq!(store.password(ada).await.unwrap().as_ref(), Some(phc));
    assert!(!store.replace_password(UserId::new(), Some(""), "$argon2id$one").await.unwrap());
    // Of the first ones, one.
    assert!(!store.replace_password(ada, None, "$argon2id$four").await.unwrap());
    let linus = UserId::new();
    let attempts = ["$argon2id$one", "$argon2id$two", "$argon2id$three"].map(|phc| {
        let store = Arc::clone(&store);
        async move { store.replace_password(linus, None, phc).await.unwrap().then_some(phc) }
    });
    let set: Vec<_> = futures_util::future::join_all(attempts).await.into_iter().flatten().collect();
    assert_eq!(set.len(), 1, "{set:?}");
    assert_eq!(store.password(linus).await.unwrap().as_deref(), set.first().copied());
}

pub(crate) async fn a_refresh_token_is_exchanged_once(store: Arc<dyn Store>) {
    let at = now();
    let chain = SessionRow { chain: Some([7; 32]), network: Some(1 << 63), ..new_session(UserId::new(), at) };
    store.create_session(&chain).await.unwrap();
    assert_eq!(store.session(chain.id).await.unwrap(), Some(chain));
    let session = new_session(UserId::new(), at);
    assert_eq!(store.session(session.id).await.unwrap(), None);
    store.create_session(&session).await.unwrap();
    assert_eq!(store.session(session.id).await.unwrap().as_ref(), Some(&session));

    // Of many that come with the same token at once, one gets the new one.
    let mut attempts = tokio::task::JoinSet::new();
    for attempt in 10..26 {
        let (store, id) = (Arc::clone(&store), session.id);
        attempts.spawn(async move {
            let next = rotation(attempt, at + 5, at + 2 * HOUR);
            store.rotate_session(id, next).await.unwrap().then_some(next.to)
        });
    }
    let winners: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
    let [to] = winners.as_slice() else { panic!("expected one winner, got {winners:?}") };
    let rotated = store.session(session.id).await.unwrap().unwrap();
    let expected = SessionRow {
        refresh_hash: *to,
        used_at: at + 5,
        expires_at: at + 2 * HOUR,
        chain: Some([9; 32]),
        network: Some(u64::MAX),
        ..session
    };
    assert_eq!(rotated, expected);
    assert!(!store.rotate_session(SessionId::new(), rotation(2, at, at + HOUR)).await.unwrap());
}

pub(crate) async fn a_session_ends_by_revocation_or_time(store: Arc<dyn Store>) {
    let (ada, at) = (UserId::new(), now());
    let (old, new) = (new_session(ada, at - 10), new_session(ada, at));
    for session in [&old, &new, &new_session(UserId::new(), at)] {
        store.create_session(session).await.unwrap();
    }
    assert_eq!(store.sessions_of(ada, at).await.unwrap(), [new.clone(), old.clone()]);
    assert_eq!(store.sessions_of(ada, old.expires_at).await.unwrap(), std::slice::from_ref(&new));
    let late = old.expires_at;
    assert!(!store.rotate_session(old.id, rotation(2, late, late + HOUR)).await.unwrap());

    assert!(store.revoke_session(new.id, at + 1).await.unwrap());
    assert!(!store.revoke_session(new.id, at + 2).await.unwrap());
    assert!(!store.revoke_session(SessionId::new(), at).await.unwrap());
    assert_eq!(store.session(new.id).await.unwrap().unwrap().revoked_at, Some(at + 1));
    assert!(!store.rotate_session(new.id, rotation(2, at + 2, at + HOUR)).await.unwrap());
    assert_eq!(store.sessions_of(ada, at).await.unwrap(), [old]);
}

pub(crate) async fn revoked_sessions_are_listed_since(store: Arc<dyn Store>) {
    let at = now();
    let mut sessions = Vec::new();
    for i in 0..3 {
        let session = new_session(UserId::new(), at);
        store.create_session(&session).await.unwrap();
        store.revoke_session(session.id, at + i).await.unwrap();
        sessions.push(session.id);
    }
    let unrevoked = new_session(UserId::new(), at);
    store.create_session(&unrevoked).await.unwrap();
    let mut revoked = store.revoked_since(at + 1).await.unwrap();
    revoked.retain(|id| sessions.contains(id) || *id == unrevoked.id);
    revoked.sort();
    assert_eq!(revoked, sessions[1..]);
}

pub(crate) async fn an_invitation_is_used_as_often_as_it_says(store: Arc<dyn Store>) {
    let at = now();
    let row = |uses_left| InvitationRow {
        id: InvitationId::new(),
        code_hash: [3; 32],
        account: None,
        role: Role::Guest,
        uses_left,
        created_by: Some(UserId::new()),
        created_at: at,
        expires_at: at + HOUR,
        note: "workshop".into(),
    };
    let (some, one) = (row(3), InvitationRow { account: Some(UserId::new()), created_by: None, ..row(1) });
    assert_eq!(store.invitation(some.id).await.unwrap(), None);
    for new in [&some, &one] {
        assert!(store.create_invitation(new).await.unwrap());
        assert_eq!(store.invitation(new.id).await.unwrap().as_ref(), Some(new));
    }
    let good = async |now| {
        let mut good = store.invitations(now).await.unwrap();
        good.retain(|row| [some.id, one.id].contains(&row.id));
        good.len()
    };
    assert_eq!((good(at).await, good(at + HOUR).await), (2, 0));

    // Each use is counted on what was read.
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, id) = (Arc::clone(&store), some.id);
        attempts.spawn(async move { store.change_uses(id, 3, 2).await.unwrap() });
    }
    assert_eq!(attempts.join_all().await.into_iter().filter(|used| *used).count(), 1);
    assert!(store.change_uses(one.id, 1, 0).await.unwrap());
    assert!(!store.change_uses(one.id, 1, 0).await.unwrap());
    assert!(!store.change_uses(InvitationId::new(), 1, 0).await.unwrap());
    assert_eq!(good(at).await, 1);
}

pub(crate) async fn a_new_signing_key_retires_those_before(store: Arc<dyn Store>) {
    let at = now();
    let key = |seed: u8, created_at| SigningKeyRow {
        kid: unique("key"),
        seed: [seed; 32],
        created_at,
        verify_until: None,
    };
    let (first, second, third) = (key(1, at), key(2, at + 1), key(3, at + 2));
    store.add_signing_key(&first, at + 10).await.unwrap();
    store.add_signing_key(&second, at + 20).await.unwrap();
    store.add_signing_key(&third, at + 30).await.unwrap();
    let keys = store.signing_keys().await.unwrap();
    let position = |kid: &str| keys.iter().position(|key| key.kid == kid).unwrap();
    let (first, second, third) = (position(&first.kid), position(&second.kid), position(&third.kid));
    assert!(third < second && second < first, "newest first");
    assert_eq!(keys[third].verify_until, None);
    assert_eq!((keys[second].verify_until, keys[first].verify_until), (Some(at + 30), Some(at + 20)));
    assert_eq!(keys[second].seed, [2; 32]);
}
