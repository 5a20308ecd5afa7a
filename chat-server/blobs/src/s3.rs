//! Blobs as objects in a bucket of a store that speaks the S3 protocol.
//!
//! A small blob is put in one request. A larger one goes up in parts as it arrives, and becomes an object when the last
//! one is there; one that is given up is aborted. What a crash left half-uploaded is invisible, and costs space until the
//! bucket's own rule for incomplete multipart uploads removes it.

use std::{ops::Range, path::Path as FilePath, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chat_domain::blob::{BlobError, BlobStore, ByteStream, Staged};
use chat_protocol::FileId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    RetryConfig, aws::AmazonS3Builder, path::Path,
};
use tokio::runtime::Handle;

use crate::config::S3Config;

/// Bytes of one part: the least that S3 takes for all but the last.
const PART: usize = 5 * 1024 * 1024;
/// Bytes of one piece that is handed out.
const PIECE: usize = 64 * 1024;
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a request that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Blobs in a bucket.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl S3Blobs {
    /// Reads the credentials and prepares the client. The bucket is not asked until it is needed.
    ///
    /// # Errors
    /// When the credentials cannot be read or the settings do not fit together.
    pub fn open(config: &S3Config) -> Result<Self, BlobError> {
        let (id, secret) = credentials(&config.credentials_file)?;
        let client = ClientOptions::new().with_timeout(DEADLINE).with_connect_timeout(Duration::from_secs(5));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_retry(RetryConfig { max_retries: 5, retry_timeout: RETRY, ..RetryConfig::default() })
            .with_client_options(client);
        if !config.endpoint.is_empty() {
            // Whoever writes http:// in the endpoint means it.
            builder = builder
                .with_endpoint(&config.endpoint)
                .with_allow_http(config.endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(failed)?;
        Ok(Self { store: Arc::new(store), prefix: config.prefix.clone() })
    }

    fn path(&self, id: FileId) -> Path {
        Path::from(format!("{}{id}", self.prefix))
    }
}

/// Two lines: the access key id, the secret access key.
fn credentials(path: &FilePath) -> Result<(String, String), BlobError> {
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(secret), None) => Ok((id.to_owned(), secret.to_owned())),
        _ => Err(failed(format!(
            "{}: expected two lines, the access key id and the secret access key",
            path.display()
        ))),
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn stage(&self, id: FileId) -> Result<Box<dyn Staged>, BlobError> {
        Ok(Box::new(StagedObject {
            store: Arc::clone(&self.store),
            path: self.path(id),
            buffer: BytesMut::new(),
            upload: None,
        }))
    }

    async fn read(&self, id: FileId, range: Range<u64>) -> Result<ByteStream, BlobError> {
        // The protocol has no empty range; that the object is there must still be known.
        if range.is_empty() {
            self.store.head(&self.path(id)).await.map_err(failed)?;
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let got = self.store.get_opts(&self.path(id), options).await.map_err(failed)?;
        if got.range != range {
            return Err(failed(format!("expected the bytes {range:?}, got {:?}", got.range)));
        }
        let pieces = got.into_stream().map_err(failed).map_ok(|bytes| stream::iter(pieces(bytes).map(Ok)));
        Ok(pieces.try_flatten().boxed())
    }

    async fn delete(&self, id: FileId) -> Result<(), BlobError> {
        match self.store.delete(&self.path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE))))
}

struct StagedObject {
    store: Arc<dyn ObjectStore>,
    path: Path,
    buffer: BytesMut,
    /// Begun with the first full part.
    upload: Option<Box<dyn MultipartUpload>>,
}

impl StagedObject {
    async fn put_part(&mut self, part: Bytes) -> Result<(), BlobError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.store.put_multipart(&self.path).await.map_err(failed)?),
        };
        upload.put_part(PutPayload::from(part)).await.map_err(failed)
    }
}

#[async_trait]
impl Staged for StagedObject {
    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        self.buffer.extend_from_slice(&chunk);
        while self.buffer.len() >= PART {
            let part = self.buffer.split_to(PART).freeze();
            self.put_part(part).await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), BlobError> {
        let rest = self.buffer.split().freeze();
        if self.upload.is_none() {
            self.store.put(&self.path, PutPayload::from(rest)).await.map_err(failed)?;
            return Ok(());
        }
        if !rest.is_empty() {
            self.put_part(rest).await?;
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await.map_err(failed)?;
        }
        self.upload = None;
        Ok(())
    }
}

impl Drop for StagedObject {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "a cut upload was not aborted; the bucket's rule for incomplete uploads will");
            }
        });
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BlobError {
    let error = error.into();
    match error.downcast_ref() {
        Some(object_store::Error::NotFound { .. }) => BlobError::NotFound,
        _ => BlobError::Failed(error),
    }
}
