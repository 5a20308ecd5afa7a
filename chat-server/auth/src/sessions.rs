//! Sessions: a login on one device, kept alive by refresh tokens that each work once (`refresh_tokens`).

use std::net::IpAddr;

use chat_domain::{
    bus::{BusMessage, Signal},
    chat::{Actor, ChatError, now_ms},
    store::{Account, Rotation, SessionRow},
};
use chat_log::text::without_tricks;
use chat_protocol::{
    ErrorCode, Millis, SessionId, UserId,
    rest::{SessionInfo, TokenResponse, User},
};

use super::{
    Auth,
    limits::network_key,
    refresh_tokens::{Chain, Secret},
    tokens,
};

/// Longest name of a device, in characters; longer ones are cut.
const MAX_DEVICE_CHARS: usize = 100;

/// How long the refresh token before the newest one works again, for a client that did not get the answer.
const LOST_ANSWER_MS: Millis = 30_000;

/// What a session begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Name of the device, for the list of sessions.
    pub device: String,
    /// Where it is; `None` when that is not known.
    pub address: Option<IpAddr>,
}

/// Who asks for new tokens.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Where it is.
    pub address: IpAddr,
    /// What it calls itself: its `User-Agent`.
    pub name: &'a str,
}

impl NewSession {
    /// A session on this device, at this address.
    #[must_use]
    pub fn on(device: Option<String>, address: IpAddr) -> Self {
        let device = device.unwrap_or_default();
        let readable =
            without_tricks(&device).filter(|c| !c.is_control()).take(MAX_DEVICE_CHARS).collect::<String>();
        Self { device: readable.trim().to_owned(), address: Some(address) }
    }
}

impl Auth {
    /// Begins a session for a user whose identity was proven.
    ///
    /// # Errors
    /// `unauthenticated` when the account was closed in the meantime; what the store says.
    pub async fn start_session(&self, user: &User, new: NewSession) -> Result<TokenResponse, ChatError> {
        let chain = Chain::new();
        let secret = chain.first();
        let now = now_ms();
        let session = SessionRow {
            id: SessionId::new(),
            user: user.id,
            created_at: now,
            used_at: now,
            expires_at: self.expiry(now, now),
            device: new.device,
            refresh_hash: secret.hash,
            chain: Some(chain.key()),
            network: new.address.map(network_key),
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
    /// whose older token is used ends by that, unless it is the one before the newest and its answer may have been lost.
    /// `rate_limited` when it is asked without end.
    pub async fn refresh(&self, refresh_token: &str, client: Client<'_>) -> Result<TokenResponse, ChatError> {
        let answer = self.rotate(refresh_token, client).await;
        if answer.as_ref().is_err_and(|error| error.code == ErrorCode::Unauthenticated) {
            self.limits.refresh_refused(client.address)?;
        }
        answer
    }

    async fn rotate(&self, refresh_token: &str, client: Client<'_>) -> Result<TokenResponse, ChatError> {
        let (id, shown) = refresh_token.split_once('.').ok_or_else(over)?;
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
        let chain = session.chain.map_or_else(Chain::new, Chain::of);
        let next = chain.next(shown, client.name);
        let from = Secret::of(shown.to_owned()).hash;
        let rotation = Rotation {
            from,
            to: next.hash,
            chain: chain.key(),
            network: Some(network_key(client.address)),
            at: now,
            expires_at: self.expiry(session.created_at, now),
        };
        if from == session.refresh_hash {
            self.limits.refreshed(id)?;
        }
        if from == session.refresh_hash && self.store().rotate_session(id, rotation).await? {
            return self.tokens(account, id, &next);
        }
        // Not the newest, or not any more.
        let session = self.store().session(id).await?.ok_or_else(over)?;
        if session.revoked_at.is_some() || session.expires_at <= now {
            return Err(over());
        }
        if session.refresh_hash == next.hash && now.saturating_sub(session.used_at) <= LOST_ANSWER_MS {
            tracing::info!(target: "audit", user = %session.user, session = %id, address = %client.address, "refresh repeated");
            return self.tokens(account, id, &next);
        }
        // One of 0.1.0 is known only while it is the newest.
        let once_good = session.chain.is_some_and(|key| Chain::of(key).made(shown));
        if once_good {
            tracing::warn!(target: "audit", user = %session.user, session = %id, address = %client.address, "refresh token used twice");
            self.revoke(id).await?;
        } else {
            tracing::info!(target: "audit", session = %id, address = %client.address, "refresh refused");
        }
        Err(over())
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

    /// When a session ends that began then and is not refreshed any more.
    fn expiry(&self, began: Millis, now: Millis) -> Millis {
        let ms = |life: std::time::Duration| u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let unused = now.saturating_add(ms(self.options.refresh_token));
        unused.min(began.saturating_add(ms(self.options.session)))
    }
}

/// One answer for everything that is wrong with a refresh token.
fn over() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the session has ended; sign in again")
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use chat_domain::{bus::local::LocalBus, chat::Chat};
    use chat_sqlite::SqliteStore;

    use super::*;
    use crate::AuthOptions;

    #[tokio::test]
    async fn an_answer_is_lost_for_half_a_minute_at_most() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store"));
        let chat = Chat::new(Arc::<SqliteStore>::clone(&store), Arc::new(LocalBus::new()));
        let auth = Auth::new(chat, store, AuthOptions::default()).await.expect("keys");
        let user = auth.create_account("ada", None, "correct horse".into()).await.expect("is made");
        let client = Client { address: Ipv4Addr::LOCALHOST.into(), name: "web" };
        for (ago, again) in [(LOST_ANSWER_MS - 5_000, true), (LOST_ANSWER_MS + 1, false)] {
            let new = NewSession { device: String::new(), address: None };
            let tokens = auth.start_session(&user, new).await.expect("begins");
            let (_, shown) = tokens.refresh_token.split_once('.').expect("two parts");
            let row = auth.store().session(tokens.session).await.expect("is read").expect("is there");
            let chain = Chain::of(row.chain.expect("has one"));
            let rotation = Rotation {
                from: row.refresh_hash,
                to: chain.next(shown, client.name).hash,
                chain: chain.key(),
                network: None,
                at: now_ms() - ago,
                expires_at: row.expires_at,
            };
            assert!(auth.store().rotate_session(tokens.session, rotation).await.expect("is stored"));
            let repeated = auth.refresh(&tokens.refresh_token, client).await;
            assert_eq!(repeated.is_ok(), again, "{ago} ms later");
            let row = auth.store().session(tokens.session).await.expect("is read").expect("is there");
            assert_eq!(row.revoked_at.is_none(), again, "{ago} ms later");
        }
    }
}
