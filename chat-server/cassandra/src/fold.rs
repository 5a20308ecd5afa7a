//! What names are compared and found by, of channels and people that servers of 0.1.0 made: done once, by `migrate`.
//!
//! What is interrupted goes on where it was. It may be done again, and while servers of 0.1.0 run. Whom those make afterwards is
//! found by the beginning of the whole name only, until they are renamed.

use chat_domain::store::{StoreError, name_claims, name_key};
use chat_log::text::{fold, from_each_word};
use chat_protocol::{ChannelId, rest::User};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    CassandraStore,
    codec::{self, limit, undone, uuid},
    cql::{Row, Statement, Value},
    schema::PUBLIC_SHARD,
    users::listed_by_name,
};

/// Rows that are read at a time.
const SLICE: usize = 500;
/// Handles that are claimed at a time, and channels whose names are.
const AT_ONCE: usize = 32;

/// Goes through a whole table, see docs/cassandra.md.
const USERS: Statement = Statement::read(
    "SELECT id, handle, display_name, role, created_at, deactivated, token(id) AS place FROM users
     WHERE token(id) > ? LIMIT ?",
);
const PUBLIC: Statement = Statement::read("SELECT name_key, id FROM public_channels WHERE shard = ?");
const NAME: Statement = Statement::read("SELECT name FROM channels WHERE id = ?");
/// `version` 0: it has come to the token `since`; 1: it is done.
const STATE: Statement =
    Statement::serial_read("SELECT version, since FROM schema_state WHERE what = 'names'");
const BEGINS: Statement = Statement::conditional(
    "INSERT INTO schema_state (what, version, since) VALUES ('names', 0, ?) IF NOT EXISTS",
);
const COMES_TO: Statement =
    Statement::conditional("UPDATE schema_state SET since = ? WHERE what = 'names' IF version = 0");
const IS_DONE: Statement =
    Statement::conditional("UPDATE schema_state SET version = 1 WHERE what = 'names' IF version = 0");

impl CassandraStore {
    /// Does it, or the rest of it, unless it was done.
    pub(super) async fn fold_names(&self) -> Result<(), StoreError> {
        let state = self.row(STATE, Vec::new()).await?;
        let came_to = state.as_ref().and_then(|row| row.bigint("since")).unwrap_or(i64::MIN);
        match state.and_then(|row| row.int("version")) {
            Some(0) => {}
            Some(_) => return Ok(()),
            None => {
                self.cql.execute(BEGINS, vec![Value::BigInt(came_to)]).await.map_err(undone)?;
            }
        }
        self.fold_channels().await?;
        let people = self.fold_people(came_to).await?;
        self.cql.execute(IS_DONE, Vec::new()).await.map_err(undone)?;
        tracing::info!(people, "names can be found by each of their words");
        Ok(())
    }

    /// Channels reserve what their names claim now, too. Where two claim the same, one of them has it and both keep their names.
    async fn fold_channels(&self) -> Result<(), StoreError> {
        let channels = self.all(PUBLIC, vec![Value::TinyInt(PUBLIC_SHARD)]).await?;
        let fold = async |row: Row| {
            let (listed_as, channel) = (codec::string(&row, "name_key")?, ChannelId(uuid(&row, "id")?));
            let row = self.row(NAME, vec![Value::Uuid(channel.0)]).await?;
            // Listed in lower case.
            let name = row.as_ref().and_then(|row| row.text("name")).unwrap_or(&listed_as);
            let mut is_alone = true;
            for claim in name_claims(name).iter().filter(|claim| **claim != name_key(name)) {
                is_alone &= self.log.reserve_own(channel, claim).await?;
            }
            if !is_alone {
                tracing::warn!(%channel, name, "channel keeps a name that another one has, or that looks like it");
            }
            Ok(())
        };
        stream::iter(channels).map(Ok).try_for_each_concurrent(AT_ONCE, fold).await
    }

    /// Nobody else may look like these. Some of them may look like each other already, and keep their handles.
    async fn claim_looks(&self, users: &[User]) -> Result<(), StoreError> {
        stream::iter(users.to_vec())
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, async |user| {
                if !self.claim_look(&user.handle, user.id).await? {
                    tracing::warn!(user = %user.id, handle = user.handle, "handle looks like one that somebody else has");
                }
                Ok(())
            })
            .await
    }

    async fn fold_people(&self, mut came_to: i64) -> Result<usize, StoreError> {
        let mut people = 0;
        loop {
            let rows = self.rows(USERS, vec![Value::BigInt(came_to), limit(SLICE)]).await?;
            // Rows that lack columns are of an interrupted write.
            let whole = |row: &&Row| row.text("handle").is_some() && row.text("display_name").is_some();
            let mut writes = Vec::new();
            let users = rows.iter().filter(whole).map(codec::user).collect::<Result<Vec<_>, _>>()?;
            self.claim_looks(&users).await?;
            for user in users {
                let folded = fold(&user.display_name);
                people += 1;
                // Most have one word, and are listed already.
                if folded != user.display_name.to_lowercase() || from_each_word(&folded).count() > 1 {
                    writes.extend(listed_by_name(&user));
                }
            }
            self.writes(writes).await?;
            let Some(last) = rows.last().filter(|_| rows.len() == SLICE) else { return Ok(people) };
            came_to = last.bigint("place").ok_or_else(|| codec::damaged("a token"))?;
            // Whoever goes on after this one was stopped goes on here.
            self.cql.execute(COMES_TO, vec![Value::BigInt(came_to)]).await.map_err(undone)?;
        }
    }
}
