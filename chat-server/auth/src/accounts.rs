//! Making accounts, signing in, changing passwords.

use std::net::IpAddr;

use chat_domain::{
    chat::{Actor, ChatError, display_name, now_ms},
    store::{initial_role, name_key},
};
use chat_protocol::{
    ChannelId, ErrorCode, UserId,
    limits::{MAX_HANDLE_CHARS, MAX_PASSWORD_BYTES},
    rest::{LoginRequest, PasswordRequest, RegisterRequest, Role, TokenResponse, User},
};
use uuid::Uuid;

use super::{
    Auth, NewSession, Registration,
    passwords::{Checked, Passwords},
};

const MIN_HANDLE_CHARS: usize = 2;

impl Auth {
    /// Makes an account and signs it in. The first one on a server is its owner.
    ///
    /// # Errors
    /// `rate_limited`, `forbidden` when registration is closed, `invalid`, `conflict` when the handle is taken,
    /// `overloaded`.
    pub async fn register(
        &self,
        request: RegisterRequest,
        address: IpAddr,
    ) -> Result<TokenResponse, ChatError> {
        self.limited(self.limits.register(address))?;
        let RegisterRequest { handle, password, display_name, device } = request;
        let user = self.create_account(&handle, display_name, password).await?;
        self.start_session(&user, NewSession::on(device)).await
    }

    /// Makes an account that joins the default channels, without signing it in. Not limited.
    ///
    /// # Errors
    /// As [`Auth::register`].
    pub async fn create_account(
        &self,
        handle: &str,
        display_name: Option<String>,
        password: String,
    ) -> Result<User, ChatError> {
        let handle = valid_handle(handle)?;
        let display_name = valid_display_name(display_name, &handle)?;
        Passwords::acceptable(&password)?;
        if self.options.registration == Registration::Closed && self.store().has_users().await? {
            return Err(ChatError::forbidden(
                "this server is not open for registration; ask an admin for an account",
            ));
        }
        if self.store().user_by_handle(&handle).await?.is_some() {
            return Err(taken());
        }
        let phc = self.passwords.hash(password).await?;

        let _founding = self.founding.lock().await;
        let first = !self.store().has_users().await?;
        if !first && self.options.registration == Registration::Closed {
            return Err(ChatError::forbidden("this server is not open for registration"));
        }
        let user = User {
            id: UserId::new(),
            handle,
            display_name,
            role: initial_role(first),
            created_at: now_ms(),
            deactivated: false,
        };
        // In this order a crash in between leaves a hash that nobody has, not a handle that nobody can use.
        self.store().set_password(user.id, &phc).await?;
        if !self.store().create_user(&user).await? {
            return Err(taken());
        }
        tracing::info!(target: "audit", user = %user.id, handle = user.handle, role = ?user.role, "account made");
        self.join_default_channels(&user).await;
        Ok(user)
    }

    /// Signs in with a password.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded`, and one and the same `unauthenticated` whether there is no such account, it
    /// is closed, a bot's, or the password is wrong.
    pub async fn login(&self, request: LoginRequest, address: IpAddr) -> Result<TokenResponse, ChatError> {
        let LoginRequest { handle, password, device } = request;
        let handle: String = handle.trim().to_lowercase().chars().take(MAX_HANDLE_CHARS + 1).collect();
        self.limited(self.limits.login(&handle, address))?;
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(wrong_credentials());
        }
        let user = self.store().user_by_handle(&handle).await?.filter(may_sign_in);
        let phc = match &user {
            Some(user) => self.store().password(user.id).await?,
            None => None,
        };
        let checked = self.passwords.check(password.clone(), phc).await?;
        let Some(user) = user.filter(|_| checked != Checked::Wrong) else {
            tracing::info!(target: "audit", handle, %address, "login refused");
            return Err(wrong_credentials());
        };
        if checked == Checked::RightButOld {
            let phc = self.passwords.hash(password).await?;
            self.store().set_password(user.id, &phc).await?;
        }
        let tokens = self.start_session(&user, NewSession::on(device)).await?;
        tracing::info!(target: "audit", user = %user.id, session = %tokens.session, %address, "signed in");
        Ok(tokens)
    }

    /// Changes the actor's password and signs out all of their other sessions.
    ///
    /// # Errors
    /// `rate_limited`, `invalid`, `forbidden` when the current password is wrong, `overloaded`.
    pub async fn change_password(
        &self,
        actor: &Actor,
        request: PasswordRequest,
        address: IpAddr,
    ) -> Result<(), ChatError> {
        let PasswordRequest { current, new } = request;
        let user = self.store().user(actor.user).await?.ok_or_else(|| ChatError::not_found("user"))?;
        self.limited(self.limits.login(&user.handle, address))?;
        Passwords::acceptable(&new)?;
        let phc = self.store().password(user.id).await?;
        if current.len() > MAX_PASSWORD_BYTES || self.passwords.check(current, phc).await? == Checked::Wrong {
            tracing::info!(target: "audit", user = %user.id, %address, "password change refused");
            return Err(ChatError::forbidden("the current password is wrong"));
        }
        let phc = self.passwords.hash(new).await?;
        self.store().set_password(user.id, &phc).await?;
        self.revoke_others(user.id, Some(actor.session)).await?;
        tracing::info!(target: "audit", user = %user.id, session = %actor.session, "password changed");
        Ok(())
    }

    /// An account without its default channels is still an account: failures are logged only.
    async fn join_default_channels(&self, user: &User) {
        let session = chat_protocol::SessionId(Uuid::nil());
        let actor = Actor { user: user.id, role: user.role, auth_version: 0, session };
        for name in &self.options.default_channels {
            if let Err(error) = self.join_by_name(&actor, name).await {
                tracing::warn!(channel = name, user = %user.id, %error, "default channel not joined");
            }
        }
    }

    async fn join_by_name(&self, actor: &Actor, name: &str) -> Result<(), ChatError> {
        let key = name_key(name);
        let before_its_ids = Some((key.clone(), ChannelId(Uuid::nil())));
        let found = self.store().public_channels(before_its_ids, 1).await?;
        let Some(channel) = found
            .into_iter()
            .find(|row| !row.archived && row.name.as_deref().is_some_and(|name| name_key(name) == key))
        else {
            return Ok(());
        };
        self.chat.join(actor, channel.id).await.map(drop)
    }
}

fn valid_handle(handle: &str) -> Result<String, ChatError> {
    let folded = handle.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (MIN_HANDLE_CHARS..=MAX_HANDLE_CHARS).contains(&folded.len())
        && folded.starts_with(allowed)
        && folded.chars().all(|c| allowed(c) || matches!(c, '.' | '_' | '-'));
    if fits {
        return Ok(folded);
    }
    Err(ChatError::invalid(format!(
        "not a usable handle: it takes {MIN_HANDLE_CHARS} to {MAX_HANDLE_CHARS} letters a-z, digits, '.', '_' or '-' and begins \
         with a letter or digit"
    )))
}

/// The handle for who gives no display name.
fn valid_display_name(name: Option<String>, handle: &str) -> Result<String, ChatError> {
    match name.filter(|name| !name.trim().is_empty()) {
        Some(name) => display_name(&name),
        None => Ok(handle.to_owned()),
    }
}

/// Bots have tokens, not passwords.
fn may_sign_in(user: &User) -> bool {
    !user.deactivated && user.role != Role::Bot
}

fn taken() -> ChatError {
    ChatError::new(ErrorCode::Conflict, "the handle is taken; choose another one")
}

fn wrong_credentials() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "handle or password is wrong")
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc, time::Duration};

    use super::*;
    use crate::AuthOptions;
    use chat_domain::{
        bus::local::LocalBus,
        chat::{Chat, now_ms},
        store::{Standing, StandingChange},
    };
    use chat_sqlite::SqliteStore;

    #[tokio::test]
    async fn a_refused_login_takes_a_hash_whatever_is_wrong_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store"));
        let chat = Chat::new(Arc::<SqliteStore>::clone(&store), Arc::new(LocalBus::new()));
        let auth = Auth::new(chat, store, AuthOptions::default()).await.expect("keys");
        let account = async |handle: &str| {
            auth.create_account(handle, None, "correct horse".into()).await.expect("is made")
        };
        account("ada").await;
        let bot = (account("bot").await, Standing { role: Role::Bot, deactivated: false });
        let gone = (account("gone").await, Standing { role: Role::Member, deactivated: true });
        for (user, standing) in [bot, gone] {
            let changed = auth.store().change_standing(user.id, 0, standing, now_ms()).await;
            assert_eq!(changed.expect("is stored"), StandingChange::Changed { auth_version: 1 });
        }
        for (handle, password) in [
            ("ada", "wrong horse"),
            ("nobody", "correct horse"),
            ("bot", "correct horse"),
            ("gone", "correct horse"),
            ("no such!", "correct horse"),
        ] {
            let held = auth.passwords.hold().await;
            let login = tokio::spawn({
                let auth = Arc::clone(&auth);
                let request = LoginRequest { handle: handle.into(), password: password.into(), device: None };
                async move { auth.login(request, Ipv4Addr::LOCALHOST.into()).await }
            });
            let waits = async {
                while auth.passwords.waiting() == 0 {
                    assert!(!login.is_finished(), "{handle} is answered without a hash");
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), waits).await.expect("waits for a hash");
            drop(held);
            let refused = login.await.expect("ends").expect_err("is refused");
            assert_eq!(refused.code, ErrorCode::Unauthenticated, "{handle}");
        }
    }

    #[test]
    fn handles_are_folded_and_bounded() {
        let max = "a".repeat(32);
        for (given, expected) in [
            ("Ada", Some("ada")),
            ("7of9", Some("7of9")),
            ("a.b_c-d", Some("a.b_c-d")),
            (max.as_str(), Some(max.as_str())),
            ("a", None),
            ("-a", None),
            (".a", None),
            ("ada lovelace", None),
            ("äda", None),
            (&"a".repeat(33), None),
            ("", None),
        ] {
            assert_eq!(valid_handle(given).ok().as_deref(), expected, "{given}");
        }
    }
}
