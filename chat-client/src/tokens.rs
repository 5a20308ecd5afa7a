//! Tokens, and where they are kept between runs.

use std::{
    any::Any,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chat_protocol::{Millis, rest::TokenResponse};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What a [`TokenStore`] failed with.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// The tokens of a session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// For `Authorization: Bearer` and `hello`.
    pub access_token: String,
    /// For `/v1/auth/refresh`, once.
    pub refresh_token: String,
    /// When the access token should be replaced: a quarter of its life before its end.
    pub refresh_at: Millis,
}

impl Tokens {
    /// The tokens of an answer that came just now.
    #[must_use]
    pub fn from_response(response: &TokenResponse) -> Self {
        let life = response.expires_in.saturating_mul(1000);
        Self {
            access_token: response.access_token.clone(),
            refresh_token: response.refresh_token.clone(),
            refresh_at: now().saturating_add(life / 4 * 3),
        }
    }

    /// Whether the access token is young enough to use without refreshing.
    #[must_use]
    pub fn fresh(&self) -> bool {
        now() < self.refresh_at
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("refresh_at", &self.refresh_at).finish_non_exhaustive()
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Keeps tokens between runs. A refresh token works once, and using an old one revokes the session, so: new
/// tokens are saved **before** they are used, and whoever shares the store (another process of the same
/// person) refreshes only while it holds the lock, after looking whether somebody else already did.
pub trait TokenStore: Send + Sync + 'static {
    /// What was saved last; `None` when nothing is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self) -> Result<Option<Tokens>, StoreError>;

    /// Keeps new tokens. They are used only when this succeeds.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn save(&self, tokens: &Tokens) -> Result<(), StoreError>;

    /// Takes the lock, held until what is returned is dropped. `None` when somebody else has it: it is
    /// asked again soon. Never blocks.
    ///
    /// # Errors
    /// When there can be no lock.
    fn try_lock(&self) -> Result<Option<Box<dyn Any + Send>>, StoreError>;
}

/// Keeps tokens in memory: for a program that signs in at every start.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tokens: Mutex<Option<Tokens>>,
}

impl TokenStore for MemoryStore {
    fn load(&self) -> Result<Option<Tokens>, StoreError> {
        Ok(self.tokens.lock().clone())
    }

    fn save(&self, tokens: &Tokens) -> Result<(), StoreError> {
        *self.tokens.lock() = Some(tokens.clone());
        Ok(())
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Any + Send>>, StoreError> {
        // One client owns this store and refreshes from one place already.
        Ok(Some(Box::new(())))
    }
}

/// How a client proves who it is.
pub enum Auth {
    /// A fixed access token, never refreshed: when it expires, the client ends.
    AccessToken(String),
    /// A session that somebody signed in to before; its tokens are refreshed and kept in the store.
    Session(Box<dyn TokenStore>),
    /// Signs in with a password; the session's tokens are kept in memory.
    Password {
        /// The account's handle.
        handle: String,
        /// The password of the account.
        password: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessToken(_) => "AccessToken(..)",
            Self::Session(_) => "Session(..)",
            Self::Password { .. } => "Password { .. }",
        })
    }
}
