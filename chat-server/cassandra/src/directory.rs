//! [`DirectoryStore`]: people, channels, memberships, markers.
//!
//! Channels and memberships are read from the projections of the logs; see `log`.

use async_trait::async_trait;
use chat_domain::store::{
    Account, ChannelRow, Counts, DirectoryStore, End, LogStore as _, Membership, Standing, StandingChange,
    StoreError, name_key,
};
use chat_protocol::{
    ChannelId, ChannelKind, Millis, Seq, UserId,
    rest::{Member, User},
};
use std::collections::HashMap;
use uuid::Uuid;

use super::{
    CassandraStore,
    codec::{self, big, limit, number, uuid},
    cql::{Row, Statement, Value},
    log::{
        markers::mark_read,
        statements::{MARK_READ, MARK_READ_UNCOUNTED, MEMBERS_AMONG},
    },
    schema::PUBLIC_SHARD,
};

const CHANNEL: Statement = Statement::read(
    "SELECT id, kind, name, topic, archived, created_by, created_at FROM channels WHERE id = ?",
);
/// All of them, a slice at a time; see docs/cassandra.md.
const ALL: Statement = Statement::read("SELECT id, kind FROM channels LIMIT ?");
const ALL_AFTER: Statement =
    Statement::read("SELECT id, kind FROM channels WHERE token(id) > token(?) LIMIT ?");
const PUBLIC: Statement = Statement::read(
    "SELECT name_key, id FROM public_channels WHERE shard = ? AND (name_key, id) > (?, ?) LIMIT ?",
);
const MEMBERSHIPS: Statement = Statement::read(
    "SELECT channel, since, read, own, read_at, read_n, read_d, read_m FROM user_channels WHERE user = ?",
);
const MEMBERSHIP: Statement = Statement::read(
    "SELECT channel, since, read, own, read_at, read_n, read_d, read_m FROM user_channels WHERE user = ? AND channel = ?",
);
const MEMBERS: Statement = Statement::read("SELECT user, since FROM members WHERE channel = ? LIMIT ?");
const MEMBERS_AFTER: Statement =
    Statement::read("SELECT user, since FROM members WHERE channel = ? AND user > ? LIMIT ?");

/// Users that one statement asks for.
const USERS_ASKED_FOR: usize = 100;

/// A place in a channel; `None` for a marker that was set while its user left.
fn membership(row: &Row) -> Result<Option<Membership>, StoreError> {
    let Some(since) = codec::opt_number(row, "since")? else { return Ok(None) };
    let read = codec::opt_number(row, "read")?.unwrap_or_default().max(since);
    let number = |column| codec::opt_number(row, column);
    // A server of 0.1.0 moves the marker without them.
    let counts = match (number("read_at")?, number("read_n")?) {
        (Some(at), Some(n)) if at == read => {
            let (d, m) = (number("read_d")?.unwrap_or(0), number("read_m")?.unwrap_or(0));
            Some(Counts { n, d, m })
        }
        _ => None,
    };
    let own = number("own")?.unwrap_or(0);
    Ok(Some(Membership { channel: ChannelId(uuid(row, "channel")?), since, read, counts, own }))
}

fn member(row: &Row) -> Result<Member, StoreError> {
    Ok(Member { user: UserId(uuid(row, "user")?), since: number(row, "since")? })
}

impl CassandraStore {
    /// Adds to what the tables say where the logs end; a channel without a log is none.
    async fn with_heads(&self, rows: Vec<ChannelRow>) -> Result<Vec<ChannelRow>, StoreError> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let ends: HashMap<_, _> = self.ends(&ids).await?.into_iter().collect();
        let rows = rows.into_iter().filter_map(|row| Some(ChannelRow { end: *ends.get(&row.id)?, ..row }));
        Ok(rows.collect())
    }
}

#[async_trait]
impl DirectoryStore for CassandraStore {
    async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRow>, StoreError> {
        Ok(self.channels(&[id]).await?.pop())
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<ChannelRow>, StoreError> {
        let keys = ids.iter().map(|id| Value::Uuid(id.0)).collect();
        let rows = self.each(CHANNEL, keys, codec::channel).await?;
        self.with_heads(rows.into_iter().flatten().collect()).await
    }

    async fn all_channels(
        &self,
        after: Option<ChannelId>,
        most: usize,
    ) -> Result<Vec<(ChannelId, Option<ChannelKind>)>, StoreError> {
        let rows = match after {
            None => self.rows(ALL, vec![limit(most)]).await?,
            Some(id) => self.rows(ALL_AFTER, vec![Value::Uuid(id.0), limit(most)]).await?,
        };
        let read = |row: &Row| {
            let kind = row.tinyint("kind").map(codec::channel_kind).transpose()?;
            Ok((ChannelId(uuid(row, "id")?), kind))
        };
        rows.iter().map(read).collect()
    }

    async fn public_channels(
        &self,
        after: Option<(String, ChannelId)>,
        most: usize,
    ) -> Result<Vec<ChannelRow>, StoreError> {
        let (mut name, mut id) = after.map_or((String::new(), Uuid::nil()), |(name, id)| (name, id.0));
        let mut channels = Vec::new();
        while channels.len() < most {
            let wanted = most - channels.len();
            let values =
                vec![Value::TinyInt(PUBLIC_SHARD), Value::Text(name), Value::Uuid(id), limit(wanted)];
            let rows = self.rows(PUBLIC, values).await?;
            let Some(last) = rows.last() else { break };
            (name, id) = (codec::string(last, "name_key")?, uuid(last, "id")?);
            let ids = rows.iter().map(|row| uuid(row, "id").map(ChannelId)).collect::<Result<Vec<_>, _>>()?;
            // A channel that is being renamed may be listed under both names.
            let listed = |channel: &ChannelRow| {
                let key = channel.name.as_deref().map(name_key);
                rows.iter()
                    .any(|row| row.uuid("id") == Some(channel.id.0) && row.text("name_key") == key.as_deref())
            };
            channels.extend(self.channels(&ids).await?.into_iter().filter(listed));
            if rows.len() < wanted {
                break;
            }
        }
        Ok(channels)
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        let rows = self.all(MEMBERSHIPS, vec![Value::Uuid(user.0)]).await?;
        let mut found: Vec<_> =
            rows.iter().filter_map(|row| membership(row).transpose()).collect::<Result<_, _>>()?;
        // Cassandra compares UUIDs of two versions by the version first.
        found.sort_by_key(|membership: &Membership| membership.channel);
        Ok(found)
    }

    async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>, StoreError> {
        let row = self.row(MEMBERSHIP, vec![Value::Uuid(user.0), Value::Uuid(channel.0)]).await?;
        row.as_ref().map_or(Ok(None), membership)
    }

    async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        most: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let channel = Value::Uuid(channel.0);
        let rows = match after {
            None => self.rows(MEMBERS, vec![channel, limit(most)]).await?,
            Some(user) => self.rows(MEMBERS_AFTER, vec![channel, Value::Uuid(user.0), limit(most)]).await?,
        };
        rows.iter().map(member).collect()
    }

    async fn members_among(&self, channel: ChannelId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let mut members = Vec::new();
        for some in users.chunks(USERS_ASKED_FOR) {
            let some = Value::List(some.iter().map(|user| Value::Uuid(user.0)).collect());
            let rows = self.rows(MEMBERS_AMONG, vec![Value::Uuid(channel.0), some]).await?;
            for row in &rows {
                members.push(UserId(uuid(row, "user")?));
            }
        }
        Ok(members)
    }

    async fn set_read(
        &self,
        user: UserId,
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Option<(Membership, End)>, StoreError> {
        let Some(place) = self.membership(channel, user).await? else { return Ok(None) };
        let Some((_, end)) = self.ends(&[channel]).await?.pop() else { return Ok(None) };
        let seq = seq.min(end.head);
        if seq <= place.read {
            return Ok(Some((place, end)));
        }
        let counts = match seq {
            seq if seq == end.head && seq >= end.from => Some(end.counts),
            seq => self.event(channel, seq).await?.and_then(|event| event.counts),
        };
        let whose = [Value::Uuid(user.0), Value::Uuid(channel.0)];
        match counts {
            Some(counts) => self.write(MARK_READ, mark_read(seq, counts, &whose)).await?,
            None => {
                let values = [&[big(seq), big(seq)], &whose[..]].concat();
                self.write(MARK_READ_UNCOUNTED, values).await?;
            }
        }
        Ok(Some((Membership { read: seq, counts, ..place }, end)))
    }

    async fn create_user(&self, user: &User) -> Result<bool, StoreError> {
        self.insert_user(user).await
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        self.any_user().await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read_user(id).await
    }

    async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError> {
        self.read_user_by_handle(handle).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
        self.read_users(ids).await
    }

    async fn list_users(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<User>, StoreError> {
        self.listed(prefix, after, most).await
    }

    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.read_account(id).await
    }

    async fn set_display_name(&self, user: UserId, name: &str) -> Result<bool, StoreError> {
        self.rename_user(user, name).await
    }

    async fn change_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError> {
        self.write_standing(user, expected, to, at).await
    }

    async fn auth_versions_since(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError> {
        self.changed_versions(since).await
    }
}
