//! Roles and closed accounts: conditional writes on a user's row, each on the version that it was decided on.
//!
//! Servers of 0.1.0 that run beside this one write the whole row without a condition and do not know the version. What they
//! change holds, but is not announced: tokens go on until they expire, and a rename of theirs may undo what is written here at
//! the same moment. That ends with the last of them. Their changes of owners are found out about by `owners`.

use chat_domain::{
    clock::now_ms,
    store::{Account, Standing, StandingChange, StoreError},
};
use chat_protocol::{Millis, UserId};

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, role_number},
    cql::{Row, Statement, Value},
    owners::OwnersDecision,
};

const ACCOUNT_CQL: &str =
    "SELECT id, handle, display_name, role, created_at, deactivated, auth_version FROM users WHERE id = ?";
/// What was answered to somebody is at a quorum, so a quorum has it.
const ACCOUNT: Statement = Statement::read(ACCOUNT_CQL);
/// What a conditional write would find.
const ACCOUNT_SETTLED: Statement = Statement::serial_read(ACCOUNT_CQL);
const FIRST_CHANGE: Statement = Statement::conditional(
    "UPDATE users SET role = ?, deactivated = ?, auth_version = ?
     WHERE id = ? IF role = ? AND deactivated = ? AND auth_version = null",
);
const CHANGE: Statement = Statement::conditional(
    "UPDATE users SET role = ?, deactivated = ?, auth_version = ?
     WHERE id = ? IF role = ? AND deactivated = ? AND auth_version = ?",
);
const ANNOUNCE_ATTEMPT: Statement =
    Statement::write("INSERT INTO auth_changes (bucket, changed_at, user) VALUES (?, ?, ?) USING TTL ?");
const ANNOUNCE: Statement = Statement::write(
    "INSERT INTO auth_changes (bucket, changed_at, user, version) VALUES (?, ?, ?, ?) USING TTL ?",
);
const ANNOUNCED: Statement =
    Statement::read("SELECT user, version FROM auth_changes WHERE bucket = ? AND changed_at >= ?");

const BUCKET_MS: Millis = 10 * 60 * 1_000;
/// Access tokens live for a day at most; nobody asks for older changes than that.
const CHANGES_KEPT_MS: Millis = 24 * 60 * 60 * 1_000;

impl CassandraStore {
    pub(super) async fn read_account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.row(ACCOUNT, vec![Value::Uuid(user.0)]).await?.as_ref().map(codec::account).transpose()
    }

    /// As a conditional write would find it.
    pub(super) async fn settled_account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.row(ACCOUNT_SETTLED, vec![Value::Uuid(user.0)]).await?.as_ref().map(codec::account).transpose()
    }

    pub(super) async fn write_standing(
        &self,
        user: UserId,
        expected: u64,
        to: Standing,
        at: Millis,
    ) -> Result<StandingChange, StoreError> {
        let Some(account) = self.settled_account(user).await? else { return Ok(StandingChange::NoUser) };
        if account.auth_version != expected {
            return Ok(StandingChange::Outdated);
        }
        let from = account.standing();
        if from == to {
            return Ok(StandingChange::Changed { auth_version: expected });
        }
        if from.is_owner() != to.is_owner() {
            match self.change_owners(&account, to).await? {
                OwnersDecision::Allowed => {}
                OwnersDecision::Outdated => return Ok(StandingChange::Outdated),
                OwnersDecision::LastOwner => return Ok(StandingChange::LastOwner),
            }
        }
        let kept = Value::Int(i32::try_from(2 * CHANGES_KEPT_MS / 1_000).unwrap_or(i32::MAX));
        let change = || vec![big(at / BUCKET_MS), big(at), Value::Uuid(user.0)];
        // First that it may change: should this process die in between, verifiers look what became of it.
        self.write(ANNOUNCE_ATTEMPT, [change(), vec![kept.clone()]].concat()).await?;
        let Some(auth_version) = self.raise_version(&account, to).await? else {
            return Ok(StandingChange::Outdated);
        };
        let announced = self.write(ANNOUNCE, [change(), vec![big(auth_version), kept]].concat()).await;
        if let Err(error) = announced {
            tracing::debug!(%user, %error, "a version was not announced; verifiers read it from the user");
        }
        Ok(StandingChange::Changed { auth_version })
    }

    /// Gives a user the next version and this standing, if they still are as they were read. `None` when they are not.
    pub(super) async fn raise_version(
        &self,
        account: &Account,
        to: Standing,
    ) -> Result<Option<u64>, StoreError> {
        let (from, version) = (account.standing(), account.auth_version + 1);
        let mut values = vec![
            Value::TinyInt(role_number(to.role)),
            Value::Bool(to.deactivated),
            big(version),
            Value::Uuid(account.user.id.0),
            Value::TinyInt(role_number(from.role)),
            Value::Bool(from.deactivated),
        ];
        let change = if account.auth_version == 0 {
            FIRST_CHANGE
        } else {
            values.push(big(account.auth_version));
            CHANGE
        };
        let ours = |row: &Row| {
            row.bigint("auth_version").map(Value::BigInt) == Some(big(version))
                && row.tinyint("role") == Some(role_number(to.role))
                && row.boolean("deactivated") == Some(to.deactivated)
        };
        let decided = self.decide(change, values, ours).await?;
        Ok(matches!(decided, Decided::Applied).then_some(version))
    }

    pub(super) async fn changed_versions(&self, since: Millis) -> Result<Vec<(UserId, u64)>, StoreError> {
        let now = now_ms();
        let since = since.max(now.saturating_sub(CHANGES_KEPT_MS));
        let mut versions = Vec::new();
        // One more: others' clocks may be ahead.
        for bucket in since / BUCKET_MS..=now / BUCKET_MS + 1 {
            for row in self.all(ANNOUNCED, vec![big(bucket), big(since)]).await? {
                let user = UserId(codec::uuid(&row, "user")?);
                let version = match codec::opt_number(&row, "version")? {
                    Some(version) => Some(version),
                    None => self.settled_account(user).await?.map(|account| account.auth_version),
                };
                versions.extend(version.map(|version| (user, version)));
            }
        }
        Ok(versions)
    }
}
