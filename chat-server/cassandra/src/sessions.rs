//! Sessions: conditional writes on a row each, which expires some time after the session does.

use chat_domain::{
    clock::now_ms,
    store::{Rotation, SessionRow, StoreError},
};
use chat_protocol::{Millis, SessionId, UserId};

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, text},
    cql::{Statement, Value},
};

const INSERT: Statement = Statement::conditional(
    "INSERT INTO sessions (id, user, created_at, used_at, expires_at, device, refresh_hash, chain, network)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?",
);
/// Without a condition, for [`CassandraStore::seed_sessions`].
const SEED: Statement = Statement::write(
    "INSERT INTO sessions (id, user, created_at, used_at, expires_at, device, refresh_hash, chain, network)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?",
);
const SELECT_CQL: &str =
    "SELECT id, user, created_at, used_at, expires_at, device, refresh_hash, chain, network, revoked_at
     FROM sessions WHERE id = ?";
/// What was answered to somebody is at a quorum, so a quorum knows it.
const SELECT: Statement = Statement::read(SELECT_CQL);
/// What a conditional write would find.
const SELECT_SETTLED: Statement = Statement::serial_read(SELECT_CQL);
/// All columns, so that they expire together.
const ROTATE: Statement = Statement::conditional(
    "UPDATE sessions USING TTL ?
     SET user = ?, created_at = ?, device = ?, used_at = ?, expires_at = ?, refresh_hash = ?, chain = ?, network = ?
     WHERE id = ? IF refresh_hash = ? AND revoked_at = null AND expires_at > ?",
);
const REVOKE: Statement = Statement::conditional(
    "UPDATE sessions USING TTL ? SET revoked_at = ? WHERE id = ? IF revoked_at = null AND expires_at = ?",
);
const LINK: Statement =
    Statement::write("INSERT INTO user_sessions (user, session) VALUES (?, ?) USING TTL ?");
const UNLINK: Statement = Statement::write("DELETE FROM user_sessions WHERE user = ? AND session = ?");
const LINKS: Statement = Statement::read("SELECT session FROM user_sessions WHERE user = ?");
const ANNOUNCE: Statement =
    Statement::write("INSERT INTO revocations (bucket, revoked_at, session) VALUES (?, ?, ?) USING TTL ?");
const ANNOUNCED: Statement =
    Statement::read("SELECT session FROM revocations WHERE bucket = ? AND revoked_at >= ?");

/// Kept beyond its end, for clocks that go differently and for whoever looks why it ended.
const KEPT_AFTER_MS: Millis = 24 * 60 * 60 * 1_000;
/// Cassandra's longest TTL is 20 years.
const LONGEST_TTL: Millis = 20 * 365 * 24 * 60 * 60;
const BUCKET_MS: Millis = 10 * 60 * 1_000;
/// Access tokens live for minutes; nobody asks for older revocations than that.
const REVOCATIONS_KEPT_MS: Millis = 24 * 60 * 60 * 1_000;

fn ttl(until: Millis) -> Value {
    let seconds = until.saturating_sub(now_ms()).saturating_add(KEPT_AFTER_MS) / 1_000;
    Value::Int(i32::try_from(seconds.clamp(1, LONGEST_TTL)).unwrap_or(i32::MAX))
}

fn id(session: SessionId) -> Value {
    Value::Uuid(session.0)
}

/// 0: not known.
fn network(hash: Option<u64>) -> Value {
    Value::BigInt(hash.unwrap_or(0).cast_signed())
}

fn row_of(session: &SessionRow) -> Vec<Value> {
    vec![
        id(session.id),
        Value::Uuid(session.user.0),
        big(session.created_at),
        big(session.used_at),
        big(session.expires_at),
        text(&session.device),
        Value::Blob(session.refresh_hash.to_vec()),
        // Empty: there is none.
        Value::Blob(session.chain.map_or_else(Vec::new, Vec::from)),
        network(session.network),
        ttl(session.expires_at),
    ]
}

/// The row of a session whose id is known to be new.
pub(super) fn seed_row(session: &SessionRow) -> (Statement, Vec<Value>) {
    (SEED, row_of(session))
}

/// The row by which a user's sessions are found.
pub(super) fn link_of(session: &SessionRow) -> (Statement, Vec<Value>) {
    (LINK, vec![Value::Uuid(session.user.0), id(session.id), ttl(session.expires_at)])
}

impl CassandraStore {
    pub(super) async fn insert_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        // First the way to it: one that leads nowhere does no harm, a session that no list shows cannot be ended.
        self.link(session.user, session.id, session.expires_at).await?;
        let ours = |row: &super::cql::Row| row.blob("refresh_hash") == Some(&session.refresh_hash[..]);
        match self.decide(INSERT, row_of(session), ours).await? {
            Decided::Applied => Ok(()),
            Decided::Refused(_) => Err(codec::damaged("a session's id to be new")),
        }
    }

    pub(super) async fn read_session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.session_by(SELECT, session).await
    }

    pub(super) async fn rotate(&self, session: SessionId, next: Rotation) -> Result<bool, StoreError> {
        let Rotation { from, to, chain, network: used_from, at, expires_at } = next;
        let Some(row) = self.read_session(session).await? else { return Ok(false) };
        if row.refresh_hash != from || row.revoked_at.is_some() || row.expires_at <= at {
            return Ok(false);
        }
        self.link(row.user, session, expires_at).await?;
        let values = vec![
            ttl(expires_at),
            Value::Uuid(row.user.0),
            big(row.created_at),
            text(&row.device),
            big(at),
            big(expires_at),
            Value::Blob(to.to_vec()),
            Value::Blob(chain.to_vec()),
            network(used_from),
            id(session),
            Value::Blob(from.to_vec()),
            big(at),
        ];
        let decided = self.decide(ROTATE, values, |row| row.blob("refresh_hash") == Some(&to[..])).await?;
        Ok(matches!(decided, Decided::Applied))
    }

    pub(super) async fn revoke(&self, session: SessionId, at: Millis) -> Result<bool, StoreError> {
        loop {
            let Some(row) = self.session_by(SELECT_SETTLED, session).await? else { return Ok(false) };
            // First published, then done: whoever hears of it too early only has to sign in again, and who hears of it too late
            // would go on. Published again when it was done before, for that call may have ended in between.
            self.announce(session, row.revoked_at.unwrap_or(at)).await?;
            if row.revoked_at.is_some() {
                return Ok(false);
            }
            let values = vec![ttl(row.expires_at), big(at), id(session), big(row.expires_at)];
            let ours = |row: &super::cql::Row| row.get("revoked_at") == Some(&big(at));
            match self.decide(REVOKE, values, ours).await? {
                Decided::Applied => {
                    self.write(UNLINK, vec![Value::Uuid(row.user.0), id(session)]).await?;
                    return Ok(true);
                }
                Decided::Refused(Some(found)) if found.get("revoked_at").is_some() => return Ok(false),
                // Its tokens were refreshed in between.
                Decided::Refused(_) => {}
            }
        }
    }

    pub(super) async fn sessions(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError> {
        let links = self.all(LINKS, vec![Value::Uuid(user.0)]).await?;
        let ids =
            links.iter().map(|row| codec::uuid(row, "session").map(Value::Uuid)).collect::<Result<_, _>>()?;
        let sessions = self.each(SELECT, ids, codec::session).await?;
        let mut sessions: Vec<_> = sessions
            .into_iter()
            .flatten()
            .filter(|session| session.revoked_at.is_none() && session.expires_at > now)
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.id)));
        Ok(sessions)
    }

    pub(super) async fn revocations(&self, since: Millis) -> Result<Vec<SessionId>, StoreError> {
        let now = now_ms();
        let since = since.max(now.saturating_sub(REVOCATIONS_KEPT_MS));
        let mut sessions = Vec::new();
        // One more: others' clocks may be ahead.
        for bucket in since / BUCKET_MS..=now / BUCKET_MS + 1 {
            for row in self.all(ANNOUNCED, vec![big(bucket), big(since)]).await? {
                sessions.push(SessionId(codec::uuid(&row, "session")?));
            }
        }
        Ok(sessions)
    }

    async fn session_by(
        &self,
        read: Statement,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.row(read, vec![id(session)]).await?.as_ref().map_or(Ok(None), codec::session)
    }

    async fn announce(&self, session: SessionId, at: Millis) -> Result<(), StoreError> {
        let kept = Value::Int(i32::try_from(2 * REVOCATIONS_KEPT_MS / 1_000).unwrap_or(i32::MAX));
        self.write(ANNOUNCE, vec![big(at / BUCKET_MS), big(at), id(session), kept]).await
    }

    async fn link(&self, user: UserId, session: SessionId, until: Millis) -> Result<(), StoreError> {
        self.write(LINK, vec![Value::Uuid(user.0), id(session), ttl(until)]).await
    }
}
