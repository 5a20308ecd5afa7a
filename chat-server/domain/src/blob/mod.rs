//! Where the bytes of files lie, behind one contract. `disk` is the embedded implementation; a cluster
//! uses `cassandra` or `s3`.

use std::{ops::Range, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use chat_protocol::FileId;
use futures_util::Stream;

/// Why bytes could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("no such blob")]
    NotFound,
    /// The disk or the object store failed.
    #[error("blob store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Bytes on their way out.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// Keeps blobs. Nothing of a blob is readable before [`Staged::commit`] has returned.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Begins a blob. Dropping the result without a commit leaves nothing behind.
    async fn stage(&self, id: FileId) -> Result<Box<dyn Staged>, BlobError>;

    /// Reads `range` of a blob in chunks of at most 64 KiB; the range must lie within its size.
    async fn read(&self, id: FileId, range: Range<u64>) -> Result<ByteStream, BlobError>;

    /// Removes a blob; one that is not there is fine.
    async fn delete(&self, id: FileId) -> Result<(), BlobError>;

    /// Bytes that are free where blobs are written, when they lie beside the system of record; `None` where they take no room
    /// of it.
    async fn free(&self) -> Result<Option<u64>, BlobError> {
        Ok(None)
    }
}

/// A blob that is being written.
#[async_trait]
pub trait Staged: Send {
    /// Appends bytes to the blob.
    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError>;

    /// Makes it durable, then readable.
    async fn commit(self: Box<Self>) -> Result<(), BlobError>;
}
