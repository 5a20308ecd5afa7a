//! Tables, and how a file of an older version becomes one of this version.

use rusqlite::{Connection, Row};

use super::{
    OpenError,
    seed::{claim_look, claim_name, insert_words},
};

/// One step per version, in order; `PRAGMA user_version` counts those that were taken. Steps are never changed
/// once released, only added.
const MIGRATIONS: &[&str] = &[V1, V2];

/// Ids are 16-byte blobs, times are milliseconds since the Unix epoch, enums are the numbers in `codec`.
const V1: &str = "
CREATE TABLE channels (
    id BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    name TEXT,
    name_key TEXT,
    topic TEXT NOT NULL,
    archived INTEGER NOT NULL,
    created_by BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    head INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX channels_name ON channels (name_key) WHERE name_key IS NOT NULL;
CREATE INDEX channels_public ON channels (name_key, id) WHERE kind = 0;

-- Rows are only ever added at the end and overwritten in place by bodies of the same length: never moved, so
-- that no page keeps a stale copy of a text that is deleted later. Hence a rowid table, and no deletion from it.
CREATE TABLE events (
    row INTEGER PRIMARY KEY,
    channel BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by BLOB NOT NULL,
    id BLOB,
    kind INTEGER NOT NULL,
    target INTEGER,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX events_log ON events (channel, seq);
CREATE INDEX events_target ON events (channel, target, seq) WHERE target IS NOT NULL;
CREATE INDEX events_messages ON events (channel, seq) WHERE kind = 1;

-- Client ids of the last day. `at` is the event's time and answers a repeated send; purging goes by it too.
CREATE TABLE dedup (
    channel BLOB NOT NULL,
    by BLOB NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (channel, by, id)
) WITHOUT ROWID;
CREATE INDEX dedup_at ON dedup (at);

-- Both directions of membership: one range read each.
CREATE TABLE members (
    channel BLOB NOT NULL,
    user BLOB NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (channel, user)
) WITHOUT ROWID;
CREATE TABLE user_channels (
    user BLOB NOT NULL,
    channel BLOB NOT NULL,
    since INTEGER NOT NULL,
    read INTEGER NOT NULL,
    PRIMARY KEY (user, channel)
) WITHOUT ROWID;

CREATE TABLE users (
    id BLOB PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    display_key TEXT NOT NULL,
    role INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deactivated INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX users_display ON users (display_key);

CREATE TABLE passwords (user BLOB PRIMARY KEY, phc TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    user BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    device TEXT NOT NULL,
    refresh_hash BLOB NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user, created_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    seed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    verify_until INTEGER
) WITHOUT ROWID;

CREATE TABLE files (
    id BLOB PRIMARY KEY,
    channel BLOB NOT NULL,
    owner BLOB NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Version 0.2.0: counts, roles that change, generations, consumers, reactions.
const V2: &str = "
-- Where a log ends, beyond `head`: how many counted messages stand up to there (`n`), how many of them were deleted (`d`),
-- how many mention the whole channel (`m`), and where counting began (`n_from`). The four belong to `seen`; where that is
-- not `head`, counting begins anew. `ruled` is the last event that changed who may do what.
ALTER TABLE channels ADD COLUMN n INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN d INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN m INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN n_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN ruled INTEGER NOT NULL DEFAULT 0;
-- The last message; 0 for none.
ALTER TABLE channels ADD COLUMN message INTEGER NOT NULL DEFAULT 0;
UPDATE channels SET message =
    (SELECT coalesce(max(seq), 0) FROM events WHERE events.channel = channels.id AND events.kind = 1);
-- Only public channels have their names to themselves, by what these claim: no two have a claim in common, but for those that
-- are from before there were claims.
DROP INDEX channels_name;
CREATE TABLE channel_claims (claim TEXT, channel BLOB, PRIMARY KEY (claim, channel)) WITHOUT ROWID;
CREATE INDEX channel_claims_channel ON channel_claims (channel);
-- Users by the words of their names: the rest of the name from each word on, folded.
CREATE TABLE user_words (word TEXT NOT NULL, handle TEXT NOT NULL, PRIMARY KEY (word, handle)) WITHOUT ROWID;
-- What handles look like: no two may look alike.
CREATE TABLE handle_looks (look TEXT PRIMARY KEY) WITHOUT ROWID;
DROP INDEX users_display;
ALTER TABLE users DROP COLUMN display_key;
-- The same three up to each event; NULL for events of an older version.
ALTER TABLE events ADD COLUMN n INTEGER;
ALTER TABLE events ADD COLUMN d INTEGER;
ALTER TABLE events ADD COLUMN m INTEGER;
-- Whether its author's read marker moved to it.
ALTER TABLE events ADD COLUMN author_read INTEGER NOT NULL DEFAULT 0;
-- One row. Up to the event in row `settled`, client ids are in `dedup` and authors' messages and markers in `user_channels`, see
-- `tail`. Up to `purged`, client ids are too old and gone: what `dedup` has stands behind it, so it needs no index by time.
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), settled INTEGER NOT NULL, purged INTEGER NOT NULL);
INSERT INTO progress (one, settled, purged) SELECT 1, coalesce(max(row), 0), coalesce(
    (SELECT min(events.row) - 1 FROM dedup JOIN events USING (channel, seq)), max(row), 0) FROM events;
DROP INDEX dedup_at;
-- Each event stands in one index by its position, so that it costs one page: messages in `events_messages`, all else here. `log`
-- is both; a query on it names the channel, and selects `seq` where it sorts by it, or all of the channel is sorted.
DROP INDEX events_log;
CREATE UNIQUE INDEX events_others ON events (channel, seq) WHERE kind <> 1;
-- Only edits are looked for by the message that they are of.
DROP INDEX events_target;
CREATE INDEX events_edits ON events (channel, target, seq) WHERE kind = 2;
CREATE VIEW log AS SELECT * FROM events WHERE kind = 1 UNION ALL SELECT * FROM events WHERE kind <> 1;
-- The same three up to the read marker, and the position that they belong to. `own` is the user's last counted message.
ALTER TABLE user_channels ADD COLUMN read_at INTEGER;
ALTER TABLE user_channels ADD COLUMN read_n INTEGER;
ALTER TABLE user_channels ADD COLUMN read_d INTEGER;
ALTER TABLE user_channels ADD COLUMN read_m INTEGER;
ALTER TABLE user_channels ADD COLUMN own INTEGER NOT NULL DEFAULT 0;

-- `account` is NULL where accounts are made, `created_by` where the command line made it.
CREATE TABLE invitations (
    id BLOB PRIMARY KEY,
    code_hash BLOB NOT NULL,
    account BLOB,
    role INTEGER NOT NULL,
    uses_left INTEGER NOT NULL,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    note TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX invitations_expires ON invitations (expires_at);

-- See `SessionRow`; NULL in sessions of an older version.
ALTER TABLE sessions ADD COLUMN chain BLOB;
ALTER TABLE sessions ADD COLUMN network INTEGER;

-- Rises with each change of the role and each closing and reopening of the account, last at `auth_changed_at`; tokens carry it.
ALTER TABLE users ADD COLUMN auth_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN auth_changed_at INTEGER;
CREATE INDEX users_auth_changed ON users (auth_changed_at) WHERE auth_changed_at IS NOT NULL;
-- The owners, however many users there are.
CREATE INDEX users_owners ON users (deactivated) WHERE role = 0;

-- One row: the life of this store. A restore begins another one, `since` a time; the first one is `since` 0.
CREATE TABLE generation (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL, since INTEGER NOT NULL);

-- A file that is gone is no more served; its row goes behind its bytes. `attached`: a message had it once.
ALTER TABLE files ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN attached INTEGER NOT NULL DEFAULT 0;
CREATE INDEX files_owner ON files (owner, gone, attached, size);
-- Which messages have which files. `released`: the message was deleted.
CREATE TABLE file_uses (
    file BLOB NOT NULL,
    channel BLOB NOT NULL,
    seq INTEGER NOT NULL,
    released INTEGER NOT NULL,
    PRIMARY KEY (file, channel, seq)
) WITHOUT ROWID;
INSERT OR IGNORE INTO file_uses (file, channel, seq, released)
    SELECT unhex(replace(json_extract(ref.value, '$.id'), '-', '')), events.channel, events.seq, 0
    FROM events, json_each(events.body, '$.files') AS ref WHERE events.kind = 1;
UPDATE files SET attached = 1 WHERE id IN (SELECT file FROM file_uses);
-- What is to be looked at later, see `FileWork`: first the uploads of an older version, after a day.
CREATE TABLE file_work (due INTEGER NOT NULL, file BLOB NOT NULL, task BLOB NOT NULL, PRIMARY KEY (due, file, task)) WITHOUT ROWID;
INSERT INTO file_work (due, file, task) SELECT created_at + 90000000, id, x'01' FROM files WHERE NOT attached;

-- How far each consumer of the logs has come: `events.row` of the last event that it has had.
CREATE TABLE consumers (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
-- Channels that a consumer could not have although its position is past them: it has had them up to `seq`, and must have
-- them up to `until` at least.
CREATE TABLE consumers_behind (
    name TEXT NOT NULL,
    channel BLOB NOT NULL,
    seq INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (name, channel)
) WITHOUT ROWID;

-- Who reacted to which message with what; `seq` is the event's position.
CREATE TABLE reactions (
    channel BLOB NOT NULL,
    target INTEGER NOT NULL,
    emoji TEXT NOT NULL,
    user BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (channel, target, emoji, user)
) WITHOUT ROWID;
";

/// Brings the file to this version, each step in a transaction of its own.
pub(super) fn migrate(db: &mut Connection) -> Result<(), OpenError> {
    let found: u32 = db.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    let known = (1_u32..).zip(MIGRATIONS).last().map_or(0, |(version, _)| version);
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    for (version, step) in (1_u32..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let step_taken = db.transaction()?;
        step_taken.execute_batch(step)?;
        if version == 2 {
            fold_names(&step_taken)?;
        }
        step_taken.pragma_update(None, "user_version", version)?;
        step_taken.commit()?;
    }
    // Not part of a step, since those are only text.
    let first = uuid::Uuid::now_v7();
    db.execute("INSERT OR IGNORE INTO generation (one, id, since) VALUES (1, ?1, 0)", [first.as_bytes()])?;
    Ok(())
}

/// What step 2 compares and finds names by, of channels and people that are there already.
fn fold_names(db: &Connection) -> rusqlite::Result<()> {
    let mut channels = db.prepare("SELECT id, name FROM channels WHERE kind = 0 AND name IS NOT NULL")?;
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let named: Vec<(Vec<u8>, String)> = channels.query_map((), read)?.collect::<Result<_, _>>()?;
    for (id, name) in named {
        if !claim_name(db, &id, &name)? {
            tracing::warn!(name, "channel keeps a name that another one has, or that looks like it");
        }
    }
    let mut users = db.prepare("SELECT handle, display_name FROM users")?;
    let mut rows = users.query(())?;
    while let Some(row) = rows.next()? {
        let (handle, name) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        if !claim_look(db, handle)? {
            tracing::warn!(handle, "handle looks like one that somebody else has");
        }
        insert_words(db, handle, name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{codec::EVENT_COLUMNS, writer::purge},
        *,
    };

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut db = Connection::open_in_memory().expect("opens");
        migrate(&mut db).expect("migrates");
        migrate(&mut db).expect("is migrated already");
        let version: u32 = db.query_row("PRAGMA user_version", (), |row| row.get(0)).expect("has a version");
        assert_eq!(usize::try_from(version), Ok(MIGRATIONS.len()));
    }

    #[test]
    fn messages_of_an_older_version_have_their_files() {
        let mut db = Connection::open_in_memory().expect("opens");
        db.execute_batch(V1).expect("is made");
        db.pragma_update(None, "user_version", 1).expect("sets the version");
        let (sent, in_none) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
        for id in [sent, in_none] {
            db.execute(
                "INSERT INTO files VALUES (?1, x'01', x'02', 'a', 'text/plain', 1, x'03', 7)",
                [id.as_bytes()],
            )
            .expect("is put");
        }
        let body = format!(r#"{{"kind":"message","text":"","files":[{{"id":"{sent}","name":"a"}}]}}"#);
        let insert =
            "INSERT INTO events (channel, seq, at, by, kind, body) VALUES (x'01', ?1, 7, x'02', 1, ?2)";
        db.execute(insert, (4, &body)).expect("is put");
        // Padded, as what was scrubbed is.
        let scrubbed = r#"{"kind":"message","text":"","deleted":true}                       "#;
        db.execute(insert, (5, scrubbed)).expect("is put");
        migrate(&mut db).expect("migrates");
        let uses: Vec<(Vec<u8>, i64)> = db
            .prepare("SELECT file, seq FROM file_uses WHERE NOT released")
            .and_then(|mut query| query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .expect("is read");
        assert_eq!(uses, [(sent.as_bytes().to_vec(), 4)]);
        let waits: Vec<u8> = db
            .query_row("SELECT file FROM file_work WHERE due = 90000007 AND task = x'01'", (), |row| {
                row.get(0)
            })
            .expect("one of them is looked at after a day");
        assert_eq!(waits, in_none.as_bytes());
    }

    #[test]
    fn client_ids_of_an_older_version_are_purged_in_their_time() {
        let mut db = Connection::open_in_memory().expect("opens");
        db.execute_batch(V1).expect("is version 1");
        // The first one's is purged already.
        db.execute_batch(
            "INSERT INTO events (channel, seq, at, by, id, kind, body) VALUES
                 (x'01', 1, 7, x'02', x'03', 1, '{}'), (x'01', 2, 8, x'02', x'04', 1, '{}'),
                 (x'01', 3, 9, x'02', NULL, 0, '{}'), (x'01', 4, 100000000, x'02', x'05', 1, '{}');
             INSERT INTO dedup VALUES (x'01', x'02', x'04', 2, 8), (x'01', x'02', x'05', 4, 100000000);
             PRAGMA user_version = 1",
        )
        .expect("has events");
        migrate(&mut db).expect("migrates");
        let progress = |db: &Connection| -> (i64, i64) {
            db.query_row("SELECT settled, purged FROM progress", (), |row| Ok((row.get(0)?, row.get(1)?)))
                .expect("is read")
        };
        assert_eq!(progress(&db), (4, 1));
        let purged = purge(&db, 100_000_001).expect("purges");
        assert_eq!((purged.removed, progress(&db)), (1, (4, 3)));
        let left: Vec<u8> = db.query_row("SELECT id FROM dedup", (), |row| row.get(0)).expect("is left");
        assert_eq!(left, [5]);
    }

    #[test]
    fn no_read_of_a_log_looks_at_more_than_it_answers() {
        let mut db = Connection::open_in_memory().expect("opens");
        migrate(&mut db).expect("migrates");
        for (sql, steps) in [
            ("FROM log WHERE channel = ?1 AND seq = ?2", 2),
            ("FROM log WHERE channel = ?1 AND seq > ?2 ORDER BY seq LIMIT 9", 2),
            ("FROM events WHERE channel = ?1 AND kind = 1 AND seq < ?2 ORDER BY seq DESC LIMIT 9", 1),
        ] {
            let plan: Vec<String> = db
                .prepare(&format!("EXPLAIN QUERY PLAN SELECT {EVENT_COLUMNS} {sql}"))
                .and_then(|mut query| query.query_map((&[1_u8][..], 7), |row| row.get(3))?.collect())
                .expect("is planned");
            let searches = plan.iter().filter(|step| step.contains("(channel=? AND seq")).count();
            assert_eq!(searches, steps, "{sql}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("SCAN") || step.contains("TEMP")), "{plan:?}");
        }
    }

    #[test]
    fn names_of_before_are_folded() {
        let mut db = Connection::open_in_memory().expect("opens");
        db.execute_batch(V1).expect("is version 1");
        db.execute_batch(
            "INSERT INTO users VALUES (X'01', 'countess', 'Ada Lovelace', 'ada lovelace', 2, 0, FALSE);
             INSERT INTO channels VALUES (X'02', 0, 'Cafe\u{301}', 'cafe\u{301}', '', FALSE, X'01', 0, 1);
             INSERT INTO channels VALUES (X'03', 1, 'Secret', 'secret', '', FALSE, X'01', 0, 1);
             INSERT INTO channels VALUES (X'04', 0, 'c1', 'c1', '', FALSE, X'01', 0, 1);
             INSERT INTO channels VALUES (X'05', 0, 'cI', 'ci', '', FALSE, X'01', 0, 1);
             PRAGMA user_version = 1",
        )
        .expect("has names");
        migrate(&mut db).expect("migrates");
        let texts = |sql: &str| -> Vec<String> {
            let mut query = db.prepare(sql).expect("is SQL");
            query.query_map((), |row| row.get(0)).expect("runs").collect::<Result<_, _>>().expect("are texts")
        };
        let claims = |channel| {
            texts(&format!("SELECT claim FROM channel_claims WHERE channel = X'{channel}' ORDER BY claim"))
        };
        assert_eq!(claims("02"), [" f caf\u{e9}", " w Cafe\u{301}", "caf\u{e9}"]);
        assert_eq!(claims("03"), [""; 0]);
        // From before: both keep their names, and nobody else has either.
        assert_eq!(
            (claims("04"), claims("05")),
            (vec![" w cl".into(), "cl".into()], vec![" w cl".into(), "ci".into()])
        );
        assert_eq!(texts("SELECT word FROM user_words ORDER BY word"), ["ada lovelace", "lovelace"]);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut db = Connection::open_in_memory().expect("opens");
        db.pragma_update(None, "user_version", 99).expect("sets the version");
        let error = migrate(&mut db).expect_err("is newer");
        assert!(error.to_string().contains("99"), "{error}");
    }
}
