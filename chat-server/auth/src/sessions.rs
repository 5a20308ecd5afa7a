//! Sessions: a login on one device, kept alive by refresh tokens that each work once.
//!
//! A refresh token is `<session id>.<secret>`; only the hash of the newest secret is stored. Presenting another
//! one means that it was used before, by the owner or by a thief: nobody can know, so the session ends
//! (RFC 9700 §4.14.2).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_domain::{
    bus::{BusMessage, Signal},
    chat::{Actor, ChatError, now_ms},
    store::{Account, SessionRow},
};
use chat_protocol::{
    ErrorCode, SessionId, UserId,
    rest::{SessionInfo, TokenResponse, User},
};
use sha2::{Digest, Sha256};

use super::{Auth, tokens};

/// Longest name of a device, in characters; longer ones are cut.
const MAX_DEVICE_CHARS: usize = 100;

/// What a session begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Name of the device, for the list of sessions.
    pub device: String,
}

impl NewSession {
    /// A session on this device.
    #[must_use]
    pub fn on(device: Option<String>) -> Self {
        let device = device.unwrap_or_default();
        let readable = device.chars().filter(|c| !c.is_control()).take(MAX_DEVICE_CHARS).collect::<String>();
        Self { device: readable.trim().to_owned() }
    }
}

struct Secret {
    text: String,
    hash: [u8; 32],
}

impl Secret {
    fn new() -> Self {
        let bytes: [u8; 32] = rand::random();
        let text = URL_SAFE_NO_PAD.encode(bytes);
        let hash = Self::hash(&text);
        Self { text, hash }
    }

    /// A fast hash suffices: the secret has 256 bits, nobody guesses those.
    fn hash(text: &str) -> [u8; 32] {
        Sha256::digest(text).into()
    }
}

impl Auth {
    /// Begins a session for a user whose identity was proven.
    ///
    /// # Errors
    /// `unauthenticated` when the account was closed in the meantime; what the store says.
    pub async fn start_session(&self, user: &User, new: NewSession) -> Result<TokenResponse, ChatError> {
        let secret = Secret::new();
        let now = now_ms();
        let session = SessionRow {
            id: SessionId::new(),
            user: user.id,
            created_at: now,
            used_at: now,
            expires_at: now + self.refresh_life_ms(),
            device: new.device,
            refresh_hash: secret.hash,
            revoked_at: None,
        };
        self.store().create_session(&session).await?;
        // Read after the session exists: closing the account revokes the sessions that it sees, so one of the two
        // notices the other.
        let account = self.store().account(user.id).await?.filter(|account| !account.user.deactivated);
        let Some(account) = account else {
            self.revoke(session.id).await?;
            return Err(over());
        };
        self.tokens(account, session.id, &secret)
    }

    /// New tokens for a refresh token.
    ///
    /// # Errors
    /// `unauthenticated` when it is not a session's newest refresh token, or the session has ended; a session
    /// whose older token is used ends by that.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenResponse, ChatError> {
        let (id, presented) = refresh_token.split_once('.').ok_or_else(over)?;
        let id: SessionId = id.parse().map_err(|_| over())?;
        let session = self.store().session(id).await?.ok_or_else(over)?;
        let now = now_ms();
        if session.revoked_at.is_some() || session.expires_at <= now {
            return Err(over());
        }
        // The role and the version that it belongs to: should it change meanwhile, the new token is as old as the one before.
        let account = self.store().account(session.user).await?.filter(|account| !account.user.deactivated);
        let Some(account) = account else {
            self.revoke(id).await?;
            return Err(over());
        };
        let next = Secret::new();
        let from = Secret::hash(presented);
        let rotated =
            self.store().rotate_session(id, from, next.hash, now, now + self.refresh_life_ms()).await?;
        if !rotated {
            tracing::warn!(target: "audit", user = %session.user, session = %id, "refresh token used twice");
            self.revoke(id).await?;
            return Err(over());
        }
        self.tokens(account, id, &next)
    }

    /// The actor's sessions, newest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionInfo>, ChatError> {
        let rows = self.store().sessions_of(actor.user, now_ms()).await?;
        let info = |row: SessionRow| SessionInfo {
            id: row.id,
            created_at: row.created_at,
            used_at: row.used_at,
            device: row.device,
            current: row.id == actor.session,
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// Ends one of the actor's own sessions.
    ///
    /// # Errors
    /// `not_found` when it is not theirs.
    pub async fn revoke_own(&self, actor: &Actor, session: SessionId) -> Result<(), ChatError> {
        let row = self.store().session(session).await?;
        if row.is_none_or(|row| row.user != actor.user) {
            return Err(ChatError::not_found("session"));
        }
        self.revoke(session).await
    }

    /// Ends all sessions of a user and closes their sockets: after the account was closed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn revoke_all(&self, user: UserId) -> Result<(), ChatError> {
        self.revoke_others(user, None).await
    }

    pub(super) async fn revoke_others(
        &self,
        user: UserId,
        except: Option<SessionId>,
    ) -> Result<(), ChatError> {
        for session in self.store().sessions_of(user, now_ms()).await? {
            if Some(session.id) != except {
                self.revoke(session.id).await?;
            }
        }
        Ok(())
    }

    /// Ends a session. Ending it again is fine, and notifies the gateways again.
    pub(super) async fn revoke(&self, session: SessionId) -> Result<(), ChatError> {
        let newly = self.store().revoke_session(session, now_ms()).await?;
        self.verifier.revoked().insert(session);
        let signal = BusMessage::Signal(Signal::SessionRevoked { session });
        if let Err(error) = self.chat.bus().publish(signal).await {
            // Others learn it from the store, a little later.
            tracing::warn!(%session, %error, "revocation not published");
        }
        if newly {
            tracing::info!(target: "audit", %session, "session revoked");
        }
        Ok(())
    }

    fn tokens(
        &self,
        account: Account,
        session: SessionId,
        secret: &Secret,
    ) -> Result<TokenResponse, ChatError> {
        let Account { user, auth_version } = account;
        let actor = Actor { user: user.id, role: user.role, auth_version, session };
        Ok(TokenResponse {
            access_token: self.verifier.issue(&actor, self.options.access_token)?,
            token_type: "Bearer".into(),
            expires_in: self.options.access_token.min(tokens::MAX_TOKEN_LIFE).as_secs(),
            refresh_token: format!("{session}.{}", secret.text),
            session,
            user,
        })
    }

    fn refresh_life_ms(&self) -> u64 {
        u64::try_from(self.options.refresh_token.as_millis()).unwrap_or(u64::MAX)
    }
}

/// One answer for everything that is wrong with a refresh token.
fn over() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the session has ended; sign in again")
}
