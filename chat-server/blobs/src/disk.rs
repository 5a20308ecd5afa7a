//! Blobs as files on a local disk.
//!
//! A blob is written to `staged/` in the same file system, synced, and renamed into a two-level fan-out: what is at its
//! final path is whole and durable. What a crash left in `staged/` is removed at the next start.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use chat_domain::blob::{BlobError, BlobStore, ByteStream, Staged};
use chat_protocol::FileId;
use futures_util::stream;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};

/// Bytes gathered before a write goes to a blocking thread, which costs more than a small write does.
const WRITE_BYTES: usize = 128 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Disk operations at one time: more do not make a disk faster, and the runtime's other blocking work needs threads.
const MAX_OPERATIONS: usize = 16;

/// Blobs below one directory, which belongs to one process.
#[derive(Debug, Clone)]
pub struct DiskBlobs {
    root: PathBuf,
    operations: Arc<Semaphore>,
}

impl DiskBlobs {
    /// Opens the directory, makes it when it is not there, and removes what a crash left half-written.
    ///
    /// # Errors
    /// When the directory cannot be made, read or cleaned.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = dir.into();
        let staged = root.join("staged");
        make(&staged).map_err(failed)?;
        for entry in fs::read_dir(&staged).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            fs::remove_file(&path).map_err(failed)?;
            tracing::info!(path = %path.display(), "removed an upload that a crash cut off");
        }
        Ok(Self { root, operations: Arc::new(Semaphore::new(MAX_OPERATIONS)) })
    }

    /// The last bytes of a UUIDv7 are its random ones, so they spread evenly; the first ones are a clock.
    fn path(&self, id: FileId) -> PathBuf {
        let [.., outer, inner] = *id.0.as_bytes();
        self.root.join(format!("{outer:02x}")).join(format!("{inner:02x}")).join(id.to_string())
    }
}

/// Makes a folder that nobody else on this machine may look into.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[async_trait]
impl BlobStore for DiskBlobs {
    async fn stage(&self, id: FileId) -> Result<Box<dyn Staged>, BlobError> {
        let path = self.root.join("staged").join(id.to_string());
        let (file, temporary) = run(&self.operations, move || {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            Ok((file, Temporary { path: Some(path) }))
        })
        .await?;
        Ok(Box::new(StagedFile {
            file: Some(file),
            temporary,
            buffer: Vec::with_capacity(WRITE_BYTES),
            target: self.path(id),
            operations: self.operations.clone(),
        }))
    }

    async fn read(&self, id: FileId, range: Range<u64>) -> Result<ByteStream, BlobError> {
        let path = self.path(id);
        let start = range.start;
        let file = run(&self.operations, move || {
            let mut file = match File::open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other?,
            };
            file.seek(SeekFrom::Start(start))?;
            Ok(Some(file))
        })
        .await?
        .ok_or(BlobError::NotFound)?;
        let left = range.end.saturating_sub(range.start);
        let state = (file, left, self.operations.clone());
        Ok(Box::pin(stream::try_unfold(state, |(file, left, operations)| async move {
            if left == 0 {
                return Ok(None);
            }
            let (file, chunk) = run(&operations, move || read_chunk(file, left)).await?;
            let left = left - chunk.len() as u64;
            Ok(Some((chunk, (file, left, operations))))
        })))
    }

    async fn delete(&self, id: FileId) -> Result<(), BlobError> {
        let path = self.path(id);
        run(&self.operations, move || match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .await
    }

    async fn free(&self) -> Result<Option<u64>, BlobError> {
        let root = self.root.clone();
        run(&self.operations, move || {
            let found = rustix::fs::statvfs(&root)?;
            // What is kept for the superuser is not for us.
            Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
        })
        .await
    }
}

/// A blob that is being written. Its temporary file goes with it unless it was committed.
struct StagedFile {
    /// Absent only while a blocking thread writes to it, or after that was given up.
    file: Option<File>,
    temporary: Temporary,
    buffer: Vec<u8>,
    target: PathBuf,
    operations: Arc<Semaphore>,
}

#[async_trait]
impl Staged for StagedFile {
    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        // Copied, so that the connection's read buffer, of which the chunk is a part, is free again.
        for part in chunk.chunks(WRITE_BYTES) {
            if self.buffer.len() + part.len() > WRITE_BYTES {
                let mut file = self.file.take().ok_or_else(given_up)?;
                let mut buffer = std::mem::take(&mut self.buffer);
                let (file, buffer) = run(&self.operations, move || {
                    file.write_all(&buffer)?;
                    buffer.clear();
                    Ok((file, buffer))
                })
                .await?;
                (self.file, self.buffer) = (Some(file), buffer);
            }
            self.buffer.extend_from_slice(part);
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), BlobError> {
        let Self { file, mut temporary, buffer, target, operations } = *self;
        let mut file = file.ok_or_else(given_up)?;
        run(&operations, move || {
            file.write_all(&buffer)?;
            file.sync_all()?;
            temporary.rename(&target)
        })
        .await
    }
}

/// A path in `staged/` that is removed on drop.
struct Temporary {
    path: Option<PathBuf>,
}

impl Temporary {
    /// Moves the file to `target`, durably: the name is synced, and the names of directories made on the way.
    fn rename(&mut self, target: &Path) -> io::Result<()> {
        let (Some(path), Some(inner)) = (&self.path, target.parent()) else {
            return Err(io::Error::other("the temporary file or its target is not in a directory"));
        };
        if !inner.is_dir() {
            make(inner)?;
            for made_in in inner.ancestors().skip(1).take(2) {
                sync_dir(made_in)?;
            }
        }
        fs::rename(path, target)?;
        self.path = None;
        sync_dir(inner)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let remove = move || {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "could not remove a cut upload; the next start will");
            }
        };
        // Freeing the blocks of a large file takes milliseconds that a runtime's thread does not have.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn read_chunk(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let want = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
    let mut chunk = vec![0; want];
    file.read_exact(&mut chunk)?;
    Ok((file, chunk.into()))
}

/// Runs `work` on a blocking thread. The permit goes with it: who stops waiting does not make room for more.
async fn run<T: Send + 'static>(
    operations: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    let permit = operations.clone().acquire_owned().await.map_err(failed)?;
    let outcome = spawn_blocking(move || {
        let outcome = work();
        drop(permit);
        outcome
    });
    outcome.await.map_err(failed)?.map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> BlobError {
    BlobError::Failed(Box::new(error))
}

fn given_up() -> BlobError {
    failed(io::Error::other("an earlier write failed or was given up"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    #![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

    use std::time::{Duration, Instant};

    use futures_util::TryStreamExt;

    use super::*;

    /// All files below a directory, by name.
    fn files(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
        found
    }

    async fn until_empty(dir: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !files(dir).is_empty() {
            assert!(Instant::now() < deadline, "expected no files, found {:?}", files(dir));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn content(blobs: &DiskBlobs, id: FileId, range: Range<u64>) -> Vec<u8> {
        let chunks: Vec<Bytes> = blobs.read(id, range).await.unwrap().try_collect().await.unwrap();
        assert!(chunks.iter().all(|chunk| chunk.len() <= READ_BYTES));
        chunks.concat()
    }

    #[tokio::test]
    async fn what_is_committed_is_read_back_in_any_range() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        let (id, bytes) = (FileId::new(), (0..400_000_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
        let mut staged = blobs.stage(id).await.unwrap();
        for part in [&bytes[..1], &bytes[1..300_000], &bytes[300_000..]] {
            staged.write(Bytes::copy_from_slice(part)).await.unwrap();
        }
        assert!(matches!(blobs.read(id, 0..1).await, Err(BlobError::NotFound)), "not before the commit");
        staged.commit().await.unwrap();

        let blobs = DiskBlobs::open(dir.path()).unwrap();
        for range in [0..400_000, 0..0, 0..1, 399_999..400_000, 65_535..65_537, 100_000..300_000] {
            let (start, end) = (range.start as usize, range.end as usize);
            assert_eq!(content(&blobs, id, range).await, bytes[start..end], "{start}..{end}");
        }
        let past: Result<Vec<Bytes>, _> = blobs.read(id, 0..400_001).await.unwrap().try_collect().await;
        assert!(past.is_err(), "a range past the end is an error, not a short answer");

        blobs.delete(id).await.unwrap();
        blobs.delete(id).await.unwrap();
        assert!(files(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn what_is_not_committed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        let mut staged = blobs.stage(FileId::new()).await.unwrap();
        staged.write(Bytes::from(vec![1; 1_000_000])).await.unwrap();
        assert_eq!(files(dir.path()).len(), 1);
        drop(staged);
        until_empty(dir.path()).await;
    }

    #[tokio::test]
    async fn what_a_crash_left_is_gone_after_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(dir.path()).unwrap();
        let mut staged = blobs.stage(FileId::new()).await.unwrap();
        staged.write(Bytes::from_static(b"half")).await.unwrap();
        std::mem::forget(staged);
        DiskBlobs::open(dir.path()).unwrap();
        assert!(files(dir.path()).is_empty());
    }
}
