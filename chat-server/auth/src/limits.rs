//! Slows down those who guess passwords or make accounts in bulk.
//!
//! Wrong passwords count, right ones do not. They count for the network that they come from, for that network and the
//! account together, and for the account from wherever: only the last one lets a stranger hinder the owner, so it is wide,
//! and does not hold for networks that the account is known from.

use std::{net::IpAddr, num::NonZeroUsize, time::Duration};

use chat_domain::{
    bus::{Attempt, Limited},
    chat::{ChatError, Rate},
};
use chat_http::network;
use chat_protocol::{SessionId, UserId};
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::AuthOptions;

/// Keys that are remembered; beyond it, those that were used longest ago are forgotten.
const MAX_KEYS: NonZeroUsize = NonZeroUsize::new(100_000).expect("is positive");
/// Wrong passwords to an account from everywhere, for each one that is allowed from one network.
const NETWORKS: u32 = 10;
/// Refresh tokens that are refused, of one network a minute. Nobody guesses one, so it is wide: a whole office may have been
/// signed out.
const REFRESH_REFUSED: u32 = 600;
/// Changes of a password with the right one, of one person in ten minutes.
const CHANGES: u32 = 10;
/// Times that one session gets new tokens, a minute.
const REFRESHED: u32 = 60;

/// The limits of one process, which knows what others count as well.
pub(super) struct Limits {
    login_pair: Rate<u64>,
    login_network: Rate<u64>,
    login_account: Rate<u64>,
    register_network: Rate<u64>,
    password: Rate<u64>,
    change: Rate<u64>,
    refresh_network: Rate<u64>,
    refresh_session: Rate<SessionId>,
    /// Accounts and networks that they were lately signed in from.
    known: Mutex<LruCache<u64, ()>>,
}

/// Somebody who shows a password. What was counted stays so unless it was right.
#[must_use]
pub(super) struct Guess<'a> {
    limits: &'a Limits,
    network: u64,
    pair: u64,
    account: Option<u64>,
}

impl Guess<'_> {
    /// Counts for the account, from wherever it comes.
    pub(super) fn anywhere(&mut self, handle: &str) -> Result<(), ChatError> {
        let account = key(handle);
        self.limits.login_account.take(account)?;
        self.account = Some(account);
        Ok(())
    }

    /// Whether the account was lately signed in from here.
    pub(super) fn is_known(&self) -> bool {
        self.limits.known.lock().get(&self.pair).is_some()
    }

    /// The password was right.
    pub(super) fn right(self) {
        self.give_back();
        self.limits.known.lock().put(self.pair, ());
    }

    /// It was not looked at.
    pub(super) fn give_back(&self) {
        self.limits.login_network.give_back(&self.network);
        self.limits.login_pair.give_back(&self.pair);
        if let Some(account) = self.account {
            self.limits.login_account.give_back(&account);
        }
    }

    /// It was wrong: what other processes are to count as well.
    pub(super) fn wrong(self) -> Vec<Attempt> {
        vec![
            Attempt { limit: Limited::LoginAddress, key: self.network },
            Attempt { limit: Limited::LoginAccount, key: self.pair },
        ]
    }
}

impl Limits {
    pub(super) fn new(options: &AuthOptions) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3_600);
        let per_account = options.login_per_minute_account;
        Self {
            login_pair: Rate::new(per_account, MINUTE),
            login_network: Rate::new(options.login_per_minute_address, MINUTE),
            login_account: Rate::new(per_account.saturating_mul(NETWORKS), MINUTE),
            register_network: Rate::new(options.register_per_hour_address, HOUR),
            password: Rate::new(per_account, MINUTE),
            change: Rate::new(CHANGES, 10 * MINUTE),
            refresh_network: Rate::new(REFRESH_REFUSED, MINUTE),
            refresh_session: Rate::new(REFRESHED, MINUTE),
            known: Mutex::new(LruCache::new(MAX_KEYS)),
        }
    }

    /// Counts somebody who wants to sign in to an account.
    pub(super) fn login(&self, handle: &str, address: IpAddr) -> Result<Guess<'_>, ChatError> {
        let network = network_key(address);
        self.login_network.take(network)?;
        let pair = key(&format!("{handle} {network}"));
        if let Err(error) = self.login_pair.take(pair) {
            self.login_network.give_back(&network);
            return Err(error);
        }
        Ok(Guess { limits: self, network, pair, account: None })
    }

    /// Counts a person who is signed in and shows their password.
    pub(super) fn password(&self, user: UserId) -> Result<(), ChatError> {
        self.password.take(key(&user.to_string()))
    }

    /// It was right.
    pub(super) fn right_password(&self, user: UserId) {
        self.password.give_back(&key(&user.to_string()));
    }

    /// Counts a refresh token that was refused. Good ones of the same network are never counted.
    pub(super) fn refresh_refused(&self, address: IpAddr) -> Result<(), ChatError> {
        self.refresh_network.take(network_key(address))
    }

    /// Counts a session that gets new tokens.
    pub(super) fn refreshed(&self, session: SessionId) -> Result<(), ChatError> {
        self.refresh_session.take(session)
    }

    /// Counts a person who changes their password.
    pub(super) fn change(&self, user: UserId) -> Result<(), ChatError> {
        self.change.take(key(&user.to_string()))
    }

    /// Counts a registration, and answers what other processes are to count as well.
    pub(super) fn register(&self, address: IpAddr) -> Result<Vec<Attempt>, ChatError> {
        let network = network_key(address);
        self.register_network.take(network)?;
        Ok(vec![Attempt { limit: Limited::RegisterAddress, key: network }])
    }

    /// Counts what another process let pass.
    pub(super) fn learn(&self, attempt: Attempt) {
        let limit = match attempt.limit {
            Limited::LoginAccount => &self.login_pair,
            Limited::LoginAddress => &self.login_network,
            Limited::RegisterAddress => &self.register_network,
        };
        // Above the limit there is nothing more to count.
        drop(limit.take(attempt.key));
    }

    pub(super) fn forget_idle(&self) {
        for limit in [
            &self.login_pair,
            &self.login_network,
            &self.login_account,
            &self.register_network,
            &self.password,
            &self.change,
            &self.refresh_network,
        ] {
            limit.forget_idle();
        }
        self.refresh_session.forget_idle();
    }
}

/// The same in every process, and not the name or address itself, which are nobody's business on the bus.
fn key(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// Of the network that an address is in. Never 0, which stores take for none.
pub(super) fn network_key(address: IpAddr) -> u64 {
    key(&network(address).to_string()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limits(per_account: u32, per_address: u32) -> Limits {
        Limits::new(&AuthOptions {
            login_per_minute_account: per_account,
            login_per_minute_address: per_address,
            ..AuthOptions::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_passwords_count_for_the_account_from_one_network_and_for_the_network() {
        let limits = limits(2, 3);
        let login = |handle: &str, from: &str| limits.login(handle, address(from)).map(drop);
        assert!(login("ada", "192.0.2.1").is_ok());
        assert!(login("ada", "192.0.2.1").is_ok());
        let refused = login("ada", "192.0.2.1").expect_err("refused");
        assert_eq!(refused.retry_after_ms, Some(30_000));
        assert!(login("ada", "192.0.2.2").is_ok(), "her own network is not affected");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(login("ada", "192.0.2.1").is_ok());
        assert!(login("ada", "192.0.2.1").is_err(), "one each half a minute");

        for handle in ["a1", "a2", "a3"] {
            assert!(login(handle, "2001:db8::1").is_ok());
        }
        assert!(login("a4", "2001:db8::ffff").is_err(), "the same /64");
        assert!(login("a4", "2001:db8:0:1::1").is_ok(), "another /64");
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_do_not_count() {
        let limits = limits(2, 3);
        for _ in 0..100 {
            let mut guess = limits.login("ada", address("192.0.2.1")).expect("may");
            guess.anywhere("ada").expect("may");
            guess.right();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_limited_from_everywhere_but_where_it_is_known() {
        let limits = limits(2, 1_000);
        let home = address("192.0.2.1");
        let guess = limits.login("ada", home).expect("may");
        assert!(!guess.is_known());
        guess.right();
        for n in 0..20 {
            let mut guess = limits.login("ada", IpAddr::from([198, 51, 100, n])).expect("may");
            guess.anywhere("ada").expect("may");
        }
        let mut guess = limits.login("ada", address("203.0.113.1")).expect("may");
        assert!(guess.anywhere("ada").is_err() && !guess.is_known());
        assert!(limits.login("ada", home).expect("may").is_known());
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_process_lets_pass_the_others_count() {
        let processes = [limits(4, 1_000), limits(4, 1_000)];
        let mut passed = 0;
        for n in 0..20 {
            let (here, there) = (&processes[n % 2], &processes[(n + 1) % 2]);
            if let Ok(guess) = here.login("ada", address("192.0.2.1")) {
                passed += 1;
                guess.wrong().into_iter().for_each(|attempt| there.learn(attempt));
            }
        }
        assert_eq!(passed, 4);
    }
}
