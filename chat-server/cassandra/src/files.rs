//! [`FileStore`]: descriptions of files, which messages have them, and what is to be looked at later.
//!
//! Most of it is plain writes that may be repeated. That a message has a file no more is a column that nothing sets back;
//! whether any message has it is read after that was written, so of two messages that are deleted at once the later one
//! finds it.
//!
//! A hold is a use like a message's, under the message's id; then the file's row says, on the condition that the file is not
//! gone, that somebody held it. The file goes on the condition that the row still is as it was before the uses were read. So
//! whoever comes second is refused, or sees the hold. Holds and their ends carry timestamps of their own, so that an end
//! counts whatever the clocks say.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use async_trait::async_trait;
use chat_domain::{
    clock::now_ms,
    store::{FileHold, FileRow, FileStore, FileTask, FileWork, StoreError, Stored},
};
use chat_protocol::{ChannelId, FileId, Millis, Seq, UserId};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{
    CassandraStore,
    ask::Decided,
    codec::{self, big, limit, number, text, uuid},
    cql::{Row, Statement, Value},
};

const PUT: Statement = Statement::write(
    "INSERT INTO files (id, channel, owner, name, media_type, size, sha256, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
);
const READ: Statement = Statement::read(
    "SELECT id, channel, owner, name, media_type, size, sha256, created_at, gone, held FROM files WHERE id = ?",
);
// A file that is not there has no channel.
const HELD: Statement =
    Statement::conditional("UPDATE files SET held = ? WHERE id = ? IF channel = ? AND gone = null");
const GONE: Statement = Statement::conditional(
    "UPDATE files SET gone = true WHERE id = ? IF channel = ? AND gone = null AND held = ?",
);
const GONE_NEVER_HELD: Statement = Statement::conditional(
    "UPDATE files SET gone = true WHERE id = ? IF channel = ? AND gone = null AND held = null",
);
const DELETE: Statement = Statement::write("DELETE FROM files WHERE id = ?");

const OWN: Statement = Statement::write("INSERT INTO files_of (owner, file, bytes) VALUES (?, ?, ?)");
const OWN_ATTACHED: Statement =
    Statement::write("UPDATE files_of SET attached = true WHERE owner = ? AND file = ?");
const DISOWN: Statement = Statement::write("DELETE FROM files_of WHERE owner = ? AND file = ?");
const OWNED: Statement = Statement::read("SELECT bytes, attached FROM files_of WHERE owner = ?");

const USE: Statement = Statement::write("INSERT INTO file_uses (file, channel, seq) VALUES (?, ?, ?)");
const RELEASE: Statement =
    Statement::write("INSERT INTO file_uses (file, channel, seq, released) VALUES (?, ?, ?, true)");
const HOLD: Statement =
    Statement::write("INSERT INTO file_uses (file, channel, seq) VALUES (?, ?, ?) USING TIMESTAMP ?");
const LET_GO: Statement =
    Statement::write("DELETE FROM file_uses USING TIMESTAMP ? WHERE file = ? AND channel = ? AND seq = ?");
const USES: Statement = Statement::read("SELECT released FROM file_uses WHERE file = ?");
const DELETE_USES: Statement = Statement::write("DELETE FROM file_uses WHERE file = ?");

const ADD_WORK: Statement =
    Statement::write("INSERT INTO file_work (hour, due, file, task) VALUES (?, ?, ?, ?)");
const WORK: Statement =
    Statement::read("SELECT due, file, task FROM file_work WHERE hour = ? AND due <= ? LIMIT ?");
const WORK_DONE: Statement =
    Statement::write("DELETE FROM file_work WHERE hour = ? AND due = ? AND file = ? AND task = ?");

/// How often it is decided anew whether a file goes, when messages hold it at the same time.
const DECISIONS: usize = 8;

const HOUR_MS: Millis = 60 * 60 * 1_000;
/// Work is looked for that many hours back: for so long all processes may be away and nothing is forgotten.
const HOURS_BACK: Millis = 14 * 24;

fn hour(due: Millis) -> Value {
    big(due / HOUR_MS)
}

fn work_key(work: &FileWork) -> Vec<Value> {
    vec![hour(work.due), big(work.due), Value::Uuid(work.file.0), Value::Blob(work.task.encode())]
}

impl CassandraStore {
    async fn file_row(&self, id: FileId) -> Result<Option<FoundFile>, StoreError> {
        let Some(row) = self.row(READ, vec![Value::Uuid(id.0)]).await? else { return Ok(None) };
        // A file that went may have left that it did.
        if row.uuid("channel").is_none() {
            return Ok(None);
        }
        let (gone, held) = (row.boolean("gone").unwrap_or(false), row.uuid("held"));
        Ok(Some(FoundFile { row: codec::file(&row)?, gone, held }))
    }

    /// Whether a message has it or holds it; and whether one had it.
    async fn uses(&self, file: FileId) -> Result<(bool, bool), StoreError> {
        let uses = self.all(USES, vec![Value::Uuid(file.0)]).await?;
        let released = uses.iter().filter(|row| row.boolean("released").unwrap_or(false)).count();
        Ok((released < uses.len(), released > 0))
    }

    async fn hold_one(&self, file: FileId, channel: ChannelId) -> Result<bool, StoreError> {
        let values = vec![Value::Uuid(Uuid::new_v4()), Value::Uuid(file.0), Value::Uuid(channel.0)];
        // A write whose answer was lost finds the file as it left it, not gone, and may be made again.
        Ok(matches!(self.decide(HELD, values, |_| false).await?, Decided::Applied))
    }
}

/// A file's row.
struct FoundFile {
    row: FileRow,
    gone: bool,
    held: Option<Uuid>,
}

/// Microseconds. Of a hold and its end, which is later.
fn held_at(hold: FileHold) -> Millis {
    hold.due.saturating_mul(1_000)
}

#[async_trait]
impl FileStore for CassandraStore {
    async fn put_file(&self, file: &FileRow) -> Result<(), StoreError> {
        // What is charged first: what is not charged for would never be missed.
        let own = vec![Value::Uuid(file.owner.0), Value::Uuid(file.id.0), big(file.charged())];
        self.write(OWN, own).await?;
        let values = vec![
            Value::Uuid(file.id.0),
            Value::Uuid(file.channel.0),
            Value::Uuid(file.owner.0),
            text(&file.name),
            text(&file.media_type),
            big(file.size),
            Value::Blob(file.sha256.to_vec()),
            big(file.created_at),
        ];
        self.write(PUT, values).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        Ok(self.file_row(id).await?.and_then(|file| (!file.gone).then_some(file.row)))
    }

    async fn stored_by(&self, owner: UserId) -> Result<Stored, StoreError> {
        let rows = self.all(OWNED, vec![Value::Uuid(owner.0)]).await?;
        let mut stored = Stored::default();
        // A row without them is what an attachment left of a file that went.
        for (row, bytes) in rows.iter().filter_map(|row| Some((row, row.bigint("bytes")?))) {
            stored.bytes += u64::try_from(bytes).unwrap_or(0);
            stored.unattached += u64::from(!row.boolean("attached").unwrap_or(false));
        }
        Ok(stored)
    }

    async fn is_attached(&self, file: FileId) -> Result<bool, StoreError> {
        Ok(self.uses(file).await?.0)
    }

    async fn hold(&self, files: &[FileRow], hold: FileHold) -> Result<Vec<FileId>, StoreError> {
        let files: BTreeMap<FileId, ChannelId> = files.iter().map(|file| (file.id, file.channel)).collect();
        let held = |file: &FileId| {
            let at = big(held_at(hold));
            (HOLD, vec![Value::Uuid(file.0), Value::Uuid(hold.id.0), big(hold.due), at])
        };
        self.writes(files.keys().map(held).collect()).await?;
        let decided = files.iter().map(|(file, channel)| self.hold_one(*file, *channel));
        let held = try_join_all(decided).await?;
        Ok(files.into_keys().zip(held).filter_map(|(file, held)| (!held).then_some(file)).collect())
    }

    async fn let_go(&self, files: &[FileId], hold: FileHold) -> Result<Vec<FileId>, StoreError> {
        let let_go = |file: &FileId| {
            let at = big(held_at(hold) + 1);
            (LET_GO, vec![at, Value::Uuid(file.0), Value::Uuid(hold.id.0), big(hold.due)])
        };
        self.writes(files.iter().map(let_go).collect()).await?;
        let mut gone = Vec::new();
        for file in files {
            if let (false, true) = self.uses(*file).await?
                && self.retire(*file).await?
            {
                gone.push(*file);
            }
        }
        Ok(gone)
    }

    async fn attach(&self, files: &[FileRow], channel: ChannelId, seq: Seq) -> Result<(), StoreError> {
        let writes = files.iter().flat_map(|file| {
            let used = vec![Value::Uuid(file.id.0), Value::Uuid(channel.0), big(seq)];
            let owned = vec![Value::Uuid(file.owner.0), Value::Uuid(file.id.0)];
            [(USE, used), (OWN_ATTACHED, owned)]
        });
        self.writes(writes.collect()).await
    }

    async fn detach(
        &self,
        files: &[FileId],
        channel: ChannelId,
        seq: Seq,
    ) -> Result<Vec<FileId>, StoreError> {
        let release = |file: &FileId| (RELEASE, vec![Value::Uuid(file.0), Value::Uuid(channel.0), big(seq)]);
        self.writes(files.iter().map(release).collect()).await?;
        let mut gone = Vec::new();
        for file in files {
            if self.retire(*file).await? {
                gone.push(*file);
            }
        }
        Ok(gone)
    }

    async fn retire(&self, file: FileId) -> Result<bool, StoreError> {
        for _ in 0..DECISIONS {
            let Some(FoundFile { row, gone, held }) = self.file_row(file).await? else { return Ok(true) };
            if !gone {
                // Twice: a read that goes on while a message is written and its hold ends may miss both. The next one finds the
                // message.
                if self.is_attached(file).await? || self.is_attached(file).await? {
                    return Ok(false);
                }
                let mut values = vec![Value::Uuid(file.0), Value::Uuid(row.channel.0)];
                values.extend(held.map(Value::Uuid));
                let goes = if held.is_some() { GONE } else { GONE_NEVER_HELD };
                let ours = |row: &Row| row.boolean("gone") == Some(true);
                if let Decided::Refused(_) = self.decide(goes, values, ours).await? {
                    // It was held meanwhile, or is gone.
                    continue;
                }
            }
            self.write(DISOWN, vec![Value::Uuid(row.owner.0), Value::Uuid(file.0)]).await?;
            return Ok(true);
        }
        Err(StoreError::Overloaded { retry_after_ms: 500 })
    }

    async fn erase_file(&self, file: FileId) -> Result<(), StoreError> {
        let Some(FoundFile { gone: true, .. }) = self.file_row(file).await? else { return Ok(()) };
        self.write(DELETE_USES, vec![Value::Uuid(file.0)]).await?;
        self.write(DELETE, vec![Value::Uuid(file.0)]).await
    }

    async fn add_file_work(&self, work: &[FileWork]) -> Result<(), StoreError> {
        self.writes(work.iter().map(|work| (ADD_WORK, work_key(work))).collect()).await
    }

    async fn due_file_work(&self, now: Millis, most: usize) -> Result<Vec<FileWork>, StoreError> {
        let mut found: Vec<FileWork> = Vec::new();
        let this_hour = now / HOUR_MS;
        // Work is never added to hours that are over, so those that were once found empty stay so.
        let from = self.no_file_work_before.load(Ordering::Relaxed).max(this_hour.saturating_sub(HOURS_BACK));
        for hour in from..=this_hour {
            let left = most.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            for row in self.rows(WORK, vec![big(hour), big(now), limit(left)]).await? {
                let (due, file) = (number(&row, "due")?, FileId(uuid(&row, "file")?));
                if let Some(task) = row.blob("task").and_then(FileTask::decode) {
                    found.push(FileWork { due, file, task });
                }
            }
        }
        let first = found.first().map_or(this_hour, |work| work.due / HOUR_MS);
        // Clocks may differ by minutes.
        let over = (now_ms().min(now) / HOUR_MS).saturating_sub(1);
        self.no_file_work_before.store(first.min(over), Ordering::Relaxed);
        Ok(found)
    }

    async fn file_work_done(&self, work: &[FileWork]) -> Result<(), StoreError> {
        self.writes(work.iter().map(|work| (WORK_DONE, work_key(work))).collect()).await
    }
}
