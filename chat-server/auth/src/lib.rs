//! Accounts, sessions, tokens.
//!
//! In reading order: `passwords` hashes them and `hash_queue` says whose turn that is, `keys` sign and verify, `key_file` is where they may come from, `tokens` are what is signed, `revocation`
//! remembers what must not be believed any more, `verifier` is what every other role needs of all that,
//! `accounts` and `sessions` are what a person can do, `refresh_tokens` keep a session, `invitations` let people in, `standing` is what changes with a role, `limits` slow down guessing, `routes` is the door.

mod accounts;
mod hash_queue;
mod invitations;
mod key_file;
mod keys;
mod limits;
mod passwords;
mod refresh_tokens;
mod revocation;
mod routes;
mod sessions;
mod standing;
mod tokens;
mod verifier;

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

pub use invitations::{end_codes, end_unfounded, password_code};
pub use key_file::{KeyFault, KeyFileError};
pub use keys::{Jwk, JwkSet, KeyRing, new_key};
pub use revocation::Revocations;
pub use routes::{router, routes};
pub use sessions::{Client, NewSession};
pub use tokens::MAX_TOKEN_LIFE;

pub use verifier::{Authenticated, TokenVerifier, outdated, recognise};

use chat_domain::{
    bus::{Attempt, BusError, BusMessage, Signal, Subscription},
    chat::{Chat, ChatError},
    store::Store,
};
use limits::Limits;
use passwords::Passwords;

/// How often what goes on by itself goes on.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Whoever reaches the server.
    Open,
    /// Who is invited, and the very first account of a new server, which becomes its owner.
    Closed,
}

/// What an operator can set about accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthOptions {
    /// Who may make an account.
    pub registration: Registration,
    /// Life of an access token; at most [`MAX_TOKEN_LIFE`].
    pub access_token: Duration,
    /// A session that is not refreshed for this long ends.
    pub refresh_token: Duration,
    /// A session ends after this long, however much it is used.
    pub session: Duration,
    /// Age at which a signing key in the store is replaced.
    pub key_rotation: Duration,
    /// File with the signing keys, whose owner replaces them; empty: they are in the store.
    pub signing_keys_file: PathBuf,
    /// Wrong passwords a minute to one account from one network; ten times as many from all that it is not known from.
    pub login_per_minute_account: u32,
    /// Wrong passwords a minute from one network: an IPv4 address or an IPv6 /64.
    pub login_per_minute_address: u32,
    /// New accounts an hour from one address (IPv6: one /64).
    pub register_per_hour_address: u32,
    /// Names of public channels that a new account joins; those that do not exist are skipped.
    pub default_channels: Vec<String>,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            registration: Registration::Open,
            access_token: Duration::from_secs(600),
            refresh_token: Duration::from_secs(30 * 86_400),
            session: Duration::from_secs(365 * 86_400),
            key_rotation: Duration::from_secs(30 * 86_400),
            signing_keys_file: PathBuf::new(),
            login_per_minute_account: 10,
            login_per_minute_address: 60,
            register_per_hour_address: 100,
            default_channels: vec!["general".into(), "random".into()],
        }
    }
}

/// Why tokens can be neither signed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store does not answer.
    #[error("failed to read signing keys and revoked sessions from the store")]
    Store(#[from] ChatError),
    /// The file of signing keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
}

/// The role `auth`.
pub struct Auth {
    chat: Arc<Chat>,
    store: Arc<dyn Store>,
    options: AuthOptions,
    verifier: TokenVerifier,
    passwords: Passwords,
    limits: Limits,
    /// Distinguishes this process's attempts from those of others.
    origin: u64,
    /// Taken while the first account is made, so that two at once do not both become the owner.
    founding: tokio::sync::Mutex<()>,
}

impl Auth {
    /// Accounts on this store, which is `chat`'s as well. Makes the first signing key when there is none.
    ///
    /// # Errors
    /// When the store cannot be asked for keys and revoked sessions, or the file of keys cannot be used.
    pub async fn new(
        chat: Arc<Chat>,
        store: Arc<dyn Store>,
        options: AuthOptions,
    ) -> Result<Arc<Self>, OpenError> {
        chat.follow_generation().await?;
        let (versions, generations) = (Arc::clone(chat.auth_versions()), chat.generations());
        let keys_file = &options.signing_keys_file;
        let verifier = TokenVerifier::load(
            &store,
            chat.bus(),
            versions,
            generations,
            keys_file,
            options.access_token,
            Arc::clone(chat.rates()),
        )
        .await?;
        verifier.keys().ensure().await?;
        let limits = Limits::new(&options);
        Ok(Arc::new(Self {
            chat,
            store,
            options,
            verifier,
            passwords: Passwords::new(),
            limits,
            origin: rand::random(),
            founding: tokio::sync::Mutex::new(()),
        }))
    }

    /// Whether anybody has an account.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn has_users(&self) -> Result<bool, ChatError> {
        Ok(self.store.has_users().await?)
    }

    /// Verifies access tokens; shares its keys and revoked sessions with this role.
    #[must_use]
    pub fn verifier(&self) -> TokenVerifier {
        self.verifier.clone()
    }

    /// Starts what goes on by itself: replacing old signing keys, counting what other processes let pass, forgetting old
    /// limits. Ends with the last [`Arc`].
    pub fn spawn(self: &Arc<Self>) {
        tokio::spawn(count_others(Arc::downgrade(self), self.chat.bus().subscribe()));
        let auth = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(HOUSEKEEPING);
            loop {
                ticks.tick().await;
                let Some(auth) = auth.upgrade() else { return };
                auth.keep_house().await;
            }
        });
    }

    async fn keep_house(&self) {
        self.limits.forget_idle();
        if let Err(error) = self.verifier.keys().rotate_when_older(self.options.key_rotation).await {
            tracing::warn!(%error, "signing key not rotated, trying again in a minute");
        }
    }

    /// Sends what was counted to the other processes, in the background.
    fn publish(&self, attempts: Vec<Attempt>) {
        let bus = Arc::clone(self.chat.bus());
        let signal = Signal::Attempts { origin: self.origin, attempts };
        tokio::spawn(async move {
            if let Err(error) = bus.publish(BusMessage::Signal(signal)).await {
                tracing::debug!(%error, "attempts were not published");
            }
        });
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

/// Counts what other processes let pass. A signal that is lost lets somebody try once more, no worse.
async fn count_others(auth: Weak<Auth>, mut subscription: Box<dyn Subscription>) {
    loop {
        let received = subscription.next().await;
        let Some(auth) = auth.upgrade() else { return };
        match received {
            Ok(BusMessage::Signal(Signal::Attempts { origin, attempts })) if origin != auth.origin => {
                for attempt in attempts {
                    auth.limits.learn(attempt);
                }
            }
            Ok(_) | Err(BusError::Missed(_)) => {}
            Err(BusError::Closed) => return,
        }
    }
}
