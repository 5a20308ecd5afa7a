//! The conditional batch: events, client ids and the new head, all of them or none.

use chat_protocol::{ChannelId, Millis, Seq};
use tokio::time::{Instant, timeout};

use super::{
    Log,
    call::Call,
    codec::{big, channel_value, number, packed, seq_key},
    error::LogError,
    ids::{Key, key_of},
    statements as cql,
    tail::{Statics, Tail},
};
use crate::cql::{CqlError, Row, Statement, Value};

/// Events with the positions that they are to have: consecutive, from the head on, within one bucket.
pub(super) type Placed = [(usize, Seq)];

/// What Cassandra says to a batch.
pub(super) enum Verdict {
    /// It is committed; the log ends here now.
    Applied(Tail),
    /// It is not. What was found instead: the bucket as it is, and which client ids are used already.
    Found { statics: Option<Statics>, used: Vec<(Key, Seq, Millis)> },
    /// Nobody knows yet.
    Unanswered(CqlError),
}

impl Log {
    /// Writes `placed` on top of `tail`.
    pub(super) async fn commit(
        &self,
        channel: ChannelId,
        tail: Tail,
        call: &Call,
        placed: &Placed,
    ) -> Result<Verdict, LogError> {
        let (statements, after) = self.statements(channel, tail, call, placed);
        let began = Instant::now();
        let batch = self.cql.batch(statements);
        let answer = timeout(self.batch_timeout.of(call.unanswered()), batch).await;
        self.batch_timeout.record(began.elapsed());
        let rows = match answer {
            Ok(Ok(rows)) => rows,
            Ok(Err(error @ CqlError::Timeout(_))) => return Ok(Verdict::Unanswered(error)),
            Ok(Err(error)) => return Err(error.into()),
            Err(late) => return Ok(Verdict::Unanswered(CqlError::Timeout(late.into()))),
        };
        if rows.iter().any(Row::applied) {
            return Ok(Verdict::Applied(after));
        }
        let mut found = None;
        let mut used = Vec::new();
        for row in &rows {
            found = Statics::read(row)?.or(found);
            if row.tinyint("kind") == Some(1) {
                used.push((key_of(row)?, number(row, "seq")?, number(row, "at")?));
            }
        }
        Ok(Verdict::Found { statics: found, used })
    }

    /// The batch, and where the log ends after it.
    fn statements(
        &self,
        channel: ChannelId,
        tail: Tail,
        call: &Call,
        placed: &Placed,
    ) -> (Vec<(Statement, Vec<Value>)>, Tail) {
        let bucket = Value::Int(self.buckets.next(tail.end.head));
        let partition = || [channel_value(channel), bucket.clone()];
        let ttl = Value::Int(i32::try_from(self.options.ids_kept().as_secs()).unwrap_or(i32::MAX));
        let after = placed.iter().fold(tail, |tail, &(index, _)| {
            let event = &call.items[index].event;
            tail.after(event.by, &event.body)
        });
        let mut statements = Vec::with_capacity(1 + 2 * placed.len());
        let head = after.end.head;
        let mut values = vec![big(head), big(after.changed), big(after.message)];
        values.push(after.counted());
        if self.buckets.opens(tail.end.head) {
            values.extend([big(tail.changed), big(tail.message)]);
            values.extend(partition());
            statements.push((cql::OPEN, values));
        } else {
            values.extend(partition());
            values.push(big(tail.end.head));
            statements.push((cql::ADVANCE, values));
        }
        let mut counts = tail.end.counts;
        for &(index, seq) in placed {
            let item = &call.items[index];
            counts = counts.after(&item.event.body);
            let mut values = partition().to_vec();
            let (at, by) = (big(item.event.at), Value::Uuid(item.event.by.0));
            values.extend([
                seq_key(seq),
                big(seq),
                at.clone(),
                by,
                Value::Text(item.event.body.json().to_string()),
            ]);
            values.push(packed([counts.n, counts.d, counts.m]));
            match item.event.id {
                Some(id) => {
                    values.push(Value::Uuid(id.0));
                    statements.push((cql::EVENT_WITH_ID, values));
                }
                None => statements.push((cql::EVENT, values)),
            }
            let mut values = partition().to_vec();
            values.extend([Value::Blob(item.key.to_vec()), big(seq), at, ttl.clone()]);
            statements.push((cql::USED, values));
        }
        (statements, after)
    }
}
