//! [`FileStore`]: descriptions of files, which messages have them, and what is to be looked at later.
//!
//! All of it is plain writes that may be repeated. That a message has a file no more is a column that nothing sets back;
//! whether any message has it is read after that was written, so of two messages that are deleted at once the later one
//! finds it.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use chat_domain::{
    clock::now_ms,
    store::{FileRow, FileStore, FileTask, FileWork, StoreError, Stored},
};
use chat_protocol::{ChannelId, FileId, Millis, Seq, UserId};

use super::{
    CassandraStore,
    codec::{self, big, limit, number, text, uuid},
    cql::{Statement, Value},
};

const PUT: Statement = Statement::write(
    "INSERT INTO files (id, channel, owner, name, media_type, size, sha256, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
);
const READ: Statement = Statement::read(
    "SELECT id, channel, owner, name, media_type, size, sha256, created_at, gone FROM files WHERE id = ?",
);
const GONE: Statement = Statement::write("UPDATE files SET gone = true WHERE id = ?");
const DELETE: Statement = Statement::write("DELETE FROM files WHERE id = ?");

const OWN: Statement = Statement::write("INSERT INTO files_of (owner, file, bytes) VALUES (?, ?, ?)");
const OWN_ATTACHED: Statement =
    Statement::write("UPDATE files_of SET attached = true WHERE owner = ? AND file = ?");
const DISOWN: Statement = Statement::write("DELETE FROM files_of WHERE owner = ? AND file = ?");
const OWNED: Statement = Statement::read("SELECT bytes, attached FROM files_of WHERE owner = ?");

const USE: Statement = Statement::write("INSERT INTO file_uses (file, channel, seq) VALUES (?, ?, ?)");
const RELEASE: Statement =
    Statement::write("INSERT INTO file_uses (file, channel, seq, released) VALUES (?, ?, ?, true)");
const USES: Statement = Statement::read("SELECT released FROM file_uses WHERE file = ?");
const DELETE_USES: Statement = Statement::write("DELETE FROM file_uses WHERE file = ?");

const ADD_WORK: Statement =
    Statement::write("INSERT INTO file_work (hour, due, file, task) VALUES (?, ?, ?, ?)");
const WORK: Statement =
    Statement::read("SELECT due, file, task FROM file_work WHERE hour = ? AND due <= ? LIMIT ?");
const WORK_DONE: Statement =
    Statement::write("DELETE FROM file_work WHERE hour = ? AND due = ? AND file = ? AND task = ?");

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
    async fn file_row(&self, id: FileId) -> Result<Option<(FileRow, bool)>, StoreError> {
        let Some(row) = self.row(READ, vec![Value::Uuid(id.0)]).await? else { return Ok(None) };
        let gone = row.boolean("gone").unwrap_or(false);
        // A file that went may have left that it did.
        if row.uuid("channel").is_none() { Ok(None) } else { Ok(Some((codec::file(&row)?, gone))) }
    }
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
        Ok(self.file_row(id).await?.and_then(|(row, gone)| (!gone).then_some(row)))
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
        let uses = self.all(USES, vec![Value::Uuid(file.0)]).await?;
        Ok(uses.iter().any(|row| !row.boolean("released").unwrap_or(false)))
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
        let Some((row, gone)) = self.file_row(file).await? else { return Ok(true) };
        if !gone {
            if self.is_attached(file).await? {
                return Ok(false);
            }
            self.write(GONE, vec![Value::Uuid(file.0)]).await?;
        }
        self.write(DISOWN, vec![Value::Uuid(row.owner.0), Value::Uuid(file.0)]).await?;
        Ok(true)
    }

    async fn erase_file(&self, file: FileId) -> Result<(), StoreError> {
        let Some((_, true)) = self.file_row(file).await? else { return Ok(()) };
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
