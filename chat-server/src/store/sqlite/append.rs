//! One append inside the writer's transaction: idempotency, the decision, the event, what follows from it.

use chat_log::{
    ChannelChange, ChannelFacts, Decision, Effect, State, Target, effect, kind_number, needs, rules_change,
    scrub, target,
};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Millis, Seq, UserId};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::{
    JobError,
    codec::{self, channel_kind_number, int, uint, user_id},
};
use crate::store::{Appended, Commit, End, NewEvent, Refusal, name_key};

/// Appends `events` in order. The caller's savepoint makes it all or nothing on an error.
pub(super) fn append(db: &Connection, channel: ChannelId, events: &[NewEvent]) -> Result<Commit, JobError> {
    let mut log = Log::open(db, channel)?;
    let before = log.end;
    let mut outcomes = Vec::with_capacity(events.len());
    for event in events {
        outcomes.push(log.append_one(event)?);
    }
    if log.end.head != before.head {
        log.save()?;
    }
    Ok(Commit { outcomes, before: Some(before) })
}

/// Where and when the event with this client id was committed first.
pub(super) fn committed_as(
    db: &Connection,
    channel: ChannelId,
    by: UserId,
    id: ClientId,
) -> Result<Option<(Seq, Millis)>, JobError> {
    Ok(db
        .prepare_cached("SELECT seq, at FROM dedup WHERE channel = ?1 AND by = ?2 AND id = ?3")?
        .query_row(params![channel.0.as_bytes(), by.0.as_bytes(), id.0.as_bytes()], |row| {
            Ok((uint(row, 0)?, uint(row, 1)?))
        })
        .optional()?)
}

struct Log<'a> {
    db: &'a Connection,
    channel: ChannelId,
    end: End,
    /// The last message; 0 for none.
    message: Seq,
    /// The last event that changed who may do what.
    ruled: Seq,
    /// What the log says of the channel; `None` before its first event.
    facts: Option<ChannelFacts>,
}

/// What is read of an author before each event: whether it was committed before, and where their marker is.
#[derive(Default)]
struct Author {
    first: Option<(Seq, Millis)>,
    read: Option<Seq>,
}

impl<'a> Log<'a> {
    fn open(db: &'a Connection, channel: ChannelId) -> Result<Self, JobError> {
        let read = |row: &Row<'_>| {
            let facts = ChannelFacts {
                kind: codec::channel_kind(row, 8)?,
                name: row.get(9)?,
                topic: row.get(10)?,
                archived: row.get(11)?,
                created_by: user_id(row, 12)?,
            };
            Ok((codec::end(row, 0)?, uint(row, 6)?, uint(row, 7)?, facts))
        };
        let found = db
            .prepare_cached(
                "SELECT head, seen, n_from, n, d, m, message, ruled, kind, name, topic, archived, created_by
                 FROM channels WHERE id = ?1",
            )?
            .query_row([channel.0.as_bytes()], read)
            .optional()?;
        Ok(match found {
            Some((end, message, ruled, facts)) => {
                Self { db, channel, end, message, ruled, facts: Some(facts) }
            }
            None => Self { db, channel, end: End::begun_anew(0), message: 0, ruled: 0, facts: None },
        })
    }

    fn save(&self) -> Result<(), JobError> {
        let End { head, from, counts } = self.end;
        self.db
            .prepare_cached(
                "UPDATE channels SET head = ?2, seen = ?2, n_from = ?3, n = ?4, d = ?5, m = ?6, message = ?7, ruled = ?8
                 WHERE id = ?1",
            )?
            .execute(params![
                self.key(),
                int(head),
                int(from),
                int(counts.n),
                int(counts.d),
                int(counts.m),
                int(self.message),
                int(self.ruled)
            ])?;
        Ok(())
    }

    fn key(&self) -> &[u8; 16] {
        self.channel.0.as_bytes()
    }

    fn append_one(&mut self, event: &NewEvent) -> Result<Appended, JobError> {
        let author = self.author(event)?;
        if let Some((seq, at)) = author.first {
            return Ok(Appended::Duplicate { seq, at });
        }
        let mut state = self.state(event, &author)?;
        match state.decide(event) {
            Decision::Accept => {}
            Decision::AcceptIfFree { key, .. } if !self.name_is_taken(&key)? => {}
            Decision::AcceptIfFree { .. } => return Ok(Appended::Refused(Refusal::NameTaken)),
            Decision::Refuse(refusal) => return Ok(Appended::Refused(refusal)),
        }
        let seq = self.end.head + 1;
        state.apply(seq, event.by, &event.body);
        self.facts = state.channel;
        self.end = self.end.after(&event.body);
        if rules_change(&event.body) {
            self.ruled = seq;
        }
        self.insert(seq, event)?;
        self.project(seq, event)?;
        if matches!(*event.body, EventBody::Message { .. }) {
            self.mark_own(seq, event, author.read)?;
            self.message = seq;
        }
        Ok(Appended::New { seq })
    }

    /// One statement, since every message needs both.
    fn author(&self, event: &NewEvent) -> Result<Author, JobError> {
        if event.id.is_none() && event.authority.is_none() && event.seen.is_none() {
            return Ok(Author::default());
        }
        // No client id is empty.
        let id = event.id.map_or(Vec::new(), |id| id.0.into_bytes().to_vec());
        let read = |row: &Row<'_>| {
            let seq: Option<i64> = row.get(0)?;
            let first = seq.map(|_| Ok::<_, rusqlite::Error>((uint(row, 0)?, uint(row, 1)?))).transpose()?;
            Ok(Author { first, read: codec::opt_uint(row, 2)? })
        };
        Ok(self
            .db
            .prepare_cached(
                "SELECT dedup.seq, dedup.at, user_channels.read FROM (SELECT 1)
                 LEFT JOIN dedup ON dedup.channel = ?1 AND dedup.by = ?2 AND dedup.id = ?3
                 LEFT JOIN user_channels ON user_channels.user = ?2 AND user_channels.channel = ?1",
            )?
            .query_row(params![self.key(), event.by.0.as_bytes(), id], read)?)
    }

    /// What the decision needs.
    fn state(&self, event: &NewEvent, author: &Author) -> Result<State, JobError> {
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
        for target in needs.targets {
            if let Some(by) = self.author_of_message(target)? {
                state.targets.insert(target, Target { by });
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
        let stands = matches!(serde_json::from_str(&body)?, EventBody::Message { deleted: false, .. });
        Ok(stands.then_some(by))
    }

    fn insert(&self, seq: Seq, event: &NewEvent) -> Result<(), JobError> {
        let mut body = event.body.json().to_string();
        if let Some(scrubbed) = scrub(&event.body) {
            // Room for what may take its place.
            pad(&mut body, serde_json::to_string(&scrubbed)?.len());
        }
        let id = event.id.map(|id| id.0.into_bytes());
        let counts = self.end.counts;
        self.db
            .prepare_cached(
                "INSERT INTO events (channel, seq, at, by, id, kind, target, body, n, d, m)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                self.key(),
                int(seq),
                int(event.at),
                event.by.0.as_bytes(),
                id,
                kind_number(&event.body),
                target(&event.body).map(int),
                body,
                int(counts.n),
                int(counts.d),
                int(counts.m)
            ])?;
        if let Some(id) = id {
            self.db
                .prepare_cached("INSERT INTO dedup (channel, by, id, seq, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![self.key(), event.by.0.as_bytes(), id, int(seq), int(event.at)])?;
        }
        Ok(())
    }

    /// Does what follows from the event.
    fn project(&self, seq: Seq, event: &NewEvent) -> Result<(), JobError> {
        match effect(&event.body) {
            Effect::None | Effect::Edited { .. } | Effect::Aside => Ok(()),
            Effect::Channel(ChannelChange::Created { kind, name, topic }) => {
                self.create(kind, name, topic, event)
            }
            Effect::Channel(ChannelChange::Renamed(name)) => self.update(
                "UPDATE channels SET name = ?2, name_key = ?3 WHERE id = ?1",
                params![self.key(), name, name_key(name)],
            ),
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
            params![
                self.key(),
                channel_kind_number(kind),
                name,
                key,
                topic,
                event.by.0.as_bytes(),
                int(event.at)
            ],
        )
    }

    /// By another channel than this one.
    fn name_is_taken(&self, key: &str) -> Result<bool, JobError> {
        Ok(self
            .db
            .prepare_cached("SELECT 1 FROM channels WHERE name_key = ?2 AND id <> ?1")?
            .exists(params![self.key(), key])?)
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

    /// Notes the author's last message, and that they have read it if they had read everything before it.
    fn mark_own(&self, seq: Seq, event: &NewEvent, read: Option<Seq>) -> Result<(), JobError> {
        let had_read = match event.seen.map(|seen| seen.max(read.unwrap_or(0))) {
            None => false,
            Some(seen) => seen >= self.message || !self.others_wrote_after(seen, event.by)?,
        };
        if !had_read {
            return self.update(
                "UPDATE user_channels SET own = ?3 WHERE user = ?1 AND channel = ?2",
                params![event.by.0.as_bytes(), self.key(), int(seq)],
            );
        }
        let counts = self.end.counts;
        self.update(
            "UPDATE user_channels SET own = ?3, read = ?3, read_at = ?3, read_n = ?4, read_d = ?5, read_m = ?6
             WHERE user = ?1 AND channel = ?2",
            params![
                event.by.0.as_bytes(),
                self.key(),
                int(seq),
                int(counts.n),
                int(counts.d),
                int(counts.m)
            ],
        )
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

    /// The texts of the message and of its edits leave the file.
    fn delete(&self, target: Seq) -> Result<(), JobError> {
        let key = params![self.key(), int(target)];
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

/// White space after JSON is no part of it; readers cut it off.
fn pad(body: &mut String, length: usize) {
    body.extend(std::iter::repeat_n(' ', length.saturating_sub(body.len())));
}
