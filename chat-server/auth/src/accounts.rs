//! Making accounts, signing in, changing passwords.

use std::net::{IpAddr, Ipv4Addr};

use chat_domain::{
    chat::{Actor, ChatError, display_name, now_ms},
    store::{InvitationRow, name_key},
};
use chat_protocol::{
    ChannelId, ErrorCode, UserId,
    limits::MAX_HANDLE_CHARS,
    rest::{LoginRequest, PasswordRequest, RegisterRequest, Role, TokenResponse, User},
};
use uuid::Uuid;

use super::{
    Auth, NewSession, Registration,
    hash_queue::Asker,
    limits::network_key,
    passwords::{Checked, Passwords},
};

const MIN_HANDLE_CHARS: usize = 2;

impl Auth {
    /// Makes an account and signs it in. The first one on a server is its owner.
    ///
    /// # Errors
    /// `rate_limited`, `forbidden` when registration is closed, `invalid`, `conflict` when the handle is taken or looks like another,
    /// `overloaded`.
    pub async fn register(
        &self,
        request: RegisterRequest,
        address: IpAddr,
    ) -> Result<TokenResponse, ChatError> {
        // Who comes too often is in the audit log with all others whom REST refuses, so many lines a second.
        let counted = self.limits.register(address)?;
        self.publish(counted);
        let RegisterRequest { handle, password, display_name, device, invitation } = request;
        let invitation = match invitation {
            Some(code) => Some(self.invitation_for_accounts(&code, address).await?),
            None => None,
        };
        let asker = if invitation.is_some() { Asker::known(address) } else { Asker::stranger(address) };
        let user = self.create(&handle, display_name, &password, invitation.as_ref(), asker).await?;
        self.start_session(&user, NewSession::on(device, address)).await
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
        let asker = Asker::known(Ipv4Addr::UNSPECIFIED.into());
        self.create(handle, display_name, &password, None, asker).await
    }

    async fn create(
        &self,
        handle: &str,
        display_name: Option<String>,
        password: &str,
        invitation: Option<&InvitationRow>,
        asker: Asker,
    ) -> Result<User, ChatError> {
        let mut user = Self::new_user(handle, display_name, Role::Member)?;
        let password = Passwords::acceptable(password)?;
        let closed = invitation.is_none() && self.options.registration == Registration::Closed;
        let refused = || {
            ChatError::forbidden("this server is not open for registration; ask an admin for an invitation")
        };
        if closed && self.store().has_users().await? {
            return Err(refused());
        }
        if self.store().user_by_handle(&user.handle).await?.is_some() {
            return Err(taken());
        }
        let phc = self.passwords.hash(&password, asker).await?;

        let _founding = self.founding.lock().await;
        let first = !self.store().has_users().await?;
        if !first && closed {
            return Err(refused());
        }
        user.role = Self::role_of_new(invitation, first);
        if let Some(row) = invitation
            && !first
        {
            self.take(row).await?;
        }
        // In this order a crash in between leaves a hash that nobody has, not a handle that nobody can use.
        self.store().set_password(user.id, &phc).await?;
        self.add_user(&user).await?;
        Ok(user)
    }

    /// A user as they will be, not stored yet.
    pub(super) fn new_user(handle: &str, name: Option<String>, role: Role) -> Result<User, ChatError> {
        let handle = valid_handle(handle)?;
        let display_name = valid_display_name(name, &handle)?;
        Ok(User { id: UserId::new(), handle, display_name, role, created_at: now_ms(), deactivated: false })
    }

    /// Stores a new user, who joins the default channels.
    pub(super) async fn add_user(&self, user: &User) -> Result<(), ChatError> {
        if !self.store().create_user(user).await? {
            return Err(taken());
        }
        tracing::info!(target: "audit", user = %user.id, handle = user.handle, role = ?user.role, "account made");
        self.join_default_channels(user).await;
        Ok(())
    }

    /// Signs in with a password.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded`, and one and the same `unauthenticated` whether there is no such account, it
    /// is closed, a bot's, or the password is wrong.
    pub async fn login(&self, request: LoginRequest, address: IpAddr) -> Result<TokenResponse, ChatError> {
        let LoginRequest { handle, password, device } = request;
        let handle: String = handle.trim().to_lowercase().chars().take(MAX_HANDLE_CHARS + 1).collect();
        let mut guess = self.limits.login(&handle, address)?;
        let user = self.store().user_by_handle(&handle).await?.filter(may_sign_in);
        if let Err(error) = guess.anywhere(&handle)
            && !guess.is_known()
            && !self.is_known_from(user.as_ref(), address).await?
        {
            guess.give_back();
            return Err(error);
        }
        let is_known = guess.is_known()
            || self.passwords.is_crowded() && self.is_known_from(user.as_ref(), address).await?;
        let asker = if is_known { Asker::known(address) } else { Asker::stranger(address) };
        let phc = match &user {
            Some(user) => self.store().password(user.id).await?,
            None => None,
        };
        let checked = match self.passwords.check(&password, phc.as_deref(), asker).await {
            Ok(checked) => checked,
            Err(error) => {
                guess.give_back();
                return Err(error);
            }
        };
        let account = user.as_ref().map(|user| user.id);
        let (Some(user), Some(phc)) = (user.filter(|_| checked != Checked::Wrong), phc) else {
            self.publish(guess.wrong());
            match account {
                Some(user) => tracing::info!(target: "audit", %user, %address, "login refused"),
                // What was typed may be a password in the wrong field.
                None => tracing::info!(target: "audit", %address, "login refused: no such account"),
            }
            return Err(wrong_credentials());
        };
        guess.right();
        let asker = Asker::known(address);
        if checked == Checked::RightButOld {
            // 0.1.0 took some that could not be chosen today: they stay as they were typed.
            let normal = Passwords::acceptable(&password).unwrap_or_else(|_| password.clone());
            let new = self.passwords.hash(&normal, asker).await?;
            // Unless somebody has changed it meanwhile.
            self.store().replace_password(user.id, Some(&phc), &new).await?;
        }
        let tokens = self.start_session(&user, NewSession::on(device, address)).await?;
        // Read after the session exists: whoever changes the password ends the sessions that they see, so one of the two
        // notices the other.
        let now = self.store().password(user.id).await?;
        if now.as_ref() != Some(&phc)
            && self.passwords.check(&password, now.as_deref(), asker).await? == Checked::Wrong
        {
            self.revoke(tokens.session).await?;
            tracing::info!(target: "audit", user = %user.id, %address, "login refused: the password has changed");
            return Err(wrong_credentials());
        }
        tracing::info!(target: "audit", user = %user.id, session = %tokens.session, %address, "signed in");
        Ok(tokens)
    }

    /// Whether one of the user's sessions was last used from this address's network.
    async fn is_known_from(&self, user: Option<&User>, address: IpAddr) -> Result<bool, ChatError> {
        let Some(user) = user else { return Ok(false) };
        let sessions = self.store().sessions_of(user.id, now_ms()).await?;
        Ok(sessions.iter().any(|session| session.network == Some(network_key(address))))
    }

    /// Changes the actor's password and signs out all of their other sessions.
    ///
    /// # Errors
    /// `rate_limited`, `invalid`, `forbidden` when the current password is wrong, `conflict` when somebody changed it
    /// meanwhile, `overloaded`.
    pub async fn change_password(
        &self,
        actor: &Actor,
        request: PasswordRequest,
        address: IpAddr,
    ) -> Result<(), ChatError> {
        let PasswordRequest { current, new } = request;
        let user = self.store().user(actor.user).await?.ok_or_else(|| ChatError::not_found("user"))?;
        self.limits.password(user.id)?;
        let wrong = || {
            tracing::info!(target: "audit", user = %user.id, %address, "password change refused");
            ChatError::forbidden("the current password is wrong")
        };
        let phc = self.store().password(user.id).await?.ok_or_else(wrong)?;
        let asker = Asker::known(address);
        if self.passwords.check(&current, Some(&phc), asker).await? == Checked::Wrong {
            return Err(wrong());
        }
        self.limits.right_password(user.id);
        self.limits.change(user.id)?;
        let new = self.passwords.hash(&Passwords::acceptable(&new)?, asker).await?;
        // Before it too: what fails behind the new password must not leave the sessions of whoever knew the old one.
        self.revoke_others(user.id, Some(actor.session)).await?;
        if !self.store().replace_password(user.id, Some(&phc), &new).await? {
            return Err(ChatError::new(
                ErrorCode::Conflict,
                "the password was changed meanwhile; sign in again",
            ));
        }
        self.revoke_others(user.id, Some(actor.session)).await?;
        self.end_outdated_codes(user.id).await;
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
    ChatError::new(ErrorCode::Conflict, "the handle is taken, or looks like one that is; choose another one")
}

fn wrong_credentials() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "handle or password is wrong")
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

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
            let held = auth.passwords.hold();
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

    /// A server where ada has an account, and strangers who wait for a hash until no more of them may.
    struct Crowded {
        auth: Arc<Auth>,
        held: Vec<crate::hash_queue::Place>,
        strangers: tokio::task::JoinSet<()>,
        _dir: tempfile::TempDir,
    }

    const HOME: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    impl Crowded {
        /// By strangers of so many networks.
        async fn by(networks: u16) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store"));
            let chat = Chat::new(Arc::<SqliteStore>::clone(&store), Arc::new(LocalBus::new()));
            let options = AuthOptions { login_per_minute_address: 100_000, ..AuthOptions::default() };
            let auth = Auth::new(chat, store, options).await.expect("keys");
            auth.create_account("ada", None, "correct horse".into()).await.expect("is made");
            let (held, strangers) = (Vec::new(), tokio::task::JoinSet::new());
            let mut crowded = Self { auth, held, strangers, _dir: dir };
            crowded.login("ada", HOME).await.expect("ends").expect("signs in");
            crowded.held = crowded.auth.passwords.hold();
            let crowd = async {
                for n in 0.. {
                    let waiting = crowded.auth.passwords.waiting();
                    let [a, b] = (n % networks).to_be_bytes();
                    let login = crowded.login(&format!("nobody{n}"), Ipv4Addr::new(198, 18, a, b));
                    crowded.strangers.spawn(async { drop(login.await) });
                    while crowded.auth.passwords.waiting() == waiting {
                        assert_eq!(crowded.strangers.try_join_next().map(drop), None, "one is refused");
                        tokio::task::yield_now().await;
                    }
                    if crowded.auth.passwords.is_crowded() {
                        break;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(60), crowd).await.expect("they come");
            crowded
        }

        fn login(
            &self,
            handle: &str,
            address: Ipv4Addr,
        ) -> tokio::task::JoinHandle<Result<TokenResponse, ChatError>> {
            let request =
                LoginRequest { handle: handle.into(), password: "correct horse".into(), device: None };
            let auth = Arc::clone(&self.auth);
            tokio::spawn(async move { auth.login(request, address.into()).await })
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn strangers_leave_places_for_those_who_are_known() {
        let mut crowded = Crowded::by(u16::MAX).await;
        let elsewhere = crowded.login("ada", Ipv4Addr::new(203, 0, 113, 1));
        let refused = elsewhere.await.expect("ends").expect_err("is refused");
        assert_eq!(refused.code, ErrorCode::Overloaded);
        let ada = crowded.login("ada", HOME);
        crowded.held.clear();
        ada.await.expect("ends").expect("signs in");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_of_a_few_networks_keep_nobody_of_another_out() {
        let mut crowded = Crowded::by(20).await;
        let ada = crowded.login("ada", Ipv4Addr::new(203, 0, 113, 1));
        crowded.held.clear();
        ada.await.expect("ends").expect("signs in");
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
