//! Accounts and sessions on a Cassandra whose answers get lost, and after processes that died half-way.

use std::{collections::BTreeSet, sync::Arc};

use chat_cassandra::{
    CassandraStore,
    cql::{Statement, Value},
    migrate::migrate,
};
use chat_domain::{
    clock::now_ms,
    store::{AuthStore as _, DirectoryStore as _, Rotation, SigningKeyRow, Standing, StandingChange},
};
use chat_protocol::{
    Millis, UserId,
    rest::{Role, User},
};

use crate::conformance::fixtures::new_session;
use crate::keyspace::{
    Keyspace,
    faulty::{Fault, FaultyCql, Hits},
};

fn rotation(to: u8, at: Millis, expires_at: Millis) -> Rotation {
    Rotation { from: [1; 32], to: [to; 32], chain: [9; 32], network: None, at, expires_at }
}

/// Every other conditional write is not done at all, or is done without its answer arriving; nobody can know which.
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
        let session = new_session(ada.id, at);
        forgetful.go_to(first);
        store.create_session(&session).await.unwrap();
        forgetful.go_to(first);
        assert!(store.rotate_session(session.id, rotation(2, at + 1, at + 90_000)).await.unwrap());
        assert!(!store.rotate_session(session.id, rotation(3, at + 1, at + 90_000)).await.unwrap());
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
    assert!(store.set_display_name(renamed.id, "Pearl").await.unwrap());
    assert_eq!(store.list_users(Some("person 0"), None, 5).await.unwrap(), []);
    assert_eq!(store.list_users(Some("pearl"), None, 5).await.unwrap(), std::slice::from_ref(&renamed));
    // Both names begin like this.
    assert_eq!(store.list_users(Some("pe"), None, 50).await.unwrap().len(), 40);
    keyspace.drop().await;
}

const REMOVED: Statement = Statement::conditional("DELETE FROM owners WHERE ring = ? AND user = ?");
const BUMPED: Statement =
    Statement::conditional("UPDATE owners SET version = ? WHERE ring = ? IF version = ?");
const LATE: Statement = Statement::conditional(
    "UPDATE users SET role = ?, deactivated = ?, auth_version = ?
     WHERE id = ? IF role = ? AND deactivated = ? AND auth_version = ?",
);
const BY_AN_OLDER_SERVER: Statement =
    Statement::write("UPDATE users SET display_name = ?, role = ?, deactivated = ? WHERE id = ?");

const fn active(role: Role) -> Standing {
    Standing { role, deactivated: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standings_change_although_answers_get_lost() {
    let keyspace = migrated().await;
    let forgetful =
        Arc::new(FaultyCql::new(Arc::clone(&keyspace.cql), FORGETFUL.to_vec(), Hits::Conditional));
    let store = CassandraStore::new(Arc::<FaultyCql>::clone(&forgetful));
    let owners = [user("ada", "Ada"), user("grace", "Grace")].map(|user| User { role: Role::Owner, ..user });
    for owner in &owners {
        assert!(store.create_user(owner).await.unwrap());
    }
    let [ada, grace] = owners.map(|owner| owner.id);
    let mut version = 0;
    for first in [0, 1, 2, 3] {
        for role in [Role::Admin, Role::Owner] {
            forgetful.go_to(first);
            let outcome = store.change_standing(ada, version, active(role), now_ms()).await.unwrap();
            version += 1;
            assert_eq!(outcome, StandingChange::Changed { auth_version: version }, "{first}");
            assert_eq!(store.account(ada).await.unwrap().unwrap().standing(), active(role));
        }
        forgetful.go_to(first);
        assert!(store.set_display_name(ada, &format!("Ada {first}")).await.unwrap());
        assert_eq!(store.user(ada).await.unwrap().unwrap().display_name, format!("Ada {first}"));
    }
    assert!(store.auth_versions_since(now_ms() - 60_000).await.unwrap().contains(&(ada, version)));
    let outcome = store.change_standing(ada, version, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::Changed { auth_version: version + 1 });
    let outcome = store.change_standing(grace, 0, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::LastOwner);
    keyspace.drop().await;
}

/// A process took Ada out of the partition and died; its write of her row comes when nobody expects it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_demotion_was_left_half_done_still_counts_and_stays() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let owners =
        ["ada", "grace", "linus"].map(|handle| User { role: Role::Owner, ..user(handle, "Somebody") });
    for owner in &owners {
        assert!(store.create_user(owner).await.unwrap());
    }
    let [ada, grace, linus] = owners.map(|owner| owner.id);
    // So that there is a version in Ada's row, and the partition is filled.
    for (version, role) in [(0, Role::Admin), (1, Role::Owner)] {
        store.change_standing(ada, version, active(role), now_ms()).await.unwrap();
    }
    let outcome = store.change_standing(linus, 0, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::Changed { auth_version: 1 });
    let read = Statement::read("SELECT version FROM owners WHERE ring = ?");
    let ring = || Value::TinyInt(0);
    let rows = keyspace.cql.execute(read, vec![ring()]).await.unwrap();
    let at = rows[0].bigint("version").unwrap();
    let left = vec![
        (BUMPED, vec![Value::BigInt(at + 1), ring(), Value::BigInt(at)]),
        (REMOVED, vec![ring(), Value::Uuid(ada.0)]),
    ];
    assert!(keyspace.cql.batch(left).await.unwrap()[0].applied());

    // Grace seems to be the last one, and is not.
    let outcome = store.change_standing(grace, 0, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::Changed { auth_version: 1 });
    let late = vec![
        Value::TinyInt(3),
        Value::Bool(false),
        Value::BigInt(3),
        Value::Uuid(ada.0),
        Value::TinyInt(0),
        Value::Bool(false),
        Value::BigInt(2),
    ];
    assert!(!keyspace.cql.execute(LATE, late).await.unwrap()[0].applied(), "nobody would own it then");
    let account = store.account(ada).await.unwrap().unwrap();
    assert_eq!(account.standing(), active(Role::Owner));
    let outcome = store.change_standing(ada, account.auth_version, active(Role::Guest), now_ms()).await;
    assert_eq!(outcome.unwrap(), StandingChange::LastOwner);
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_whom_an_older_server_made_or_demoted_are_found_out_about() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let people = [Role::Owner, Role::Owner, Role::Member]
        .map(|role| User { role, ..user(&format!("p-{}", UserId::new().0.simple()), "Somebody") });
    for person in &people {
        assert!(store.create_user(person).await.unwrap());
    }
    let [ada, grace, linus] = people.map(|person| person.id);
    // The partition is filled with Ada and Grace.
    for (version, role) in [(0, Role::Admin), (1, Role::Owner)] {
        store.change_standing(ada, version, active(role), now_ms()).await.unwrap();
    }
    let older = async |user: UserId, role: i8| {
        let name = Value::Text("Somebody".into());
        let values = vec![name, Value::TinyInt(role), Value::Bool(false), Value::Uuid(user.0)];
        keyspace.cql.execute(BY_AN_OLDER_SERVER, values).await.unwrap();
    };
    older(grace, 2).await;
    let outcome = store.change_standing(ada, 2, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::LastOwner, "Grace does not count any more");
    older(linus, 0).await;
    let outcome = store.change_standing(ada, 2, active(Role::Guest), now_ms()).await.unwrap();
    assert_eq!(outcome, StandingChange::Changed { auth_version: 3 }, "Linus counts");
    let account = store.account(linus).await.unwrap().unwrap();
    let outcome = store.change_standing(linus, account.auth_version, active(Role::Guest), now_ms()).await;
    assert_eq!(outcome.unwrap(), StandingChange::LastOwner);
    keyspace.drop().await;
}

/// A process died between announcing that a version may rise and raising it, or raised it and did not say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_was_raised_and_not_announced_is_read_from_the_user() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let (ada, grace) = (user("ada", "Ada"), user("grace", "Grace"));
    for user in [&ada, &grace] {
        assert!(store.create_user(user).await.unwrap());
    }
    let at = now_ms();
    store.change_standing(ada.id, 0, active(Role::Guest), at).await.unwrap();
    let forget =
        Statement::write("DELETE version FROM auth_changes WHERE bucket = ? AND changed_at = ? AND user = ?");
    let attempt = Statement::write("INSERT INTO auth_changes (bucket, changed_at, user) VALUES (?, ?, ?)");
    for (statement, user) in [(forget, ada.id), (attempt, grace.id)] {
        let millis = |n: u64| Value::BigInt(i64::try_from(n).unwrap());
        let values = vec![millis(at / 600_000), millis(at), Value::Uuid(user.0)];
        keyspace.cql.execute(statement, values).await.unwrap();
    }
    let mut found = store.auth_versions_since(at).await.unwrap();
    found.sort();
    let mut expected = [(ada.id, 1), (grace.id, 0)];
    expected.sort();
    assert_eq!(found, expected);
    keyspace.drop().await;
}
