//! [`AuthStore`]: credentials, sessions and signing keys.

use async_trait::async_trait;
use chat_domain::store::{AuthStore, SessionRow, SigningKeyRow, StoreError};
use chat_protocol::{Millis, SessionId, UserId};

use super::{
    CassandraStore,
    codec::{self, text},
    cql::{Statement, Value},
};

const PASSWORD: Statement = Statement::read("SELECT phc FROM passwords WHERE user = ?");
const SET_PASSWORD: Statement = Statement::write("INSERT INTO passwords (user, phc) VALUES (?, ?)");

#[async_trait]
impl AuthStore for CassandraStore {
    async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let row = self.row(PASSWORD, vec![Value::Uuid(user.0)]).await?;
        row.map(|row| codec::string(&row, "phc")).transpose()
    }

    async fn set_password(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        self.write(SET_PASSWORD, vec![Value::Uuid(user.0), text(phc)]).await
    }

    async fn create_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.insert_session(session).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.read_session(id).await
    }

    async fn rotate_session(
        &self,
        id: SessionId,
        from: [u8; 32],
        to: [u8; 32],
        at: Millis,
        expires_at: Millis,
    ) -> Result<bool, StoreError> {
        self.rotate(id, from, to, at, expires_at).await
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

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        Ok(self.key_ring().await?.keys)
    }

    async fn add_signing_key(&self, key: &SigningKeyRow, retire_others_at: Millis) -> Result<(), StoreError> {
        self.add_to_ring(key, retire_others_at).await
    }
}
