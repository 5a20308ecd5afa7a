//! What a message brings with it beside its row and its channel's end: its client id, and its author's last message and read
//! marker. Each would cost a page of its own in every commit. All of it stands in the row as well, so it goes to its tables
//! for many rows at once, a little later, and whoever asks meanwhile looks at the rows behind `progress.settled`: the tail.

use chat_domain::store::{Counts, Membership};
use chat_protocol::{ChannelId, ClientId, Millis, Seq, UserId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::codec::{MEMBERSHIP_COLUMNS, channel_id, membership, opt_counts, uint};

/// Rows after which the tail is settled. Every message looks through it.
const LONG: i64 = 64;

/// A message that is not settled, of a known author.
struct Unsettled {
    channel: ChannelId,
    seq: Seq,
    /// Its author's read marker moved to it.
    read: bool,
    counts: Option<Counts>,
}

fn unsettled(db: &Connection, by: UserId) -> rusqlite::Result<Vec<Unsettled>> {
    let read = |row: &Row<'_>| {
        Ok(Unsettled {
            channel: channel_id(row, 0)?,
            seq: uint(row, 1)?,
            read: row.get(2)?,
            counts: opt_counts(row, 3)?,
        })
    };
    db.prepare_cached(
        "SELECT channel, seq, author_read, n, d, m FROM events
         WHERE row > (SELECT settled FROM progress) AND by = ?1 AND kind = 1 ORDER BY row",
    )?
    .query_map([by.0.as_bytes()], read)?
    .collect()
}

/// Where and when the event with this client id was committed first.
pub(super) fn committed_as(
    db: &Connection,
    channel: ChannelId,
    by: UserId,
    id: ClientId,
) -> rusqlite::Result<Option<(Seq, Millis)>> {
    db.prepare_cached(
        "SELECT seq, at FROM dedup WHERE channel = ?1 AND by = ?2 AND id = ?3
         UNION ALL
         SELECT seq, at FROM events
         WHERE row > (SELECT settled FROM progress) AND channel = ?1 AND by = ?2 AND id = ?3 LIMIT 1",
    )?
    .query_row(params![channel.0.as_bytes(), by.0.as_bytes(), id.0.as_bytes()], |row| {
        Ok((uint(row, 0)?, uint(row, 1)?))
    })
    .optional()
}

/// Somebody's places in all of their channels, in order of id.
pub(super) fn memberships(db: &Connection, user: UserId) -> rusqlite::Result<Vec<Membership>> {
    // First: what is settled in between is in both, and does no harm twice.
    let tail = unsettled(db, user)?;
    db.prepare_cached(&format!(
        "SELECT {MEMBERSHIP_COLUMNS} FROM user_channels WHERE user = ?1 ORDER BY channel"
    ))?
    .query_map([user.0.as_bytes()], |row| Ok(with_tail(membership(row)?, &tail)))?
    .collect()
}

/// Somebody's place in a channel.
pub(super) fn membership_in(
    db: &Connection,
    user: UserId,
    channel: ChannelId,
) -> rusqlite::Result<Option<Membership>> {
    let tail = unsettled(db, user)?;
    db.prepare_cached(&format!(
        "SELECT {MEMBERSHIP_COLUMNS} FROM user_channels WHERE user = ?1 AND channel = ?2"
    ))?
    .query_row(params![user.0.as_bytes(), channel.0.as_bytes()], |row| Ok(with_tail(membership(row)?, &tail)))
    .optional()
}

fn with_tail(mut place: Membership, tail: &[Unsettled]) -> Membership {
    // They may have left since, and joined again.
    let theirs = |event: &&Unsettled| event.channel == place.channel && event.seq > place.since;
    for event in tail.iter().filter(theirs) {
        place.own = place.own.max(event.seq);
        if event.read && event.seq > place.read {
            (place.read, place.counts) = (event.seq, event.counts);
        }
    }
    place
}

/// Whether it is time to settle it.
pub(super) fn is_long(db: &Connection) -> rusqlite::Result<bool> {
    let rows = "SELECT coalesce((SELECT max(row) FROM events), 0) - settled FROM progress";
    let rows: i64 = db.prepare_cached(rows)?.query_row((), |row| row.get(0))?;
    Ok(rows >= LONG)
}

/// Writes all of the tail to its tables. Done in part, or twice, it does no harm.
pub(super) fn settle(db: &Connection) -> rusqlite::Result<()> {
    for step in [
        "INSERT OR IGNORE INTO dedup (channel, by, id, seq, at)
         SELECT channel, by, id, seq, at FROM events
         WHERE row > (SELECT settled FROM progress) AND id IS NOT NULL",
        "UPDATE user_channels SET own = newest.seq
         FROM (SELECT by, channel, max(seq) AS seq FROM events
               WHERE row > (SELECT settled FROM progress) AND kind = 1 GROUP BY by, channel) AS newest
         WHERE user = newest.by AND user_channels.channel = newest.channel AND since < newest.seq",
        // The counts are those of the row with the greatest position.
        "UPDATE user_channels
         SET read = newest.seq, read_at = newest.seq, read_n = newest.n, read_d = newest.d, read_m = newest.m
         FROM (SELECT by, channel, max(seq) AS seq, n, d, m FROM events
               WHERE row > (SELECT settled FROM progress) AND author_read GROUP BY by, channel) AS newest
         WHERE user = newest.by AND user_channels.channel = newest.channel AND read < newest.seq",
        "UPDATE progress SET settled = (SELECT max(row) FROM events)
         WHERE settled < (SELECT max(row) FROM events)",
    ] {
        db.prepare_cached(step)?.execute(())?;
    }
    Ok(())
}
