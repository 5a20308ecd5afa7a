//! Edits and deletions reach the rows of the events that they are about.
//!
//! These rows are written conditionally like everything in their table, each write on what was just read, so that
//! doing it twice, or out of order, ends the same.

use chat_protocol::{ChannelId, EventBody, Millis, Seq};

use super::{
    Log,
    codec::{big, channel_value, opt_number, seq_key, text},
    error::LogError,
    statements as cql,
};
use crate::cql::{Row, Statement, Value};

/// Rounds against others who write to the same row at the same time.
const ROUNDS: usize = 16;

/// What has become of an event.
struct Fate {
    body: EventBody,
    /// Its newest edit.
    edited: Option<Seq>,
    edits: Vec<Seq>,
    deleted: bool,
}

impl Log {
    /// A message has a new text, unless it has a newer one.
    pub(super) async fn edit(
        &self,
        channel: ChannelId,
        target: Seq,
        edit: Seq,
        at: Millis,
        new_text: &str,
    ) -> Result<(), LogError> {
        for _ in 0..ROUNDS {
            let Some(fate) = self.fate(channel, target).await? else { return Ok(()) };
            if fate.deleted {
                // The deletion did not know of this edit.
                return self.scrub(channel, edit).await;
            }
            if fate.edits.contains(&edit) {
                return Ok(());
            }
            let one = Value::Set(vec![big(edit)]);
            let text = vec![big(edit), big(at), Value::Text(new_text.to_owned()), one.clone()];
            let applied = match fate.edited {
                None => self.change(channel, target, cql::FIRST_EDIT, text, vec![]).await?,
                Some(newest) if newest < edit => {
                    self.change(channel, target, cql::NEXT_EDIT, text, vec![big(newest)]).await?
                }
                Some(_) => self.change(channel, target, cql::OLD_EDIT, vec![one], vec![]).await?,
            };
            if applied {
                return Ok(());
            }
        }
        Err(LogError::Late)
    }

    /// The texts of a message and of its edits leave the log.
    pub(super) async fn delete(&self, channel: ChannelId, target: Seq) -> Result<(), LogError> {
        self.scrub(channel, target).await?;
        // From here on, edits that come late scrub themselves.
        for edit in self.fate(channel, target).await?.map_or(Vec::new(), |fate| fate.edits) {
            self.scrub(channel, edit).await?;
        }
        Ok(())
    }

    async fn scrub(&self, channel: ChannelId, seq: Seq) -> Result<(), LogError> {
        for _ in 0..ROUNDS {
            let Some(fate) = self.fate(channel, seq).await?.filter(|fate| !fate.deleted) else {
                return Ok(());
            };
            let Some(body) = chat_log::scrub(&fate.body) else { return Ok(()) };
            let body = vec![Value::Text(serde_json::to_string(&body)?)];
            let applied = match fate.edited {
                None => self.change(channel, seq, cql::SCRUB, body, vec![]).await?,
                Some(edit) => self.change(channel, seq, cql::SCRUB_EDITED, body, vec![big(edit)]).await?,
            };
            if applied {
                return Ok(());
            }
        }
        Err(LogError::Late)
    }

    async fn fate(&self, channel: ChannelId, seq: Seq) -> Result<Option<Fate>, LogError> {
        let bucket = Value::Int(self.buckets.of(seq));
        let rows = self.cql.execute(cql::FATE, vec![channel_value(channel), bucket, seq_key(seq)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let edits = match row.get("edits") {
            Some(Value::Set(edits)) => edits.iter().filter_map(as_seq).collect(),
            _ => Vec::new(),
        };
        Ok(Some(Fate {
            body: serde_json::from_str(text(row, "body")?)?,
            edited: opt_number(row, "edited")?,
            edits,
            deleted: row.boolean("deleted").unwrap_or(false),
        }))
    }

    /// Runs a conditional write on the row of an event; false when it was not applied.
    async fn change(
        &self,
        channel: ChannelId,
        seq: Seq,
        statement: Statement,
        set: Vec<Value>,
        expected: Vec<Value>,
    ) -> Result<bool, LogError> {
        let bucket = Value::Int(self.buckets.of(seq));
        let mut values = set;
        values.extend([channel_value(channel), bucket, seq_key(seq), big(seq)]);
        values.extend(expected);
        Ok(self.cql.execute(statement, values).await?.iter().any(Row::applied))
    }
}

fn as_seq(value: &Value) -> Option<Seq> {
    match value {
        Value::BigInt(n) => Seq::try_from(*n).ok(),
        _ => None,
    }
}
