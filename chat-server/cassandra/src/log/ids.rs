//! Client ids that were used in older buckets than the one that is written to.
//!
//! A bucket that is full never changes again, so the set of its client ids is read once and kept as hashes: what is not
//! among them was certainly not used there, and costs a send nothing. Only a hash that is found costs a read.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZeroUsize,
    sync::Arc,
};

use chat_domain::clock::now_ms;
use chat_protocol::{ChannelId, Millis, Seq};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lru::LruCache;
use parking_lot::Mutex;

use super::{
    Log,
    codec::{Damaged, channel_value, missing, number, seq_key},
    error::LogError,
    statements as cql,
};
use crate::cql::{Row, Value};

/// Author and client id, or author and a random id for an event that has none.
pub(super) type Key = [u8; 32];

/// Buckets whose ids are read at the same time.
const READ_AT_ONCE: usize = 8;

/// Which older buckets may hold ids that still count: from `floor` up to `next`, which was written to when this was
/// found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    floor: i32,
    next: i32,
}

/// Hashes of a bucket's ids, sorted.
type Hashes = Arc<[u64]>;

/// The ids of full buckets. A cache, bounded in entries of known size.
pub(super) struct FullBuckets {
    hashes: Mutex<LruCache<(ChannelId, i32), Hashes>>,
}

impl FullBuckets {
    pub(super) fn new(buckets: NonZeroUsize) -> Self {
        Self { hashes: Mutex::new(LruCache::new(buckets)) }
    }

    pub(super) fn clear(&self) {
        self.hashes.lock().clear();
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Log {
    /// Where these keys were used before bucket `next`, if they still count: index into `keys`, position, time.
    pub(super) async fn used_before(
        &self,
        channel: ChannelId,
        next: i32,
        window: &mut Window,
        keys: &[Key],
    ) -> Result<Vec<(usize, Seq, Millis)>, LogError> {
        if next == 0 || keys.is_empty() {
            return Ok(Vec::new());
        }
        if window.next != next {
            *window = Window { floor: self.floor(channel, window.floor, next).await?, next };
        }
        let buckets: Vec<_> = (window.floor..next).collect();
        let sets: Vec<(i32, Hashes)> = stream::iter(buckets)
            .map(async |bucket| Ok::<_, LogError>((bucket, self.hashes(channel, bucket).await?)))
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        let hashed: Vec<u64> = keys.iter().map(|key| hash(key)).collect();
        let mut found = Vec::new();
        for (bucket, set) in sets.into_iter().rev() {
            let asked: Vec<_> = (0..keys.len()).filter(|&i| set.binary_search(&hashed[i]).is_ok()).collect();
            let asked_keys: Vec<Key> = asked.iter().map(|&i| keys[i]).collect();
            for (i, seq, at) in self.used_in(channel, bucket, &asked_keys).await? {
                found.push((asked[i], seq, at));
            }
        }
        Ok(found)
    }

    /// Where these keys were used in one bucket: index into `keys`, position, time.
    pub(super) async fn used_in(
        &self,
        channel: ChannelId,
        bucket: i32,
        keys: &[Key],
    ) -> Result<Vec<(usize, Seq, Millis)>, LogError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let list =
            keys.iter().collect::<BTreeSet<_>>().into_iter().map(|key| Value::Blob(key.to_vec())).collect();
        let values = vec![channel_value(channel), Value::Int(bucket), Value::List(list)];
        let rows = self.cql.execute(cql::USES, values).await?;
        let mut found = Vec::new();
        for row in &rows {
            let (seq, at) = (number(row, "seq")?, number(row, "at")?);
            let key = key_of(row)?;
            found.extend((0..keys.len()).filter(|&i| keys[i] == key).map(|i| (i, seq, at)));
        }
        Ok(found)
    }

    /// The first bucket whose ids may still count. Times come from clocks that may be apart, hence the margin.
    async fn floor(&self, channel: ChannelId, known: i32, next: i32) -> Result<i32, LogError> {
        let (mut low, mut high) = (known, next);
        // The bucket before is most likely either too old already, or all are young: look there first.
        let mut middle = next - 1;
        while low < high {
            if self.is_too_old(channel, middle).await? {
                low = middle + 1;
            } else {
                high = middle;
            }
            middle = low + (high - low) / 2;
        }
        Ok(low)
    }

    async fn is_too_old(&self, channel: ChannelId, bucket: i32) -> Result<bool, LogError> {
        let last = self.buckets.end(bucket);
        let values = vec![channel_value(channel), Value::Int(bucket), seq_key(last)];
        let rows = self.cql.execute(cql::EVENT_AT, values).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        Ok(number(row, "at")?.saturating_add(self.options.ids_kept_ms()) < now_ms())
    }

    async fn hashes(&self, channel: ChannelId, bucket: i32) -> Result<Hashes, LogError> {
        if let Some(known) = self.full_buckets.hashes.lock().get(&(channel, bucket)) {
            return Ok(Arc::clone(known));
        }
        // What filled the bucket may not be at a quorum of the nodes yet; after this it is.
        self.statics(cql::STATICS_SETTLED, channel, bucket).await?;
        let rows = self.cql.execute(cql::ALL_USES, vec![channel_value(channel), Value::Int(bucket)]).await?;
        let mut hashes = Vec::with_capacity(rows.len());
        for row in &rows {
            hashes.push(hash(&key_of(row)?));
        }
        hashes.sort_unstable();
        let hashes: Hashes = hashes.into();
        self.full_buckets.hashes.lock().put((channel, bucket), Arc::clone(&hashes));
        Ok(hashes)
    }
}

/// The key of a row that says that a client id is used.
pub(super) fn key_of(row: &Row) -> Result<Key, LogError> {
    let key = row.blob("key").ok_or_else(|| missing("key"))?;
    key.try_into().map_err(|_| Damaged(format!("a key of 32 bytes, found {}", key.len())).into())
}
