//! Accounts and sessions on a Cassandra whose answers get lost, and after processes that died half-way.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod harness;
mod keyspace;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
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
            cql::{Access, Cql, CqlError, Page, PageState, Row, Statement, Value},
            migrate::migrate,
        },
    },
};
use keyspace::Keyspace;

/// Every other conditional write is done without its answer arriving, or is not done at all; nobody can tell which.
struct Forgetful {
    cql: Arc<dyn Cql>,
    conditional: AtomicU32,
}

enum Fate {
    Lost,
    Unanswered,
    Answered,
}

impl Forgetful {
    fn fate(&self) -> Fate {
        match self.conditional.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Fate::Lost,
            2 => Fate::Unanswered,
            _ => Fate::Answered,
        }
    }

    /// From the next on.
    fn start_with_unanswered(&self) {
        self.conditional.store(2, Ordering::Relaxed);
    }

    fn start_with_lost(&self) {
        self.conditional.store(0, Ordering::Relaxed);
    }
}

fn timeout() -> CqlError {
    CqlError::Timeout("lost by the test".into())
}

#[async_trait]
impl Cql for Forgetful {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        self.cql.schema(cql).await
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.cql.prepare(statement).await
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        let fate = if statement.access == Access::Conditional { self.fate() } else { Fate::Answered };
        match fate {
            Fate::Lost => Err(timeout()),
            Fate::Unanswered => self.cql.execute(statement, values).await.and(Err(timeout())),
            Fate::Answered => self.cql.execute(statement, values).await,
        }
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        match self.fate() {
            Fate::Lost => Err(timeout()),
            Fate::Unanswered => self.cql.batch(statements).await.and(Err(timeout())),
            Fate::Answered => self.cql.batch(statements).await,
        }
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        self.cql.page(statement, values, size, from).await
    }
}

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
    let forgetful = Arc::new(Forgetful { cql: Arc::clone(&keyspace.cql), conditional: AtomicU32::new(0) });
    let store = CassandraStore::new(Arc::<Forgetful>::clone(&forgetful));
    for (round, start) in
        [Forgetful::start_with_lost, Forgetful::start_with_unanswered].into_iter().enumerate()
    {
        start(&forgetful);
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
        start(&forgetful);
        store.create_session(&session).await.unwrap();
        start(&forgetful);
        assert!(store.rotate_session(session.id, [1; 32], [2; 32], at + 1, at + 90_000).await.unwrap());
        assert!(!store.rotate_session(session.id, [1; 32], [3; 32], at + 1, at + 90_000).await.unwrap());
        assert_eq!(store.session(session.id).await.unwrap().unwrap().refresh_hash, [2; 32]);
        start(&forgetful);
        assert!(store.revoke_session(session.id, at + 2).await.unwrap());
        assert!(!store.revoke_session(session.id, at + 3).await.unwrap());
        assert_eq!(store.session(session.id).await.unwrap().unwrap().revoked_at, Some(at + 2));
        assert_eq!(store.sessions_of(ada.id, at).await.unwrap(), []);

        start(&forgetful);
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
