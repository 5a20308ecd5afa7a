//! What names are compared and found by, of channels and people that servers of 0.1.0 made: done once, by `migrate`.
//!
//! It may be done again, and while servers of 0.1.0 run. Whom those make afterwards is found by the beginning of the whole name
//! only, until they are renamed.

use chat_domain::store::{StoreError, name_claim};
use chat_log::text::{fold, from_each_word};
use chat_protocol::ChannelId;

use super::{
    CassandraStore,
    codec::{self, undone, uuid},
    cql::{Row, Statement, Value},
    schema::PUBLIC_SHARD,
    users::listed_by_name,
};

/// Rows that are read at a time.
const SLICE: usize = 500;

/// Goes through a whole table, see docs/cassandra.md.
const USERS: Statement =
    Statement::read("SELECT id, handle, display_name, role, created_at, deactivated FROM users");
const PUBLIC: Statement = Statement::read("SELECT name_key, id FROM public_channels WHERE shard = ?");
const DONE: Statement = Statement::serial_read("SELECT version FROM schema_state WHERE what = 'names'");
const IS_DONE: Statement =
    Statement::conditional("INSERT INTO schema_state (what, version) VALUES ('names', 1) IF NOT EXISTS");

impl CassandraStore {
    /// Does it, unless it was done.
    pub(super) async fn fold_names(&self) -> Result<(), StoreError> {
        if self.row(DONE, Vec::new()).await?.is_some() {
            return Ok(());
        }
        self.fold_channels().await?;
        let people = self.fold_people().await?;
        self.cql.execute(IS_DONE, Vec::new()).await.map_err(undone)?;
        tracing::info!(people, "names can be found by each of their words");
        Ok(())
    }

    /// Channels whose names are compared by something else than they were reserve that, too.
    async fn fold_channels(&self) -> Result<(), StoreError> {
        for row in self.all(PUBLIC, vec![Value::TinyInt(PUBLIC_SHARD)]).await? {
            let (name, channel) = (codec::string(&row, "name_key")?, ChannelId(uuid(&row, "id")?));
            let claim = name_claim(&name);
            if claim != name && !self.log.reserve_own(channel, &claim).await? {
                tracing::warn!(%channel, name, "channel keeps a name that another one has in another form");
            }
        }
        Ok(())
    }

    async fn fold_people(&self) -> Result<usize, StoreError> {
        let (mut people, mut from) = (0, None);
        loop {
            let page = self.cql.page(USERS, Vec::new(), SLICE, from).await.map_err(undone)?;
            // Rows that lack columns are of an interrupted write.
            let whole = |row: &&Row| row.text("handle").is_some() && row.text("display_name").is_some();
            let mut writes = Vec::new();
            for row in page.rows.iter().filter(whole) {
                let user = codec::user(row)?;
                let old = user.display_name.to_lowercase();
                let folded = fold(&user.display_name);
                people += 1;
                // Most have one word, and are listed already.
                if folded != old || from_each_word(&folded).count() > 1 {
                    writes.extend(listed_by_name(&user));
                }
            }
            self.writes(writes).await?;
            from = page.next;
            if from.is_none() {
                return Ok(people);
            }
        }
    }
}
