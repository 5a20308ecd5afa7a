//! Signing keys: one partition with a version, so that every change is made on what was read.

use std::time::Duration;

use chat_domain::store::{SigningKeyRow, StoreError};
use chat_protocol::Millis;

use super::{
    CassandraStore,
    codec::{self, big, text, undone},
    cql::{CqlError, Row, Statement, Value},
};

const RING: i8 = 0;
const READ: Statement = Statement::serial_read(
    "SELECT version, kid, seed, created_at, verify_until FROM signing_keys WHERE ring = ?",
);
const FIRST: Statement =
    Statement::conditional("UPDATE signing_keys SET version = ? WHERE ring = ? IF version = null");
const NEXT: Statement =
    Statement::conditional("UPDATE signing_keys SET version = ? WHERE ring = ? IF version = ?");
const ADD: Statement =
    Statement::conditional("INSERT INTO signing_keys (ring, kid, seed, created_at) VALUES (?, ?, ?, ?)");
const RETIRE: Statement =
    Statement::conditional("UPDATE signing_keys SET verify_until = ? WHERE ring = ? AND kid = ?");
const FORGET: Statement = Statement::conditional("DELETE FROM signing_keys WHERE ring = ? AND kid = ?");

/// Kept so long after the last token that was signed with it, then the next key takes its place.
const KEPT_AFTER_MS: Millis = 30 * 24 * 60 * 60 * 1_000;
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct KeyRing {
    version: Option<i64>,
    /// All signing keys, newest first.
    pub(super) keys: Vec<SigningKeyRow>,
}

impl CassandraStore {
    pub(super) async fn key_ring(&self) -> Result<KeyRing, StoreError> {
        let rows = self.rows(READ, vec![Value::TinyInt(RING)]).await?;
        let version = rows.first().and_then(|row| row.bigint("version"));
        // A partition without rows still has its version.
        let rows = rows.iter().filter(|row| row.get("kid").is_some());
        let mut keys = rows.map(codec::signing_key).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by(|a, b| (b.created_at, &b.kid).cmp(&(a.created_at, &a.kid)));
        Ok(KeyRing { version, keys })
    }

    pub(super) async fn add_to_ring(&self, key: &SigningKeyRow, retire_at: Millis) -> Result<(), StoreError> {
        let mut unknown = false;
        for pause in (1..=TRIES).map(|n| PAUSE * n) {
            let ring = self.key_ring().await?;
            if ring.keys.iter().any(|known| known.kid == key.kid) {
                return Ok(());
            }
            match self.cql.batch(change(&ring, key, retire_at)).await {
                Ok(rows) if rows.first().is_some_and(Row::applied) => return Ok(()),
                Ok(_) => {}
                Err(CqlError::Timeout(_)) => unknown = true,
                Err(error) if unknown => return Err(StoreError::UnknownOutcome(Some(error.into()))),
                Err(error) => return Err(undone(error)),
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Err(StoreError::UnknownOutcome(None))
    }
}

impl CassandraStore {
    /// Removes all keys, in favour of this one if there is one.
    pub(super) async fn replace_ring(&self, key: Option<SigningKeyRow>) -> Result<(), StoreError> {
        let mut unknown = false;
        for pause in (1..=TRIES).map(|n| PAUSE * n) {
            let ring = self.key_ring().await?;
            if ring.keys.iter().eq(key.as_ref()) {
                return Ok(());
            }
            match self.cql.batch(replacement(&ring, key.as_ref())).await {
                Ok(rows) if rows.first().is_some_and(Row::applied) => return Ok(()),
                Ok(_) => {}
                Err(CqlError::Timeout(_)) => unknown = true,
                Err(error) if unknown => return Err(StoreError::UnknownOutcome(Some(error.into()))),
                Err(error) => return Err(undone(error)),
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Err(StoreError::UnknownOutcome(None))
    }
}

fn replacement(ring: &KeyRing, key: Option<&SigningKeyRow>) -> Vec<(Statement, Vec<Value>)> {
    let partition = Value::TinyInt(RING);
    let mut changes = vec![next_version(ring)];
    if let Some(key) = key {
        let seed = Value::Blob(key.seed.to_vec());
        changes.push((ADD, vec![partition.clone(), text(&key.kid), seed, big(key.created_at)]));
    }
    let old = ring.keys.iter().filter(|old| key.is_none_or(|key| key.kid != old.kid));
    changes.extend(old.map(|old| (FORGET, vec![partition.clone(), text(&old.kid)])));
    changes
}

/// The condition of each change: that the keys are those that were read.
fn next_version(ring: &KeyRing) -> (Statement, Vec<Value>) {
    let (partition, version) = (Value::TinyInt(RING), ring.version.unwrap_or_default() + 1);
    match ring.version {
        None => (FIRST, vec![Value::BigInt(version), partition]),
        Some(now) => (NEXT, vec![Value::BigInt(version), partition, Value::BigInt(now)]),
    }
}

fn change(ring: &KeyRing, key: &SigningKeyRow, retire_at: Millis) -> Vec<(Statement, Vec<Value>)> {
    let partition = Value::TinyInt(RING);
    let mut changes = vec![next_version(ring)];
    let seed = Value::Blob(key.seed.to_vec());
    changes.push((ADD, vec![partition.clone(), text(&key.kid), seed, big(key.created_at)]));
    if let Some(until) = key.verify_until {
        changes.push((RETIRE, vec![big(until), partition.clone(), text(&key.kid)]));
    }
    for old in &ring.keys {
        let kid = text(&old.kid);
        match old.verify_until {
            None => changes.push((RETIRE, vec![big(retire_at), partition.clone(), kid])),
            Some(until) if until.saturating_add(KEPT_AFTER_MS) < key.created_at => {
                changes.push((FORGET, vec![partition.clone(), kid]));
            }
            Some(_) => {}
        }
    }
    changes
}
