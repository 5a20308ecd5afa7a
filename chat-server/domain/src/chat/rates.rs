//! How often something may be done: by a person, from a network, to an account.
//!
//! The limits of people are this process's own: with several processes of a role one person may do so much on each.

use std::{hash::Hash, num::NonZeroUsize, time::Duration};

use chat_protocol::UserId;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ChatError;

/// Keys that one limit remembers; beyond it, those that were used longest ago are forgotten.
const MAX_KEYS: NonZeroUsize = NonZeroUsize::new(100_000).expect("is positive");
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// So many in a period for each key (the generic cell rate algorithm).
pub struct Rate<K: Hash + Eq> {
    interval: Duration,
    burst: Duration,
    /// When each key has its whole burst again.
    full: Mutex<LruCache<K, Instant>>,
}

impl<K: Hash + Eq> Rate<K> {
    /// `count` in a period, which may all come at once.
    #[must_use]
    pub fn new(count: u32, period: Duration) -> Self {
        Self::with_burst(count, period, count)
    }

    /// `count` in a period in the long run, and `burst` at once after a pause.
    #[must_use]
    pub fn with_burst(count: u32, period: Duration, burst: u32) -> Self {
        // Before the division, whose remainder would cost one of a burst.
        let interval = (period / count.max(1)).max(Duration::from_nanos(1));
        let burst = if burst == count { period } else { interval.saturating_mul(burst.max(1)) };
        Self { interval, burst, full: Mutex::new(LruCache::new(MAX_KEYS)) }
    }

    /// Counts one.
    ///
    /// # Errors
    /// `rate_limited` when it is one too many; it is not counted then.
    pub fn take(&self, key: K) -> Result<(), ChatError> {
        let now = Instant::now();
        let mut keys = self.full.lock();
        let full = keys.get(&key).map_or(now, |full| now.max(*full)) + self.interval;
        let wait = full.saturating_duration_since(now + self.burst);
        if wait.is_zero() {
            keys.put(key, full);
            return Ok(());
        }
        Err(ChatError::rate_limited(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)))
    }

    /// Takes the last one back.
    pub fn give_back(&self, key: &K) {
        if let Some(full) = self.full.lock().get_mut(key) {
            *full -= self.interval;
        }
    }

    /// Forgets keys that have their whole burst.
    pub fn forget_idle(&self) {
        let now = Instant::now();
        let mut keys = self.full.lock();
        while keys.peek_lru().is_some_and(|(_, full)| *full <= now) {
            keys.pop_lru();
        }
    }
}

/// How much one person may do in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateOptions {
    /// REST requests a second, of every kind, in the long run.
    pub requests_per_second: u32,
    /// REST requests at once after a pause.
    pub request_burst: u32,
    /// Messages, edits, deletions and reactions a second, over all sockets and REST, in the long run.
    pub commands_per_second: u32,
    /// The same at once after a pause.
    pub command_burst: u32,
    /// Channels made in an hour, direct ones too.
    pub channels_per_hour: u32,
    /// Invitations and password codes made in an hour.
    pub invitations_per_hour: u32,
    /// Uploads begun in an hour.
    pub uploads_per_hour: u32,
}

impl RateOptions {
    /// No limits: for a chat that nobody but its own process uses.
    pub const NONE: Self = Self {
        requests_per_second: u32::MAX,
        request_burst: u32::MAX,
        commands_per_second: u32::MAX,
        command_burst: u32::MAX,
        channels_per_hour: u32::MAX,
        invitations_per_hour: u32::MAX,
        uploads_per_hour: u32::MAX,
    };
}

/// What people do, counted. Doors ask before they do anything.
pub struct Rates {
    requests: Rate<UserId>,
    commands: Rate<UserId>,
    channels: Rate<UserId>,
    invitations: Rate<UserId>,
    uploads: Rate<UserId>,
}

impl Default for Rates {
    /// Limits that nobody reaches: [`RateOptions::NONE`].
    fn default() -> Self {
        Self::new(&RateOptions::NONE)
    }
}

impl Rates {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new(options: &RateOptions) -> Self {
        let RateOptions { requests_per_second, request_burst, commands_per_second, command_burst, .. } =
            *options;
        Self {
            requests: Rate::with_burst(requests_per_second, SECOND, request_burst),
            commands: Rate::with_burst(commands_per_second, SECOND, command_burst),
            channels: Rate::new(options.channels_per_hour, HOUR),
            invitations: Rate::new(options.invitations_per_hour, HOUR),
            uploads: Rate::new(options.uploads_per_hour, HOUR),
        }
    }

    /// Counts a REST request.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn request(&self, user: UserId) -> Result<(), ChatError> {
        self.requests.take(user)
    }

    /// Counts a message, an edit, a deletion or a reaction.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn command(&self, user: UserId) -> Result<(), ChatError> {
        self.commands.take(user)
    }

    /// Counts a channel that is made.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn channel(&self, user: UserId) -> Result<(), ChatError> {
        self.channels.take(user)
    }

    /// Counts an invitation or a password code that is made.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn invitation(&self, user: UserId) -> Result<(), ChatError> {
        self.invitations.take(user)
    }

    /// Counts an upload that begins.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn upload(&self, user: UserId) -> Result<(), ChatError> {
        self.uploads.take(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_counted_out_and_comes_back_at_the_rate() {
        let (ada, bob) = (UserId::new(), UserId::new());
        for (count, burst) in [(50, 100), (7, 7), (3, 1), (1, 5)] {
            let rate = Rate::with_burst(count, SECOND, burst);
            assert_eq!(
                (0..1_000).filter(|_| rate.take(ada).is_ok()).count(),
                burst as usize,
                "{count}, {burst}"
            );
            assert!(rate.take(bob).is_ok(), "others are not affected");
            let wait = rate.take(ada).expect_err("is one too many").retry_after_ms.expect("a time");
            assert!(wait <= u64::from(1_000 / count) + 1, "{wait} ms");
            tokio::time::advance(Duration::from_secs(2)).await;
            let again = (0..1_000).filter(|_| rate.take(ada).is_ok()).count();
            assert_eq!(again, (2 * count).min(burst) as usize, "{count}, {burst}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_refused() {
        let rates = Rates::new(&RateOptions::NONE);
        let ada = UserId::new();
        assert!((0..100_000).all(|_| rates.request(ada).is_ok() && rates.channel(ada).is_ok()));
    }
}
