//! [`AuthStore`]: credentials, sessions and signing keys.

use async_trait::async_trait;
use chat_domain::store::{
    AuthStore, InvitationRow, MAX_INVITATIONS, Rotation, SessionRow, SigningKeyRow, StoreError, numbers,
};
use chat_protocol::{InvitationId, Millis, SessionId, UserId};
use rusqlite::params;

use super::{
    SqliteStore,
    codec::{self, INVITATION_COLUMNS, SESSION_COLUMNS, int},
};

#[async_trait]
impl AuthStore for SqliteStore {
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.one("SELECT phc FROM passwords WHERE user = ?1", (user.0.into_bytes(),), |row| row.get(0)).await
    }

    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        let phc = phc.to_owned();
        self.write(move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO passwords (user, phc) VALUES (?1, ?2)")?
                .execute(params![user.0.as_bytes(), phc])?;
            Ok(())
        })
        .await
    }

    async fn replace_password(
        &self,
        user: UserId,
        from: Option<&str>,
        phc: &str,
    ) -> Result<bool, StoreError> {
        let (from, phc) = (from.map(str::to_owned), phc.to_owned());
        self.write(move |db| {
            let sql = if from.is_some() {
                "UPDATE passwords SET phc = ?3 WHERE user = ?1 AND phc = ?2"
            } else {
                "INSERT OR IGNORE INTO passwords (user, phc) SELECT ?1, ?3 WHERE ?2 IS NULL"
            };
            let replaced = db.prepare_cached(sql)?.execute(params![user.0.as_bytes(), from, phc])?;
            Ok(replaced > 0)
        })
        .await
    }

    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        let session = session.clone();
        self.write(move |db| {
            db.prepare_cached(&format!(
                "INSERT INTO sessions ({SESSION_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ))?
            .execute(params![
                session.id.0.as_bytes(),
                session.user.0.as_bytes(),
                int(session.created_at),
                int(session.used_at),
                int(session.expires_at),
                session.device,
                session.refresh_hash,
                session.revoked_at.map(int),
                session.chain,
                session.network.map(u64::cast_signed)
            ])?;
            Ok(())
        })
        .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let sql = format!("SELECT {SESSION_COLUMNS} FROM sessions WHERE id = ?1");
        self.one(sql, (id.0.into_bytes(),), codec::session).await
    }

    async fn rotate_session(&self, id: SessionId, next: Rotation) -> Result<bool, StoreError> {
        let Rotation { from, to, chain, network, at, expires_at } = next;
        self.write(move |db| {
            let rotated = db
                .prepare_cached(
                    "UPDATE sessions SET refresh_hash = ?3, used_at = ?4, expires_at = ?5, chain = ?6, network = ?7
                     WHERE id = ?1 AND refresh_hash = ?2 AND revoked_at IS NULL AND expires_at > ?4",
                )?
                .execute(params![
                    id.0.as_bytes(),
                    from,
                    to,
                    int(at),
                    int(expires_at),
                    chain,
                    network.map(u64::cast_signed)
                ])?;
            Ok(rotated > 0)
        })
        .await
    }

    async fn revoke_session(&self, id: SessionId, at: Millis) -> Result<bool, StoreError> {
        self.write(move |db| {
            let revoked = db
                .prepare_cached("UPDATE sessions SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
                .execute(params![id.0.as_bytes(), int(at)])?;
            Ok(revoked > 0)
        })
        .await
    }

    async fn sessions_of(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError> {
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM sessions WHERE user = ?1 AND revoked_at IS NULL AND expires_at > ?2
             ORDER BY created_at DESC, id DESC"
        );
        self.all(sql, (user.0.into_bytes(), int(now)), codec::session).await
    }

    async fn revoked_since(&self, since: Millis) -> Result<Vec<SessionId>, StoreError> {
        self.all(
            "SELECT id FROM sessions WHERE revoked_at IS NOT NULL AND revoked_at >= ?1 ORDER BY revoked_at",
            (int(since),),
            |row| codec::session_id(row, 0),
        )
        .await
    }

    async fn create_invitation(&self, invitation: &InvitationRow) -> Result<bool, StoreError> {
        let row = invitation.clone();
        self.write(move |db| {
            let now = int(row.created_at);
            db.execute("DELETE FROM invitations WHERE expires_at <= ?1", [now])?;
            let good: i64 =
                db.query_row("SELECT count(*) FROM invitations WHERE uses_left > 0", (), |row| row.get(0))?;
            if usize::try_from(good).is_ok_and(|good| good >= MAX_INVITATIONS) {
                return Ok(false);
            }
            db.execute(
                &format!("INSERT INTO invitations ({INVITATION_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
                params![
                    row.id.0.as_bytes(),
                    row.code_hash,
                    row.account.map(|user| user.0.into_bytes()),
                    numbers::role_number(row.role),
                    row.uses_left,
                    row.created_by.map(|user| user.0.into_bytes()),
                    now,
                    int(row.expires_at),
                    row.note
                ],
            )?;
            Ok(true)
        })
        .await
    }

    async fn invitation(&self, id: InvitationId) -> Result<Option<InvitationRow>, StoreError> {
        let sql = format!("SELECT {INVITATION_COLUMNS} FROM invitations WHERE id = ?1");
        self.one(sql, (id.0.into_bytes(),), codec::invitation).await
    }

    async fn change_uses(&self, id: InvitationId, from: u32, to: u32) -> Result<bool, StoreError> {
        self.write(move |db| {
            let changed = db
                .prepare_cached("UPDATE invitations SET uses_left = ?3 WHERE id = ?1 AND uses_left = ?2")?
                .execute(params![id.0.as_bytes(), from, to])?;
            Ok(changed > 0)
        })
        .await
    }

    async fn invitations(&self, now: Millis) -> Result<Vec<InvitationRow>, StoreError> {
        let sql = format!(
            "SELECT {INVITATION_COLUMNS} FROM invitations WHERE uses_left > 0 AND expires_at > ?1
             ORDER BY created_at DESC, id DESC"
        );
        self.all(sql, (int(now),), codec::invitation).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.all(
            "SELECT kid, seed, created_at, verify_until FROM signing_keys ORDER BY created_at DESC, kid DESC",
            (),
            codec::signing_key,
        )
        .await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |db| {
            db.execute(
                "UPDATE signing_keys SET verify_until = ?1 WHERE verify_until IS NULL",
                [int(retire_others_at)],
            )?;
            db.execute(
                "INSERT INTO signing_keys (kid, seed, created_at, verify_until) VALUES (?1, ?2, ?3, ?4)",
                params![key.kid, key.seed, int(key.created_at), key.verify_until.map(int)],
            )?;
            Ok(())
        })
        .await
    }
}
