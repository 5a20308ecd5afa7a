//! How rows and the contract's types become each other.

use chat_log::fold;
use chat_protocol::{ChannelId, ChannelKind, ClientId, Seq, UserId, rest::Message};
use uuid::Uuid;

use super::{
    super::cql::{Row, Value},
    error::LogError,
};
use crate::store::{Counts, StoredEvent};

/// A position as the key of its row: as bytes, positions sort as numbers.
pub(super) fn seq_key(seq: Seq) -> Value {
    Value::Blob(seq.to_be_bytes().to_vec())
}

/// Cassandra's integers are signed. Nothing real is beyond their range; [`Seq::MAX`] means "the end".
pub(super) fn big(value: u64) -> Value {
    Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// For `LIMIT`.
pub(super) fn limit(value: usize) -> Value {
    Value::Int(i32::try_from(value).unwrap_or(i32::MAX))
}

pub(super) fn channel_value(channel: ChannelId) -> Value {
    Value::Uuid(channel.0)
}

/// A column that is always there.
pub(super) fn number(row: &Row, column: &str) -> Result<u64, LogError> {
    opt_number(row, column)?.ok_or_else(|| missing(column))
}

pub(super) fn opt_number(row: &Row, column: &str) -> Result<Option<u64>, LogError> {
    row.bigint(column)
        .map(|n| {
            u64::try_from(n).map_err(|_| LogError::Damaged(format!("{column} to be 0 or more, found {n}")))
        })
        .transpose()
}

pub(super) fn uuid(row: &Row, column: &str) -> Result<Uuid, LogError> {
    row.uuid(column).ok_or_else(|| missing(column))
}

pub(super) fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, LogError> {
    row.text(column).ok_or_else(|| missing(column))
}

pub(super) fn missing(column: &str) -> LogError {
    LogError::Damaged(format!("a row with {column}"))
}

pub(super) const fn kind_number(kind: ChannelKind) -> i8 {
    match kind {
        ChannelKind::Public => 0,
        ChannelKind::Private => 1,
        ChannelKind::Direct => 2,
        ChannelKind::Group => 3,
    }
}

pub(super) fn kind(number: i8) -> Result<ChannelKind, LogError> {
    Ok(match number {
        0 => ChannelKind::Public,
        1 => ChannelKind::Private,
        2 => ChannelKind::Direct,
        3 => ChannelKind::Group,
        other => return Err(LogError::Damaged(format!("a known kind of channel, found {other}"))),
    })
}

pub(super) fn stored_event(channel: ChannelId, row: &Row) -> Result<StoredEvent, LogError> {
    Ok(StoredEvent {
        channel,
        seq: number(row, "seq")?,
        at: number(row, "at")?,
        by: UserId(uuid(row, "author")?),
        id: row.uuid("id").map(ClientId),
        body: text(row, "body")?.into(),
        counts: counts(row)?,
    })
}

/// What was counted up to an event; `None` for one of 0.1.0.
fn counts(row: &Row) -> Result<Option<Counts>, LogError> {
    let Some(n) = opt_number(row, "n")? else { return Ok(None) };
    Ok(Some(Counts { n, d: number(row, "d")?, m: number(row, "m")? }))
}

/// The message in a row as it reads now; `None` for other kinds of events.
pub(super) fn message(channel: ChannelId, row: &Row) -> Result<Option<Message>, LogError> {
    let edit = opt_number(row, "edited_at")?
        .map(|at| fold::Edit { at, text: row.text("edited_text").unwrap_or_default().to_owned() });
    Ok(fold::message(stored_event(channel, row)?.parsed()?, edit))
}
