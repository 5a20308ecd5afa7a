//! One append inside the writer's transaction: idempotency, preconditions, the event, its projection.

use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Millis, Seq, UserId};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{
    JobError,
    codec::{channel_kind_number, event_columns, int, uint},
};
use crate::store::{Appended, NewEvent, Refusal, name_key, scrubbed};

/// Appends `events` in order. The caller's savepoint makes it all or nothing on an error.
pub(super) fn append(
    db: &Connection,
    channel: ChannelId,
    events: &[NewEvent],
) -> Result<Vec<Appended>, JobError> {
    let log = Log { db, channel };
    let before = log.head()?;
    let mut head = before;
    let mut outcomes = Vec::with_capacity(events.len());
    for event in events {
        let outcome = log.append_one(head, event)?;
        if let Appended::New { seq } = outcome {
            head = Some(seq);
        }
        outcomes.push(outcome);
    }
    if let Some(head) = head.filter(|_| head != before) {
        db.prepare_cached("UPDATE channels SET head = ?2 WHERE id = ?1")?
            .execute(params![log.key(), int(head)])?;
    }
    Ok(outcomes)
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
}

impl Log<'_> {
    fn key(&self) -> &[u8; 16] {
        self.channel.0.as_bytes()
    }

    fn head(&self) -> Result<Option<Seq>, JobError> {
        Ok(self
            .db
            .prepare_cached("SELECT head FROM channels WHERE id = ?1")?
            .query_row([self.key()], |row| uint(row, 0))
            .optional()?)
    }

    fn append_one(&self, head: Option<Seq>, event: &NewEvent) -> Result<Appended, JobError> {
        if let Some(first) = self.committed_before(event)? {
            return Ok(first);
        }
        let creates = matches!(event.body, EventBody::ChannelCreated { .. });
        let seq = match head {
            None if !creates => return Ok(Appended::Refused(Refusal::NoChannel)),
            Some(_) if creates => return Ok(Appended::Refused(Refusal::ChannelExists)),
            head => head.unwrap_or(0) + 1,
        };
        if let Err(refusal) = self.project(seq, event)? {
            return Ok(Appended::Refused(refusal));
        }
        self.insert(seq, event)?;
        Ok(Appended::New { seq })
    }

    fn committed_before(&self, event: &NewEvent) -> Result<Option<Appended>, JobError> {
        let Some(id) = event.id else { return Ok(None) };
        let first = committed_as(self.db, self.channel, event.by, id)?;
        Ok(first.map(|(seq, at)| Appended::Duplicate { seq, at }))
    }

    fn insert(&self, seq: Seq, event: &NewEvent) -> Result<(), JobError> {
        let (kind, target) = event_columns(&event.body);
        let mut body = serde_json::to_string(&event.body)?;
        if let Some(scrubbed) = scrubbed(&event.body) {
            // Room for what may take its place.
            pad(&mut body, serde_json::to_string(&scrubbed)?.len());
        }
        let id = event.id.map(|id| id.0.into_bytes());
        self.db
            .prepare_cached(
                "INSERT INTO events (channel, seq, at, by, id, kind, target, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                self.key(),
                int(seq),
                int(event.at),
                event.by.0.as_bytes(),
                id,
                kind,
                target,
                body
            ])?;
        if let Some(id) = id {
            self.db
                .prepare_cached("INSERT INTO dedup (channel, by, id, seq, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![self.key(), event.by.0.as_bytes(), id, int(seq), int(event.at)])?;
        }
        Ok(())
    }

    /// Checks what the event needs and does what follows from it. Writes nothing when it refuses.
    fn project(&self, seq: Seq, event: &NewEvent) -> Result<Result<(), Refusal>, JobError> {
        let changed = match &event.body {
            EventBody::ChannelCreated { channel_kind, name, topic } => {
                return self.create(*channel_kind, name.as_deref(), topic, event);
            }
            EventBody::Message { .. } => {
                self.read_own(event.by, seq)?;
                true
            }
            EventBody::Edited { target, .. } => return self.expect_message(*target),
            EventBody::Deleted { target } => return self.delete(*target),
            EventBody::MemberJoined { user } => self.join(*user, seq)?,
            EventBody::MemberLeft { user } => self.leave(*user)?,
            EventBody::Renamed { name } => return self.rename(name),
            EventBody::TopicChanged { topic } => self.update(
                "UPDATE channels SET topic = ?2 WHERE id = ?1 AND topic <> ?2",
                params![self.key(), topic],
            )?,
            EventBody::Archived { archived } => self.update(
                "UPDATE channels SET archived = ?2 WHERE id = ?1 AND archived <> ?2",
                params![self.key(), archived],
            )?,
            EventBody::Unknown => false,
        };
        Ok(if changed { Ok(()) } else { Err(Refusal::NoEffect) })
    }

    fn update(&self, sql: &str, params: impl rusqlite::Params) -> Result<bool, JobError> {
        Ok(self.db.prepare_cached(sql)?.execute(params)? > 0)
    }

    fn create(
        &self,
        kind: ChannelKind,
        name: Option<&str>,
        topic: &str,
        event: &NewEvent,
    ) -> Result<Result<(), Refusal>, JobError> {
        let key = name.filter(|_| !kind.is_direct()).map(name_key);
        if let Some(key) = &key
            && self.name_is_taken(key)?
        {
            return Ok(Err(Refusal::NameTaken));
        }
        self.db
            .prepare_cached(
                "INSERT INTO channels (id, kind, name, name_key, topic, archived, created_by, created_at, head)
                 VALUES (?1, ?2, ?3, ?4, ?5, FALSE, ?6, ?7, 0)",
            )?
            .execute(params![
                self.key(),
                channel_kind_number(kind),
                name,
                key,
                topic,
                event.by.0.as_bytes(),
                int(event.at)
            ])?;
        Ok(Ok(()))
    }

    /// By another channel than this one.
    fn name_is_taken(&self, key: &str) -> Result<bool, JobError> {
        Ok(self
            .db
            .prepare_cached("SELECT 1 FROM channels WHERE name_key = ?2 AND id <> ?1")?
            .exists(params![self.key(), key])?)
    }

    fn rename(&self, name: &str) -> Result<Result<(), Refusal>, JobError> {
        let key = name_key(name);
        if self.name_is_taken(&key)? {
            return Ok(Err(Refusal::NameTaken));
        }
        let renamed = self.update(
            "UPDATE channels SET name = ?2, name_key = ?3 WHERE id = ?1 AND name_key IS NOT NULL AND name <> ?2",
            params![self.key(), name, key],
        )?;
        Ok(if renamed { Ok(()) } else { Err(Refusal::NoEffect) })
    }

    fn join(&self, user: UserId, seq: Seq) -> Result<bool, JobError> {
        let user = user.0.as_bytes();
        let joined = self.update(
            "INSERT INTO members (channel, user, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![self.key(), user, int(seq)],
        )?;
        if joined {
            self.update(
                "INSERT INTO user_channels (user, channel, since, read) VALUES (?1, ?2, ?3, ?3)",
                params![user, self.key(), int(seq)],
            )?;
        }
        Ok(joined)
    }

    fn leave(&self, user: UserId) -> Result<bool, JobError> {
        let user = user.0.as_bytes();
        let left =
            self.update("DELETE FROM members WHERE channel = ?1 AND user = ?2", params![self.key(), user])?;
        if left {
            self.update(
                "DELETE FROM user_channels WHERE user = ?1 AND channel = ?2",
                params![user, self.key()],
            )?;
        }
        Ok(left)
    }

    /// Who writes has read what they wrote.
    fn read_own(&self, by: UserId, seq: Seq) -> Result<bool, JobError> {
        self.update(
            "UPDATE user_channels SET read = ?3 WHERE user = ?1 AND channel = ?2 AND read < ?3",
            params![by.0.as_bytes(), self.key(), int(seq)],
        )
    }

    fn expect_message(&self, target: Seq) -> Result<Result<(), Refusal>, JobError> {
        let body: Option<String> = self
            .db
            .prepare_cached("SELECT body FROM events WHERE channel = ?1 AND seq = ?2 AND kind = 1")?
            .query_row(params![self.key(), int(target)], |row| row.get(0))
            .optional()?;
        let Some(body) = body else { return Ok(Err(Refusal::NoTarget)) };
        Ok(match serde_json::from_str(&body)? {
            EventBody::Message { deleted: false, .. } => Ok(()),
            _ => Err(Refusal::NoTarget),
        })
    }

    /// The texts of the message and of its edits leave the file.
    fn delete(&self, target: Seq) -> Result<Result<(), Refusal>, JobError> {
        if let Err(refusal) = self.expect_message(target)? {
            return Ok(Err(refusal));
        }
        let key = params![self.key(), int(target)];
        self.scrub("SELECT row, body FROM events WHERE channel = ?1 AND seq = ?2 AND kind = 1", key)?;
        self.scrub("SELECT row, body FROM events WHERE channel = ?1 AND target = ?2 AND kind = 2", key)?;
        Ok(Ok(()))
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
            let Some(scrubbed) = scrubbed(&serde_json::from_str(&body)?) else { continue };
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
