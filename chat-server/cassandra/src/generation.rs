//! [`GenerationStore`]: one row, written by conditions, so that all processes agree on it.

use async_trait::async_trait;
use chat_domain::store::{GenerationRow, GenerationStore, SigningKeyRow, StoreError};
use chat_protocol::{Generation, SessionId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, undone},
    cql::{Row, Statement, Value},
};

const RING: i8 = 0;
const READ_CQL: &str = "SELECT id, since FROM generations WHERE ring = ?";
const READ: Statement = Statement::read(READ_CQL);
/// What a conditional write would find.
const READ_SETTLED: Statement = Statement::serial_read(READ_CQL);
const FIRST: Statement =
    Statement::conditional("INSERT INTO generations (ring, id, since) VALUES (?, ?, ?) IF NOT EXISTS");
const NEXT: Statement =
    Statement::conditional("UPDATE generations SET id = ?, since = ? WHERE ring = ? IF id = ?");
const ALL_SESSIONS: Statement = Statement::read("SELECT id FROM sessions");
const END_SESSION: Statement = Statement::conditional("DELETE FROM sessions WHERE id = ? IF EXISTS");

/// Sessions of one page.
const PAGE: usize = 1_000;
/// Sessions that are ended at the same time.
const AT_ONCE: usize = 32;

#[async_trait]
impl GenerationStore for CassandraStore {
    async fn generation(&self) -> Result<GenerationRow, StoreError> {
        match self.row(READ, vec![Value::TinyInt(RING)]).await? {
            Some(row) => generation(&row),
            None => self.first_generation(GenerationRow { id: Generation::new(), since: 0 }).await,
        }
    }

    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError> {
        // The generation last: it is what running processes look at, and then read all the rest again.
        self.replace_ring(key).await?;
        let ended = self.end_all_sessions().await?;
        loop {
            let found = self.row(READ_SETTLED, vec![Value::TinyInt(RING)]).await?;
            let Some(before) = found.as_ref().map(generation).transpose()? else {
                if self.first_generation(next).await? == next {
                    return Ok(ended);
                }
                continue;
            };
            let values =
                vec![Value::Uuid(next.id.0), big(next.since), Value::TinyInt(RING), Value::Uuid(before.id.0)];
            let ours = |row: &Row| row.uuid("id") == Some(next.id.0);
            if before == next || matches!(self.decide(NEXT, values, ours).await?, Decided::Applied) {
                return Ok(ended);
            }
        }
    }

    fn forget(&self) {
        self.log.forget();
        self.has_users.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

impl CassandraStore {
    /// The first generation: this one, unless there is one already.
    async fn first_generation(&self, new: GenerationRow) -> Result<GenerationRow, StoreError> {
        let values = vec![Value::TinyInt(RING), Value::Uuid(new.id.0), big(new.since)];
        let ours = |row: &Row| row.uuid("id") == Some(new.id.0);
        match self.decide(FIRST, values, ours).await? {
            Decided::Applied => Ok(new),
            Decided::Refused(Some(found)) => generation(&found),
            Decided::Refused(None) => Err(codec::damaged("a refused insert to say what is there")),
        }
    }

    /// The only scan of a table; nothing waits for it but the command of somebody who has restored a backup.
    async fn end_all_sessions(&self) -> Result<u64, StoreError> {
        let (mut ended, mut from) = (0, None);
        loop {
            let page = self.cql.page(ALL_SESSIONS, Vec::new(), PAGE, from).await.map_err(undone)?;
            let ids: Vec<SessionId> = page
                .rows
                .iter()
                .map(|row| codec::uuid(row, "id").map(SessionId))
                .collect::<Result<_, _>>()?;
            ended += stream::iter(ids)
                .map(|id| self.end_session(id))
                .buffer_unordered(AT_ONCE)
                .try_fold(0, async |ended, one| Ok(ended + u64::from(one)))
                .await?;
            from = page.next;
            if from.is_none() {
                return Ok(ended);
            }
        }
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        let decided = self.decide(END_SESSION, vec![Value::Uuid(id.0)], |_| false).await?;
        Ok(matches!(decided, Decided::Applied))
    }
}

fn generation(row: &Row) -> Result<GenerationRow, StoreError> {
    let id = Generation(codec::uuid(row, "id")?);
    Ok(GenerationRow { id, since: codec::opt_number(row, "since")?.unwrap_or_default() })
}
