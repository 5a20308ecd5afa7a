//! Invitations: conditional writes on a row each, and a list of them; both expire.

use chat_domain::{
    clock::now_ms,
    store::{InvitationRow, MAX_INVITATIONS, StoreError, numbers},
};
use chat_protocol::{InvitationId, Millis, UserId};
use uuid::Uuid;

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, text},
    cql::{Row, Statement, Value},
};

const RING: i8 = 0;
const INSERT: Statement = Statement::conditional(
    "INSERT INTO invitations (id, code_hash, account, role, uses_left, change, created_by, created_at, expires_at, note)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?",
);
const SELECT: Statement = Statement::read(
    "SELECT id, code_hash, account, role, uses_left, change, created_by, created_at, expires_at, note
     FROM invitations WHERE id = ?",
);
const CHANGE: Statement = Statement::conditional(
    "UPDATE invitations USING TTL ? SET uses_left = ?, change = ? WHERE id = ? IF uses_left = ? AND change = ?",
);
const LINK: Statement = Statement::write("INSERT INTO invitation_list (ring, id) VALUES (?, ?) USING TTL ?");
const UNLINK: Statement = Statement::write("DELETE FROM invitation_list WHERE ring = ? AND id = ?");
const LINKS: Statement = Statement::read("SELECT id FROM invitation_list WHERE ring = ?");

/// Kept beyond its end, for clocks that go differently.
const KEPT_AFTER_MS: Millis = 60 * 60 * 1_000;

fn ttl(until: Millis) -> Value {
    let seconds = until.saturating_sub(now_ms()).saturating_add(KEPT_AFTER_MS) / 1_000;
    Value::Int(i32::try_from(seconds.max(1)).unwrap_or(i32::MAX))
}

fn user(id: Option<UserId>) -> Value {
    Value::Uuid(id.map_or(Uuid::nil(), |id| id.0))
}

fn uses(count: u32) -> Value {
    Value::Int(i32::try_from(count).unwrap_or(i32::MAX))
}

impl CassandraStore {
    pub(super) async fn insert_invitation(&self, new: &InvitationRow) -> Result<bool, StoreError> {
        if self.good_invitations(new.created_at).await?.len() >= MAX_INVITATIONS {
            return Ok(false);
        }
        // First the way to it: one that leads nowhere does no harm, an invitation that no list shows cannot be ended.
        let kept = ttl(new.expires_at);
        self.write(LINK, vec![Value::TinyInt(RING), Value::Uuid(new.id.0), kept.clone()]).await?;
        let values = vec![
            Value::Uuid(new.id.0),
            Value::Blob(new.code_hash.to_vec()),
            user(new.account),
            Value::TinyInt(numbers::role_number(new.role)),
            uses(new.uses_left),
            Value::Uuid(Uuid::new_v4()),
            user(new.created_by),
            big(new.created_at),
            big(new.expires_at),
            text(&new.note),
            kept,
        ];
        let ours = |row: &Row| row.blob("code_hash") == Some(&new.code_hash[..]);
        match self.decide(INSERT, values, ours).await? {
            Decided::Applied => Ok(true),
            Decided::Refused(_) => Err(codec::damaged("an invitation's id to be new")),
        }
    }

    pub(super) async fn read_invitation(
        &self,
        id: InvitationId,
    ) -> Result<Option<InvitationRow>, StoreError> {
        self.row(SELECT, vec![Value::Uuid(id.0)]).await?.as_ref().map(codec::invitation).transpose()
    }

    pub(super) async fn change_uses_of(
        &self,
        id: InvitationId,
        from: u32,
        to: u32,
    ) -> Result<bool, StoreError> {
        let Some(row) = self.row(SELECT, vec![Value::Uuid(id.0)]).await? else { return Ok(false) };
        let (before, change) = (codec::uuid(&row, "change")?, Uuid::new_v4());
        let kept = ttl(codec::number(&row, "expires_at")?);
        let values =
            vec![kept, uses(to), Value::Uuid(change), Value::Uuid(id.0), uses(from), Value::Uuid(before)];
        // Others may have changed it from and to the same.
        let ours = |row: &Row| row.uuid("change") == Some(change);
        let changed = matches!(self.decide(CHANGE, values, ours).await?, Decided::Applied);
        if changed
            && to == 0
            && let Err(error) = self.write(UNLINK, vec![Value::TinyInt(RING), Value::Uuid(id.0)]).await
        {
            // It is left out of what is listed anyway, and expires.
            tracing::debug!(invitation = %id, %error, "an invitation that has ended stays in the list");
        }
        Ok(changed)
    }

    pub(super) async fn good_invitations(&self, now: Millis) -> Result<Vec<InvitationRow>, StoreError> {
        let links = self.all(LINKS, vec![Value::TinyInt(RING)]).await?;
        let ids =
            links.iter().map(|row| codec::uuid(row, "id").map(Value::Uuid)).collect::<Result<_, _>>()?;
        let mut good = self.each(SELECT, ids, codec::invitation).await?;
        good.retain(|row| row.uses_left > 0 && row.expires_at > now);
        good.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
        Ok(good)
    }
}
