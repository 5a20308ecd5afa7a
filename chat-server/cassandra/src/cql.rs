//! The narrow port through which the store speaks to Cassandra: prepare, execute, conditional batch, page.
//!
//! Drivers are behind it (`scylla`, and `cassandra-cpp` by a Cargo feature), and tests inject faults in front of it.
//! Statements are text without a keyspace: a session is bound to its keyspace.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

/// What a statement does, from which its consistency and whether it may be repeated follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A read at `LOCAL_QUORUM`. May be repeated.
    Read,
    /// A read at `LOCAL_SERIAL`: finishes or cancels a conditional write that is under way, so it sees the truth.
    /// May be repeated.
    SerialRead,
    /// A plain write at `LOCAL_QUORUM` that carries its own timestamp or whose last writer may win. May be repeated.
    Write,
    /// A write with `IF` at `LOCAL_QUORUM` and `LOCAL_SERIAL`. Never repeated by a driver: only the store knows how to
    /// settle its outcome.
    Conditional,
}

/// A statement, prepared when it is first used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statement {
    /// CQL with `?` for each value, without a keyspace.
    pub cql: &'static str,
    /// What it does.
    pub access: Access,
}

impl Statement {
    /// A statement of [`Access::Read`].
    #[must_use]
    pub const fn read(cql: &'static str) -> Self {
        Self { cql, access: Access::Read }
    }

    /// A statement of [`Access::SerialRead`].
    #[must_use]
    pub const fn serial_read(cql: &'static str) -> Self {
        Self { cql, access: Access::SerialRead }
    }

    /// A statement of [`Access::Write`].
    #[must_use]
    pub const fn write(cql: &'static str) -> Self {
        Self { cql, access: Access::Write }
    }

    /// A statement of [`Access::Conditional`].
    #[must_use]
    pub const fn conditional(cql: &'static str) -> Self {
        Self { cql, access: Access::Conditional }
    }
}

/// A value bound to a statement, or read from a row. There is no null on purpose: writing one leaves a tombstone, so a
/// column that has no value is not named in the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after CQL's types")]
pub enum Value {
    Text(String),
    Blob(Vec<u8>),
    Uuid(Uuid),
    Bool(bool),
    TinyInt(i8),
    Int(i32),
    BigInt(i64),
    /// `list<…>`, for `IN ?`.
    List(Vec<Self>),
    /// A `set` of any type.
    Set(Vec<Self>),
}

/// One row; columns in the order of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Names of the columns, shared by all rows of an answer.
    pub columns: Arc<[String]>,
    /// The columns' values, in the same order.
    pub values: Vec<Option<Value>>,
}

impl Row {
    /// The value of a column; `None` when the row has none or the answer has no such column (which a conditional
    /// write's may not).
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Value> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.values.get(at)?.as_ref()
    }

    /// The value of a `bigint` column; none when it is null.
    #[must_use]
    pub fn bigint(&self, column: &str) -> Option<i64> {
        match self.get(column) {
            Some(Value::BigInt(n)) => Some(*n),
            _ => None,
        }
    }

    /// The value of an `int` column; none when it is null.
    #[must_use]
    pub fn int(&self, column: &str) -> Option<i32> {
        match self.get(column) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// The value of a `tinyint` column; none when it is null.
    #[must_use]
    pub fn tinyint(&self, column: &str) -> Option<i8> {
        match self.get(column) {
            Some(Value::TinyInt(n)) => Some(*n),
            _ => None,
        }
    }

    /// The value of a `boolean` column; none when it is null.
    #[must_use]
    pub fn boolean(&self, column: &str) -> Option<bool> {
        match self.get(column) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// The value of a `uuid` column; none when it is null.
    #[must_use]
    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        match self.get(column) {
            Some(Value::Uuid(id)) => Some(*id),
            _ => None,
        }
    }

    /// The value of a `text` column; none when it is null.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a `blob` column; none when it is null.
    #[must_use]
    pub fn blob(&self, column: &str) -> Option<&[u8]> {
        match self.get(column) {
            Some(Value::Blob(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Of the answer to a conditional write: whether it was applied.
    #[must_use]
    pub fn applied(&self) -> bool {
        self.boolean("[applied]").unwrap_or(false)
    }
}

/// Where a page ended, as the server says it; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageState(pub Vec<u8>);

/// One page of rows.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most as many as were asked for.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<PageState>,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why Cassandra did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CqlError {
    /// It, or the queue to it, is full. Nothing was done.
    #[error("cassandra is overloaded")]
    Overloaded(#[source] Source),
    /// Too few replicas are up, or no node can be reached. Nothing was done.
    #[error("cassandra is unavailable")]
    Unavailable(#[source] Source),
    /// No answer in time, or the connection broke while waiting: a write may or may not have happened.
    #[error("cassandra did not answer in time")]
    Timeout(#[source] Source),
    /// A statement that it does not understand, or an answer that we do not. Nothing was done.
    #[error("cassandra refused the statement")]
    Invalid(#[source] Source),
}

/// A session with a cluster, bound to a keyspace. Every call has a deadline.
#[async_trait]
pub trait Cql: Send + Sync + 'static {
    /// Runs a statement that changes the schema, and waits until all nodes agree on it.
    async fn schema(&self, cql: &str) -> Result<(), CqlError>;

    /// Prepares a statement on all nodes, so that its first use does not wait for it.
    async fn prepare(&self, statement: Statement) -> Result<(), CqlError>;

    /// Runs a statement and gives all rows of its answer; for answers that are known to be small.
    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError>;

    /// Runs statements on one partition as one unlogged batch: all of them or none. When any has a condition, the whole
    /// batch is conditional, and the answer's rows say whether it was applied and, when not, what was found: the static
    /// columns and the rows that exist of those that the statements name.
    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError>;

    /// Runs a read and gives at most `size` rows of its answer, from where an earlier page ended.
    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError>;
}
