//! Slows down those who guess passwords or make accounts in bulk.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use chat_domain::{
    bus::{Attempt, Limited},
    chat::ChatError,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use sha2::{Digest, Sha256};

use super::AuthOptions;

/// Keys that one limiter remembers before it drops the idle ones out of turn.
const MAX_KEYS: usize = 100_000;

/// One limit per key; a key that is idle for the limit's period costs nothing after the next
/// [`Limits::forget_idle`].
struct Limit(DefaultKeyedRateLimiter<u64>);

impl Limit {
    fn new(count: u32, period: Duration) -> Self {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period / count.get())
            .map_or(Quota::per_minute(count), |q| q.allow_burst(count));
        Self(RateLimiter::dashmap(quota))
    }

    fn check(&self, key: u64) -> Result<(), ChatError> {
        if self.0.len() > MAX_KEYS {
            self.0.retain_recent();
        }
        self.0.check_key(&key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.0.clock().now());
            ChatError::rate_limited(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
        })
    }

    fn forget_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// The limits of one process, which knows what others count as well.
pub(super) struct Limits {
    login_account: Limit,
    login_address: Limit,
    register_address: Limit,
}

/// What was counted, for other processes to count as well, and whether it may go on.
#[must_use]
pub(super) struct Counted {
    pub(super) attempts: Vec<Attempt>,
    pub(super) result: Result<(), ChatError>,
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
    pub(super) fn login(&self, handle: &str, address: IpAddr) -> Counted {
        self.count(&[
            Attempt { limit: Limited::LoginAddress, key: key(&network(address).to_string()) },
            Attempt { limit: Limited::LoginAccount, key: key(handle) },
        ])
    }

    /// Counts a registration.
    pub(super) fn register(&self, address: IpAddr) -> Counted {
        self.count(&[Attempt { limit: Limited::RegisterAddress, key: key(&network(address).to_string()) }])
    }

    /// Counts what another process let pass.
    pub(super) fn learn(&self, attempt: Attempt) {
        // Above the limit there is nothing more to count.
        drop(self.limit(attempt.limit).check(attempt.key));
    }

    pub(super) fn forget_idle(&self) {
        self.login_account.forget_idle();
        self.login_address.forget_idle();
        self.register_address.forget_idle();
    }

    fn count(&self, attempts: &[Attempt]) -> Counted {
        for (passed, attempt) in attempts.iter().enumerate() {
            if let Err(error) = self.limit(attempt.limit).check(attempt.key) {
                return Counted { attempts: attempts[..passed].to_vec(), result: Err(error) };
            }
        }
        Counted { attempts: attempts.to_vec(), result: Ok(()) }
    }

    const fn limit(&self, limit: Limited) -> &Limit {
        match limit {
            Limited::LoginAccount => &self.login_account,
            Limited::LoginAddress => &self.login_address,
            Limited::RegisterAddress => &self.register_address,
        }
    }
}

/// The same in every process, and not the name or address itself, which are nobody's business on the bus.
fn key(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
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
        let login = |handle: &str, from: &str| limits.login(handle, address(from)).result;
        assert!(login("ada", "192.0.2.1").is_ok());
        assert!(login("ada", "192.0.2.2").is_ok());
        let refused = login("ada", "192.0.2.3").expect_err("refused");
        assert!(refused.retry_after_ms.is_some_and(|ms| (1..=30_000).contains(&ms)), "{refused:?}");

        for handle in ["a1", "a2", "a3"] {
            assert!(login(handle, "2001:db8::1").is_ok());
        }
        assert!(login("a4", "2001:db8::ffff").is_err(), "the same /64");
        assert!(login("a4", "2001:db8:0:1::1").is_ok(), "another /64");
    }

    #[test]
    fn what_one_process_lets_pass_the_others_count() {
        let options = AuthOptions { login_per_minute_account: 4, ..AuthOptions::default() };
        let processes = [Limits::new(&options), Limits::new(&options)];
        let mut passed = 0;
        for n in 0..20 {
            let (here, there) = (&processes[n % 2], &processes[(n + 1) % 2]);
            let counted = here.login("ada", address("192.0.2.1"));
            passed += usize::from(counted.result.is_ok());
            for attempt in counted.attempts {
                there.learn(attempt);
            }
        }
        assert_eq!(passed, 4);
    }
}
