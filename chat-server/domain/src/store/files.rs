//! Files: their descriptions, which messages have them, and what is to be done about them later.

use async_trait::async_trait;
use chat_protocol::{ChannelId, ClientId, FileId, Millis, Seq, UserId};
use uuid::Uuid;

use super::StoreError;

/// An uploaded file's description; the bytes are in a [`crate::blob::BlobStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Id of the file.
    pub id: FileId,
    /// The channel whose readers may read it.
    pub channel: ChannelId,
    /// Who uploaded it.
    pub owner: UserId,
    /// Name as given, without a path.
    pub name: String,
    /// Media type as sniffed.
    pub media_type: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// When it was uploaded.
    pub created_at: Millis,
}

/// A file takes at least so many bytes of what a person may store: the many small ones cost something, too.
pub const LEAST_CHARGED: u64 = 64 * 1024;

impl FileRow {
    /// What it takes of what its owner may store, in bytes.
    #[must_use]
    pub const fn charged(&self) -> u64 {
        if self.size < LEAST_CHARGED { LEAST_CHARGED } else { self.size }
    }
}

/// What a person has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Bytes, as [`FileRow::charged`] counts them.
    pub bytes: u64,
    /// Files that no message has had yet.
    pub unattached: u64,
}

/// What is to be looked at later, because whoever should do it may be gone by then. All of it may be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWork {
    /// Not before this time.
    pub due: Millis,
    /// Which file it is about.
    pub file: FileId,
    /// What to look at.
    pub task: FileTask,
}

/// What to look at, see [`FileWork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTask {
    /// It was uploaded. If no message has it by then, it goes.
    Uploaded,
    /// Somebody sent a message with it. If that was committed, it has the file.
    Sent {
        /// The message's channel.
        channel: ChannelId,
        /// Who sent that message.
        by: UserId,
        /// The id that it was sent with.
        id: ClientId,
    },
    /// Somebody deleted a message that has it. If that was committed, it has the file no more.
    Deleted {
        /// The message's channel.
        channel: ChannelId,
        /// The position of that message.
        seq: Seq,
    },
    /// No message has it: its bytes go, then what is known of it.
    Remove,
}

impl FileTask {
    /// As stores keep it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Uploaded => vec![1],
            Self::Sent { channel, by, id } => {
                [&[2], &channel.0.as_bytes()[..], &by.0.as_bytes()[..], &id.0.as_bytes()[..]].concat()
            }
            Self::Deleted { channel, seq } => {
                [&[3], &channel.0.as_bytes()[..], &seq.to_be_bytes()[..]].concat()
            }
            Self::Remove => vec![4],
        }
    }

    /// What [`FileTask::encode`] made; `None` for what a newer version made.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let uuid = |at: usize| Uuid::from_slice(rest.get(at..at + 16)?).ok();
        Some(match (kind, rest.len()) {
            (1, 0) => Self::Uploaded,
            (2, 48) => {
                Self::Sent { channel: ChannelId(uuid(0)?), by: UserId(uuid(16)?), id: ClientId(uuid(32)?) }
            }
            (3, 24) => Self::Deleted {
                channel: ChannelId(uuid(0)?),
                seq: Seq::from_be_bytes(rest.get(16..)?.try_into().ok()?),
            },
            (4, 0) => Self::Remove,
            _ => return None,
        })
    }
}

/// Keeps files from going while a message with them is on its way, see [`FileStore::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHold {
    /// The id that the message is sent with.
    pub id: ClientId,
    /// When somebody looks what became of it: [`FileWork::due`] of its [`FileTask::Sent`].
    pub due: Millis,
}

/// Files' descriptions, and which messages have them. That a message has no file any more is final: a late
/// [`FileStore::attach`] does not undo it, and a file that is gone does not come back.
#[async_trait]
pub trait FileStore: Send + Sync + 'static {
    /// Adds a file's description. The bytes must be in place already.
    async fn put_file(&self, file: &FileRow) -> Result<(), StoreError>;

    /// Reads the row of one file; `None` when it is gone.
    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError>;

    /// What a person's files take, without those that are gone.
    async fn stored_by(&self, owner: UserId) -> Result<Stored, StoreError>;

    /// Whether a message has it, or may have it soon: it is held.
    async fn is_attached(&self, file: FileId) -> Result<bool, StoreError>;

    /// These files do not go before [`FileStore::let_go`]. Answers those that are gone already, which are not held. Whoever
    /// makes a file gone at the same moment finds it held, or else it is among these.
    async fn hold(&self, files: &[FileRow], hold: FileHold) -> Result<Vec<FileId>, StoreError>;

    /// They may go again. Those that a message had and none has any more are gone from now on; answers which.
    async fn let_go(&self, files: &[FileId], hold: FileHold) -> Result<Vec<FileId>, StoreError>;

    /// The message at this position has these files.
    async fn attach(&self, files: &[FileRow], channel: ChannelId, seq: Seq) -> Result<(), StoreError>;

    /// The message at this position has these files no more. Those that no other message has, and nobody
    /// holds, are gone from now on; answers which.
    async fn detach(&self, files: &[FileId], channel: ChannelId, seq: Seq)
    -> Result<Vec<FileId>, StoreError>;

    /// A file that no message has, and nobody holds, is gone from now on. Whether it is gone, or was never there.
    async fn retire(&self, file: FileId) -> Result<bool, StoreError>;

    /// Forgets all about a file that is gone.
    async fn erase_file(&self, file: FileId) -> Result<(), StoreError>;

    /// Notes what is to be looked at later.
    async fn add_file_work(&self, work: &[FileWork]) -> Result<(), StoreError>;

    /// Up to about `limit` pieces of work that are due, the earliest first.
    async fn due_file_work(&self, now: Millis, limit: usize) -> Result<Vec<FileWork>, StoreError>;

    /// These need not be looked at any more.
    async fn file_work_done(&self, work: &[FileWork]) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_as_they_were_written() {
        let (channel, by, id) = (ChannelId::new(), UserId::new(), ClientId::new());
        for task in [
            FileTask::Uploaded,
            FileTask::Sent { channel, by, id },
            FileTask::Deleted { channel, seq: 7_000_000_000 },
            FileTask::Remove,
        ] {
            assert_eq!(FileTask::decode(&task.encode()), Some(task));
        }
        for unknown in [&[][..], &[0], &[2, 1], &[4, 4], &[99]] {
            assert_eq!(FileTask::decode(unknown), None, "{unknown:?}");
        }
    }
}
