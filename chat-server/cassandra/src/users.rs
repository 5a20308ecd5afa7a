//! People: each by id, by handle, and in order of handle by beginnings of handle and display name.
//!
//! A handle is claimed by a conditional write; the user's row, written last, makes the claim good. The rows that lead to
//! users may be behind or ahead of them for a moment, so what they lead to is compared with what was sought.

use std::{sync::atomic::Ordering, time::Duration};

use chat_domain::{clock::now_ms, store::StoreError};
use chat_log::text::{fold, look};
use chat_protocol::{Millis, UserId, rest::User};
use tokio::time::Instant;

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, role_number, text},
    cql::{Row, Statement, Value},
    listing::{initial, prefixes},
};

pub(super) const USER: Statement =
    Statement::read("SELECT id, handle, display_name, role, created_at, deactivated FROM users WHERE id = ?");
const INSERT: Statement = Statement::conditional(
    "INSERT INTO users (id, handle, display_name, role, created_at, deactivated) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS",
);
/// Without a condition, for [`CassandraStore::seed_users`].
const SEED: Statement = Statement::write(
    "INSERT INTO users (id, handle, display_name, role, created_at, deactivated) VALUES (?, ?, ?, ?, ?, ?)",
);
const SEED_CLAIM: Statement =
    Statement::write("INSERT INTO handles (handle, user, claimed_at) VALUES (?, ?, ?)");
/// The name and nothing else, and only of a user who is there.
const RENAME: Statement =
    Statement::conditional("UPDATE users SET display_name = ? WHERE id = ? IF display_name = ?");
const CLAIM: Statement =
    Statement::conditional("INSERT INTO handles (handle, user, claimed_at) VALUES (?, ?, ?) IF NOT EXISTS");
const TAKE_OVER: Statement =
    Statement::conditional("UPDATE handles SET user = ?, claimed_at = ? WHERE handle = ? IF user = ?");
const OWNER: Statement = Statement::read("SELECT user FROM handles WHERE handle = ?");
const LIST_BY_HANDLE: Statement =
    Statement::write("INSERT INTO users_by_handle (initial, handle, user) VALUES (?, ?, ?)");
const LIST_INITIAL: Statement = Statement::write("INSERT INTO initials (ring, initial) VALUES (?, ?)");
const LIST_BY_NAME: Statement =
    Statement::write("INSERT INTO users_by_name (prefix, handle, user, name_key) VALUES (?, ?, ?, ?)");
const UNLIST_BY_NAME: Statement =
    Statement::write("DELETE FROM users_by_name WHERE prefix = ? AND handle = ?");
const ANY_INITIAL: Statement = Statement::read("SELECT initial FROM initials WHERE ring = ? LIMIT 1");

/// The partition of `initials`.
pub(super) const RING: i8 = 0;
/// A claim that has not become a user by then is free for others.
const CLAIM_MS: Millis = 60_000;
/// How often a new name is written when others give the same user other names at the same time.
const RENAMES: usize = 8;
/// Whoever takes longer to make good his claim leaves it.
const MAKE_GOOD_WITHIN: Duration = Duration::from_secs(30);

fn id(user: UserId) -> Value {
    Value::Uuid(user.0)
}

impl CassandraStore {
    pub(super) async fn insert_user(&self, user: &User) -> Result<bool, StoreError> {
        let claimed = Instant::now();
        if !self.claim_look(&user.handle, user.id).await? || !self.claim(&user.handle, user.id).await? {
            return Ok(false);
        }
        self.writes(listed(user)).await?;
        if claimed.elapsed() > MAKE_GOOD_WITHIN {
            return Err(StoreError::Overloaded { retry_after_ms: CLAIM_MS });
        }
        let ours = |row: &Row| row.text("handle") == Some(&user.handle);
        match self.decide(INSERT, row_of(user), ours).await? {
            Decided::Applied => Ok(true),
            Decided::Refused(_) => Err(codec::damaged("a user's id to be new")),
        }
    }

    /// Claims what a handle looks like, so that no other may look like it.
    pub(super) async fn claim_look(&self, handle: &str, user: UserId) -> Result<bool, StoreError> {
        let look = look(handle);
        if look == handle { Ok(true) } else { self.claim(&look, user).await }
    }

    async fn claim(&self, handle: &str, user: UserId) -> Result<bool, StoreError> {
        let ours = |row: &Row| row.uuid("user") == Some(user.0);
        let values = vec![text(handle), id(user), big(now_ms())];
        let found = match self.decide(CLAIM, values, ours).await? {
            Decided::Applied => return Ok(true),
            Decided::Refused(found) => found.ok_or_else(|| codec::damaged("a handle or none"))?,
        };
        let holder = UserId(codec::uuid(&found, "user")?);
        let fresh = codec::number(&found, "claimed_at")?.saturating_add(CLAIM_MS) > now_ms();
        if fresh || self.read_user(holder).await?.is_some() {
            return Ok(false);
        }
        let values = vec![id(user), big(now_ms()), text(handle), id(holder)];
        let decided = self.decide(TAKE_OVER, values, ours).await?;
        Ok(matches!(decided, Decided::Applied))
    }

    pub(super) async fn any_user(&self) -> Result<bool, StoreError> {
        // Users are never removed.
        if self.has_users.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let found = self.row(ANY_INITIAL, vec![Value::TinyInt(RING)]).await?.is_some();
        // Somebody may have died between listing the first user and making it.
        let found = found && !self.listed(None, None, 1).await?.is_empty();
        self.has_users.store(found, Ordering::Relaxed);
        Ok(found)
    }

    pub(super) async fn read_user(&self, user: UserId) -> Result<Option<User>, StoreError> {
        self.row(USER, vec![id(user)]).await?.as_ref().map(codec::user).transpose()
    }

    pub(super) async fn read_users(&self, users: &[UserId]) -> Result<Vec<User>, StoreError> {
        self.each(USER, users.iter().copied().map(id).collect(), codec::user).await
    }

    pub(super) async fn read_user_by_handle(&self, handle: &str) -> Result<Option<User>, StoreError> {
        let Some(row) = self.row(OWNER, vec![text(handle)]).await? else { return Ok(None) };
        let user = self.read_user(UserId(codec::uuid(&row, "user")?)).await?;
        // It may be what another handle looks like.
        Ok(user.filter(|user| user.handle == handle))
    }

    pub(super) async fn rename_user(&self, user: UserId, name: &str) -> Result<bool, StoreError> {
        for _ in 0..RENAMES {
            let Some(before) = self.read_user(user).await? else { return Ok(false) };
            let now = User { display_name: name.into(), ..before.clone() };
            if before.display_name == now.display_name {
                return Ok(true);
            }
            self.writes(listed_by_name(&now)).await?;
            let values = vec![text(name), id(user), text(&before.display_name)];
            let ours = |row: &Row| row.text("display_name") == Some(name);
            if let Decided::Applied = self.decide(RENAME, values, ours).await? {
                self.unlist(&before, &now).await?;
                return Ok(true);
            }
        }
        Err(StoreError::Overloaded { retry_after_ms: 500 })
    }

    async fn unlist(&self, before: &User, now: &User) -> Result<(), StoreError> {
        let kept = prefixes(&fold(&now.display_name));
        // What a server of 0.1.0 listed as well.
        let mut gone = prefixes(&fold(&before.display_name));
        gone.extend(prefixes(&before.display_name.to_lowercase()));
        let gone = gone.into_iter().filter(|prefix| !kept.contains(prefix));
        let gone = gone.map(|prefix| (UNLIST_BY_NAME, vec![text(&prefix), text(&now.handle)])).collect();
        self.writes(gone).await?;
        // Another one may have renamed him at the same time, and these may have been the new name's.
        match self.read_user(now.id).await? {
            Some(last) => self.writes(listed_by_name(&last)).await,
            None => Ok(()),
        }
    }
}

fn row_of(user: &User) -> Vec<Value> {
    vec![
        id(user.id),
        text(&user.handle),
        text(&user.display_name),
        Value::TinyInt(role_number(user.role)),
        big(user.created_at),
        Value::Bool(user.deactivated),
    ]
}

/// The row of a user whose id is known to be new.
pub(super) fn seed_row(user: &User) -> (Statement, Vec<Value>) {
    (SEED, row_of(user))
}

/// The claim of a handle that is known to be free.
pub(super) fn seed_claim(handle: &str, user: UserId) -> (Statement, Vec<Value>) {
    (SEED_CLAIM, vec![text(handle), id(user), big(now_ms())])
}

/// The rows by which a user is found in lists.
pub(super) fn listed(user: &User) -> Vec<(Statement, Vec<Value>)> {
    let first = initial(&user.handle);
    let mut writes = vec![
        (LIST_BY_HANDLE, vec![text(first), text(&user.handle), id(user.id)]),
        (LIST_INITIAL, vec![Value::TinyInt(RING), text(first)]),
    ];
    writes.extend(listed_by_name(user));
    writes
}

pub(super) fn listed_by_name(user: &User) -> Vec<(Statement, Vec<Value>)> {
    let key = fold(&user.display_name);
    let row =
        |prefix: String| (LIST_BY_NAME, vec![text(&prefix), text(&user.handle), id(user.id), text(&key)]);
    prefixes(&key).into_iter().map(row).collect()
}
