//! What depends on the kind of an event: what a decision about it needs, what follows from it, how messages read after it.

use std::collections::HashMap;

use chat_domain::store::{NewEvent, StoredEvent, name_key, numbers::kind_number};
use chat_log::{
    ChannelChange, Effect, State, Target, claims_name, count::stands, effect, fold, needs, scrub,
};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Reactions, Seq, UserId, rest::Message};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{
    JobError,
    append::{Author, Log, pad},
    codec::{EVENT_COLUMNS, int, limit, stored_event, uint, user_id},
    seed::claim_name,
};

impl Log<'_> {
    /// What the decision needs.
    pub(super) fn state(&self, event: &NewEvent, author: &Author) -> Result<State, JobError> {
        let mut state =
            State { exists: self.facts.is_some(), channel: self.facts.clone(), ..State::default() };
        let needs = needs(event);
        for user in needs.members {
            let is_member = if user == event.by && event.authority.is_some() {
                author.read.is_some()
            } else {
                self.is_member(user)?
            };
            if is_member {
                state.members.insert(user);
            }
        }
        if needs.newest {
            let newest = "SELECT coalesce(max(since), 0) FROM members WHERE channel = ?1";
            state.newest = self.db.prepare_cached(newest)?.query_row([self.key()], |row| uint(row, 0))?;
        }
        for target in needs.targets {
            if let Some(by) = self.author_of_message(target)? {
                let mut reactions = reactions(self.db, self.key(), target, target)?;
                let reactions = reactions.remove(&target).unwrap_or_default();
                state.targets.insert(target, Target { reactions, ..Target::new(by) });
            }
        }
        Ok(state)
    }

    fn is_member(&self, user: UserId) -> Result<bool, JobError> {
        Ok(self
            .db
            .prepare_cached("SELECT 1 FROM members WHERE channel = ?1 AND user = ?2")?
            .exists(params![self.key(), user.0.as_bytes()])?)
    }

    /// Of a message that is not deleted.
    fn author_of_message(&self, target: Seq) -> Result<Option<UserId>, JobError> {
        let found: Option<(UserId, String)> = self
            .db
            .prepare_cached("SELECT by, body FROM events WHERE channel = ?1 AND seq = ?2 AND kind = 1")?
            .query_row(params![self.key(), int(target)], |row| Ok((user_id(row, 0)?, row.get(1)?)))
            .optional()?;
        let Some((by, body)) = found else { return Ok(None) };
        Ok(stands(&serde_json::from_str(&body)?).then_some(by))
    }

    /// Does what follows from the event.
    pub(super) fn project(&mut self, seq: Seq, event: &NewEvent) -> Result<(), JobError> {
        if matches!(*event.body, EventBody::Message { .. }) {
            self.message = seq;
        }
        if let EventBody::Reaction { target, emoji, removed } = &*event.body {
            self.react(seq, *target, emoji, event.by, *removed)?;
        }
        match effect(&event.body) {
            Effect::None | Effect::Edited { .. } | Effect::Aside => Ok(()),
            Effect::Channel(ChannelChange::Created { kind, name, topic }) => {
                self.create(kind, name, topic, event)
            }
            Effect::Channel(ChannelChange::Renamed(name)) => {
                self.update(
                    "UPDATE channels SET name = ?2, name_key = ?3 WHERE id = ?1",
                    params![self.key(), name, name_key(name)],
                )?;
                self.claim(self.facts.as_ref().map(|facts| facts.kind), name)
            }
            Effect::Channel(ChannelChange::Topic(topic)) => {
                self.update("UPDATE channels SET topic = ?2 WHERE id = ?1", params![self.key(), topic])
            }
            Effect::Channel(ChannelChange::Archived(archived)) => {
                self.update("UPDATE channels SET archived = ?2 WHERE id = ?1", params![self.key(), archived])
            }
            Effect::Joined(user) => self.join(user, seq),
            Effect::Left(user) => self.leave(user),
            Effect::Deleted { target } => self.delete(target),
        }
    }

    fn update(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), JobError> {
        self.db.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    fn create(
        &self,
        kind: ChannelKind,
        name: Option<&str>,
        topic: &str,
        event: &NewEvent,
    ) -> Result<(), JobError> {
        let key = name.filter(|_| !kind.is_direct()).map(name_key);
        self.update(
            "INSERT INTO channels (id, kind, name, name_key, topic, archived, created_by, created_at, head)
             VALUES (?1, ?2, ?3, ?4, ?5, FALSE, ?6, ?7, 0)",
            params![self.key(), kind_number(kind), name, key, topic, event.by.0.as_bytes(), int(event.at)],
        )?;
        name.map_or(Ok(()), |name| self.claim(Some(kind), name))
    }

    fn claim(&self, kind: Option<ChannelKind>, name: &str) -> Result<(), JobError> {
        if kind.is_some_and(claims_name) {
            claim_name(self.db, self.key(), name)?;
        }
        Ok(())
    }

    fn join(&self, user: UserId, seq: Seq) -> Result<(), JobError> {
        let (user, counts) = (user.0.as_bytes(), self.end.counts);
        self.update(
            "INSERT INTO members (channel, user, since) VALUES (?1, ?2, ?3)",
            params![self.key(), user, int(seq)],
        )?;
        self.update(
            "INSERT INTO user_channels (user, channel, since, read, read_at, read_n, read_d, read_m)
             VALUES (?1, ?2, ?3, ?3, ?3, ?4, ?5, ?6)",
            params![user, self.key(), int(seq), int(counts.n), int(counts.d), int(counts.m)],
        )
    }

    fn leave(&self, user: UserId) -> Result<(), JobError> {
        let user = user.0.as_bytes();
        self.update("DELETE FROM members WHERE channel = ?1 AND user = ?2", params![self.key(), user])?;
        self.update("DELETE FROM user_channels WHERE user = ?1 AND channel = ?2", params![user, self.key()])
    }

    /// Whether the author of a new message had read everything before it, and so it too. `read` is where their marker is,
    /// if they are a member.
    pub(super) fn has_read(&self, event: &NewEvent, read: Option<Seq>) -> Result<bool, JobError> {
        let (EventBody::Message { .. }, Some(seen), Some(read)) = (&*event.body, event.seen, read) else {
            return Ok(false);
        };
        let seen = seen.max(read);
        Ok(seen >= self.message || !self.others_wrote_after(seen, event.by)?)
    }

    /// Whether there are messages of others after a position.
    fn others_wrote_after(&self, seen: Seq, by: UserId) -> Result<bool, JobError> {
        Ok(self
            .db
            .prepare_cached(
                "SELECT 1 FROM events WHERE channel = ?1 AND kind = 1 AND seq > ?2 AND by <> ?3 LIMIT 1",
            )?
            .exists(params![self.key(), int(seen), by.0.as_bytes()])?)
    }

    fn react(&self, seq: Seq, target: Seq, emoji: &str, user: UserId, removed: bool) -> Result<(), JobError> {
        let user = user.0.as_bytes();
        if removed {
            return self.update(
                "DELETE FROM reactions WHERE channel = ?1 AND target = ?2 AND emoji = ?3 AND user = ?4",
                params![self.key(), int(target), emoji, user],
            );
        }
        self.update(
            "INSERT INTO reactions (channel, target, emoji, user, seq) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.key(), int(target), emoji, user, int(seq)],
        )
    }

    /// The texts of the message and of its edits leave the file, and its reactions their table.
    fn delete(&self, target: Seq) -> Result<(), JobError> {
        let key = params![self.key(), int(target)];
        self.update("DELETE FROM reactions WHERE channel = ?1 AND target = ?2", key)?;
        self.scrub("SELECT row, body FROM events WHERE channel = ?1 AND seq = ?2 AND kind = 1", key)?;
        self.scrub("SELECT row, body FROM events WHERE channel = ?1 AND target = ?2 AND kind = 2", key)
    }

    /// Overwrites bodies in place, see the table `events`: `secure_delete` alone zeroes what is freed, but not the
    /// copies that are left behind where rows were moved to make room.
    fn scrub(&self, select: &str, key: &[&dyn ToSql]) -> Result<(), JobError> {
        let rows: Vec<(i64, String)> = self
            .db
            .prepare_cached(select)?
            .query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (row, body) in rows {
            let Some(scrubbed) = scrub(&serde_json::from_str(&body)?) else { continue };
            let mut scrubbed = serde_json::to_string(&scrubbed)?;
            pad(&mut scrubbed, body.len());
            self.update("UPDATE events SET body = ?2 WHERE row = ?1", params![row, scrubbed])?;
        }
        Ok(())
    }
}

/// The newest messages before a position, newest first, as they read now. So many queries for a page, however long it is.
pub(super) fn messages(
    db: &Connection,
    channel: ChannelId,
    before: Seq,
    most: usize,
) -> Result<Vec<Message>, JobError> {
    // All of it is of one moment.
    let db = db.unchecked_transaction()?;
    let page: Vec<StoredEvent> = db
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE channel = ?1 AND kind = 1 AND seq < ?2
             ORDER BY seq DESC LIMIT ?3"
        ))?
        .query_map(params![channel.0.as_bytes(), int(before), limit(most)], |row| stored_event(channel, row))?
        .collect::<Result<_, _>>()?;
    let (Some(newest), Some(oldest)) = (page.first(), page.last()) else { return Ok(Vec::new()) };
    let mut edits = newest_edits(&db, channel, oldest.seq, newest.seq)?;
    let mut reactions = reactions(&db, channel.0.as_bytes(), oldest.seq, newest.seq)?;
    let read = |event: &StoredEvent| {
        let message = fold::message(event.parsed()?, edits.remove(&event.seq)).ok_or_else(|| {
            format!("failed to read a message at {} of {channel}: it is another event", event.seq)
        })?;
        Ok(Message { reactions: reactions.remove(&event.seq).unwrap_or_default(), ..message })
    };
    page.iter().map(read).collect()
}

/// The newest edit of each message from one position to another. A deletion is in the message's own body already.
fn newest_edits(
    db: &Connection,
    channel: ChannelId,
    from: Seq,
    to: Seq,
) -> Result<HashMap<Seq, fold::Edit>, JobError> {
    let mut query = db.prepare_cached(
        "SELECT message.seq, edit.at, edit.body FROM events message JOIN events edit ON edit.row =
             (SELECT row FROM events WHERE channel = ?1 AND target = message.seq AND kind = 2
              ORDER BY seq DESC LIMIT 1)
         WHERE message.channel = ?1 AND message.kind = 1 AND message.seq BETWEEN ?2 AND ?3",
    )?;
    let mut rows = query.query(params![channel.0.as_bytes(), int(from), int(to)])?;
    let mut edits = HashMap::new();
    while let Some(row) = rows.next()? {
        if let EventBody::Edited { text, .. } = serde_json::from_str(row.get_ref(2)?.as_str()?)? {
            edits.insert(uint(row, 0)?, fold::Edit { at: uint(row, 1)?, text });
        }
    }
    Ok(edits)
}

/// Who reacted with what to each message from one position to another.
fn reactions(
    db: &Connection,
    channel: &[u8; 16],
    from: Seq,
    to: Seq,
) -> Result<HashMap<Seq, Reactions>, JobError> {
    let mut query = db.prepare_cached(
        "SELECT target, emoji, user FROM reactions WHERE channel = ?1 AND target BETWEEN ?2 AND ?3",
    )?;
    let mut rows = query.query(params![channel, int(from), int(to)])?;
    let mut reactions: HashMap<Seq, Reactions> = HashMap::new();
    while let Some(row) = rows.next()? {
        let of_message = reactions.entry(uint(row, 0)?).or_default();
        of_message.entry(row.get(1)?).or_default().insert(user_id(row, 2)?);
    }
    Ok(reactions)
}
