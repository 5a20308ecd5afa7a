//! Accounts and sessions on a Cassandra whose answers get lost, and after processes that died half-way.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod harness;
mod keyspace;

use std::{collections::BTreeSet, sync::Arc};

use chat_protocol::{
    SessionId, UserId,
    rest::{Role, User},
};
use chat_server::{
    clock::now_ms,
    store::{
        AuthStore as _, DirectoryStore as _, SessionRow, SigningKeyRow,
        cassandra::{
            CassandraStore,
            cql::{Statement, Value},
            migrate::migrate,
        },
    },
};
use keyspace::{
    Keyspace,
    faulty::{Fault, FaultyCql, Hits},
};

/// Every other conditional write is not done at all, or is done without its answer arriving; nobody can tell which.
const FORGETFUL: [Option<Fault>; 4] = [Some(Fault::Lost), None, Some(Fault::Unanswered), None];

fn user(handle: &str, display_name: &str) -> User {
    User {
        id: UserId::new(),
        handle: handle.into(),
        display_name: display_name.into(),
        role: Role::Member,
        created_at: now_ms(),
        deactivated: false,
    }
}

async fn migrated() -> Keyspace {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    keyspace
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_are_settled() {
    let keyspace = migrated().await;
    let forgetful =
        Arc::new(FaultyCql::new(Arc::clone(&keyspace.cql), FORGETFUL.to_vec(), Hits::Conditional));
    let store = CassandraStore::new(Arc::<FaultyCql>::clone(&forgetful));
    // Once beginning with the loss of the request, once with that of the answer.
    for (round, first) in [0, 2].into_iter().enumerate() {
        forgetful.go_to(first);
        let ada = user(&format!("ada-{round}"), "Ada");
        assert!(store.create_user(&ada).await.unwrap());
        assert!(!store.create_user(&user(&ada.handle, "Another")).await.unwrap());
        assert_eq!(store.user_by_handle(&ada.handle).await.unwrap(), Some(ada.clone()));

        let at = now_ms();
        let session = SessionRow {
            id: SessionId::new(),
            user: ada.id,
            created_at: at,
            used_at: at,
            expires_at: at + 60_000,
            device: "phone".into(),
            refresh_hash: [1; 32],
            revoked_at: None,
        };
        forgetful.go_to(first);
        store.create_session(&session).await.unwrap();
        forgetful.go_to(first);
        assert!(store.rotate_session(session.id, [1; 32], [2; 32], at + 1, at + 90_000).await.unwrap());
        assert!(!store.rotate_session(session.id, [1; 32], [3; 32], at + 1, at + 90_000).await.unwrap());
        assert_eq!(store.session(session.id).await.unwrap().unwrap().refresh_hash, [2; 32]);
        forgetful.go_to(first);
        assert!(store.revoke_session(session.id, at + 2).await.unwrap());
        assert!(!store.revoke_session(session.id, at + 3).await.unwrap());
        assert_eq!(store.session(session.id).await.unwrap().unwrap().revoked_at, Some(at + 2));
        assert_eq!(store.sessions_of(ada.id, at).await.unwrap(), []);

        forgetful.go_to(first);
        let key =
            SigningKeyRow { kid: format!("key-{round}"), seed: [7; 32], created_at: at, verify_until: None };
        store.add_signing_key(&key, at + 10).await.unwrap();
        let keys = store.signing_keys().await.unwrap();
        assert_eq!(keys.len(), round + 1);
        assert_eq!(keys.iter().filter(|key| key.verify_until.is_none()).count(), 1, "one signs: {keys:?}");
    }
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_is_free_again_when_its_claimant_died() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    assert!(!store.has_users().await.unwrap());
    let claim = Statement::conditional(
        "INSERT INTO handles (handle, user, claimed_at) VALUES (?, ?, ?) IF NOT EXISTS",
    );
    for (handle, age) in [("fresh", 1_000), ("abandoned", 120_000)] {
        let at = i64::try_from(now_ms() - age).unwrap();
        let values = vec![Value::Text(handle.into()), Value::Uuid(UserId::new().0), Value::BigInt(at)];
        assert!(keyspace.cql.execute(claim, values).await.unwrap()[0].applied());
        assert_eq!(store.user_by_handle(handle).await.unwrap(), None);
    }
    assert!(!store.create_user(&user("fresh", "Ada")).await.unwrap());
    let grace = user("abandoned", "Grace");
    assert!(store.create_user(&grace).await.unwrap());
    assert_eq!(store.user_by_handle("abandoned").await.unwrap(), Some(grace.clone()));
    assert!(store.has_users().await.unwrap());
    assert!(!store.create_user(&user("abandoned", "Late")).await.unwrap());
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_listed_across_partitions_and_renames() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let mut handles = BTreeSet::new();
    for i in 0..40_u32 {
        let first = char::from_digit(10 + i % 7, 36).unwrap();
        let ada = user(&format!("{first}{i}"), &format!("Person {i}"));
        assert!(store.create_user(&ada).await.unwrap());
        handles.insert(ada.handle);
    }
    for prefix in [None, Some("PERS"), Some("person ")] {
        let (mut after, mut seen) = (None::<String>, Vec::new());
        loop {
            let page = store.list_users(prefix, after.as_deref(), 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.handle.clone());
            seen.extend(page.into_iter().map(|user| user.handle));
        }
        assert!(seen.iter().eq(&handles), "{prefix:?}: {seen:?}");
    }

    let mut renamed = store.user_by_handle("a0").await.unwrap().unwrap();
    renamed.display_name = "Pearl".into();
    assert!(store.update_user(&renamed).await.unwrap());
    assert_eq!(store.list_users(Some("person 0"), None, 5).await.unwrap(), []);
    assert_eq!(store.list_users(Some("pearl"), None, 5).await.unwrap(), std::slice::from_ref(&renamed));
    // Both names begin like this.
    assert_eq!(store.list_users(Some("pe"), None, 50).await.unwrap().len(), 40);
    keyspace.drop().await;
}
