//! Many rows at once, for load tests: people who do not exist, written without asking whether their names are free.

use chat_domain::store::{SessionRow, StoreError};
use chat_log::text::look;
use chat_protocol::rest::User;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{CassandraStore, cql::Statement, cql::Value, sessions, users};

/// Rows under way at once.
const AT_ONCE: usize = 384;

type Write = (Statement, Vec<Value>);

impl CassandraStore {
    /// Adds users. Their ids and handles must be new, which is not checked.
    ///
    /// # Errors
    /// When a row cannot be written; what was written before stays.
    pub async fn seed_users(&self, users: &[User]) -> Result<(), StoreError> {
        let rows = |user: &User| {
            let look = look(&user.handle);
            let looks_like_another = look != user.handle;
            let mut rows = vec![users::seed_row(user), users::seed_claim(&user.handle, user.id)];
            rows.extend(looks_like_another.then(|| users::seed_claim(&look, user.id)));
            rows.extend(users::listed(user));
            rows
        };
        self.seed(users.iter().flat_map(rows)).await
    }

    /// Adds sessions. Their ids must be new, which is not checked.
    ///
    /// # Errors
    /// When a row cannot be written; what was written before stays.
    pub async fn seed_sessions(&self, all: &[SessionRow]) -> Result<(), StoreError> {
        self.seed(all.iter().flat_map(|row| [sessions::link_of(row), sessions::seed_row(row)])).await
    }

    async fn seed(&self, rows: impl Iterator<Item = Write> + Send) -> Result<(), StoreError> {
        stream::iter(rows)
            .map(|(write, values)| self.write(write, values))
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await
    }
}
