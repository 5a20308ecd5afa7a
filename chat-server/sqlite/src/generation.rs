//! [`GenerationStore`] on one table with one row, which `schema` makes.

use async_trait::async_trait;
use chat_domain::store::{GenerationRow, GenerationStore, SigningKeyRow, StoreError};
use chat_protocol::{Generation, Millis};
use rusqlite::{Row, params};

use super::{SqliteStore, codec::int};

#[async_trait]
impl GenerationStore for SqliteStore {
    async fn generation(&self) -> Result<GenerationRow, StoreError> {
        let found = self.one("SELECT id, since FROM generation", (), generation).await?;
        found.ok_or_else(|| StoreError::Failed("the file has no generation".into()))
    }

    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError> {
        self.write(move |db| {
            let sessions = db.execute("DELETE FROM sessions WHERE revoked_at IS NULL", ())?;
            db.execute("DELETE FROM sessions", ())?;
            db.execute("DELETE FROM signing_keys", ())?;
            if let Some(key) = key {
                db.execute(
                    "INSERT INTO signing_keys (kid, seed, created_at, verify_until) VALUES (?1, ?2, ?3, ?4)",
                    params![key.kid, key.seed, int(key.created_at), key.verify_until.map(int)],
                )?;
            }
            db.execute(
                "INSERT OR REPLACE INTO generation (one, id, since) VALUES (1, ?1, ?2)",
                params![next.id.0.as_bytes(), int(next.since)],
            )?;
            Ok(u64::try_from(sessions).unwrap_or(u64::MAX))
        })
        .await
    }
}

fn generation(row: &Row<'_>) -> rusqlite::Result<GenerationRow> {
    let id = uuid::Uuid::from_bytes(row.get(0)?);
    let since: i64 = row.get(1)?;
    Ok(GenerationRow { id: Generation(id), since: Millis::try_from(since).unwrap_or_default() })
}
