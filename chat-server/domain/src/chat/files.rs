//! Files: their bytes in a blob store, their description beside the log of their channel, whose readers may read them.

use std::{ops::Range, sync::Arc};

use chat_protocol::{ChannelId, ErrorCode, FileId};

use super::{Actor, Chat, ChatError, file_names::sanitise, now_ms, permissions::ChannelAction};
use crate::{
    blob::{BlobError, BlobStore, ByteStream, Staged},
    store::FileRow,
};

/// The files of a chat.
pub struct Files {
    chat: Arc<Chat>,
    blobs: Arc<dyn BlobStore>,
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
    pub const fn new(chat: Arc<Chat>, blobs: Arc<dyn BlobStore>) -> Self {
        Self { chat, blobs }
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

    /// Makes the bytes durable, then their description. Not to be dropped halfway: bytes without a description would stay.
    ///
    /// # Errors
    /// The actor may not write to the channel any more, or as a store fails.
    pub async fn keep(&self, actor: &Actor, upload: Upload) -> Result<FileRow, ChatError> {
        let Upload { id, channel, name, media_type, size, sha256, staged } = upload;
        // It took its time: whoever left the channel meanwhile has uploaded nothing.
        self.may_upload(actor, channel).await?;
        staged.commit().await.map_err(|error| blob_failed(&error))?;
        let row = FileRow {
            id,
            channel,
            owner: actor.user,
            name: sanitise(&name),
            media_type: media_type.to_owned(),
            size,
            sha256,
            created_at: now_ms(),
        };
        if let Err(error) = self.chat.store.put_file(&row).await {
            if let Err(error) = self.blobs.delete(id).await {
                tracing::warn!(%error, file = %id, "a file without a description stays");
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

    /// The bytes of a range of a file that was found.
    ///
    /// # Errors
    /// As the blob store fails.
    pub async fn read(&self, file: FileId, range: Range<u64>) -> Result<ByteStream, ChatError> {
        self.blobs.read(file, range).await.map_err(|error| blob_failed(&error))
    }
}

/// A blob store that fails is a matter for the operator; the client only learns that.
#[must_use]
pub fn blob_failed(error: &BlobError) -> ChatError {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, source, "blob store failed");
    ChatError::new(ErrorCode::Internal, "the file could not be kept or read; it was logged")
}
