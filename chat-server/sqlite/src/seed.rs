//! Filling a store in bulk, for load tests and demonstrations.

use chat_domain::store::{Appended, NewEvent, StoreError, name_claims, numbers::role_number};
use chat_log::text::{fold, from_each_word, look};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Millis, UserId, rest::User};
use rusqlite::{Connection, params};

use super::{SqliteStore, append, codec::int, job::JobError};

/// Users in one transaction; bounds how long other writers wait.
const USERS_AT_ONCE: usize = 5_000;
/// Memberships after which a transaction ends; a channel is never split.
const MEMBERSHIPS_AT_ONCE: usize = 10_000;

/// What to fill a store with.
#[derive(Debug, Clone, Default)]
pub struct SeedPlan {
    /// Users to add.
    pub users: Vec<User>,
    /// Channels to make.
    pub channels: Vec<SeedChannel>,
}

/// A channel with its members.
#[derive(Debug, Clone)]
pub struct SeedChannel {
    /// Which; must be new.
    pub id: ChannelId,
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Its name, for public and private channels.
    pub name: Option<String>,
    /// What it is about.
    pub topic: String,
    /// Who makes it and adds the members.
    pub created_by: UserId,
    /// When it was made.
    pub at: Millis,
    /// Who joins, in this order.
    pub members: Vec<UserId>,
}

/// What [`SqliteStore::seed`] added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Users whose handle was free.
    pub users: usize,
    /// Channels whose id and name were free.
    pub channels: usize,
    /// Memberships of those channels.
    pub memberships: usize,
}

impl SqliteStore {
    /// Adds everything that `plan` names and that is not there: the logs say the same as if each channel had been
    /// made and joined by hand. It is done in many transactions; after an error those before it stand.
    ///
    /// # Errors
    /// As any write.
    pub async fn seed(&self, plan: SeedPlan) -> Result<Seeded, StoreError> {
        let mut seeded = Seeded::default();
        for users in plan.users.chunks(USERS_AT_ONCE) {
            let users = users.to_vec();
            seeded.users += self.write(move |db| insert_users(db, &users)).await?;
        }
        let mut channels = plan.channels.into_iter().peekable();
        while channels.peek().is_some() {
            let mut group = Vec::new();
            let mut memberships = 0;
            while memberships < MEMBERSHIPS_AT_ONCE
                && let Some(channel) = channels.next()
            {
                memberships += channel.members.len();
                group.push(channel);
            }
            let added = self.write(move |db| insert_channels(db, &group)).await?;
            seeded.channels += added.channels;
            seeded.memberships += added.memberships;
        }
        Ok(seeded)
    }
}

fn insert_users(db: &Connection, users: &[User]) -> Result<usize, JobError> {
    let mut added = 0;
    for user in users {
        added += usize::from(insert_user(db, user)?);
    }
    Ok(added)
}

/// False when the handle is taken, or looks like one that is.
pub(super) fn insert_user(db: &Connection, user: &User) -> Result<bool, JobError> {
    if !claim_look(db, &user.handle)? {
        return Ok(false);
    }
    let inserted = db
        .prepare_cached(
            "INSERT INTO users (id, handle, display_name, role, created_at, deactivated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (handle) DO NOTHING",
        )?
        .execute(params![
            user.id.0.as_bytes(),
            user.handle,
            user.display_name,
            role_number(user.role),
            int(user.created_at),
            user.deactivated
        ])?;
    if inserted > 0 {
        insert_words(db, &user.handle, &user.display_name)?;
    }
    Ok(inserted > 0)
}

/// False when a handle has this look already.
pub(super) fn claim_look(db: &Connection, handle: &str) -> rusqlite::Result<bool> {
    let claimed = db
        .prepare_cached("INSERT OR IGNORE INTO handle_looks (look) VALUES (?1)")?
        .execute(params![look(handle)])?;
    Ok(claimed > 0)
}

/// Gives a public channel its name, instead of the one that it had. False when another one has a claim of it: now both do.
pub(super) fn claim_name(db: &Connection, channel: &[u8], name: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("DELETE FROM channel_claims WHERE channel = ?1")?.execute([channel])?;
    let mut is_alone = true;
    for claim in name_claims(name) {
        is_alone &= !is_claimed(db, channel, &claim)?;
        db.prepare_cached("INSERT INTO channel_claims (claim, channel) VALUES (?1, ?2)")?
            .execute(params![claim, channel])?;
    }
    Ok(is_alone)
}

/// Whether another public channel than this one has a claim.
pub(super) fn is_claimed(db: &Connection, channel: &[u8], claim: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM channel_claims WHERE claim = ?1 AND channel <> ?2")?
        .exists(params![claim, channel])
}

/// Lets somebody be found by this display name.
pub(super) fn insert_words(db: &Connection, handle: &str, display_name: &str) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO user_words (word, handle) VALUES (?1, ?2)")?;
    for word in from_each_word(&fold(display_name)) {
        insert.execute(params![word, handle])?;
    }
    Ok(())
}

/// Lets somebody be found by this display name no more.
pub(super) fn delete_words(db: &Connection, handle: &str, display_name: &str) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM user_words WHERE word = ?1 AND handle = ?2")?;
    for word in from_each_word(&fold(display_name)) {
        delete.execute(params![word, handle])?;
    }
    Ok(())
}

fn insert_channels(db: &Connection, channels: &[SeedChannel]) -> Result<Seeded, JobError> {
    let mut seeded = Seeded::default();
    for channel in channels {
        let outcomes = append::append(db, channel.id, &first_events(channel))?.outcomes;
        let added = outcomes.iter().filter(|outcome| matches!(outcome, Appended::New { .. })).count();
        if matches!(outcomes.first(), Some(Appended::New { .. })) {
            seeded.channels += 1;
            seeded.memberships += added - 1;
        } else {
            seeded.memberships += added;
        }
    }
    Ok(seeded)
}

fn first_events(channel: &SeedChannel) -> Vec<NewEvent> {
    let created = EventBody::ChannelCreated {
        channel_kind: channel.kind,
        name: channel.name.clone(),
        topic: channel.topic.clone(),
    };
    let joined = channel.members.iter().map(|&user| EventBody::MemberJoined { user });
    std::iter::once(created)
        .chain(joined)
        .map(|body| NewEvent::of_server(channel.created_by, channel.at, body))
        .collect()
}
