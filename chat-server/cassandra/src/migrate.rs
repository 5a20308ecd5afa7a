//! Makes a keyspace and its tables, or brings them to this version.
//!
//! Safe when several do it at once: one holds a lease, the others wait for it. A lease is a row that expires, so that one
//! who died stops nobody for long. Versions go up one by one, each by a conditional write on the one before.

use std::{sync::Arc, time::Duration};

use chat_domain::{
    clock::now_ms,
    store::{GenerationStore as _, StoreError},
};
use chat_protocol::Millis;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    CassandraStore,
    cql::{Cql, CqlError, Row, Statement, Value},
    schema::{STEPS, Step},
};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The version that was found; 0: no tables.
    pub from: i32,
    /// The version that there is now.
    pub to: i32,
}

/// Why a keyspace is not at this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Not a name that is the same whether quoted or not.
    #[error("not a usable keyspace: {0:?}; it takes 1 to 48 of a-z, 0-9 and _, beginning with a letter")]
    Keyspace(String),
    /// A datacenter's name that cannot stand between quotes, or no datacenter, or no copies.
    #[error(
        "not a usable replication: {copies} copies in {datacenter:?}; it takes a datacenter and 1 or more copies"
    )]
    Replication {
        /// The datacenter that is configured.
        datacenter: String,
        /// The number of copies that is configured.
        copies: u8,
    },
    /// The tables are those of a newer server.
    #[error("the tables are at version {found}, this chat-server knows {expected}: run a newer chat-server")]
    Newer {
        /// The version that this server knows.
        expected: i32,
        /// The version of the tables.
        found: i32,
    },
    /// The tables are those of an older server, or are not there.
    #[error("the tables are at version {found}, this chat-server needs {expected}: run chat-server migrate")]
    Older {
        /// The version that this server needs.
        expected: i32,
        /// The tables'; 0: there are none.
        found: i32,
    },
    /// Another one migrates, and does not come to an end.
    #[error("another process held the lease on the schema for {} s", .0.as_secs())]
    Held(Duration),
    /// It took so long that another one took over.
    #[error("the lease on the schema was taken over: run chat-server migrate again")]
    LeaseLost,
    /// The first generation cannot be made. Running it again does.
    #[error("failed to give the tables a generation")]
    Generation(#[source] StoreError),
    /// Names of before cannot be made to be found by their words. Running it again goes on.
    #[error("failed to list the names that are there by their words")]
    Names(#[source] StoreError),
    /// Cassandra did not do it. Running it again goes on where it ended.
    #[error("failed to change the schema in cassandra")]
    Cassandra(#[from] CqlError),
}

/// The version of this server's tables.
#[must_use]
pub const fn version() -> i32 {
    version_of(STEPS)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful")]
const fn version_of(steps: &[Step]) -> i32 {
    steps.len() as i32
}

/// Makes a keyspace unless it is there, with so many copies in each datacenter; through a session that is bound to none.
/// One that is there keeps its replication: changing it takes repairs, which are the operator's of the database to plan.
///
/// # Errors
/// When a name cannot be used, or Cassandra does not do it.
pub async fn create_keyspace(
    cql: &Arc<dyn Cql>,
    keyspace: &str,
    copies: &[(String, u8)],
) -> Result<(), MigrateError> {
    check_name(keyspace)?;
    let mut replication = String::from("'class': 'NetworkTopologyStrategy'");
    let nobody = (String::new(), 0);
    for (datacenter, copies) in if copies.is_empty() { std::slice::from_ref(&nobody) } else { copies } {
        if datacenter.is_empty() || datacenter.contains(['\'', '\\']) || *copies == 0 {
            return Err(MigrateError::Replication { datacenter: datacenter.clone(), copies: *copies });
        }
        replication += &format!(", '{datacenter}': {copies}");
    }
    cql.schema(&format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{replication}}}"))
        .await?;
    Ok(())
}

/// Removes a keyspace with all that is in it, through a session that is bound to none. False: it was not there.
///
/// # Errors
/// When the name cannot be used, or Cassandra does not do it.
pub async fn drop_keyspace(cql: &Arc<dyn Cql>, keyspace: &str) -> Result<bool, MigrateError> {
    const FIND: Statement =
        Statement::read("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?");
    check_name(keyspace)?;
    let found = !cql.execute(FIND, vec![text(keyspace)]).await?.is_empty();
    // Although none was found: the node that was asked may not know of it yet.
    cql.schema(&format!("DROP KEYSPACE IF EXISTS {keyspace}")).await?;
    Ok(found)
}

/// Names stand in statements as they are.
fn check_name(keyspace: &str) -> Result<(), MigrateError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=48).contains(&keyspace.len())
        && keyspace.starts_with(|c: char| c.is_ascii_lowercase())
        && keyspace.chars().all(plain)
    {
        Ok(())
    } else {
        Err(MigrateError::Keyspace(keyspace.into()))
    }
}

/// Brings the tables of `keyspace`, to which the session is bound, to this server's version.
///
/// # Errors
/// When they are newer, when another one migrates for minutes on end, or when Cassandra does not do it.
pub async fn migrate(cql: &Arc<dyn Cql>, keyspace: &str) -> Result<Report, MigrateError> {
    let report = migrate_by(cql, keyspace, STEPS).await?;
    // Whoever comes first makes it; a server that finds none does, too.
    let store = CassandraStore::new(Arc::clone(cql));
    store.generation().await.map_err(MigrateError::Generation)?;
    store.fold_names().await.map_err(MigrateError::Names)?;
    Ok(report)
}

/// Whether this server can run on the tables that are there.
///
/// # Errors
/// When it cannot, or when Cassandra cannot say.
pub async fn check_version(cql: &Arc<dyn Cql>) -> Result<(), MigrateError> {
    check_version_by(cql, STEPS).await
}

/// Like [`migrate`], by other steps than this server's.
///
/// # Errors
/// See [`migrate`].
pub async fn migrate_by(cql: &Arc<dyn Cql>, keyspace: &str, steps: &[Step]) -> Result<Report, MigrateError> {
    // A fixed id: two that make it at once make the same table, where Cassandra would otherwise see two of one name.
    let id = table_id(keyspace);
    cql.schema(&format!(
        "CREATE TABLE IF NOT EXISTS schema_state (
            what text PRIMARY KEY, version int, works_with int, owner uuid, since bigint) WITH id = {id}"
    ))
    .await?;
    let lease = Lease::take(cql).await?;
    let done = raise(cql, &lease, steps).await;
    lease.give_back().await;
    done
}

/// Like [`check_version`], by other steps than this server's.
///
/// # Errors
/// See [`check_version`].
pub async fn check_version_by(cql: &Arc<dyn Cql>, steps: &[Step]) -> Result<(), MigrateError> {
    let expected = version_of(steps);
    let found = match State::read(cql).await {
        // There is no such table.
        Err(CqlError::Invalid(_)) => State::default(),
        found => found?,
    };
    if found.version < expected {
        return Err(MigrateError::Older { expected, found: found.version });
    }
    if found.works_with > expected {
        return Err(MigrateError::Newer { expected, found: found.version });
    }
    Ok(())
}

async fn raise(cql: &Arc<dyn Cql>, lease: &Lease, steps: &[Step]) -> Result<Report, MigrateError> {
    let from = State::read(cql).await?.version;
    let to = version_of(steps);
    if from > to {
        return Err(MigrateError::Newer { expected: to, found: from });
    }
    let mut version = 0;
    for step in steps {
        version += 1;
        if version <= from {
            continue;
        }
        for statements in step.statements {
            for statement in *statements {
                lease.renew().await?;
                cql.schema(statement).await?;
            }
        }
        lease.renew().await?;
        State { version, works_with: step.works_with }.write(cql).await?;
        tracing::info!(version, "tables are at a new version");
    }
    Ok(Report { from, to })
}

const STATE: &str = "tables";
const READ_STATE: Statement =
    Statement::serial_read("SELECT version, works_with FROM schema_state WHERE what = ?");
const FIRST_STATE: Statement = Statement::conditional(
    "INSERT INTO schema_state (what, version, works_with) VALUES (?, ?, ?) IF NOT EXISTS",
);
const NEXT_STATE: Statement = Statement::conditional(
    "UPDATE schema_state SET version = ?, works_with = ? WHERE what = ? IF version = ?",
);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    version: i32,
    works_with: i32,
}

impl State {
    async fn read(cql: &Arc<dyn Cql>) -> Result<Self, CqlError> {
        let rows = cql.execute(READ_STATE, vec![text(STATE)]).await?;
        let number = |column| rows.first().and_then(|row| row.int(column)).unwrap_or_default();
        Ok(Self { version: number("version"), works_with: number("works_with") })
    }

    async fn write(self, cql: &Arc<dyn Cql>) -> Result<(), MigrateError> {
        let (version, works_with) = (Value::Int(self.version), Value::Int(self.works_with));
        let (statement, values) = if self.version == 1 {
            (FIRST_STATE, vec![text(STATE), version, works_with])
        } else {
            (NEXT_STATE, vec![version, works_with, text(STATE), Value::Int(self.version - 1)])
        };
        match cql.execute(statement, values).await {
            Ok(rows) if rows.first().is_some_and(Row::applied) => Ok(()),
            // Not known, or another one's: what counts is that it stands there.
            Ok(_) | Err(CqlError::Timeout(_)) => match Self::read(cql).await?.version {
                found if found == self.version => Ok(()),
                _ => Err(MigrateError::LeaseLost),
            },
            Err(error) => Err(error.into()),
        }
    }
}

const LEASE: &str = "lease";
/// A lease is kept so long after its holder's last sign of life.
macro_rules! lease_seconds {
    () => {
        "120"
    };
}
/// Longer than a whole migration takes.
const WAIT_FOR_LEASE: Duration = Duration::from_secs(300);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

const TAKE: Statement = Statement::conditional(concat!(
    "INSERT INTO schema_state (what, owner, since) VALUES (?, ?, ?) IF NOT EXISTS USING TTL ",
    lease_seconds!()
));
const RENEW: Statement = Statement::conditional(concat!(
    "UPDATE schema_state USING TTL ",
    lease_seconds!(),
    " SET owner = ?, since = ? WHERE what = ? IF owner = ?"
));
const GIVE_BACK: Statement = Statement::conditional("DELETE FROM schema_state WHERE what = ? IF owner = ?");

struct Lease {
    cql: Arc<dyn Cql>,
    owner: Uuid,
    since: Millis,
}

impl Lease {
    async fn take(cql: &Arc<dyn Cql>) -> Result<Self, MigrateError> {
        let lease = Self { cql: Arc::clone(cql), owner: Uuid::now_v7(), since: now_ms() };
        let deadline = Instant::now() + WAIT_FOR_LEASE;
        let mut logged = false;
        loop {
            let values = vec![text(LEASE), Value::Uuid(lease.owner), lease.since()];
            match cql.execute(TAKE, values).await {
                // Ours already, when an earlier try was not heard of.
                Ok(rows)
                    if rows.iter().any(|row| row.applied() || row.uuid("owner") == Some(lease.owner)) =>
                {
                    return Ok(lease);
                }
                Ok(_) if !logged => {
                    logged = true;
                    tracing::info!("another one migrates, waiting for it");
                }
                Ok(_) | Err(CqlError::Timeout(_) | CqlError::Unavailable(_) | CqlError::Overloaded(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Err(MigrateError::Held(WAIT_FOR_LEASE));
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    async fn renew(&self) -> Result<(), MigrateError> {
        let owner = Value::Uuid(self.owner);
        let values = vec![owner.clone(), self.since(), text(LEASE), owner];
        match self.cql.execute(RENEW, values).await {
            Ok(rows) if rows.iter().any(Row::applied) => Ok(()),
            Ok(_) => Err(MigrateError::LeaseLost),
            Err(error) => Err(error.into()),
        }
    }

    /// Without it the lease expires.
    async fn give_back(self) {
        let values = vec![text(LEASE), Value::Uuid(self.owner)];
        if let Err(error) = self.cql.execute(GIVE_BACK, values).await {
            tracing::warn!(%error, "lease on the schema not given back, it expires by itself");
        }
    }

    fn since(&self) -> Value {
        Value::BigInt(i64::try_from(self.since).unwrap_or(i64::MAX))
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Another one in each keyspace, for table ids are a cluster's.
fn table_id(keyspace: &str) -> Uuid {
    let hash = Sha256::digest(format!("folkmoot schema_state of {keyspace}"));
    let bytes = std::array::from_fn(|at| hash[at]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
