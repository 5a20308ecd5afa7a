//! Password hashing: argon2id with OWASP's parameters, never on a thread that serves requests.
//!
//! Passwords are compared as RFC 8265 §4.2 says (OpaqueString), so that it does not matter which of two keyboards composed
//! an é from what.

use std::borrow::Cow;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use chat_domain::chat::ChatError;
use chat_protocol::{
    ErrorCode,
    limits::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS},
};
use precis_profiles::{OpaqueString, precis_core::profile::PrecisFastInvocation as _};

use super::hash_queue::{Asker, Full, Places};

/// OWASP Password Storage Cheat Sheet, "Argon2id": 19 MiB of memory, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes that may wait for a core. At some 30 ms each the last one of all waits for about four seconds, of strangers for two.
const WAITING_PER_CORE: usize = 128;
/// How long those wait who find the queue full, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// A hash that no password has, with today's parameters: checking against it takes as long as against a real one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmUh$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What checking a password showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// It is the one.
    Right,
    /// It is, but was hashed with parameters of another time.
    RightButOld,
    /// It is not.
    Wrong,
}

/// Hashes passwords on at most as many threads as there are cores.
pub(super) struct Passwords {
    hasher: Argon2<'static>,
    places: Places,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_bounds(cores, cores * WAITING_PER_CORE)
    }

    fn with_bounds(running: usize, max_waiting: usize) -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
        Self {
            hasher: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            places: Places::new(running, max_waiting),
        }
    }

    /// The form of a password that is stored, if it may be chosen.
    pub(super) fn acceptable(password: &str) -> Result<String, ChatError> {
        let normal = OpaqueString::enforce(password).map_err(|_| {
            ChatError::invalid(
                "not a usable password: it has characters that cannot be typed, such as control characters",
            )
        })?;
        if normal.chars().count() < MIN_PASSWORD_CHARS || normal.len() > MAX_PASSWORD_BYTES {
            return Err(ChatError::invalid(format!(
                "not a usable password: it takes at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes"
            )));
        }
        Ok(normal.into_owned())
    }

    /// The PHC string of a password in the form that is stored.
    pub(super) async fn hash(&self, password: &str, asker: Asker) -> Result<String, ChatError> {
        let hasher = self.hasher.clone();
        let password = password.to_owned();
        self.run(asker, move || hasher.hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|error| failed(&error))
    }

    /// Whether `password`, as it was typed, is what `phc` was made from. Takes as long when there is no `phc`.
    pub(super) async fn check(
        &self,
        password: &str,
        phc: Option<&str>,
        asker: Asker,
    ) -> Result<Checked, ChatError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(Checked::Wrong);
        }
        let hasher = self.hasher.clone();
        // 0.1.0 stored it as it was typed.
        let normal = OpaqueString::enforce(password).ok().map(Cow::into_owned);
        let forms: Vec<String> = match normal {
            Some(normal) if normal == password => vec![normal],
            normal => normal.into_iter().chain([password.to_owned()]).collect(),
        };
        let phc = phc.map(str::to_owned);
        self.run(asker, move || {
            let exists = phc.is_some();
            let hash = PasswordHash::new(phc.as_deref().unwrap_or(NOBODY))?;
            let right = forms.iter().position(|form| hasher.verify_password(form.as_bytes(), &hash).is_ok());
            let Some(form) = right.filter(|_| exists) else { return Ok(Checked::Wrong) };
            let current = hash.algorithm == Algorithm::Argon2id.ident() && same_cost(&hash, hasher.params());
            Ok(if current && form == 0 { Checked::Right } else { Checked::RightButOld })
        })
        .await?
        .map_err(|error: argon2::password_hash::phc::Error| failed(&error))
    }

    /// Whether so many hashes of strangers wait that it is worth a look whether somebody is known: strangers take half of the places at
    /// most.
    pub(super) fn is_crowded(&self) -> bool {
        self.places.is_crowded()
    }

    /// # Errors
    /// `overloaded` when too many wait.
    async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ChatError> {
        let place = self.places.take(asker).await.map_err(|Full| ChatError::overloaded(RETRY_AFTER_MS))?;
        // The place goes along: a caller who hangs up does not make room for one more hash at once.
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        })
        .await
        .map_err(|error| failed(&error))
    }
}

#[cfg(test)]
impl Passwords {
    /// Takes all places, so that no hash is computed until they are given back.
    pub(super) fn hold(&self) -> Vec<super::hash_queue::Place> {
        self.places.hold()
    }

    /// How many wait for a hash.
    pub(super) fn waiting(&self) -> usize {
        self.places.waiting()
    }
}

fn same_cost(hash: &PasswordHash, params: &Params) -> bool {
    Params::try_from(hash).is_ok_and(|old| {
        (old.m_cost(), old.t_cost(), old.p_cost()) == (params.m_cost(), params.t_cost(), params.p_cost())
    })
}

fn failed(error: &dyn std::error::Error) -> ChatError {
    tracing::error!(%error, "password hashing failed");
    ChatError::new(ErrorCode::Internal, "the password could not be processed; it was logged")
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::Arc,
        time::Duration,
    };

    use super::*;

    const HERE: Asker = Asker::known(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn a_hash_names_owasps_parameters_and_only_its_password_fits() {
        let passwords = Passwords::new();
        let phc = passwords.hash("correct horse", HERE).await.expect("hashed");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(
            passwords.check("correct horse", Some(&phc), HERE).await.expect("checked"),
            Checked::Right
        );
        assert_eq!(passwords.check("wrong horse", Some(&phc), HERE).await.expect("checked"), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_fits_and_says_that_it_is_old() {
        let weak =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).expect("valid"));
        let phc = weak.hash_password(b"correct horse").expect("hashed").to_string();
        let checked = Passwords::new().check("correct horse", Some(&phc), HERE).await.expect("checked");
        assert_eq!(checked, Checked::RightButOld);
    }

    #[tokio::test]
    async fn a_password_fits_however_it_was_composed() {
        const COMPOSED: &str = "caf\u{e9} au lait";
        const DECOMPOSED: &str = "cafe\u{301} au lait";
        let passwords = Passwords::new();
        let normal = Passwords::acceptable(DECOMPOSED).expect("is usable");
        assert_eq!(normal, COMPOSED);
        let phc = passwords.hash(&normal, HERE).await.expect("hashed");
        for typed in [COMPOSED, DECOMPOSED, "caf\u{e9}\u{a0}au\u{3000}lait"] {
            assert_eq!(
                passwords.check(typed, Some(&phc), HERE).await.expect("checked"),
                Checked::Right,
                "{typed}"
            );
        }
        // As 0.1.0 stored it.
        let phc = passwords.hash(DECOMPOSED, HERE).await.expect("hashed");
        let checked = async |typed| passwords.check(typed, Some(&phc), HERE).await.expect("checked");
        assert_eq!(checked(DECOMPOSED).await, Checked::RightButOld);
        assert_eq!(checked(COMPOSED).await, Checked::Wrong);
        assert!(Passwords::acceptable("12345678\u{7}").is_err());
    }

    #[tokio::test]
    async fn nobody_has_a_readable_hash_of_the_same_cost() {
        let passwords = Passwords::new();
        let nobody = PasswordHash::new(NOBODY).expect("readable");
        assert!(same_cost(&nobody, passwords.hasher.params()));
        let phc = passwords.hash("correct horse", HERE).await.expect("hashed");
        let real = PasswordHash::new(&phc).expect("readable");
        let length = |hash: &PasswordHash| hash.hash.as_ref().map(|output| output.len());
        assert_eq!(length(&nobody), length(&real));
    }

    #[tokio::test]
    async fn beyond_its_bound_it_refuses_at_once() {
        let passwords = Arc::new(Passwords::with_bounds(1, 2));
        let hold = passwords.hold();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.hash("correct horse", HERE).await })
            })
            .collect();
        let both_wait = async {
            while passwords.waiting() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), both_wait).await.expect("both wait");
        let refused = passwords.hash("correct horse", HERE).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::Overloaded);
        drop(hold);
        for waiter in waiters {
            waiter.await.expect("joined").expect("hashed");
        }
        assert!(passwords.hash("correct horse", HERE).await.is_ok());
    }

    #[test]
    fn passwords_are_bounded_below_in_characters_and_above_in_bytes() {
        for (password, fits) in [
            ("1234567".to_owned(), false),
            ("12345678".to_owned(), true),
            ("äöüäöüäö".to_owned(), true),
            ("x".repeat(256), true),
            ("ä".repeat(129), false),
        ] {
            assert_eq!(Passwords::acceptable(&password).is_ok(), fits, "{password}");
        }
    }
}
