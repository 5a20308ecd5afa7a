//! How rows and the contract's types become each other.

use chat_domain::store::{
    Account, ChannelRow, Counts, End, FileRow, InvitationRow, Membership, SessionRow, SigningKeyRow,
    StoredEvent, numbers,
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, FileId, InvitationId, SessionId, UserId,
    rest::{Member, Role, User},
};
use rusqlite::{Row, types::Type};
use uuid::Uuid;

/// SQLite's integers are signed. Nothing real is beyond their range; [`chat_protocol::Seq::MAX`] means "the end".
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A value for `LIMIT`.
pub(super) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn opt_uint(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value
        .map(|value| {
            u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
        })
        .transpose()
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

pub(super) fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    uuid(row, column).map(UserId)
}

pub(super) fn channel_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ChannelId> {
    uuid(row, column).map(ChannelId)
}

pub(super) fn session_id(row: &Row<'_>, column: usize) -> rusqlite::Result<SessionId> {
    uuid(row, column).map(SessionId)
}

pub(super) fn client_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ClientId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| ClientId(Uuid::from_bytes(bytes))))
}

fn unknown_number(column: usize, what: &str, number: i64) -> rusqlite::Error {
    let message = format!("unknown {what}: {number}");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, message.into())
}

pub(super) fn channel_kind(row: &Row<'_>, column: usize) -> rusqlite::Result<ChannelKind> {
    let number = row.get(column)?;
    numbers::kind(number).ok_or_else(|| unknown_number(column, "kind of channel", number))
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let number = row.get(column)?;
    numbers::role(number).ok_or_else(|| unknown_number(column, "role", number))
}

/// Where a log ends: `head, seen, n_from, n, d, m` from `column` on.
pub(super) fn end(row: &Row<'_>, column: usize) -> rusqlite::Result<End> {
    let counts = Counts { n: uint(row, column + 3)?, d: uint(row, column + 4)?, m: uint(row, column + 5)? };
    Ok(End::read(uint(row, column)?, uint(row, column + 1)?, uint(row, column + 2)?, counts))
}

/// Three columns from `column` on; `None` when they are null.
pub(super) fn opt_counts(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Counts>> {
    let Some(n) = opt_uint(row, column)? else { return Ok(None) };
    let or_zero = |value: Option<u64>| value.unwrap_or(0);
    Ok(Some(Counts { n, d: or_zero(opt_uint(row, column + 1)?), m: or_zero(opt_uint(row, column + 2)?) }))
}

/// Columns of [`stored_event`], after the channel.
pub(super) const EVENT_COLUMNS: &str = "seq, at, by, id, body, n, d, m";

pub(super) fn stored_event(channel: ChannelId, row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        channel,
        seq: uint(row, 0)?,
        at: uint(row, 1)?,
        by: user_id(row, 2)?,
        id: client_id(row, 3)?,
        // Stored with room for what may take its place.
        body: row.get_ref(4)?.as_str()?.trim_end().into(),
        counts: opt_counts(row, 5)?,
    })
}

/// Columns of [`channel_row`].
pub(super) const CHANNEL_COLUMNS: &str =
    "id, kind, name, topic, archived, created_by, created_at, head, seen, n_from, n, d, m";

pub(super) fn channel_row(row: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    Ok(ChannelRow {
        id: channel_id(row, 0)?,
        kind: channel_kind(row, 1)?,
        name: row.get(2)?,
        topic: row.get(3)?,
        archived: row.get(4)?,
        created_by: user_id(row, 5)?,
        created_at: uint(row, 6)?,
        end: end(row, 7)?,
    })
}

/// Columns of [`membership`].
pub(super) const MEMBERSHIP_COLUMNS: &str = "channel, since, read, own, read_at, read_n, read_d, read_m";

pub(super) fn membership(row: &Row<'_>) -> rusqlite::Result<Membership> {
    let read = uint(row, 2)?;
    let counts = if opt_uint(row, 4)? == Some(read) { opt_counts(row, 5)? } else { None };
    Ok(Membership { channel: channel_id(row, 0)?, since: uint(row, 1)?, read, counts, own: uint(row, 3)? })
}

pub(super) fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member { user: user_id(row, 0)?, since: uint(row, 1)? })
}

/// Columns of [`user`].
pub(super) const USER_COLUMNS: &str = "id, handle, display_name, role, created_at, deactivated";

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: user_id(row, 0)?,
        handle: row.get(1)?,
        display_name: row.get(2)?,
        role: role(row, 3)?,
        created_at: uint(row, 4)?,
        deactivated: row.get(5)?,
    })
}

/// [`USER_COLUMNS`], then `auth_version`.
pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { user: user(row)?, auth_version: uint(row, 6)? })
}

/// Columns of [`file`].
pub(super) const FILE_COLUMNS: &str = "id, channel, owner, name, media_type, size, sha256, created_at";

pub(super) fn file(row: &Row<'_>) -> rusqlite::Result<FileRow> {
    Ok(FileRow {
        id: FileId(uuid(row, 0)?),
        channel: channel_id(row, 1)?,
        owner: user_id(row, 2)?,
        name: row.get(3)?,
        media_type: row.get(4)?,
        size: uint(row, 5)?,
        sha256: row.get(6)?,
        created_at: uint(row, 7)?,
    })
}

/// Columns of [`session`].
pub(super) const SESSION_COLUMNS: &str =
    "id, user, created_at, used_at, expires_at, device, refresh_hash, revoked_at, chain, network";

pub(super) fn session(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: session_id(row, 0)?,
        user: user_id(row, 1)?,
        created_at: uint(row, 2)?,
        used_at: uint(row, 3)?,
        expires_at: uint(row, 4)?,
        device: row.get(5)?,
        refresh_hash: row.get(6)?,
        revoked_at: opt_uint(row, 7)?,
        chain: row.get(8)?,
        network: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
    })
}

/// Columns of [`invitation`].
pub(super) const INVITATION_COLUMNS: &str =
    "id, code_hash, account, role, uses_left, created_by, created_at, expires_at, note";

pub(super) fn invitation(row: &Row<'_>) -> rusqlite::Result<InvitationRow> {
    let user = |column| {
        Ok::<_, rusqlite::Error>(
            row.get::<_, Option<[u8; 16]>>(column)?.map(|id| UserId(Uuid::from_bytes(id))),
        )
    };
    Ok(InvitationRow {
        id: InvitationId(uuid(row, 0)?),
        code_hash: row.get(1)?,
        account: user(2)?,
        role: role(row, 3)?,
        uses_left: row.get(4)?,
        created_by: user(5)?,
        created_at: uint(row, 6)?,
        expires_at: uint(row, 7)?,
        note: row.get(8)?,
    })
}

pub(super) fn signing_key(row: &Row<'_>) -> rusqlite::Result<SigningKeyRow> {
    Ok(SigningKeyRow {
        kid: row.get(0)?,
        seed: row.get(1)?,
        created_at: uint(row, 2)?,
        verify_until: opt_uint(row, 3)?,
    })
}
