//! [`Cql`] over the pure-Rust `scylla` driver: the default.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    errors::{DbError, ExecutionError, PrepareError, RequestAttemptError},
    policies::{
        load_balancing::DefaultPolicy,
        retry::{DefaultRetryPolicy, FallthroughRetryPolicy},
        speculative_execution::SimpleSpeculativeExecutionPolicy,
    },
    response::{PagingState, PagingStateResponse, query_result::QueryResult},
    statement::{
        Consistency, SerialConsistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::{CqlValue, Row as CqlRow},
};

use super::{
    cql::{Access, Cql, CqlError, Page, PageState, Row, Statement, Value},
    options::CassandraOptions,
};

/// Rows that [`Cql::execute`] reads at once.
const PAGE: usize = 5_000;

/// What may be repeated is also asked of another node when the first has not answered after this.
const SECOND_TRY: Duration = Duration::from_millis(500);
/// A node that hangs, with its connections open, is noticed after these: a connection without an answer is probed, and
/// given up when the probe is not answered either. A pause for garbage collection must not look like that.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// See [`PROBE_EVERY`].
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A session of the `scylla` driver.
pub struct ScyllaCql {
    session: Session,
    prepared: RwLock<HashMap<&'static str, PreparedStatement>>,
}

impl ScyllaCql {
    /// Connects, to the options' keyspace when they name one.
    ///
    /// # Errors
    /// When no node can be reached, or none lets us in.
    pub async fn connect(options: &CassandraOptions) -> Result<Self, CqlError> {
        let policy = DefaultPolicy::builder()
            .prefer_datacenter(options.local_datacenter.clone())
            .permit_dc_failover(false)
            .token_aware(true)
            .build();
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(options.request_timeout))
            .load_balancing_policy(policy)
            .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: SECOND_TRY,
            })))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&options.contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(options.request_timeout)
            .keepalive_interval(PROBE_EVERY)
            .keepalive_timeout(PROBE_TIMEOUT);
        if let Some((user, password)) = &options.credentials {
            builder = builder.user(user, password);
        }
        if let Some(pem) = &options.ca_pem {
            builder = builder.tls_context(Some(tls(pem)?));
        }
        if let Some(keyspace) = &options.keyspace {
            builder = builder.use_keyspace(keyspace, true);
        }
        let session = builder.build().await.map_err(|error| CqlError::Unavailable(error.into()))?;
        Ok(Self { session, prepared: RwLock::default() })
    }

    async fn prepared(&self, statement: Statement) -> Result<PreparedStatement, CqlError> {
        if let Some(prepared) = self.prepared.read().get(statement.cql) {
            return Ok(prepared.clone());
        }
        let mut prepared = self.session.prepare(statement.cql).await.map_err(prepare_failed)?;
        prepared.set_consistency(match statement.access {
            Access::Read | Access::Write | Access::Conditional => Consistency::LocalQuorum,
            Access::SerialRead => Consistency::LocalSerial,
        });
        let repeatable = statement.access != Access::Conditional;
        prepared.set_is_idempotent(repeatable);
        if repeatable {
            prepared.set_retry_policy(Some(Arc::new(DefaultRetryPolicy::new())));
        } else {
            prepared.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
        }
        self.prepared.write().insert(statement.cql, prepared.clone());
        Ok(prepared)
    }
}

/// TLS with these authorities. The provider is named, since another dependency brings a second one.
fn tls(pem: &str) -> Result<Arc<ClientConfig>, CqlError> {
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| CqlError::Invalid(error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(error.into()))?;
        roots.add(certificate).map_err(|error| invalid(error.into()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[async_trait]
impl Cql for ScyllaCql {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        // The driver waits for the nodes to agree before it answers.
        self.session.query_unpaged(cql, ()).await.map(drop).map_err(failed)
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.prepared(statement).await.map(drop)
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        let mut page = self.page(statement, values.clone(), PAGE, None).await?;
        let mut rows = std::mem::take(&mut page.rows);
        while let Some(from) = page.next {
            page = self.page(statement, values.clone(), PAGE, Some(from)).await?;
            rows.append(&mut page.rows);
        }
        Ok(rows)
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        let conditional = statements.iter().any(|(statement, _)| statement.access == Access::Conditional);
        batch.set_is_idempotent(!conditional);
        if conditional {
            batch.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
        }
        let mut values = Vec::with_capacity(statements.len());
        for (statement, bound) in statements {
            batch.append_statement(self.prepared(statement).await?);
            values.push(bound.into_iter().map(to_cql).collect::<Vec<CqlValue>>());
        }
        rows(self.session.batch(&batch, values).await.map_err(failed)?)
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        let mut prepared = self.prepared(statement).await?;
        prepared.set_page_size(i32::try_from(size).unwrap_or(i32::MAX).max(1));
        let values: Vec<CqlValue> = values.into_iter().map(to_cql).collect();
        let from =
            from.map_or_else(PagingState::start, |PageState(bytes)| PagingState::new_from_raw_bytes(bytes));
        let (result, next) =
            self.session.execute_single_page(&prepared, values, from).await.map_err(failed)?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => {
                state.as_bytes_slice().map(|bytes| PageState(bytes.to_vec()))
            }
            PagingStateResponse::NoMorePages => None,
        };
        Ok(Page { rows: rows(result)?, next })
    }
}

fn rows(result: QueryResult) -> Result<Vec<Row>, CqlError> {
    if !result.is_rows() {
        return Ok(Vec::new());
    }
    let result = result.into_rows_result().map_err(|error| CqlError::Invalid(error.into()))?;
    let columns: Arc<[String]> =
        result.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let found = result.rows::<CqlRow>().map_err(|error| CqlError::Invalid(error.into()))?;
    found
        .map(|row| {
            let row = row.map_err(|error| CqlError::Invalid(error.into()))?;
            let values = row.columns.into_iter().map(|value| value.map(from_cql).transpose());
            Ok(Row { columns: Arc::clone(&columns), values: values.collect::<Result<_, _>>()? })
        })
        .collect()
}

fn to_cql(value: Value) -> CqlValue {
    match value {
        Value::Text(text) => CqlValue::Text(text),
        Value::Blob(bytes) => CqlValue::Blob(bytes),
        Value::Uuid(id) => CqlValue::Uuid(id),
        Value::Bool(value) => CqlValue::Boolean(value),
        Value::TinyInt(n) => CqlValue::TinyInt(n),
        Value::Int(n) => CqlValue::Int(n),
        Value::BigInt(n) => CqlValue::BigInt(n),
        Value::List(items) => CqlValue::List(items.into_iter().map(to_cql).collect()),
        Value::Set(items) => CqlValue::Set(items.into_iter().map(to_cql).collect()),
    }
}

fn from_cql(value: CqlValue) -> Result<Value, CqlError> {
    let all = |items: Vec<CqlValue>| items.into_iter().map(from_cql).collect::<Result<Vec<_>, _>>();
    Ok(match value {
        CqlValue::Text(text) | CqlValue::Ascii(text) => Value::Text(text),
        CqlValue::Blob(bytes) => Value::Blob(bytes),
        CqlValue::Uuid(id) => Value::Uuid(id),
        CqlValue::Boolean(value) => Value::Bool(value),
        CqlValue::TinyInt(n) => Value::TinyInt(n),
        CqlValue::Int(n) => Value::Int(n),
        CqlValue::BigInt(n) => Value::BigInt(n),
        CqlValue::List(items) => Value::List(all(items)?),
        CqlValue::Set(items) => Value::Set(all(items)?),
        other => {
            return Err(CqlError::Invalid(format!("a column of a type that is not read: {other:?}").into()));
        }
    })
}

/// Nothing is executed by preparing.
fn prepare_failed(error: PrepareError) -> CqlError {
    match &error {
        PrepareError::AllAttemptsFailed { first_attempt: RequestAttemptError::DbError(db, _) }
            if refused(db) =>
        {
            CqlError::Invalid(error.into())
        }
        _ => CqlError::Unavailable(error.into()),
    }
}

/// What an error says about whether a write happened.
fn failed(error: ExecutionError) -> CqlError {
    match &error {
        ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::PrepareError(_)
        | ExecutionError::UseKeyspaceError(_) => CqlError::Unavailable(error.into()),
        ExecutionError::BadQuery(_) => CqlError::Invalid(error.into()),
        ExecutionError::LastAttemptError(attempt) => match attempt {
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
                CqlError::Invalid(error.into())
            }
            RequestAttemptError::UnableToAllocStreamId => CqlError::Overloaded(error.into()),
            RequestAttemptError::DbError(DbError::Overloaded, _) => CqlError::Overloaded(error.into()),
            RequestAttemptError::DbError(DbError::Unavailable { .. } | DbError::IsBootstrapping, _) => {
                CqlError::Unavailable(error.into())
            }
            RequestAttemptError::DbError(db, _) if refused(db) => CqlError::Invalid(error.into()),
            // Timeouts, failures of replicas, connections that broke: it may have happened.
            _ => CqlError::Timeout(error.into()),
        },
        _ => CqlError::Timeout(error.into()),
    }
}

/// Whether the server understood and said no.
fn refused(error: &DbError) -> bool {
    matches!(
        error,
        DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::AuthenticationError
    )
}
