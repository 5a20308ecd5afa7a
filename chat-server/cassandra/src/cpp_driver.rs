//! [`Cql`] over the Apache C++ driver, behind the Cargo feature `cassandra-cpp`.
//!
//! For those who standardise on that driver. It needs `libcassandra` at build time and at run time.
#![expect(clippy::result_large_err, reason = "the driver's own error, passed on at once")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use cassandra_cpp::{
    BatchType, CassCollection as _, CassErrorCode, CassResult, Cluster, Consistency, Error, ErrorKind,
    LendingIterator as _, List, PreparedStatement, RetryPolicy, Session, Set, Ssl, ValueType,
};
use parking_lot::RwLock;

use super::{
    connect::ConnectError,
    cql::{Access, Cql, CqlError, Page, PageState, Row, Statement, Value},
    options::{CassandraOptions, Credentials},
};

/// How often a silent connection is asked whether it lives, and after which silence it does not.
const HEARTBEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);

/// A session of the C++ driver.
pub struct CppCql {
    session: Session,
    prepared: RwLock<HashMap<&'static str, PreparedStatement>>,
}

impl CppCql {
    /// Connects, to the options' keyspace when they name one.
    ///
    /// # Errors
    /// When no node can be reached, or none lets us in.
    pub async fn connect(options: &CassandraOptions) -> Result<Self, ConnectError> {
        // What the driver has to say about single connections is not for a person; its errors come back to us.
        cassandra_cpp::set_level(cassandra_cpp::LogLevel::CRITICAL);
        let mut cluster = configure(options)?;
        let connecting = async {
            match &options.keyspace {
                Some(keyspace) => cluster.connect_keyspace(keyspace).await,
                None => cluster.connect().await,
            }
        };
        let unreachable =
            |source| ConnectError::Unreachable { contact_points: options.contact_points.clone(), source };
        match tokio::time::timeout(options.slow_timeout, connecting).await {
            Ok(Ok(session)) => Ok(Self { session, prepared: RwLock::default() }),
            Ok(Err(error)) if code(&error) == Some(CassErrorCode::LIB_UNABLE_TO_SET_KEYSPACE) => {
                Err(ConnectError::NoKeyspace(options.keyspace.clone().unwrap_or_default(), boxed(&error)))
            }
            Ok(Err(error)) => Err(unreachable(boxed(&error))),
            Err(late) => Err(unreachable(late.into())),
        }
    }

    async fn bound(
        &self,
        statement: Statement,
        values: &[Value],
    ) -> Result<cassandra_cpp::Statement, CqlError> {
        self.prepare(statement).await?;
        let mut bound = match self.prepared.read().get(statement.cql) {
            Some(prepared) => prepared.bind(),
            None => return Err(CqlError::Invalid("the statement was just prepared and is gone".into())),
        };
        bind(&mut bound, values).map_err(|error| CqlError::Invalid(boxed(&error)))?;
        let consistency = match statement.access {
            Access::Read | Access::Write | Access::Conditional => Consistency::LOCAL_QUORUM,
            Access::SerialRead => Consistency::LOCAL_SERIAL,
        };
        let mut set = || {
            bound.set_consistency(consistency)?;
            if statement.access == Access::Conditional {
                bound.set_serial_consistency(Consistency::LOCAL_SERIAL)?;
            }
            Ok::<(), Error>(())
        };
        set().map_err(|error| CqlError::Invalid(boxed(&error)))?;
        Ok(bound)
    }
}

#[async_trait]
impl Cql for CppCql {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        // The driver waits for the nodes to agree before it answers.
        self.session.execute(cql).await.map(drop).map_err(|error| failed(&error, Access::Write))
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        if self.prepared.read().contains_key(statement.cql) {
            return Ok(());
        }
        let prepared = self.session.prepare(statement.cql).await.map_err(|error| {
            match failed(&error, Access::Read) {
                // Nothing is executed by preparing.
                CqlError::Timeout(source) => CqlError::Unavailable(source),
                other => other,
            }
        })?;
        self.prepared.write().insert(statement.cql, prepared);
        Ok(())
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.page(statement, values.clone(), 5_000, from).await?;
            rows.extend(page.rows);
            from = page.next;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        let conditional = statements.iter().any(|(statement, _)| statement.access == Access::Conditional);
        let access = if conditional { Access::Conditional } else { Access::Write };
        let mut bound = Vec::with_capacity(statements.len());
        for (statement, values) in &statements {
            bound.push(self.bound(*statement, values).await?);
        }
        let mut batch = self.session.batch(BatchType::UNLOGGED);
        let fill = || {
            for statement in bound {
                batch.add_statement(statement)?;
            }
            batch.set_consistency(Consistency::LOCAL_QUORUM)?;
            batch.set_serial_consistency(Consistency::LOCAL_SERIAL)?;
            Ok::<(), Error>(())
        };
        fill().map_err(|error| CqlError::Invalid(boxed(&error)))?;
        let result = batch.execute().await.map_err(|error| failed(&error, access))?;
        rows(&result).map_err(|error| CqlError::Invalid(boxed(&error)))
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        let mut bound = self.bound(statement, &values).await?;
        let mut set = || {
            bound.set_paging_size(i32::try_from(size).unwrap_or(i32::MAX))?;
            if let Some(PageState(state)) = &from {
                bound.set_paging_state_token(state)?;
            }
            Ok::<(), Error>(())
        };
        set().map_err(|error| CqlError::Invalid(boxed(&error)))?;
        let result = bound.execute().await.map_err(|error| failed(&error, statement.access))?;
        let read = || {
            let next = if result.has_more_pages() { result.paging_state_token()? } else { None };
            Ok::<Page, Error>(Page { rows: rows(&result)?, next: next.map(PageState) })
        };
        read().map_err(|error| CqlError::Invalid(boxed(&error)))
    }
}

fn configure(options: &CassandraOptions) -> Result<Cluster, ConnectError> {
    let authorities = options.ca_file.as_ref().map(|file| {
        std::fs::read_to_string(file)
            .map_err(|source| ConnectError::Authorities { file: file.clone(), source: source.into() })
    });
    let authorities = authorities.transpose()?;
    let mut cluster = Cluster::default();
    let mut configure = || {
        let (hosts, port) = hosts_and_port(&options.contact_points);
        cluster.set_contact_points(&hosts)?;
        cluster.set_port(port)?;
        cluster.set_load_balance_dc_aware::<()>(&options.local_datacenter, 0, false)?;
        cluster.set_token_aware_routing(true);
        cluster.set_request_timeout(options.request_timeout);
        cluster.set_connect_timeout(options.request_timeout);
        // A node that hangs is left alone until it answers again.
        cluster.set_connection_heartbeat_interval(HEARTBEAT);
        cluster.set_connection_idle_timeout(SILENCE);
        // Only the store knows what may be repeated.
        cluster.set_retry_policy(RetryPolicy::fallthrough_new());
        if let Some(Credentials { user, password }) = &options.credentials {
            cluster.set_credentials(user, password)?;
        }
        if let Some(pem) = &authorities {
            let mut tls = Ssl::default();
            tls.add_trusted_cert(pem)?;
            cluster.set_ssl(tls);
        }
        Ok::<(), Error>(())
    };
    configure().map_err(|error| ConnectError::Options(boxed(&error)))?;
    Ok(cluster)
}

/// The driver takes one port for all; nodes announce the others' addresses.
fn hosts_and_port(contact_points: &[String]) -> (String, u16) {
    let mut port = 9042;
    let mut hosts = Vec::new();
    for point in contact_points {
        match point.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, given)) => {
                port = given;
                hosts.push(host);
            }
            None => hosts.push(point),
        }
    }
    (hosts.join(","), port)
}

fn bind(statement: &mut cassandra_cpp::Statement, values: &[Value]) -> Result<(), Error> {
    for (at, value) in values.iter().enumerate() {
        match value {
            Value::Text(text) => statement.bind_string(at, text)?,
            Value::Blob(bytes) => statement.bind_bytes(at, bytes.clone())?,
            Value::Uuid(id) => statement.bind_uuid(at, (*id).into())?,
            Value::Bool(value) => statement.bind_bool(at, *value)?,
            Value::TinyInt(n) => statement.bind_int8(at, *n)?,
            Value::Int(n) => statement.bind_int32(at, *n)?,
            Value::BigInt(n) => statement.bind_int64(at, *n)?,
            Value::List(items) => statement.bind_list(at, list(items)?)?,
            Value::Set(items) => statement.bind_set(at, set(items)?)?,
        };
    }
    Ok(())
}

/// Appends to a collection; both kinds have the same methods and no common trait for them.
macro_rules! append_all {
    ($collection:ident, $items:expr) => {
        for item in $items {
            match item {
                Value::Text(text) => $collection.append_string(text)?,
                Value::Blob(bytes) => $collection.append_bytes(bytes.clone())?,
                Value::Uuid(id) => $collection.append_uuid((*id).into())?,
                Value::Bool(value) => $collection.append_bool(*value)?,
                Value::TinyInt(n) => $collection.append_int8(*n)?,
                Value::Int(n) => $collection.append_int32(*n)?,
                Value::BigInt(n) => $collection.append_int64(*n)?,
                Value::List(_) | Value::Set(_) => {
                    return Err("a collection in a collection is not bound".into());
                }
            };
        }
    };
}

fn list(items: &[Value]) -> Result<List, Error> {
    let mut list = List::with_capacity(items.len());
    append_all!(list, items);
    Ok(list)
}

fn set(items: &[Value]) -> Result<Set, Error> {
    let mut set = Set::with_capacity(items.len());
    append_all!(set, items);
    Ok(set)
}

fn rows(result: &CassResult) -> Result<Vec<Row>, Error> {
    let columns = usize::try_from(result.column_count()).unwrap_or(0);
    let names: Vec<String> =
        (0..columns).map(|at| result.column_name(at).map(str::to_owned)).collect::<Result<_, _>>()?;
    let names: Arc<[String]> = names.into();
    let mut rows = Vec::with_capacity(usize::try_from(result.row_count()).unwrap_or(0));
    let mut iterator = result.iter();
    while let Some(row) = iterator.next() {
        let values = (0..columns).map(|at| value(&row.get_column(at)?)).collect::<Result<_, Error>>()?;
        rows.push(Row { columns: Arc::clone(&names), values });
    }
    Ok(rows)
}

fn value(value_: &cassandra_cpp::Value<'_>) -> Result<Option<Value>, Error> {
    if value_.is_null() {
        return Ok(None);
    }
    Ok(Some(match value_.get_type() {
        ValueType::TEXT | ValueType::VARCHAR | ValueType::ASCII => Value::Text(value_.get_string()?),
        ValueType::BLOB => Value::Blob(value_.get_bytes()?.to_vec()),
        ValueType::UUID | ValueType::TIMEUUID => Value::Uuid(value_.get_uuid()?.into()),
        ValueType::BOOLEAN => Value::Bool(value_.get_bool()?),
        ValueType::TINY_INT => Value::TinyInt(value_.get_i8()?),
        ValueType::INT => Value::Int(value_.get_i32()?),
        ValueType::BIGINT | ValueType::COUNTER | ValueType::TIMESTAMP => Value::BigInt(value_.get_i64()?),
        kind @ (ValueType::LIST | ValueType::SET) => {
            let mut items = Vec::new();
            let mut iterator = value_.get_set()?;
            while let Some(item) = iterator.next() {
                items.extend(value(&item)?);
            }
            if kind == ValueType::LIST { Value::List(items) } else { Value::Set(items) }
        }
        other => return Err(format!("a column of type {other} is not read").into()),
    }))
}

fn code(error: &Error) -> Option<CassErrorCode> {
    match error.kind() {
        ErrorKind::CassError(code, _) => Some(*code),
        ErrorKind::CassErrorResult(code, ..) => Some(*code),
        _ => None,
    }
}

/// What an error says about whether a write happened. Why a conditional one may have, although too few replicas or too
/// much load are reported, is explained where the other driver's errors are read (`scylla_driver/outcome.rs`).
fn failed(error: &Error, access: Access) -> CqlError {
    let source = boxed(error);
    let Some(code) = code(error) else { return CqlError::Invalid(source) };
    let begun = match error.kind() {
        _ if access != Access::Conditional => false,
        ErrorKind::CassErrorResult(CassErrorCode::SERVER_UNAVAILABLE, _, consistency, ..) => {
            !matches!(consistency, Consistency::LOCAL_SERIAL | Consistency::SERIAL)
        }
        ErrorKind::CassErrorResult(CassErrorCode::SERVER_OVERLOADED, message, ..)
        | ErrorKind::CassError(CassErrorCode::SERVER_OVERLOADED, message) => {
            message.contains("Too many in flight hints")
        }
        // Without the consistency nobody can know.
        ErrorKind::CassError(CassErrorCode::SERVER_UNAVAILABLE, _) => true,
        _ => false,
    };
    if begun {
        return CqlError::Timeout(source);
    }
    match code {
        CassErrorCode::SERVER_OVERLOADED
        | CassErrorCode::LIB_REQUEST_QUEUE_FULL
        | CassErrorCode::LIB_NO_STREAMS => CqlError::Overloaded(source),
        CassErrorCode::SERVER_UNAVAILABLE
        | CassErrorCode::SERVER_IS_BOOTSTRAPPING
        | CassErrorCode::LIB_NO_HOSTS_AVAILABLE
        | CassErrorCode::LIB_UNABLE_TO_CONNECT
        | CassErrorCode::SERVER_BAD_CREDENTIALS => CqlError::Unavailable(source),
        CassErrorCode::SERVER_SYNTAX_ERROR
        | CassErrorCode::SERVER_INVALID_QUERY
        | CassErrorCode::SERVER_CONFIG_ERROR
        | CassErrorCode::SERVER_UNAUTHORIZED
        | CassErrorCode::SERVER_ALREADY_EXISTS
        | CassErrorCode::LIB_INVALID_VALUE_TYPE
        | CassErrorCode::LIB_INDEX_OUT_OF_BOUNDS
        | CassErrorCode::LIB_PARAMETER_UNSET => CqlError::Invalid(source),
        // Timeouts, failures of replicas, connections that broke: it may have happened.
        _ => CqlError::Timeout(source),
    }
}

fn boxed(error: &Error) -> Box<dyn std::error::Error + Send + Sync> {
    error.to_string().into()
}
