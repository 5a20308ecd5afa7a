//! Columns of rows, read and written.

use chat_domain::store::StoreError;
use uuid::Uuid;

use super::cql::{Row, Value};

/// Something stands in the tables that is never written.
#[derive(Debug, thiserror::Error)]
#[error("damaged table: expected {0}")]
pub(super) struct Damaged(pub(super) String);

impl From<Damaged> for StoreError {
    fn from(error: Damaged) -> Self {
        Self::Failed(error.into())
    }
}

/// Cassandra's integers are signed. Nothing real is beyond their range; [`chat_protocol::Seq::MAX`] means "the end".
pub(super) fn big(value: u64) -> Value {
    Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// For `LIMIT`, which must not be 0.
pub(super) fn limit(value: usize) -> Value {
    Value::Int(i32::try_from(value).unwrap_or(i32::MAX).max(1))
}

pub(super) fn opt_number(row: &Row, column: &str) -> Result<Option<u64>, Damaged> {
    row.bigint(column)
        .map(|n| u64::try_from(n).map_err(|_| Damaged(format!("{column} to be 0 or more, found {n}"))))
        .transpose()
}

/// A column that is always there.
pub(super) fn number(row: &Row, column: &str) -> Result<u64, Damaged> {
    opt_number(row, column)?.ok_or_else(|| missing(column))
}

pub(super) fn uuid(row: &Row, column: &str) -> Result<Uuid, Damaged> {
    row.uuid(column).ok_or_else(|| missing(column))
}

pub(super) fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, Damaged> {
    row.text(column).ok_or_else(|| missing(column))
}

pub(super) fn bytes<const N: usize>(row: &Row, column: &str) -> Result<[u8; N], Damaged> {
    row.blob(column)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Damaged(format!("{N} bytes in {column}")))
}

pub(super) fn missing(column: &str) -> Damaged {
    Damaged(format!("a row with {column}"))
}
