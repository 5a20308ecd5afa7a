//! Blobs in Cassandra, in chunks, for a cluster that names no object store.
//!
//! Chunks are grouped into parts, one partition each, so that no partition grows wide and a file spreads over the nodes.
//! A blob is readable when its row in `blobs` is there, which is written last. Until then it stands in `staged_blobs`,
//! by which what a crash left behind is found and removed.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chat_domain::blob::{BlobError, BlobStore, ByteStream, Staged};
use chat_domain::clock::now_ms;
use chat_protocol::FileId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::cql::{Cql, CqlError, Row, Statement, Value};

/// Bytes of a chunk: one row, one read, one piece that is handed out.
const CHUNK: usize = 64 * 1024;
/// Chunks of a part: one partition, 2 MiB.
const PART: u64 = 32;
/// Chunks on their way at once.
const AT_ONCE: usize = 4;
/// Staged blobs are looked up by the hour in which they began.
const HOUR_MS: u64 = 60 * 60 * 1000;
/// An upload that began this many hours ago is not going on any more.
const STALE_HOURS: u64 = 2;
/// How many hours back stale uploads are looked for: as long as their rows live.
const SWEPT_HOURS: u64 = 72;
/// How often stale uploads are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30 * 60);

const INSERT_CHUNK: Statement =
    Statement::write("INSERT INTO blob_chunks (file, part, n, bytes) VALUES (?, ?, ?, ?)");
const READ_CHUNK: Statement =
    Statement::read("SELECT bytes FROM blob_chunks WHERE file = ? AND part = ? AND n = ?");
const DELETE_PART: Statement = Statement::write("DELETE FROM blob_chunks WHERE file = ? AND part = ?");
const INSERT_BLOB: Statement = Statement::write("INSERT INTO blobs (file, size) VALUES (?, ?)");
const READ_BLOB: Statement = Statement::read("SELECT size FROM blobs WHERE file = ?");
const DELETE_BLOB: Statement = Statement::write("DELETE FROM blobs WHERE file = ?");
// 72 hours: after that nobody looks for it any more.
const INSERT_STAGED: Statement =
    Statement::write("INSERT INTO staged_blobs (hour, file) VALUES (?, ?) USING TTL 259200");
const READ_STAGED: Statement = Statement::read("SELECT file FROM staged_blobs WHERE hour = ?");
const DELETE_STAGED: Statement = Statement::write("DELETE FROM staged_blobs WHERE hour = ? AND file = ?");

/// Blobs in Cassandra.
#[derive(Clone)]
pub struct CassandraBlobs {
    cql: Arc<dyn Cql>,
}

impl CassandraBlobs {
    /// Blobs in the keyspace of this session.
    #[must_use]
    pub fn new(cql: Arc<dyn Cql>) -> Self {
        Self { cql }
    }

    /// Removes now and then what crashes left behind; ends with the last [`Arc`].
    pub fn spawn(self: &Arc<Self>) {
        let blobs = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(blobs) = blobs.upgrade() else { return };
                match blobs.sweep(now_ms()).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(removed, "uploads that were cut off removed"),
                    Err(error) => {
                        tracing::warn!(%error, "uploads that were cut off not looked for, trying again later")
                    }
                }
            }
        });
    }

    /// Removes uploads that began long before `now` and were never committed. Answers how many.
    ///
    /// # Errors
    /// When Cassandra cannot be asked; what was removed before stays removed.
    pub async fn sweep(&self, now: u64) -> Result<usize, BlobError> {
        let this_hour = now / HOUR_MS;
        let mut removed = 0;
        for hour in this_hour.saturating_sub(SWEPT_HOURS)..this_hour.saturating_sub(STALE_HOURS) {
            for row in self.cql.execute(READ_STAGED, vec![hour_value(hour)]).await.map_err(failed)? {
                let Some(file) = row.uuid("file") else { continue };
                if self.size(file).await?.is_none() {
                    self.remove(file).await?;
                    removed += 1;
                }
                let key = vec![hour_value(hour), Value::Uuid(file)];
                self.cql.execute(DELETE_STAGED, key).await.map_err(failed)?;
            }
        }
        Ok(removed)
    }

    /// The size of a committed blob, in bytes.
    async fn size(&self, file: Uuid) -> Result<Option<u64>, BlobError> {
        let rows = self.cql.execute(READ_BLOB, vec![Value::Uuid(file)]).await.map_err(failed)?;
        Ok(rows.first().and_then(|row| row.bigint("size")).and_then(|n| u64::try_from(n).ok()))
    }

    /// Removes the chunks of a blob of the greatest size.
    async fn remove(&self, file: Uuid) -> Result<(), BlobError> {
        let parts = chat_protocol::limits::MAX_FILE_BYTES.div_ceil(CHUNK as u64).div_ceil(PART);
        stream::iter((0..parts).map(|part| {
            let key = vec![Value::Uuid(file), part_value(part)];
            self.cql.execute(DELETE_PART, key)
        }))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<Vec<Row>>>()
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn read_chunk(&self, file: Uuid, chunk: u64) -> Result<Bytes, BlobError> {
        let key = vec![Value::Uuid(file), part_value(chunk / PART), number_value(chunk % PART)];
        let rows = self.cql.execute(READ_CHUNK, key).await.map_err(failed)?;
        let bytes = rows.into_iter().next().and_then(|row| match row.values.into_iter().next() {
            Some(Some(Value::Blob(bytes))) => Some(bytes),
            _ => None,
        });
        bytes.map(Bytes::from).ok_or(BlobError::NotFound)
    }
}

#[async_trait]
impl BlobStore for CassandraBlobs {
    async fn stage(&self, id: FileId) -> Result<Box<dyn Staged>, BlobError> {
        let hour = now_ms() / HOUR_MS;
        self.cql.execute(INSERT_STAGED, vec![hour_value(hour), Value::Uuid(id.0)]).await.map_err(failed)?;
        Ok(Box::new(StagedChunks {
            blobs: self.clone(),
            file: id.0,
            hour,
            buffer: BytesMut::new(),
            written: 0,
            done: false,
        }))
    }

    async fn read(&self, id: FileId, range: Range<u64>) -> Result<ByteStream, BlobError> {
        let whole = self.size(id.0).await?.ok_or(BlobError::NotFound)?;
        if range.end > whole {
            return Err(BlobError::Failed(
                format!("the range {range:?} is not within the {whole} bytes of the file").into(),
            ));
        }
        let size = CHUNK as u64;
        let last = range.end.div_ceil(size);
        let first = if range.is_empty() { last } else { range.start / size };
        let blobs = self.clone();
        let read = move |chunk: u64| {
            let (blobs, range) = (blobs.clone(), range.clone());
            async move {
                let bytes = blobs.read_chunk(id.0, chunk).await?;
                let begins = chunk * size;
                let cut =
                    |at: u64| usize::try_from(at.saturating_sub(begins)).unwrap_or(CHUNK).min(bytes.len());
                Ok(bytes.slice(cut(range.start)..cut(range.end)))
            }
        };
        Ok(stream::iter((first..last).map(read)).buffered(AT_ONCE).boxed())
    }

    async fn delete(&self, id: FileId) -> Result<(), BlobError> {
        self.cql.execute(DELETE_BLOB, vec![Value::Uuid(id.0)]).await.map_err(failed)?;
        self.remove(id.0).await
    }
}

struct StagedChunks {
    blobs: CassandraBlobs,
    file: Uuid,
    hour: u64,
    buffer: BytesMut,
    written: u64,
    done: bool,
}

impl StagedChunks {
    /// Writes what is in the buffer, in whole chunks or, at the end, all of it.
    async fn flush(&mut self, all: bool) -> Result<(), BlobError> {
        let mut chunks = Vec::new();
        while self.buffer.len() >= CHUNK || (all && !self.buffer.is_empty()) {
            let bytes = self.buffer.split_to(self.buffer.len().min(CHUNK)).to_vec();
            let chunk = self.written;
            self.written += 1;
            chunks.push(vec![
                Value::Uuid(self.file),
                part_value(chunk / PART),
                number_value(chunk % PART),
                Value::Blob(bytes),
            ]);
        }
        let cql = &self.blobs.cql;
        stream::iter(chunks.into_iter().map(|values| cql.execute(INSERT_CHUNK, values)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<Vec<Row>>>()
            .await
            .map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Staged for StagedChunks {
    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        // Copied piece by piece, so that what is held stays at a few chunks whatever the size of `chunk`.
        for piece in chunk.chunks(CHUNK) {
            self.buffer.extend_from_slice(piece);
            if self.buffer.len() >= CHUNK * AT_ONCE {
                self.flush(false).await?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), BlobError> {
        let size = self.written * CHUNK as u64 + self.buffer.len() as u64;
        self.flush(true).await?;
        let size = Value::BigInt(i64::try_from(size).unwrap_or(i64::MAX));
        let cql = Arc::clone(&self.blobs.cql);
        cql.execute(INSERT_BLOB, vec![Value::Uuid(self.file), size]).await.map_err(failed)?;
        self.done = true;
        // The sweep would find it committed, and do the same.
        let key = vec![hour_value(self.hour), Value::Uuid(self.file)];
        if let Err(error) = cql.execute(DELETE_STAGED, key).await {
            tracing::debug!(%error, "a committed upload is still noted as staged");
        }
        Ok(())
    }
}

impl Drop for StagedChunks {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (blobs, file, hour) = (self.blobs.clone(), self.file, self.hour);
        runtime.spawn(async move {
            // A commit whose answer was lost may have made it readable: then nobody knows of it, and it goes all the same.
            let removed = blobs.delete(FileId(file)).await;
            let key = vec![hour_value(hour), Value::Uuid(file)];
            match removed {
                Ok(()) => drop(blobs.cql.execute(DELETE_STAGED, key).await),
                Err(error) => tracing::warn!(%error, "a cut upload was not removed; the sweep will"),
            }
        });
    }
}

fn hour_value(hour: u64) -> Value {
    Value::Int(i32::try_from(hour).unwrap_or(i32::MAX))
}

fn part_value(part: u64) -> Value {
    Value::Int(i32::try_from(part).unwrap_or(i32::MAX))
}

fn number_value(n: u64) -> Value {
    Value::Int(i32::try_from(n).unwrap_or(i32::MAX))
}

fn failed(error: CqlError) -> BlobError {
    BlobError::Failed(error.into())
}
