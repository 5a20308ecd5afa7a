//! Which access token to use, and refreshing it from one place at a time.

use std::{any::Any, sync::Arc, time::Duration};

use chat_protocol::rest::{RefreshRequest, TokenResponse};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use super::{Rest, RestError, execute, read};
use crate::{TokenStore, Tokens};

/// Longest wait for another process that refreshes.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);
/// How often the lock is asked for.
const LOCK_INTERVAL: Duration = Duration::from_millis(25);

const REFRESH: &str = "v1/auth/refresh";

/// Where access tokens come from.
pub(super) struct Signer {
    source: Source,
}

enum Source {
    None,
    Fixed(String),
    Stored(Arc<Session>),
}

struct Session {
    store: Box<dyn TokenStore>,
    current: Mutex<Tokens>,
    /// Held while refreshing: all who need a token wait for the same refresh. Holds tokens that could not be
    /// saved: the ones before them are spent, so losing them would lose the session.
    flight: tokio::sync::Mutex<Option<Tokens>>,
}

impl Signer {
    pub(super) const fn none() -> Self {
        Self { source: Source::None }
    }

    pub(super) const fn fixed(token: String) -> Self {
        Self { source: Source::Fixed(token) }
    }

    pub(super) fn stored(store: Box<dyn TokenStore>) -> Result<Self, RestError> {
        let current = Mutex::new(store.load().map_err(RestError::Store)?.ok_or(RestError::SignedOut)?);
        let session = Session { store, current, flight: tokio::sync::Mutex::new(None) };
        Ok(Self { source: Source::Stored(Arc::new(session)) })
    }

    /// A token that is not `rejected`.
    pub(super) async fn token(&self, rest: &Rest, rejected: Option<&str>) -> Result<String, RestError> {
        let session = match &self.source {
            Source::None => return Err(RestError::SignedOut),
            Source::Fixed(token) if rejected == Some(token) => return Err(RestError::SignedOut),
            Source::Fixed(token) => return Ok(token.clone()),
            Source::Stored(session) => session,
        };
        if let Some(token) = session.usable(rejected) {
            return Ok(token);
        }
        // A task of its own: a caller that gives up between the server's answer and the save would leave
        // the store with a token that is spent.
        let (rest, session) = (rest.clone(), Arc::clone(session));
        let rejected = rejected.map(str::to_owned);
        tokio::spawn(async move { session.refresh(&rest, rejected.as_deref()).await })
            .await
            .map_err(|error| RestError::Store(error.into()))?
    }
}

impl Session {
    fn usable(&self, rejected: Option<&str>) -> Option<String> {
        let current = self.current.lock();
        (current.fresh() && rejected != Some(current.access_token.as_str()))
            .then(|| current.access_token.clone())
    }

    async fn refresh(&self, rest: &Rest, rejected: Option<&str>) -> Result<String, RestError> {
        let mut unsaved = self.flight.lock().await;
        if let Some(token) = self.usable(rejected) {
            return Ok(token);
        }
        let _lock = self.lock().await?;
        if let Some(tokens) = unsaved.clone() {
            self.keep(tokens, &mut unsaved)?;
        }
        // Another process may have refreshed since; its tokens are the only ones that still work.
        if let Some(stored) = self.store.load().map_err(RestError::Store)? {
            *self.current.lock() = stored;
        } else {
            return Err(RestError::SignedOut);
        }
        if let Some(token) = self.usable(rejected) {
            return Ok(token);
        }
        let refresh_token = self.current.lock().refresh_token.clone();
        let request = rest.request(Method::POST, REFRESH)?.json(&RefreshRequest { refresh_token });
        let response: TokenResponse = match execute(request, REFRESH).await {
            Ok(response) => read(response, REFRESH).await?,
            Err(error) if error.unauthenticated() => return Err(RestError::SignedOut),
            Err(error) => return Err(error),
        };
        self.keep(Tokens::from_response(&response), &mut unsaved)?;
        Ok(self.current.lock().access_token.clone())
    }

    /// Saves new tokens, then lets them be used.
    fn keep(&self, tokens: Tokens, unsaved: &mut Option<Tokens>) -> Result<(), RestError> {
        *unsaved = Some(tokens.clone());
        self.store.save(&tokens).map_err(RestError::Store)?;
        *unsaved = None;
        *self.current.lock() = tokens;
        Ok(())
    }

    async fn lock(&self) -> Result<Box<dyn Any + Send>, RestError> {
        let end = Instant::now() + LOCK_DEADLINE;
        loop {
            if let Some(lock) = self.store.try_lock().map_err(RestError::Store)? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                return Err(RestError::StoreBusy(LOCK_DEADLINE));
            }
            sleep(LOCK_INTERVAL).await;
        }
    }
}
