//! [`Value`]s to and from the driver's.

use std::sync::Arc;

use scylla::{
    response::query_result::QueryResult,
    value::{self, CqlValue},
};

use crate::cql::{CqlError, Row, Value};

pub(super) fn bound(values: Vec<Value>) -> Vec<CqlValue> {
    values.into_iter().map(into_driver).collect()
}

fn into_driver(value: Value) -> CqlValue {
    match value {
        Value::Text(text) => CqlValue::Text(text),
        Value::Blob(bytes) => CqlValue::Blob(bytes),
        Value::Uuid(id) => CqlValue::Uuid(id),
        Value::Bool(flag) => CqlValue::Boolean(flag),
        Value::TinyInt(n) => CqlValue::TinyInt(n),
        Value::Int(n) => CqlValue::Int(n),
        Value::BigInt(n) => CqlValue::BigInt(n),
        Value::List(items) => CqlValue::List(bound(items)),
        Value::Set(items) => CqlValue::Set(bound(items)),
    }
}

/// The rows of an answer; none when it is of a kind that has no rows.
pub(super) fn rows(answer: QueryResult) -> Result<Vec<Row>, CqlError> {
    if !answer.is_rows() {
        return Ok(Vec::new());
    }
    let answer = answer.into_rows_result().map_err(invalid)?;
    let columns: Arc<[String]> =
        answer.column_specs().iter().map(|column| column.name().to_owned()).collect();
    answer
        .rows::<value::Row>()
        .map_err(invalid)?
        .map(|row| {
            let values = row.map_err(invalid)?.columns.into_iter();
            let values = values.map(|value| value.map(from_driver).transpose()).collect::<Result<_, _>>()?;
            Ok(Row { columns: Arc::clone(&columns), values })
        })
        .collect()
}

fn from_driver(value: CqlValue) -> Result<Value, CqlError> {
    Ok(match value {
        CqlValue::Text(text) | CqlValue::Ascii(text) => Value::Text(text),
        CqlValue::Blob(bytes) => Value::Blob(bytes),
        CqlValue::Uuid(id) => Value::Uuid(id),
        CqlValue::Timeuuid(id) => Value::Uuid(id.into()),
        CqlValue::Boolean(flag) => Value::Bool(flag),
        CqlValue::TinyInt(n) => Value::TinyInt(n),
        CqlValue::Int(n) => Value::Int(n),
        CqlValue::BigInt(n) => Value::BigInt(n),
        CqlValue::List(items) => Value::List(each(items)?),
        CqlValue::Set(items) => Value::Set(each(items)?),
        other => return Err(CqlError::Invalid(format!("unsupported type of a column: {other:?}").into())),
    })
}

fn each(items: Vec<CqlValue>) -> Result<Vec<Value>, CqlError> {
    items.into_iter().map(from_driver).collect()
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> CqlError {
    CqlError::Invalid(error.into())
}
