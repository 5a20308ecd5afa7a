//! What decisions about channels need, kept in memory: a send must not cost a read each time.
//!
//! Every commit of this process, and every event that the bus brings from others, passes through
//! [`Directory::observe`] before anybody is answered, so what is kept is never older than the last event seen. The bus
//! may lose one: hence what is kept also has a lifetime, and all of it is forgotten when the bus says that it lost
//! something. While the store is away the lifetime is longer, since nothing can be committed either.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use chat_log::{membership_change, rules_change};
use chat_protocol::{ChannelId, ChannelKind, ErrorCode, EventBody, UserId};
use futures_util::FutureExt as _;
use lru::LruCache;
use parking_lot::Mutex;

use super::{ChatError, flight::Flights};
use crate::store::{Membership, Store};

const CHANNELS: NonZeroUsize = NonZeroUsize::new(20_000).expect("not zero");
const MEMBERS: NonZeroUsize = NonZeroUsize::new(200_000).expect("not zero");
/// After this long the store is asked again.
const LIFETIME: Duration = Duration::from_secs(60);
/// The same while the store does not answer.
const LIFETIME_AWAY: Duration = Duration::from_secs(900);
/// The store is waited for this long when memory could answer instead; longer than a read takes that goes well.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// What decisions need of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelMeta {
    /// Who may see it.
    pub kind: ChannelKind,
    /// Whether it takes no more messages.
    pub archived: bool,
    /// Whose channel it is.
    pub created_by: UserId,
}

struct Caches {
    /// Counts forgettings. A read that began before one must not be kept: it may be of the state before.
    epoch: u64,
    channels: LruCache<ChannelId, (ChannelMeta, Instant)>,
    members: LruCache<(ChannelId, UserId), Instant>,
}

/// Channels and memberships that were read lately.
pub struct Directory {
    store: Arc<dyn Store>,
    /// After this long the store is asked again.
    lifetime: Duration,
    caches: Mutex<Caches>,
    /// Reads under way; with the epoch, so that nobody joins one that began before a forgetting.
    channel_reads: Flights<(ChannelId, u64), Result<Option<ChannelMeta>, ChatError>>,
    member_reads: Flights<(ChannelId, UserId, u64), Result<bool, ChatError>>,
}

impl Directory {
    /// Keeps what it reads for a minute.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with_lifetime(store, LIFETIME)
    }

    /// Keeps what it reads for so long.
    #[must_use]
    pub fn with_lifetime(store: Arc<dyn Store>, lifetime: Duration) -> Self {
        Self {
            store,
            lifetime,
            caches: Mutex::new(Caches {
                epoch: 0,
                channels: LruCache::new(CHANNELS),
                members: LruCache::new(MEMBERS),
            }),
            channel_reads: Flights::default(),
            member_reads: Flights::default(),
        }
    }

    /// A channel.
    ///
    /// # Errors
    /// `not_found`, or as the store fails and nothing is kept.
    pub async fn channel(&self, id: ChannelId) -> Result<ChannelMeta, ChatError> {
        let (epoch, kept) = {
            let mut caches = self.caches.lock();
            (caches.epoch, caches.channels.get(&id).copied())
        };
        if let Some((meta, _)) = kept.filter(|(_, at)| at.elapsed() < self.lifetime) {
            return Ok(meta);
        }
        let store = Arc::clone(&self.store);
        let read = async move {
            let row = store.channel(id).await?;
            Ok(row.map(|row| ChannelMeta {
                kind: row.kind,
                archived: row.archived,
                created_by: row.created_by,
            }))
        };
        let kept = kept.filter(|(_, at)| at.elapsed() < LIFETIME_AWAY).map(|(meta, _)| meta);
        let read = self.channel_reads.join((id, epoch), || to_its_end(read).boxed());
        let meta = match unless_kept(kept, read).await? {
            Known::Now(Some(meta)) => meta,
            Known::Now(None) => return Err(ChatError::not_found("channel")),
            Known::Before(meta) => return Ok(meta),
        };
        let mut caches = self.caches.lock();
        if caches.epoch == epoch {
            caches.channels.put(id, (meta, Instant::now()));
        }
        Ok(meta)
    }

    /// Whether a user is a member.
    ///
    /// # Errors
    /// As the store fails and nothing is kept.
    pub async fn is_member(&self, channel: ChannelId, user: UserId) -> Result<bool, ChatError> {
        let (epoch, kept) = {
            let mut caches = self.caches.lock();
            (caches.epoch, caches.members.get(&(channel, user)).copied())
        };
        if kept.is_some_and(|at| at.elapsed() < self.lifetime) {
            return Ok(true);
        }
        let store = Arc::clone(&self.store);
        let read = async move { Ok(store.membership(channel, user).await?.is_some()) };
        // Only membership is kept: that somebody is not a member is asked again each time.
        let kept = kept.filter(|at| at.elapsed() < LIFETIME_AWAY).map(|_| true);
        let read = self.member_reads.join((channel, user, epoch), || to_its_end(read).boxed());
        let member = match unless_kept(kept, read).await? {
            Known::Now(member) => member,
            Known::Before(member) => return Ok(member),
        };
        let mut caches = self.caches.lock();
        if caches.epoch == epoch {
            if member {
                caches.members.put((channel, user), Instant::now());
            } else {
                caches.members.pop(&(channel, user));
            }
        }
        Ok(member)
    }

    /// All of a user's channels, from the store; what is learnt by it is kept.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, ChatError> {
        let epoch = self.caches.lock().epoch;
        let memberships = self.store.memberships(user).await?;
        let now = Instant::now();
        let mut caches = self.caches.lock();
        if caches.epoch == epoch {
            for membership in &memberships {
                caches.members.put((membership.channel, user), now);
            }
        }
        Ok(memberships)
    }

    /// Forgets what an event outdates.
    pub fn observe(&self, channel: ChannelId, body: &EventBody) {
        match (membership_change(body), rules_change(body)) {
            (Some((user, false)), _) => {
                let mut caches = self.caches.lock();
                caches.epoch += 1;
                caches.members.pop(&(channel, user));
            }
            (None, true) => {
                let mut caches = self.caches.lock();
                caches.epoch += 1;
                caches.channels.pop(&channel);
            }
            // That somebody is not a member is not kept.
            (Some((_, true)), _) | (None, false) => {}
        }
    }

    /// Forgets everything: an event was missed, and nobody knows which.
    pub fn forget_all(&self) {
        let mut caches = self.caches.lock();
        caches.epoch += 1;
        caches.channels.clear();
        caches.members.clear();
    }
}

/// What is known of something.
#[derive(Debug, PartialEq, Eq)]
enum Known<N, B> {
    /// From the store.
    Now(N),
    /// As it was kept; the store does not answer.
    Before(B),
}

/// What a read gives, or what was kept if the store is away or takes its time.
async fn unless_kept<N, B>(
    kept: Option<B>,
    read: impl Future<Output = Result<N, ChatError>>,
) -> Result<Known<N, B>, ChatError> {
    let Some(kept) = kept else { return read.await.map(Known::Now) };
    match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(Ok(now)) => Ok(Known::Now(now)),
        Ok(Err(error)) if !is_away(&error) => Err(error),
        Ok(Err(_)) | Err(_) => Ok(Known::Before(kept)),
    }
}

/// Reads on when nobody waits any more: how a read of the store ends says how the store is.
async fn to_its_end<T: Send + 'static>(
    read: impl Future<Output = Result<T, ChatError>> + Send + 'static,
) -> Result<T, ChatError> {
    tokio::spawn(read).await.unwrap_or_else(|_| Err(ChatError::unknown_outcome()))
}

/// Whether it is the store that does not answer.
pub(super) const fn is_away(error: &ChatError) -> bool {
    matches!(error.code, ErrorCode::Overloaded | ErrorCode::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_answers_for_a_store_that_is_away_or_hangs() {
        let hangs = std::future::pending::<Result<u8, ChatError>>;
        let answers = |answer: Result<u8, ChatError>| async { answer };
        let (away, refusal) = (ChatError::overloaded(1), ChatError::not_found("channel"));
        assert_eq!(unless_kept(Some(7), hangs()).await.ok(), Some(Known::Before(7)));
        assert_eq!(unless_kept(Some(7), answers(Ok(8))).await.ok(), Some(Known::Now(8)));
        assert_eq!(unless_kept(Some(7), answers(Err(away.clone()))).await.ok(), Some(Known::Before(7)));
        let code = |known: Result<Known<u8, u8>, ChatError>| known.map_err(|error| error.code);
        assert_eq!(code(unless_kept(Some(7), answers(Err(refusal))).await), Err(ErrorCode::NotFound));
        assert_eq!(code(unless_kept(None, answers(Err(away))).await), Err(ErrorCode::Overloaded));
    }
}
