//! [`DirectoryStore`]: people, channels, memberships, markers, files' descriptions.

use async_trait::async_trait;
use chat_domain::store::{
    Account, ChannelRow, DirectoryStore, End, Membership, Standing, StandingChange, StoreError,
};
use chat_log::text::fold_sought;
use chat_protocol::{
    ChannelId, ChannelKind, Millis, Seq, UserId,
    rest::{Member, User},
};
use rusqlite::{OptionalExtension, Params, Row, params};

use super::{
    SqliteStore,
    codec::{self, CHANNEL_COLUMNS, USER_COLUMNS, channel_row, int, limit},
    seed::{delete_words, insert_user, insert_words},
    standing, tail,
};

#[async_trait]
impl DirectoryStore for SqliteStore {
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError> {
        Ok(self.channels(&[id]).await?.pop())
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<ChannelRow>, StoreError> {
        let sql = format!("SELECT {CHANNEL_COLUMNS} FROM channels WHERE id = ?1");
        self.each(sql, ids.iter().map(|id| id.0.into_bytes()).collect(), channel_row).await
    }

    async fn all_channels(
        &self,
        after: Option<ChannelId>,
        most: usize,
    ) -> Result<Vec<(ChannelId, Option<ChannelKind>)>, StoreError> {
        // An empty blob comes before every id.
        let after = after.map_or(Vec::new(), |id| id.0.into_bytes().to_vec());
        self.all(
            "SELECT id, kind FROM channels WHERE id > ?1 ORDER BY id LIMIT ?2",
            (after, limit(most)),
            |row| Ok((codec::channel_id(row, 0)?, Some(codec::channel_kind(row, 1)?))),
        )
        .await
    }

    async fn public_channels(
        &self,
        after: Option<(String, ChannelId)>,
        most: usize,
    ) -> Result<Vec<ChannelRow>, StoreError> {
        let (name, id) = after.map_or((String::new(), [0; 16]), |(name, id)| (name, id.0.into_bytes()));
        let sql = format!(
            "SELECT {CHANNEL_COLUMNS} FROM channels WHERE kind = 0 AND (name_key, id) > (?1, ?2)
             ORDER BY name_key, id LIMIT ?3"
        );
        self.all(sql, (name, id, limit(most)), channel_row).await
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        self.read(move |db| Ok(tail::memberships(db, user)?)).await
    }

    async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>, StoreError> {
        self.read(move |db| Ok(tail::membership_in(db, user, channel)?)).await
    }

    async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Vec<Member>, StoreError> {
        // An empty blob comes before every id.
        let after = after.map_or(Vec::new(), |user| user.0.into_bytes().to_vec());
        self.all(
            "SELECT user, since FROM members WHERE channel = ?1 AND user > ?2 ORDER BY user LIMIT ?3",
            (channel.0.into_bytes(), after, limit(most)),
            codec::member,
        )
        .await
    }

    async fn members_among(&self, channel: ChannelId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let users = users.to_vec();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT 1 FROM members WHERE channel = ?1 AND user = ?2")?;
            let mut members = Vec::new();
            for user in users {
                if query.exists(params![channel.0.as_bytes(), user.0.as_bytes()])? {
                    members.push(user);
                }
            }
            Ok(members)
        })
        .await
    }

    async fn set_read(
        &self,
        user: UserId,
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Option<(Membership, End)>, StoreError> {
        self.write(move |db| {
            let Some(before) = tail::membership_in(db, user, channel)? else { return Ok(None) };
            let end = db
                .prepare_cached("SELECT head, seen, n_from, n, d, m FROM channels WHERE id = ?1")?
                .query_row([channel.0.as_bytes()], |row| codec::end(row, 0))
                .optional()?;
            let Some(end) = end else { return Ok(None) };
            let seq = seq.min(end.head);
            if seq <= before.read {
                return Ok(Some((before, end)));
            }
            db.prepare_cached(
                "UPDATE user_channels SET (read, read_at, read_n, read_d, read_m) =
                     (SELECT seq, seq, n, d, m FROM log WHERE channel = ?2 AND seq = ?3)
                 WHERE user = ?1 AND channel = ?2",
            )?
            .execute(params![user.0.as_bytes(), channel.0.as_bytes(), int(seq)])?;
            Ok(tail::membership_in(db, user, channel)?.map(|now| (now, end)))
        })
        .await
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        let user = user.clone();
        self.write(move |db| insert_user(db, &user)).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.read(|db| Ok(db.prepare_cached("SELECT 1 FROM users LIMIT 1")?.exists(())?)).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        Ok(self.users(&[id]).await?.pop())
    }

    async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS} FROM users WHERE handle = ?1");
        self.one(sql, (handle.to_owned(),), codec::user).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS} FROM users WHERE id = ?1");
        self.each(sql, ids.iter().map(|id| id.0.into_bytes()).collect(), codec::user).await
    }

    async fn list_users(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<User>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        let Some(prefix) = prefix else {
            let sql = format!("SELECT {USER_COLUMNS} FROM users WHERE handle > ?1 ORDER BY handle LIMIT ?2");
            return self.all(sql, (after, limit(most)), codec::user).await;
        };
        // Each half is a range of an index; U+10FFFF comes after every character that a name can go on with.
        let from = fold_sought(prefix);
        let to = format!("{from}\u{10FFFF}");
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM users WHERE handle IN (
                 SELECT handle FROM users WHERE handle >= ?1 AND handle < ?2 AND handle > ?3
                 UNION
                 SELECT handle FROM user_words WHERE word >= ?1 AND word < ?2 AND handle > ?3
                 ORDER BY handle LIMIT ?4)
             ORDER BY handle"
        );
        self.all(sql, (from, to, after, limit(most)), codec::user).await
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, auth_version FROM users WHERE id = ?1");
        self.one(sql, (id.0.into_bytes(),), codec::account).await
    }

    async fn set_display_name(&self, user: UserId, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |db| {
            let before: Option<(String, String)> = db
                .prepare_cached("SELECT handle, display_name FROM users WHERE id = ?1")?
                .query_row([user.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((handle, old)) = before else { return Ok(false) };
            delete_words(db, &handle, &old)?;
            insert_words(db, &handle, &name)?;
            db.prepare_cached("UPDATE users SET display_name = ?2 WHERE id = ?1")?
                .execute(params![user.0.as_bytes(), name])?;
            Ok(true)
        })
        .await
    }

    async fn change_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError> {
        self.write(move |db| standing::change(db, user, expected, to, at)).await
    }

    async fn auth_versions_since(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError> {
        self.all(
            "SELECT id, auth_version FROM users WHERE auth_changed_at IS NOT NULL AND auth_changed_at >= ?1",
            (int(since),),
            |row| Ok((codec::user_id(row, 0)?, codec::uint(row, 1)?)),
        )
        .await
    }
}

/// Reads that are one statement.
impl SqliteStore {
    /// All rows that a query gives.
    pub(super) async fn all<T: Send + 'static>(
        &self,
        sql: impl AsRef<str> + Send + 'static,
        params: impl Params + Send + 'static,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(sql.as_ref())?;
            let rows = query.query_map(params, row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The first row.
    pub(super) async fn one<T: Send + 'static>(
        &self,
        sql: impl AsRef<str> + Send + 'static,
        params: impl Params + Send + 'static,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.read(move |db| Ok(db.prepare_cached(sql.as_ref())?.query_row(params, row).optional()?)).await
    }

    /// The row of each id that has one.
    async fn each<T: Send + 'static>(
        &self,
        sql: String,
        ids: Vec<[u8; 16]>,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(&sql)?;
            let rows = ids.iter().filter_map(|id| query.query_row([id], row).optional().transpose());
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
