//! What gateways and the API need of `auth`: is this token good, and whose is it?

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    extract::{FromRef, FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chat_domain::{
    bus::Bus,
    chat::{Actor, AuthVersions, ChatError, Rates},
    store::{GenerationRow, Store},
};
use chat_http::{BearerToken, Caller, Guest, HttpError, StillAllowed, connection::Shares};
use chat_protocol::{ErrorCode, Millis};
use http::request::Parts;
use jsonwebtoken::Validation;
use tokio::sync::watch;

use super::{
    KeyRing, OpenError, Revocations,
    tokens::{self, unreadable},
};

/// Between two tries to read keys.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Verifies access tokens without asking the store, unless a key is new to it. Cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    keys: Arc<KeyRing>,
    revoked: Arc<Revocations>,
    validation: Validation,
    generations: watch::Receiver<Option<GenerationRow>>,
    life: Duration,
    rates: Arc<Rates>,
}

impl TokenVerifier {
    /// Reads keys, from this file unless its path is empty, and what was revoked, and follows the bus for more of that.
    /// `versions` learns whose role changed. When another of the store's `generations` begins, keys are read again and
    /// older tokens are not believed. None is believed for longer than `life`. Requests with a good token are counted in `rates`.
    ///
    /// # Errors
    /// When the store cannot be asked, or the file cannot be used.
    pub async fn load(
        store: &Arc<dyn Store>,
        bus: &Arc<dyn Bus>,
        versions: Arc<AuthVersions>,
        generations: watch::Receiver<Option<GenerationRow>>,
        signing_keys_file: &Path,
        life: Duration,
        rates: Arc<Rates>,
    ) -> Result<Self, OpenError> {
        let keys = Arc::new(KeyRing::load(store, signing_keys_file).await?);
        let revoked = Revocations::load(Arc::clone(store), bus, versions).await?;
        keys.keep_fresh();
        tokio::spawn(follow(Arc::downgrade(&keys), generations.clone()));
        Ok(Self(Arc::new(Inner {
            keys,
            revoked,
            validation: tokens::validation(),
            generations,
            life,
            rates,
        })))
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// `unauthenticated` when the token is not ours, has expired, is from before a change of its person's role, or its
    /// session was revoked; what the store says
    /// when it had to be asked for a key and could not be.
    pub async fn verify(&self, token: &str) -> Result<Actor, ChatError> {
        let inner = &*self.0;
        let kid = tokens::key_id(token)?;
        let key = inner.keys.verifying(&kid).await?.ok_or_else(unreadable)?;
        let actor = tokens::check(&key, &inner.validation, self.since(), inner.life, token)?;
        self.still_stands(&actor)?;
        Ok(actor)
    }

    /// Whether somebody whose token was good a while ago may still act: their session was not ended, their account not closed,
    /// their role not changed. That the token has expired meanwhile is no matter.
    ///
    /// # Errors
    /// `unauthenticated` when they may not.
    fn still_stands(&self, actor: &Actor) -> Result<(), ChatError> {
        if self.0.revoked.contains(actor.session) {
            return Err(signed_out());
        }
        if self.is_outdated(actor) {
            return Err(outdated());
        }
        Ok(())
    }

    /// Tokens from before this time are not believed.
    pub(super) fn since(&self) -> Millis {
        self.0.generations.borrow().map_or(0, |generation| generation.since)
    }

    /// Whether the role of this person changed since their token was issued.
    #[must_use]
    pub fn is_outdated(&self, actor: &Actor) -> bool {
        !self.0.revoked.versions().accepts(actor.user, actor.auth_version)
    }

    /// A token for `actor` that lives for `life`, at most [`super::MAX_TOKEN_LIFE`].
    ///
    /// # Errors
    /// `unavailable` when there is no key to sign with yet.
    pub fn issue(&self, actor: &Actor, life: Duration) -> Result<String, ChatError> {
        let key = self.0.keys.signing().ok_or_else(|| {
            ChatError::new(ErrorCode::Unavailable, "there is no signing key yet; the auth role makes one")
        })?;
        tokens::issue(&key, actor, life)
    }

    /// The keys that it verifies with.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    /// The sessions and versions that it does not believe.
    #[must_use]
    pub fn revoked(&self) -> &Revocations {
        &self.0.revoked
    }
}

/// Before requests that another process answers: whoever shows a valid token is no stranger here either, and is
/// counted by person. Nobody, and no network of strangers, has all places for what is handed over. What else a token is good for is decided
/// there.
pub async fn recognise(State(verifier): State<TokenVerifier>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Some(guest) = parts.extensions.get::<Guest>().cloned() {
        if guest.is_stranger()
            && let Ok(BearerToken(token)) = BearerToken::from_request_parts(&mut parts, &()).await
            && let Ok(actor) = verifier.verify(&token).await
        {
            guest.known(actor.user);
        }
        if let Some(shares) = parts.extensions.get::<Shares>() {
            let begun = match guest.person() {
                Some(user) => shares.begin(user).await,
                None => shares.begin_unknown(guest.network()).await,
            };
            if let Err(refused) = begun {
                return HttpError(refused).into_response();
            }
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Of a session that was ended.
fn signed_out() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the session was signed out; sign in again")
}

/// Of a token from before a change of its person's role.
#[must_use]
pub fn outdated() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the role has changed since; refresh the access token")
}

/// Reads the keys again whenever a restore has replaced them.
async fn follow(keys: Weak<KeyRing>, mut generations: watch::Receiver<Option<GenerationRow>>) {
    while generations.changed().await.is_ok() {
        generations.borrow_and_update();
        loop {
            let Some(keys) = keys.upgrade() else { return };
            match keys.reload().await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "signing keys not read after a restore, trying again"),
            }
            drop(keys);
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

/// Whoever sent the request, by its `Authorization: Bearer` header. Their connection is no stranger's from then on, and the request is
/// counted: it waits for its turn when they have many under way. Leaves [`StillAllowed`] with the request, for whoever waits for its body.
pub struct Authenticated(pub Actor);

impl<S> FromRequestParts<S> for Authenticated
where
    TokenVerifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let BearerToken(token) = BearerToken::from_request_parts(parts, state).await?;
        let verifier = TokenVerifier::from_ref(state);
        let since = verifier.since();
        let actor = verifier.verify(&token).await?;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.is(actor.user);
        }
        if let Some(guest) = parts.extensions.get::<Guest>() {
            guest.known(actor.user);
        }
        verifier.0.rates.request(actor.user)?;
        if let Some(shares) = parts.extensions.get::<Shares>() {
            shares.begin(actor.user).await?;
            // It may have waited.
            verifier.still_stands(&actor)?;
        }
        parts.extensions.insert(StillAllowed::new(move || {
            // A restore ends all sessions.
            if verifier.since() == since { verifier.still_stands(&actor) } else { Err(signed_out()) }
        }));
        Ok(Self(actor))
    }
}
