//! [`Cql`] over the pure-Rust `scylla` driver, which speaks CQL to Apache Cassandra as well.

mod outcome;
mod values;

use std::{collections::HashMap, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::RwLock;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use scylla::{
    client::{
        PoolSize, execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    errors::NewSessionError,
    policies::{load_balancing::DefaultPolicy, speculative_execution::SimpleSpeculativeExecutionPolicy},
    response::{PagingState, PagingStateResponse},
    statement::{
        Consistency, SerialConsistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
        unprepared,
    },
};

use self::{
    outcome::Again,
    values::{bound, rows},
};
use super::{
    connect::ConnectError,
    cql::{Access, Cql, CqlError, Page, PageState, Row, Statement, Value},
    options::{CassandraOptions, Credentials},
};

/// How long a read or repeatable write is waited for before another node is asked as well.
const SPECULATE_AFTER: Duration = Duration::from_millis(250);
/// A node that does not answer a ping within the one, sent every other, is taken off.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);
const PING_EVERY: Duration = Duration::from_millis(1_500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows a page of [`Cql::page`] can have at most.
const LARGEST_PAGE: usize = 10_000;

/// A session of the `scylla` driver.
pub struct ScyllaCql {
    session: Session,
    prepared: RwLock<HashMap<Statement, Arc<PreparedStatement>>>,
    request_timeout: Duration,
    slow_timeout: Duration,
}

impl ScyllaCql {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// When no contact point answers, or what was asked for is not there.
    pub async fn connect(options: CassandraOptions) -> Result<Self, ConnectError> {
        let CassandraOptions { contact_points, keyspace, local_datacenter, credentials, ca_file, .. } =
            options;
        let profile = ExecutionProfile::builder()
            .request_timeout(Some(options.request_timeout))
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .retry_policy(Arc::new(Again))
            .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: SPECULATE_AFTER,
            })))
            .load_balancing_policy(
                DefaultPolicy::builder()
                    .prefer_datacenter(local_datacenter.clone())
                    .token_aware(true)
                    .permit_dc_failover(false)
                    .build(),
            )
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .pool_size(PoolSize::PerHost(const { NonZeroUsize::new(2).expect("not zero") }))
            .connection_timeout(CONNECT_TIMEOUT)
            .keepalive_interval(PING_EVERY)
            .keepalive_timeout(PING_TIMEOUT)
            .schema_agreement_timeout(options.slow_timeout)
            .fetch_full_schema_metadata(false);
        if let Some(keyspace) = &keyspace {
            builder = builder.use_keyspace(keyspace, true).keyspaces_to_fetch([keyspace]);
        }
        if let Some(Credentials { user, password }) = credentials {
            builder = builder.user(user, password);
        }
        if let Some(file) = ca_file {
            builder = builder.tls_context(Some(tls(file)?));
        }
        let unreachable =
            |source| ConnectError::Unreachable { contact_points: contact_points.clone(), source };
        let session = match tokio::time::timeout(options.slow_timeout, builder.build()).await {
            Err(late) => return Err(unreachable(late.into())),
            Ok(Err(NewSessionError::UseKeyspaceError(source))) => {
                return Err(ConnectError::NoKeyspace(keyspace.unwrap_or_default(), source.into()));
            }
            Ok(Err(source)) => return Err(unreachable(source.into())),
            Ok(Ok(session)) => session,
        };
        let state = session.get_cluster_state();
        let mut found: Vec<_> =
            state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
        if !found.contains(&local_datacenter) {
            found.sort();
            found.dedup();
            return Err(ConnectError::NoDatacenter { expected: local_datacenter, found });
        }
        Ok(Self {
            session,
            prepared: RwLock::default(),
            request_timeout: options.request_timeout,
            slow_timeout: options.slow_timeout,
        })
    }

    async fn prepared(&self, statement: Statement) -> Result<Arc<PreparedStatement>, CqlError> {
        if let Some(prepared) = self.prepared.read().get(&statement) {
            return Ok(Arc::clone(prepared));
        }
        // Preparing waits for all nodes, one that hangs included. Nothing was executed when it fails.
        let mut prepared = tokio::time::timeout(self.request_timeout, self.session.prepare(statement.cql))
            .await
            .map_err(|late| CqlError::Unavailable(late.into()))?
            .map_err(outcome::of_preparing)?;
        let repeatable = statement.access != Access::Conditional;
        prepared.set_is_idempotent(repeatable);
        prepared.set_consistency(match statement.access {
            Access::SerialRead => Consistency::LocalSerial,
            Access::Read | Access::Write | Access::Conditional => Consistency::LocalQuorum,
        });
        let prepared = Arc::new(prepared);
        self.prepared.write().insert(statement, Arc::clone(&prepared));
        Ok(prepared)
    }
}

#[async_trait]
impl Cql for ScyllaCql {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        let mut statement = unprepared::Statement::new(cql);
        statement.set_request_timeout(Some(self.slow_timeout));
        let wait = self.slow_timeout * 2;
        match tokio::time::timeout(wait, self.session.query_unpaged(statement, ())).await {
            Err(late) => Err(CqlError::Timeout(late.into())),
            Ok(done) => done.map(drop).map_err(|error| outcome::of(error, Access::Conditional)),
        }
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.prepared(statement).await.map(drop)
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        let prepared = self.prepared(statement).await?;
        let answer = self
            .session
            .execute_unpaged(&prepared, bound(values))
            .await
            .map_err(|error| outcome::of(error, statement.access))?;
        rows(answer)
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        let mut values = Vec::with_capacity(statements.len());
        let mut access = Access::Write;
        for (statement, with) in statements {
            if statement.access == Access::Conditional {
                access = Access::Conditional;
            }
            batch.append_statement(PreparedStatement::clone(&*self.prepared(statement).await?));
            values.push(bound(with));
        }
        batch.set_consistency(Consistency::LocalQuorum);
        batch.set_is_idempotent(access != Access::Conditional);
        let answer = self.session.batch(&batch, values).await.map_err(|error| outcome::of(error, access))?;
        rows(answer)
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        let mut prepared = PreparedStatement::clone(&*self.prepared(statement).await?);
        let size = size.clamp(1, LARGEST_PAGE);
        prepared.set_page_size(i32::try_from(size).expect("a page's size is bounded"));
        let from = from.map_or_else(PagingState::start, |state| PagingState::new_from_raw_bytes(state.0));
        let (answer, next) = self
            .session
            .execute_single_page(&prepared, bound(values), from)
            .await
            .map_err(|error| outcome::of(error, statement.access))?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => {
                state.as_bytes_slice().map(|bytes| PageState(bytes.to_vec()))
            }
            PagingStateResponse::NoMorePages => None,
        };
        Ok(Page { rows: rows(answer)?, next })
    }
}

/// Nodes are known by their addresses, so these are what their certificates must name.
fn tls(file: PathBuf) -> Result<Arc<rustls::ClientConfig>, ConnectError> {
    let authorities = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&file)? {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err("no certificate in it".into());
        }
        // More than one provider is compiled in, so none is the default.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    };
    match authorities() {
        Ok(config) => Ok(Arc::new(config)),
        Err(source) => Err(ConnectError::Authorities { file, source }),
    }
}
