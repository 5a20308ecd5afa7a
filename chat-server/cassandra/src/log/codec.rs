//! How rows and the contract's types become each other.

use chat_domain::store::{Counts, StoredEvent, numbers};
use chat_log::fold;
use chat_protocol::{ChannelId, ChannelKind, ClientId, Seq, UserId, rest::Message};

pub(super) use super::super::columns::{Damaged, big, limit, missing, number, opt_number, text, uuid};
use super::{
    super::cql::{Row, Value},
    error::LogError,
};
pub(super) use chat_domain::store::numbers::kind_number;

/// A position as the key of its row: as bytes, positions sort as numbers.
pub(super) fn seq_key(seq: Seq) -> Value {
    Value::Blob(seq.to_be_bytes().to_vec())
}

pub(super) fn channel_value(channel: ChannelId) -> Value {
    Value::Uuid(channel.0)
}

pub(super) fn kind(number: i8) -> Result<ChannelKind, LogError> {
    numbers::kind(number.into())
        .ok_or_else(|| Damaged(format!("a known kind of channel, found {number}")).into())
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

/// Numbers that are written and read together, in one column: each as eight bytes, big-endian. A column costs more than they
/// do, at each of the three nodes, and twice in a conditional write.
pub(super) fn packed<const N: usize>(numbers: [u64; N]) -> Value {
    Value::Blob(numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
}

/// The numbers of such a column; `None` when it is null.
pub(super) fn unpacked<const N: usize>(row: &Row, column: &str) -> Result<Option<[u64; N]>, LogError> {
    let Some(bytes) = row.blob(column) else { return Ok(None) };
    let (numbers, rest) = bytes.as_chunks::<8>();
    match <[[u8; 8]; N]>::try_from(numbers) {
        Ok(numbers) if rest.is_empty() => Ok(Some(numbers.map(u64::from_be_bytes))),
        _ => Err(Damaged(format!("{column} to hold {N} numbers, found {} bytes", bytes.len())).into()),
    }
}

/// What was counted up to an event; `None` for one of 0.1.0.
fn counts(row: &Row) -> Result<Option<Counts>, LogError> {
    Ok(unpacked(row, "counts")?.map(|[n, d, m]| Counts { n, d, m }))
}

/// The message in a row as it reads now; `None` for other kinds of events.
pub(super) fn message(channel: ChannelId, row: &Row) -> Result<Option<Message>, LogError> {
    let edit = opt_number(row, "edited_at")?
        .map(|at| fold::Edit { at, text: row.text("edited_text").unwrap_or_default().to_owned() });
    Ok(fold::message(stored_event(channel, row)?.parsed()?, edit))
}
