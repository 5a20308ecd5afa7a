//! Receives an upload: streamed, hashed, sniffed and bounded, never whole in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use chat_domain::{
    blob::Staged,
    chat::{ChatError, blob_failed},
};
use chat_http::connection::is_too_slow;
use chat_protocol::{ErrorCode, UserId};
use futures_util::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::sniff::Sniffer;

/// An upload that is not whole after this long is given up; the largest file needs 350 kbit/s. One that comes too slowly is given
/// up earlier, as every body is.
const WHOLE: Duration = Duration::from_secs(600);
/// When whoever found no place may try again, in milliseconds.
const COME_AGAIN_MS: u64 = 2_000;

/// Places for uploads: so many in all, and so many for each person.
#[derive(Clone)]
pub(super) struct Uploads {
    places: Arc<Semaphore>,
    each: usize,
    /// How many are going on, of those who have any.
    by_person: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A place for an upload, free again when it is dropped.
pub(super) struct UploadPlace {
    user: UserId,
    by_person: Arc<Mutex<HashMap<UserId, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Uploads {
    pub(super) fn new(places: usize, each: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), each, by_person: Arc::default() }
    }

    /// A place, while it is held.
    pub(super) fn enter(&self, user: UserId) -> Result<UploadPlace, ChatError> {
        let mut by_person = self.by_person.lock();
        if by_person.get(&user).is_some_and(|held| *held >= self.each) {
            let message =
                format!("too many uploads at once: at most {} of one person are allowed", self.each);
            return Err(ChatError { message, ..ChatError::rate_limited(COME_AGAIN_MS) });
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| ChatError::overloaded(COME_AGAIN_MS))?;
        *by_person.entry(user).or_default() += 1;
        Ok(UploadPlace { user, by_person: Arc::clone(&self.by_person), _place: place })
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        let mut by_person = self.by_person.lock();
        if let Some(held) = by_person.get_mut(&self.user) {
            *held -= 1;
            if *held == 0 {
                by_person.remove(&self.user);
            }
        }
    }
}

/// What was received; not committed yet.
pub(super) struct Received {
    pub(super) staged: Box<dyn Staged>,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) media_type: &'static str,
}

/// Writes the body, of up to `limit` bytes, to `staged`. On an error, dropping `staged` leaves nothing behind.
pub(super) async fn receive(
    body: Body,
    mut staged: Box<dyn Staged>,
    limit: u64,
    beyond: impl Fn() -> ChatError,
) -> Result<Received, ChatError> {
    let mut chunks = body.into_data_stream().boxed();
    let (mut hash, mut sniffer, mut size) = (Sha256::new(), Sniffer::default(), 0_u64);
    let end = Instant::now() + WHOLE;
    while let Some(chunk) = next(&mut chunks, end).await? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(beyond());
        }
        hash.update(&chunk);
        sniffer.feed(&chunk);
        staged.write(chunk).await.map_err(|e| blob_failed(&e))?;
    }
    if size == 0 {
        return Err(ChatError::invalid("the body is empty; it must be the bytes of a file"));
    }
    Ok(Received { staged, size, sha256: hash.finalize().into(), media_type: sniffer.media_type() })
}

async fn next(
    chunks: &mut BoxStream<'static, Result<Bytes, axum::Error>>,
    end: Instant,
) -> Result<Option<Bytes>, ChatError> {
    let malformed = |message| ChatError::new(ErrorCode::Malformed, message);
    match timeout_at(end, chunks.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => {
            Err(malformed(is_too_slow(&error).unwrap_or_else(|| "the upload was cut off".to_owned())))
        }
        Err(_) => Err(malformed(format!(
            "the upload is too slow: the whole file is expected within {} s",
            WHOLE.as_secs()
        ))),
    }
}

/// What is said of a file beyond the limit.
pub(super) fn too_large(limit: u64) -> ChatError {
    ChatError::new(ErrorCode::TooLarge, format!("the file is too large: at most {limit} bytes are allowed"))
}
