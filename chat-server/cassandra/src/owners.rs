//! The owners in one partition, so that the last one cannot go.
//!
//! An owner leaves the partition **before** his own row changes, and a new one is in it before his row changes: who is in the
//! partition *and* an owner by his row counts, and nobody else. Every change of the partition is conditional on its version,
//! so of two owners who go at once the second one sees that the first has left it.
//!
//! A process may die between the two writes, and its write of the row may still come late. That row's condition is its
//! `auth_version`, hence:
//! - Who is added is read after the partition: he is no owner then, so no change that would make him none is under way.
//! - Owners who are missing (somebody died in between, a server of 0.1.0 made them) are looked for before anybody is refused
//!   for being the last, and get another version before they are added, so that no late change of their rows happens any more.

use std::time::Duration;

use chat_domain::store::{Account, Standing, StoreError};
use chat_protocol::UserId;

use super::{
    CassandraStore,
    codec::{self, undone},
    cql::{CqlError, Row, Statement, Value},
};

const RING: i8 = 0;
const READ: Statement = Statement::serial_read("SELECT version, user FROM owners WHERE ring = ?");
const FIRST: Statement =
    Statement::conditional("UPDATE owners SET version = ? WHERE ring = ? IF version = null");
const NEXT: Statement = Statement::conditional("UPDATE owners SET version = ? WHERE ring = ? IF version = ?");
const ADD: Statement = Statement::conditional("INSERT INTO owners (ring, user) VALUES (?, ?)");
const REMOVE: Statement = Statement::conditional("DELETE FROM owners WHERE ring = ? AND user = ?");
/// All users: once, when the partition is filled, and before somebody is refused for being the last owner.
const ROLES: Statement = Statement::read("SELECT id, role, deactivated FROM users");

/// Users in one page of [`ROLES`].
const PAGE: usize = 5_000;
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);
/// An owner who left the partition and is one by his row still: his row changes within this time, unless somebody died.
const ROW_FOLLOWS: Duration = Duration::from_millis(200);

/// Whether the partition lets an owner come or go. When it does, it has been changed already.
pub(super) enum OwnersDecision {
    /// His row may change.
    Allowed,
    /// His row is another one meanwhile.
    Outdated,
    /// He is the last one.
    LastOwner,
}

/// The partition as it was read.
struct Owners {
    /// `None` before it was filled.
    version: Option<i64>,
    users: Vec<UserId>,
}

/// One change of the partition.
enum Change {
    Add(Vec<UserId>),
    Remove(UserId),
}

impl CassandraStore {
    /// Lets the user of this account become an owner or stop being one, as `to` says.
    pub(super) async fn change_owners(
        &self,
        account: &Account,
        to: Standing,
    ) -> Result<OwnersDecision, StoreError> {
        let user = account.user.id;
        for pause in (1..=TRIES).map(|n| PAUSE * n) {
            let owners = self.owners().await?;
            if owners.version.is_none() {
                let found = self.find_owners().await?;
                self.change_partition(&owners, Change::Add(found)).await?;
                continue;
            }
            // After the partition, see above.
            if self.settled_account(user).await?.as_ref().is_none_or(|now| {
                (now.auth_version, now.standing()) != (account.auth_version, account.standing())
            }) {
                return Ok(OwnersDecision::Outdated);
            }
            let change = if to.is_owner() {
                Change::Add(vec![user])
            } else if self.another_owner(&owners, user).await? {
                Change::Remove(user)
            } else {
                let missing = self.missing_owners(&owners, user).await?;
                if missing.is_empty() {
                    return Ok(OwnersDecision::LastOwner);
                }
                self.change_partition(&owners, Change::Add(missing)).await?;
                continue;
            };
            if self.change_partition(&owners, change).await? {
                return Ok(OwnersDecision::Allowed);
            }
            // Not in step with the others who were in the way.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Err(StoreError::Overloaded { retry_after_ms: 500 })
    }

    async fn owners(&self) -> Result<Owners, StoreError> {
        let rows = self.rows(READ, vec![Value::TinyInt(RING)]).await?;
        let version = rows.first().and_then(|row| row.bigint("version"));
        // A partition without rows still has its version.
        let users = rows.iter().filter_map(|row| row.uuid("user").map(UserId)).collect();
        Ok(Owners { version, users })
    }

    /// Whether anybody but `user` is in the partition and an owner.
    async fn another_owner(&self, owners: &Owners, user: UserId) -> Result<bool, StoreError> {
        for &other in owners.users.iter().filter(|other| **other != user) {
            if self.settled_account(other).await?.is_some_and(|account| account.standing().is_owner()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Owners but for `user` who are not in the partition, each with a new version.
    async fn missing_owners(&self, owners: &Owners, user: UserId) -> Result<Vec<UserId>, StoreError> {
        let mut missing = Vec::new();
        tokio::time::sleep(ROW_FOLLOWS).await;
        for other in self.find_owners().await? {
            if other == user || owners.users.contains(&other) {
                continue;
            }
            let Some(account) = self.settled_account(other).await? else { continue };
            let standing = account.standing();
            if standing.is_owner() && self.raise_version(&account, standing).await?.is_some() {
                missing.push(other);
            }
        }
        Ok(missing)
    }

    async fn find_owners(&self) -> Result<Vec<UserId>, StoreError> {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let page = self.cql.page(ROLES, Vec::new(), PAGE, from).await.map_err(undone)?;
            for row in &page.rows {
                if codec::standing(row)?.is_some_and(Standing::is_owner) {
                    found.push(UserId(codec::uuid(row, "id")?));
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// False when the partition is another one meanwhile, or nobody knows: it is read again then. A change that was made
    /// although its answer was lost does no harm when it is made again.
    async fn change_partition(&self, owners: &Owners, change: Change) -> Result<bool, StoreError> {
        let ring = Value::TinyInt(RING);
        let next = Value::BigInt(owners.version.unwrap_or_default() + 1);
        let mut batch = vec![match owners.version {
            None => (FIRST, vec![next, ring.clone()]),
            Some(version) => (NEXT, vec![next, ring.clone(), Value::BigInt(version)]),
        }];
        match change {
            Change::Add(users) => {
                batch.extend(users.iter().map(|user| (ADD, vec![ring.clone(), Value::Uuid(user.0)])));
            }
            Change::Remove(user) => batch.push((REMOVE, vec![ring, Value::Uuid(user.0)])),
        }
        match self.cql.batch(batch).await {
            Ok(rows) => Ok(rows.first().is_some_and(Row::applied)),
            Err(CqlError::Timeout(_)) => Ok(false),
            Err(error) => Err(undone(error)),
        }
    }
}
