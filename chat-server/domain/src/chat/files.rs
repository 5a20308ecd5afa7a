//! Files: their bytes in a blob store, their description beside the log of their channel, whose readers may read them.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_protocol::{ChannelId, ErrorCode, FileId, Millis, limits::IDEMPOTENCY_WINDOW_MS};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use super::{
    Actor, Chat, ChatError,
    attachments::{detach, has_file, let_go},
    file_names::sanitise,
    now_ms,
    permissions::ChannelAction,
};
use crate::{
    blob::{BlobError, BlobStore, ByteStream, Staged},
    store::{FileHold, FileRow, FileTask, FileWork},
};

/// How often files that are to be removed are looked for. Those that this process knows of go at once.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// An upload that no message has goes so long after it could last be attached: by then whatever was sent with it was looked at.
const GRACE_MS: Millis = 60 * 60 * 1_000;
/// A download under way is asked so often whether it may go on.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The same, by bytes that were handed out.
const ASK_EVERY_BYTES: usize = 1024 * 1024;
/// Pieces of work that are read at once.
const AT_ONCE: usize = 100;
/// Pieces of work of one sweep; the next one follows after a while.
const MOST: usize = 10_000;

/// How much people may store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of one person's files, small ones counted as 64 KiB; 0: no limit.
    pub bytes_per_person: u64,
    /// Files of one person that no message has yet.
    pub unattached_per_person: u64,
    /// Bytes that uploads leave free beside the system of record.
    pub keep_free: u64,
}

/// The files of a chat.
pub struct Files {
    chat: Arc<Chat>,
    blobs: Arc<dyn BlobStore>,
    limits: FileLimits,
    /// Bytes that uploads under way may still write.
    expected: Arc<AtomicU64>,
}

/// Room for an upload, kept until it is dropped.
pub struct Room {
    /// Bytes that it may have.
    pub bytes: u64,
    expected: Arc<AtomicU64>,
    kept: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.expected.fetch_sub(self.kept, Ordering::Relaxed);
    }
}

/// What was uploaded, its bytes staged and not committed yet.
pub struct Upload {
    /// Id of the file.
    pub id: FileId,
    /// The channel whose readers may read it.
    pub channel: ChannelId,
    /// Its name as it was given.
    pub name: String,
    /// What kind of content its first bytes are.
    pub media_type: &'static str,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
    /// Where the bytes are.
    pub staged: Box<dyn Staged>,
}

impl Files {
    /// Files of `chat`, with their bytes in `blobs`.
    #[must_use]
    pub fn new(chat: Arc<Chat>, blobs: Arc<dyn BlobStore>, limits: FileLimits) -> Arc<Self> {
        Arc::new(Self { chat, blobs, limits, expected: Arc::default() })
    }

    /// Begins to remove what is to be removed; ends with the last [`Arc`].
    pub fn spawn(self: &Arc<Self>) {
        let (files, work) = (Arc::downgrade(self), Arc::clone(&self.chat.file_work));
        tokio::spawn(async move {
            loop {
                // Late, early: both are looks at the same list.
                let _ = timeout(SWEEP_EVERY, work.notified()).await;
                let Some(files) = files.upgrade() else { return };
                match files.sweep(now_ms()).await {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(removed, "files that no message has were removed"),
                    Err(error) => tracing::warn!(%error, "files that no message has stay for now"),
                }
            }
        });
    }

    /// Room for an upload of so many bytes, if they were announced, and of `most` otherwise.
    ///
    /// # Errors
    /// `no_space` when the person has stored as much as they may, or when the disk is almost full.
    pub async fn room(&self, actor: &Actor, announced: Option<u64>, most: u64) -> Result<Room, ChatError> {
        let stored = self.chat.store.stored_by(actor.user).await?;
        let FileLimits { bytes_per_person, unattached_per_person, keep_free } = self.limits;
        if stored.unattached >= unattached_per_person {
            return Err(no_space(format!(
                "{} of your uploads are in no message, at most {unattached_per_person} are allowed: send them, or wait until \
                 they are removed",
                stored.unattached
            )));
        }
        let left = match bytes_per_person {
            0 => u64::MAX,
            all => all.saturating_sub(stored.bytes),
        };
        if announced.unwrap_or(1) > left {
            return Err(beyond_quota(bytes_per_person));
        }
        let kept = announced.unwrap_or(most).min(most).min(left);
        let expected = self.expected.fetch_add(kept, Ordering::Relaxed) + kept;
        let room = Room { bytes: left.min(most), expected: Arc::clone(&self.expected), kept };
        if let Some(free) = self.blobs.free().await.map_err(|error| blob_failed(&error))?
            && free < keep_free.saturating_add(expected)
        {
            tracing::warn!(free, keep_free, expected, "an upload is refused: the disk is almost full");
            return Err(no_space("the server's disk is almost full: what is left is kept for messages"));
        }
        Ok(room)
    }

    /// What is said of an upload that turned out larger than its room.
    #[must_use]
    pub fn beyond_room(&self) -> ChatError {
        beyond_quota(self.limits.bytes_per_person)
    }

    /// Does what is due at `now`: finds out what became of messages whose process went away, lets uploads go that no message
    /// has, and removes the bytes of files that are gone. Any number of processes may do it at the same time. Answers how
    /// many files were removed.
    ///
    /// # Errors
    /// As a store fails; what is left is done the next time.
    pub async fn sweep(&self, now: Millis) -> Result<usize, ChatError> {
        let (mut removed, mut done) = (0, 0);
        while done < MOST {
            let due = self.chat.store.due_file_work(now, AT_ONCE).await?;
            if due.is_empty() {
                break;
            }
            for work in due {
                // In their order, and not beyond one that fails: whether a message has a file is settled before it goes.
                removed += usize::from(self.look(&work, now).await?);
                self.chat.store.file_work_done(&[work]).await?;
                done += 1;
            }
        }
        Ok(removed)
    }

    /// Whether bytes were removed.
    async fn look(&self, work: &FileWork, now: Millis) -> Result<bool, ChatError> {
        let (store, file) = (&*self.chat.store, work.file);
        match work.task {
            FileTask::Uploaded => {
                if store.retire(file).await? {
                    self.remove(file).await?;
                    return Ok(true);
                }
            }
            FileTask::Sent { channel, by, id } => {
                let committed = match store.committed_as(channel, by, id).await? {
                    // The id may be that of another command, and the send with this file was refused.
                    Some((seq, _)) if has_file(store, channel, seq, file).await? => Some(seq),
                    _ => None,
                };
                // After the window nobody knows whether it was: such a file stays, as if a message had it.
                let unknown = now_ms().saturating_sub(work.due) > IDEMPOTENCY_WINDOW_MS / 2;
                let row = store.file(file).await?;
                let seq = committed.or_else(|| unknown.then_some(0));
                if let (Some(seq), Some(row)) = (seq, &row) {
                    store.attach(std::slice::from_ref(row), channel, seq).await?;
                }
                let_go(store, &[file], FileHold { id, due: work.due }).await?;
                // An upload that was held when its time was over was left as it is: whoever holds it last looks again, behind
                // all that is due. Without the grace: it is more than clocks differ by, so one of the two looks removes it.
                let over = |row: &FileRow| row.created_at.saturating_add(self.chat.unattached_life_ms) < now;
                if row.as_ref().is_some_and(over) {
                    let again = FileWork { due: now, file, task: FileTask::Uploaded };
                    store.add_file_work(&[again]).await?;
                }
            }
            FileTask::Deleted { channel, seq } => {
                if !has_file(store, channel, seq, file).await? {
                    detach(store, &[file], channel, seq).await?;
                }
            }
            FileTask::Remove => {
                self.remove(file).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove(&self, file: FileId) -> Result<(), ChatError> {
        self.blobs.delete(file).await.map_err(|error| blob_failed(&error))?;
        Ok(self.chat.store.erase_file(file).await?)
    }

    /// Whether the actor may upload to a channel.
    ///
    /// # Errors
    /// When they may not.
    pub async fn may_upload(&self, actor: &Actor, channel: ChannelId) -> Result<(), ChatError> {
        self.chat.authorize(actor, channel, ChannelAction::Post).await.map(drop)
    }

    /// Begins an upload. Dropping what it gives leaves nothing behind.
    ///
    /// # Errors
    /// As the blob store fails.
    pub async fn stage(&self, id: FileId) -> Result<Box<dyn Staged>, ChatError> {
        self.blobs.stage(id).await.map_err(|error| blob_failed(&error))
    }

    /// Makes the bytes durable, then their description. Not to be dropped halfway: bytes without a description would stay for a
    /// day.
    ///
    /// # Errors
    /// The actor may not write to the channel any more, or as a store fails.
    pub async fn keep(&self, actor: &Actor, upload: Upload) -> Result<FileRow, ChatError> {
        let Upload { id, channel, name, media_type, size, sha256, staged } = upload;
        // It took its time: whoever left the channel meanwhile has uploaded nothing.
        self.may_upload(actor, channel).await?;
        let now = now_ms();
        // First, so that bytes whose description is never written go as well.
        let due = now.saturating_add(self.chat.unattached_life_ms).saturating_add(GRACE_MS);
        self.chat.store.add_file_work(&[FileWork { due, file: id, task: FileTask::Uploaded }]).await?;
        staged.commit().await.map_err(|error| blob_failed(&error))?;
        let row = FileRow {
            id,
            channel,
            owner: actor.user,
            name: sanitise(&name),
            media_type: media_type.to_owned(),
            size,
            sha256,
            created_at: now,
        };
        if let Err(error) = self.chat.store.put_file(&row).await {
            if let Err(error) = self.blobs.delete(id).await {
                tracing::warn!(%error, file = %id, "a file without a description stays for a while");
            }
            return Err(error.into());
        }
        Ok(row)
    }

    /// The file, if the actor may read its channel; whether it exists is not revealed to others.
    ///
    /// # Errors
    /// No such file, or not the actor's to see.
    pub async fn find(&self, actor: &Actor, file: FileId) -> Result<FileRow, ChatError> {
        let row = self.chat.store.file(file).await?.ok_or_else(|| ChatError::not_found("file"))?;
        self.chat.authorize(actor, row.channel, ChannelAction::Read).await.map_err(|error| {
            match error.code {
                ErrorCode::NotFound => ChatError::not_found("file"),
                _ => error,
            }
        })?;
        Ok(row)
    }

    /// The bytes of a range of a file that was found. They end with an error when the actor may not read it any more: when
    /// `allowed` says so, when they have left its channel, or when it is gone.
    ///
    /// # Errors
    /// As the blob store fails.
    pub async fn read(
        self: &Arc<Self>,
        actor: Actor,
        file: FileId,
        range: Range<u64>,
        allowed: impl Fn() -> Result<(), ChatError> + Send + Sync + 'static,
    ) -> Result<ByteStream, ChatError> {
        let bytes = self.blobs.read(file, range).await.map_err(|error| match error {
            // Removed since it was found, or not brought back with the store.
            BlobError::NotFound => ChatError::not_found("file"),
            failed => blob_failed(&failed),
        })?;
        let reading =
            Reading { files: Arc::clone(self), actor, file, bytes, asked: Instant::now(), since: 0 };
        Ok(Box::pin(stream::try_unfold((reading, allowed), |(mut reading, allowed)| async move {
            if reading.since >= ASK_EVERY_BYTES || reading.asked.elapsed() >= ASK_EVERY {
                let ended = |error: ChatError| BlobError::Failed(error.into());
                allowed().map_err(ended)?;
                reading.files.find(&reading.actor, reading.file).await.map_err(ended)?;
                (reading.asked, reading.since) = (Instant::now(), 0);
            }
            let Some(chunk) = reading.bytes.next().await else { return Ok(None) };
            let chunk = chunk?;
            reading.since += chunk.len();
            Ok(Some((chunk, (reading, allowed))))
        })))
    }
}

/// A download under way.
struct Reading {
    files: Arc<Files>,
    actor: Actor,
    file: FileId,
    bytes: ByteStream,
    /// When it was asked last whether they may.
    asked: Instant,
    /// Bytes since then.
    since: usize,
}

/// There is no room for an upload.
pub fn no_space(message: impl Into<String>) -> ChatError {
    ChatError::new(ErrorCode::NoSpace, message)
}

fn beyond_quota(most: u64) -> ChatError {
    no_space(format!(
        "the files of one person may have {most} bytes together; delete messages with files to go on"
    ))
}

/// A blob store that fails is a matter for the operator; the client only learns that.
#[must_use]
pub fn blob_failed(error: &BlobError) -> ChatError {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, source, "blob store failed");
    ChatError::new(ErrorCode::Internal, "the file could not be kept or read; it was logged")
}
