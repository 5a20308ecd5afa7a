//! [`AuthStore`]: credentials, sessions and signing keys.

use async_trait::async_trait;
use chat_domain::store::{AuthStore, InvitationRow, Rotation, SessionRow, SigningKeyRow, StoreError};
use chat_protocol::{InvitationId, Millis, SessionId, UserId};

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, text},
    cql::{Row, Statement, Value},
};

const PASSWORD: Statement = Statement::read("SELECT phc FROM passwords WHERE user = ?");
const FIRST_PASSWORD: Statement =
    Statement::conditional("INSERT INTO passwords (user, phc) VALUES (?, ?) IF NOT EXISTS");
const REPLACE_PASSWORD: Statement =
    Statement::conditional("UPDATE passwords SET phc = ? WHERE user = ? IF phc = ?");

impl CassandraStore {
    async fn first_password(&self, user: UserId, phc: &str) -> Result<Decided, StoreError> {
        let ours = |row: &Row| row.text("phc") == Some(phc);
        self.decide(FIRST_PASSWORD, vec![Value::Uuid(user.0), text(phc)], ours).await
    }
}

#[async_trait]
impl AuthStore for CassandraStore {
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let row = self.row(PASSWORD, vec![Value::Uuid(user.0)]).await?;
        row.map(|row| codec::string(&row, "phc")).transpose()
    }

    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        loop {
            let before = match self.first_password(user, phc).await? {
                Decided::Applied => return Ok(()),
                Decided::Refused(found) => found.map(|row| codec::string(&row, "phc")).transpose()?,
            };
            if before.is_some() && self.replace_password(user, before.as_deref(), phc).await? {
                return Ok(());
            }
        }
    }

    async fn replace_password(
        &self,
        user: UserId,
        from: Option<&str>,
        phc: &str,
    ) -> Result<bool, StoreError> {
        let decided = match from {
            Some(from) => {
                let values = vec![text(phc), Value::Uuid(user.0), text(from)];
                self.decide(REPLACE_PASSWORD, values, |row| row.text("phc") == Some(phc)).await?
            }
            None => self.first_password(user, phc).await?,
        };
        Ok(matches!(decided, Decided::Applied))
    }

    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.insert_session(session).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.read_session(id).await
    }

    async fn rotate_session(&self, id: SessionId, next: Rotation) -> Result<bool, StoreError> {
        self.rotate(id, next).await
    }

    async fn revoke_session(&self, id: SessionId, at: Millis) -> Result<bool, StoreError> {
        self.revoke(id, at).await
    }

    async fn sessions_of(&self, user: UserId, now: Millis) -> Result<Vec<SessionRow>, StoreError> {
        self.sessions(user, now).await
    }

    async fn revoked_since(&self, since: Millis) -> Result<Vec<SessionId>, StoreError> {
        self.revocations(since).await
    }

    async fn create_invitation(&self, invitation: &InvitationRow) -> Result<bool, StoreError> {
        self.insert_invitation(invitation).await
    }

    async fn invitation(&self, id: InvitationId) -> Result<Option<InvitationRow>, StoreError> {
        self.read_invitation(id).await
    }

    async fn change_uses(&self, id: InvitationId, from: u32, to: u32) -> Result<bool, StoreError> {
        self.change_uses_of(id, from, to).await
    }

    async fn invitations(&self, now: Millis) -> Result<Vec<InvitationRow>, StoreError> {
        self.good_invitations(now).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        Ok(self.key_ring().await?.keys)
    }

    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError> {
        self.add_to_ring(key, retire_others_at).await
    }
}
