//! Roles and closed accounts: each change in a transaction with what it depends on.

use chat_domain::store::{Standing, StandingChange, numbers::role_number};
use chat_protocol::{Millis, UserId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    codec::{self, USER_COLUMNS, int},
    job::JobError,
};

/// The literals are those of the partial index on owners.
const ANOTHER_OWNER: &str = "SELECT 1 FROM users WHERE role = 0 AND deactivated = 0 AND id != ?1 LIMIT 1";

pub(super) fn change(
    db: &Connection,
    user: UserId,
    expected: u64,
    to: Standing,
    at: Millis,
) -> Result<StandingChange, JobError> {
    let found = db
        .prepare_cached(&format!("SELECT {USER_COLUMNS}, auth_version FROM users WHERE id = ?1"))?
        .query_row([user.0.as_bytes()], codec::account)
        .optional()?;
    let Some(account) = found else { return Ok(StandingChange::NoUser) };
    if account.auth_version != expected {
        return Ok(StandingChange::Outdated);
    }
    let from = account.standing();
    if from == to {
        return Ok(StandingChange::Changed { auth_version: expected });
    }
    if from.is_owner() && !to.is_owner() && !db.prepare_cached(ANOTHER_OWNER)?.exists([user.0.as_bytes()])? {
        return Ok(StandingChange::LastOwner);
    }
    let auth_version = expected + 1;
    db.prepare_cached(
        "UPDATE users SET role = ?2, deactivated = ?3, auth_version = ?4, auth_changed_at = ?5 WHERE id = ?1",
    )?
    .execute(params![
        user.0.as_bytes(),
        role_number(to.role),
        to.deactivated,
        int(auth_version),
        int(at)
    ])?;
    Ok(StandingChange::Changed { auth_version })
}
