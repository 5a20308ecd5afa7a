//! One append inside the writer's transaction: idempotency, the decision, the event. What a decision needs and what
//! follows from an event is in `project`.

use chat_domain::store::{Appended, Commit, End, NewEvent, Refusal};
use chat_log::{ChannelFacts, Decision, kind_number, permission::Denial, rules_change, scrub, target};
use chat_protocol::{ChannelId, Millis, Seq};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    JobError,
    codec::{self, int, uint, user_id},
    seed::is_claimed,
    tail,
};

/// Appends `events` in order. The caller's savepoint makes it all or nothing on an error.
pub(super) fn append(db: &Connection, channel: ChannelId, events: &[NewEvent]) -> Result<Commit, JobError> {
    let mut log = Log::open(db, channel)?;
    let before = log.end;
    let mut outcomes = Vec::with_capacity(events.len());
    for events in events.chunk_by(|_, next| next.with_previous) {
        if !outcomes.is_empty() && tail::is_long(db)? {
            tail::settle(db)?;
        }
        match events {
            [event] => outcomes.push(log.append_one(event)?),
            events => outcomes.extend(log.append_all_or_none(events)?),
        }
    }
    if log.end.head != before.head {
        log.save()?;
    }
    Ok(Commit { outcomes, before: Some(before), read: log.read })
}

pub(super) struct Log<'a> {
    pub(super) db: &'a Connection,
    channel: ChannelId,
    pub(super) end: End,
    /// The last message; 0 for none.
    pub(super) message: Seq,
    /// The last event that changed who may do what.
    ruled: Seq,
    /// What the log says of the channel; `None` before its first event.
    pub(super) facts: Option<ChannelFacts>,
    /// New messages that their authors' read markers moved to.
    pub(super) read: Vec<Seq>,
}

/// Of the author `?2` of an event with the client id `?3` in the channel `?1`: [`Author`]. For the tail, see there.
const AUTHOR: &str = "SELECT coalesce(dedup.seq, tail.seq), coalesce(dedup.at, tail.at),
         max(user_channels.read, tail.read), users.auth_version
     FROM (SELECT max(CASE id WHEN ?3 THEN seq END) AS seq, max(CASE id WHEN ?3 THEN at END) AS at,
                  coalesce(max(author_read * seq), 0) AS read
           FROM events WHERE row > (SELECT settled FROM progress) AND channel = ?1 AND by = ?2) AS tail
     LEFT JOIN dedup ON dedup.channel = ?1 AND dedup.by = ?2 AND dedup.id = ?3
     LEFT JOIN user_channels ON user_channels.user = ?2 AND user_channels.channel = ?1
     LEFT JOIN users ON users.id = ?2";

/// What is read of an author before each event: whether it was committed before, where their marker is, and the version of
/// their role.
#[derive(Default)]
pub(super) struct Author {
    first: Option<(Seq, Millis)>,
    pub(super) read: Option<Seq>,
    auth_version: u64,
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
                Self { db, channel, end, message, ruled, facts: Some(facts), read: Vec::new() }
            }
            None => {
                let end = End::begun_anew(0);
                Self { db, channel, end, message: 0, ruled: 0, facts: None, read: Vec::new() }
            }
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

    pub(super) fn key(&self) -> &[u8; 16] {
        self.channel.0.as_bytes()
    }

    /// Appends what belongs together.
    fn append_all_or_none(&mut self, events: &[NewEvent]) -> Result<Vec<Appended>, JobError> {
        let (end, message, ruled, facts) = (self.end, self.message, self.ruled, self.facts.clone());
        let read = self.read.len();
        self.db.prepare_cached("SAVEPOINT whole")?.execute(())?;
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            let outcome = self.append_one(event)?;
            if let Appended::Refused(refusal) = outcome
                && refusal != Refusal::NoEffect
            {
                self.db.prepare_cached("ROLLBACK TO whole")?.execute(())?;
                (self.end, self.message, self.ruled, self.facts) = (end, message, ruled, facts);
                self.read.truncate(read);
                outcomes = vec![outcome; events.len()];
                break;
            }
            outcomes.push(outcome);
        }
        self.db.prepare_cached("RELEASE whole")?.execute(())?;
        Ok(outcomes)
    }

    fn append_one(&mut self, event: &NewEvent) -> Result<Appended, JobError> {
        let author = self.author(event)?;
        if let Some((seq, at)) = author.first {
            return Ok(Appended::Duplicate { seq, at });
        }
        // In one transaction with the append, so nothing stands behind a change of the role that was decided by the one before.
        if event.authority.is_some_and(|authority| authority.auth_version < author.auth_version) {
            return Ok(Appended::Refused(Refusal::Denied(Denial::RoleChanged)));
        }
        let mut state = self.state(event, &author)?;
        match state.decide(event) {
            Decision::Accept => {}
            Decision::AcceptIfFree { claims, .. } => {
                for claim in claims {
                    if is_claimed(self.db, self.key(), &claim)? {
                        return Ok(Appended::Refused(Refusal::NameTaken));
                    }
                }
            }
            Decision::Refuse(refusal) => return Ok(Appended::Refused(refusal)),
        }
        let seq = self.end.head + 1;
        state.apply(seq, event.by, &event.body);
        self.facts = state.channel;
        self.end = self.end.after(&event.body);
        if rules_change(&event.body) {
            self.ruled = seq;
        }
        let read = self.has_read(event, author.read)?;
        self.insert(seq, event, read)?;
        if read {
            self.read.push(seq);
        }
        self.project(seq, event)?;
        Ok(Appended::New { seq })
    }

    /// One statement, since every message needs all of it.
    fn author(&self, event: &NewEvent) -> Result<Author, JobError> {
        if event.id.is_none() && event.authority.is_none() && event.seen.is_none() {
            return Ok(Author::default());
        }
        // No client id is empty.
        let id = event.id.map_or(Vec::new(), |id| id.0.into_bytes().to_vec());
        let read = |row: &Row<'_>| {
            let first = codec::opt_uint(row, 0)?.zip(codec::opt_uint(row, 1)?);
            let auth_version = codec::opt_uint(row, 3)?.unwrap_or_default();
            Ok(Author { first, read: codec::opt_uint(row, 2)?, auth_version })
        };
        Ok(self.db.prepare_cached(AUTHOR)?.query_row(params![self.key(), event.by.0.as_bytes(), id], read)?)
    }

    fn insert(&self, seq: Seq, event: &NewEvent, author_read: bool) -> Result<(), JobError> {
        let mut body = event.body.json().to_string();
        if let Some(scrubbed) = scrub(&event.body) {
            // Room for what may take its place.
            pad(&mut body, serde_json::to_string(&scrubbed)?.len());
        }
        let id = event.id.map(|id| id.0.into_bytes());
        let counts = self.end.counts;
        self.db
            .prepare_cached(
                "INSERT INTO events (channel, seq, at, by, id, kind, target, body, n, d, m, author_read)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
                int(counts.m),
                author_read
            ])?;
        Ok(())
    }
}

/// White space after JSON is no part of it; readers cut it off.
pub(super) fn pad(body: &mut String, length: usize) {
    body.extend(std::iter::repeat_n(' ', length.saturating_sub(body.len())));
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ChannelKind, ClientId, EventBody, UserId};
    use rusqlite::StatementStatus;

    use super::{
        super::{plan_once, schema::migrate},
        *,
    };

    #[test]
    fn what_every_message_asks_is_planned_once() {
        let mut db = Connection::open_in_memory().expect("opens");
        plan_once(&db).expect("is set");
        migrate(&mut db).expect("migrates");
        let (channel, by) = (ChannelId::new(), UserId::new());
        let created = EventBody::ChannelCreated {
            channel_kind: ChannelKind::Private,
            name: None,
            topic: String::new(),
        };
        append(&db, channel, &[NewEvent::of_server(by, 1, created)]).expect("is made");
        for n in 0..3 {
            let body = EventBody::Message { text: "hi".into(), files: vec![], deleted: false };
            let sent = NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(by, n, body) };
            append(&db, channel, &[sent]).expect("is appended");
        }
        let asked = db.prepare_cached(AUTHOR).expect("is in the cache");
        assert_eq!(asked.get_status(StatementStatus::Run), 3);
        assert_eq!(asked.get_status(StatementStatus::RePrepare), 0);
    }
}
