//! Slows down those who guess passwords or make accounts in bulk.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};

use super::AuthOptions;
use crate::chat::ChatError;

/// Keys that one limiter remembers before it drops the idle ones out of turn.
const MAX_KEYS: usize = 100_000;

/// One limit per key; a key that is idle for the limit's period costs nothing after the next
/// [`Limits::forget_idle`].
struct Limit<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(count: u32, period: Duration) -> Self {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period / count.get())
            .map_or(Quota::per_minute(count), |q| q.allow_burst(count));
        Self(RateLimiter::dashmap(quota))
    }

    fn check(&self, key: &K) -> Result<(), ChatError> {
        if self.0.len() > MAX_KEYS {
            self.0.retain_recent();
        }
        self.0.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.0.clock().now());
            ChatError::rate_limited(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
        })
    }

    fn forget_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

pub(super) struct Limits {
    login_account: Limit<String>,
    login_address: Limit<IpAddr>,
    register_address: Limit<IpAddr>,
}

impl Limits {
    pub(super) fn new(options: &AuthOptions) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            login_account: Limit::new(options.login_per_minute_account, MINUTE),
            login_address: Limit::new(options.login_per_minute_address, MINUTE),
            register_address: Limit::new(options.register_per_hour_address, HOUR),
        }
    }

    /// Counts a login. The address comes first: one that is refused cannot use up somebody's account.
    pub(super) fn login(&self, handle: &str, address: IpAddr) -> Result<(), ChatError> {
        self.login_address.check(&network(address))?;
        self.login_account.check(&handle.to_owned())
    }

    /// Counts a registration.
    pub(super) fn register(&self, address: IpAddr) -> Result<(), ChatError> {
        self.register_address.check(&network(address))
    }

    pub(super) fn forget_idle(&self) {
        self.login_account.forget_idle();
        self.login_address.forget_idle();
        self.register_address.forget_idle();
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 /64 (RFC 6177 §2: sites get at least that).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_account_is_limited_from_everywhere_and_an_address_for_every_account() {
        let limits = Limits::new(&AuthOptions {
            login_per_minute_account: 2,
            login_per_minute_address: 3,
            ..AuthOptions::default()
        });
        assert!(limits.login("ada", address("192.0.2.1")).is_ok());
        assert!(limits.login("ada", address("192.0.2.2")).is_ok());
        let refused = limits.login("ada", address("192.0.2.3")).expect_err("refused");
        assert!(refused.retry_after_ms.is_some_and(|ms| (1..=30_000).contains(&ms)), "{refused:?}");

        for handle in ["a1", "a2", "a3"] {
            assert!(limits.login(handle, address("2001:db8::1")).is_ok());
        }
        assert!(limits.login("a4", address("2001:db8::ffff")).is_err(), "the same /64");
        assert!(limits.login("a4", address("2001:db8:0:1::1")).is_ok(), "another /64");
    }
}
