//! How the rows of people, sessions, keys and files become the contract's types, and errors the contract's.

use chat_domain::store::{
    Account, ChannelRow, End, FileRow, InvitationRow, SessionRow, SigningKeyRow, Standing, StoreError,
    numbers,
};
use chat_protocol::{
    ChannelId, ChannelKind, FileId, InvitationId, SessionId, UserId,
    rest::{Role, User},
};

pub(super) use super::columns::{big, limit, number, opt_number, uuid};
use super::{
    columns::{self, Damaged, bytes},
    cql::{CqlError, Row, Value},
};
pub(super) use chat_domain::store::numbers::role_number;

/// When to come back to a store that is too busy.
const RETRY_AFTER_MS: u64 = 500;

/// Of something that certainly was not done, or that was only a read.
pub(super) fn undone(error: CqlError) -> StoreError {
    match error {
        CqlError::Overloaded(_) => StoreError::Overloaded { retry_after_ms: RETRY_AFTER_MS },
        CqlError::Timeout(_) | CqlError::Unavailable(_) => StoreError::Unavailable(Some(error.into())),
        CqlError::Invalid(_) => StoreError::Failed(error.into()),
    }
}

/// Of a write.
pub(super) fn unsure(error: CqlError) -> StoreError {
    match error {
        CqlError::Timeout(_) => StoreError::UnknownOutcome(Some(error.into())),
        error => undone(error),
    }
}

pub(super) fn damaged(expected: impl std::fmt::Display) -> StoreError {
    Damaged(expected.to_string()).into()
}

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.into())
}

pub(super) fn string(row: &Row, column: &str) -> Result<String, StoreError> {
    Ok(columns::text(row, column)?.to_owned())
}

fn role(row: &Row) -> Result<Role, StoreError> {
    let number = row.tinyint("role");
    number
        .and_then(|number| numbers::role(number.into()))
        .ok_or_else(|| damaged(format!("a role from 0 to 4, found {number:?}")))
}

/// `None` for what is there of a channel before its first event has been taken in.
pub(super) fn channel(row: &Row) -> Result<Option<ChannelRow>, StoreError> {
    let Some(kind) = row.tinyint("kind") else { return Ok(None) };
    Ok(Some(ChannelRow {
        id: ChannelId(uuid(row, "id")?),
        kind: channel_kind(kind)?,
        name: row.text("name").map(Into::into),
        topic: row.text("topic").unwrap_or_default().into(),
        archived: row.boolean("archived").unwrap_or(false),
        created_by: UserId(uuid(row, "created_by")?),
        created_at: number(row, "created_at")?,
        end: End::default(),
    }))
}

pub(super) fn channel_kind(number: i8) -> Result<ChannelKind, StoreError> {
    numbers::kind(number.into())
        .ok_or_else(|| damaged(format!("a kind of channel from 0 to 3, found {number}")))
}

pub(super) fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(uuid(row, "id")?),
        handle: string(row, "handle")?,
        display_name: string(row, "display_name")?,
        role: role(row)?,
        created_at: number(row, "created_at")?,
        deactivated: row.boolean("deactivated").unwrap_or(false),
    })
}

/// `None` for what is there of a user whose row is not complete.
pub(super) fn standing(row: &Row) -> Result<Option<Standing>, StoreError> {
    if row.get("role").is_none() {
        return Ok(None);
    }
    Ok(Some(Standing { role: role(row)?, deactivated: row.boolean("deactivated").unwrap_or(false) }))
}

pub(super) fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account { user: user(row)?, auth_version: opt_number(row, "auth_version")?.unwrap_or_default() })
}

/// `None` for what is left of a session when it expires column by column.
pub(super) fn session(row: &Row) -> Result<Option<SessionRow>, StoreError> {
    let (Some(user), Some(device), Some(_)) =
        (row.uuid("user"), row.text("device"), row.blob("refresh_hash"))
    else {
        return Ok(None);
    };
    Ok(Some(SessionRow {
        id: SessionId(uuid(row, "id")?),
        user: UserId(user),
        created_at: number(row, "created_at")?,
        used_at: number(row, "used_at")?,
        expires_at: number(row, "expires_at")?,
        device: device.into(),
        refresh_hash: bytes(row, "refresh_hash")?,
        chain: row
            .blob("chain")
            .filter(|chain| !chain.is_empty())
            .map(|_| bytes(row, "chain"))
            .transpose()?,
        network: row.bigint("network").filter(|hash| *hash != 0).map(i64::cast_unsigned),
        revoked_at: opt_number(row, "revoked_at")?,
    }))
}

pub(super) fn invitation(row: &Row) -> Result<InvitationRow, StoreError> {
    let user = |column| uuid(row, column).map(|id| Some(UserId(id)).filter(|_| !id.is_nil()));
    let uses_left = row.int("uses_left").and_then(|uses| u32::try_from(uses).ok());
    Ok(InvitationRow {
        id: InvitationId(uuid(row, "id")?),
        code_hash: bytes(row, "code_hash")?,
        account: user("account")?,
        role: role(row)?,
        uses_left: uses_left.unwrap_or(0),
        created_by: user("created_by")?,
        created_at: number(row, "created_at")?,
        expires_at: number(row, "expires_at")?,
        note: string(row, "note")?,
    })
}

pub(super) fn signing_key(row: &Row) -> Result<SigningKeyRow, StoreError> {
    Ok(SigningKeyRow {
        kid: string(row, "kid")?,
        seed: bytes(row, "seed")?,
        created_at: number(row, "created_at")?,
        verify_until: opt_number(row, "verify_until")?,
    })
}

pub(super) fn file(row: &Row) -> Result<FileRow, StoreError> {
    Ok(FileRow {
        id: FileId(uuid(row, "id")?),
        channel: ChannelId(uuid(row, "channel")?),
        owner: UserId(uuid(row, "owner")?),
        name: string(row, "name")?,
        media_type: string(row, "media_type")?,
        size: number(row, "size")?,
        sha256: bytes(row, "sha256")?,
        created_at: number(row, "created_at")?,
    })
}
