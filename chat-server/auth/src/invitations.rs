//! Invitations: codes that let people in whom somebody vouches for.
//!
//! One kind makes accounts of a role, the other sets the password of an account: the first one of an account that an admin
//! made, or a forgotten one. A code is `<id>.<secret>`; only the secret's hash is stored. Who made one must still be allowed
//! to when it is used: what ends with a person's role ends here too, for good.
//!
//! A code for a password is of the password that the account has, or of none: once another one is set, however that comes, it
//! is not good any more. So is no code of before an account was closed.

use std::net::IpAddr;

use chat_domain::{
    chat::{
        Actor, ChatError, now_ms,
        permissions::{OrgAction, allow_org},
    },
    store::{InvitationRow, MAX_INVITATIONS, Standing, Store, initial_role},
};
use chat_log::text::is_line;
use chat_protocol::{
    ErrorCode, InvitationId, SessionId, UserId,
    rest::{
        CreateInvitation, CreateUser, CreatedUser, Invitation, NewInvitation, RedeemRequest, Role,
        TokenResponse, User,
    },
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Auth, NewSession, hash_queue::Asker, passwords::Passwords, refresh_tokens::Secret};

const DAY: u64 = 86_400;
/// Seconds that an invitation is good when nobody says how long.
const USUAL_LIFE: u64 = 7 * DAY;
const SHORTEST_LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 30 * DAY;
const MOST_USES: u32 = 1_000;
const MAX_NOTE_CHARS: usize = 100;
/// Clocks of processes differ by less: what has expired by one may be good by another.
const CLOCKS_DIFFER_MS: u64 = 60 * 60 * 1_000;
/// How often a use is tried when others use the same invitation at the same time.
const TRIES: usize = 16;

/// What an invitation is made of.
struct Terms {
    account: Option<UserId>,
    role: Role,
    uses: u32,
    seconds: u64,
    note: String,
}

/// Makes an invitation with which somebody sets the password of this account, by the server's command line.
///
/// # Errors
/// As the store fails; `conflict` when there are too many.
pub async fn password_code(store: &dyn Store, user: &User) -> Result<NewInvitation, ChatError> {
    make(store, None, Terms::password_of(user)).await
}

/// Ends all codes for the password of this account.
///
/// # Errors
/// As the store fails.
pub async fn end_codes(store: &dyn Store, account: UserId) -> Result<(), ChatError> {
    let good = store.invitations(now_ms().saturating_sub(CLOCKS_DIFFER_MS)).await?;
    for row in good.into_iter().filter(|row| row.account == Some(account)) {
        end(store, row.id).await?;
    }
    Ok(())
}

/// Ends what somebody made and may not make with a standing that changed to this, and the codes for their password that others may not
/// make any more. To be called after the change; again does no harm.
///
/// # Errors
/// As the store fails.
pub async fn end_unfounded(store: &dyn Store, user: UserId, to: Standing) -> Result<(), ChatError> {
    let good = store.invitations(now_ms().saturating_sub(CLOCKS_DIFFER_MS)).await?;
    for row in good {
        // Of the command line, which may do everything.
        let Some(maker) = row.created_by else { continue };
        let is_theirs = row.account == Some(user);
        if maker != user && !is_theirs {
            continue;
        }
        let maker = if maker == user { Some(to) } else { standing(store, maker).await? };
        let role = match row.account {
            Some(account) if !is_theirs => standing(store, account).await?.map(|account| account.role),
            Some(_) => Some(to.role),
            None => Some(row.role),
        };
        if !maker.zip(role).is_some_and(|(maker, role)| may_make(maker, role)) {
            end(store, row.id).await?;
            tracing::info!(target: "audit", %user, invitation = %row.id, "invitation ended: its maker may not make it any more");
        }
    }
    Ok(())
}

async fn standing(store: &dyn Store, user: UserId) -> Result<Option<Standing>, ChatError> {
    Ok(store.account(user).await?.map(|account| account.standing()))
}

/// Whether somebody of this standing may make what is for this role.
fn may_make(maker: Standing, role: Role) -> bool {
    // Of an actor only the role counts here.
    let (user, session) = (UserId(Uuid::nil()), SessionId(Uuid::nil()));
    !maker.deactivated && may_give(&Actor { user, role: maker.role, auth_version: 0, session }, role).is_ok()
}

/// Ends an invitation; whether there is one.
async fn end(store: &dyn Store, id: InvitationId) -> Result<bool, ChatError> {
    for _ in 0..TRIES {
        let Some(row) = store.invitation(id).await? else { return Ok(false) };
        if row.uses_left == 0 || store.change_uses(id, row.uses_left, 0).await? {
            return Ok(true);
        }
    }
    Err(ChatError::overloaded(500))
}

/// What is stored of a code. `password` is the hash of the account's; `None` also where the code is for no account.
fn code_hash(secret: &Secret, account: Option<UserId>, password: Option<&str>) -> [u8; 32] {
    if account.is_none() {
        return secret.hash;
    }
    Sha256::new().chain_update(secret.hash).chain_update(password.unwrap_or_default()).finalize().into()
}

/// The hash of the password that a code for this account replaces.
async fn replaced(store: &dyn Store, account: Option<UserId>) -> Result<Option<String>, ChatError> {
    match account {
        Some(account) => Ok(store.password(account).await?),
        None => Ok(None),
    }
}

async fn make(store: &dyn Store, by: Option<UserId>, terms: Terms) -> Result<NewInvitation, ChatError> {
    let secret = Secret::random();
    let password = replaced(store, terms.account).await?;
    let now = now_ms();
    let row = InvitationRow {
        id: InvitationId(Uuid::new_v4()),
        code_hash: code_hash(&secret, terms.account, password.as_deref()),
        account: terms.account,
        role: terms.role,
        uses_left: terms.uses,
        created_by: by,
        created_at: now,
        expires_at: now + terms.seconds * 1_000,
        note: terms.note,
    };
    if !store.create_invitation(&row).await? {
        return Err(ChatError::new(
            ErrorCode::Conflict,
            format!("there are {MAX_INVITATIONS} invitations that are still good; end some of them first"),
        ));
    }
    let code = format!("{}.{}", row.id.0.as_simple(), secret.text);
    tracing::info!(
        target: "audit", by = ?by, invitation = %row.id, account = ?row.account, role = ?row.role, uses = row.uses_left,
        "invitation made"
    );
    Ok(NewInvitation { invitation: shown(row), code })
}

impl Terms {
    fn password_of(user: &User) -> Self {
        Self { account: Some(user.id), role: user.role, uses: 1, seconds: USUAL_LIFE, note: String::new() }
    }

    fn of(request: CreateInvitation) -> Result<Self, ChatError> {
        let CreateInvitation { role, uses, expires_in, note } = request;
        let (role, uses) = (role.unwrap_or(Role::Member), uses.unwrap_or(1));
        let (seconds, note) = (expires_in.unwrap_or(USUAL_LIFE), note.unwrap_or_default());
        if role == Role::Bot {
            return Err(ChatError::invalid("nobody is invited as a bot: bots have no passwords"));
        }
        if !(1..=MOST_USES).contains(&uses) {
            return Err(ChatError::invalid(format!("uses is {uses}: 1 to {MOST_USES} are allowed")));
        }
        if !(SHORTEST_LIFE..=LONGEST_LIFE).contains(&seconds) {
            return Err(ChatError::invalid(format!(
                "expires_in is {seconds}: {SHORTEST_LIFE} to {LONGEST_LIFE} seconds are allowed"
            )));
        }
        if note.chars().count() > MAX_NOTE_CHARS || !is_line(&note) {
            return Err(ChatError::invalid(format!(
                "not a usable note: it takes one line of at most {MAX_NOTE_CHARS} characters that show, without marks that turn the \
                 direction of text"
            )));
        }
        Ok(Self { account: None, role, uses, seconds, note })
    }
}

impl Auth {
    /// Makes an invitation with which people make accounts.
    ///
    /// # Errors
    /// `forbidden`, `invalid`, `rate_limited`, `conflict` when there are too many.
    pub async fn invite(&self, actor: &Actor, request: CreateInvitation) -> Result<NewInvitation, ChatError> {
        let actor = self.stored_actor(actor).await?;
        let terms = Terms::of(request)?;
        may_give(&actor, terms.role)?;
        self.chat.rates().invitation(actor.user)?;
        self.make_checked(&actor, terms).await
    }

    /// Makes it, unless what the actor may do, or the role that it is for, changes at the same time: who changes it ends what is there
    /// then.
    async fn make_checked(&self, actor: &Actor, terms: Terms) -> Result<NewInvitation, ChatError> {
        let store = &**self.store();
        let (account, role) = (terms.account, terms.role);
        let made = make(store, Some(actor.user), terms).await?;
        let role = match account {
            Some(account) => standing(store, account).await?.map_or(role, |account| account.role),
            None => role,
        };
        // By the version of their standing: who lost it and has it again meanwhile has lost what they made, too.
        let still = match self.stored_actor(actor).await {
            Ok(maker) => may_give(&maker, role),
            Err(error) => Err(error),
        };
        if let Err(error) = still {
            end(store, made.invitation.id).await?;
            return Err(error);
        }
        Ok(made)
    }

    /// The invitations that are still good, newest first.
    ///
    /// # Errors
    /// `forbidden`.
    pub async fn invitations(&self, actor: &Actor) -> Result<Vec<Invitation>, ChatError> {
        let actor = self.stored_actor(actor).await?;
        may_give(&actor, Role::Guest)?;
        let since = self.verifier.since();
        let good = self.store().invitations(now_ms()).await?;
        Ok(good.into_iter().filter(|row| row.created_at >= since).map(shown).collect())
    }

    /// Ends an invitation. Again does no harm.
    ///
    /// # Errors
    /// `forbidden`, `not_found`.
    pub async fn end_invitation(&self, actor: &Actor, id: InvitationId) -> Result<(), ChatError> {
        let actor = self.stored_actor(actor).await?;
        may_give(&actor, Role::Guest)?;
        if !end(&**self.store(), id).await? {
            return Err(ChatError::not_found("invitation"));
        }
        tracing::info!(target: "audit", by = %actor.user, invitation = %id, "invitation ended");
        Ok(())
    }

    /// The same of codes that are not good any more, because the password was set: so that nobody finds them listed.
    pub(super) async fn end_outdated_codes(&self, account: UserId) {
        if let Err(error) = end_codes(&**self.store(), account).await {
            tracing::warn!(user = %account, %error, "codes of a password that was replaced are still listed");
        }
    }

    /// Makes an account for somebody else, with an invitation to set its first password.
    ///
    /// # Errors
    /// `forbidden`, `invalid`, `conflict` when the handle is taken or looks like another.
    pub async fn create_user(&self, actor: &Actor, request: CreateUser) -> Result<CreatedUser, ChatError> {
        let actor = self.stored_actor(actor).await?;
        let CreateUser { handle, display_name, role } = request;
        let role = role.unwrap_or(Role::Member);
        may_give(&actor, role)?;
        if role == Role::Bot {
            return Err(ChatError::invalid("bots are not made here: they have no passwords"));
        }
        if role == Role::Owner {
            return Err(ChatError::invalid(
                "role is owner: whoever has no password yet cannot own the organisation; take another role and make them an \
                 owner once they have set one, or invite an owner (POST /v1/invitations)",
            ));
        }
        let user = Self::new_user(&handle, display_name, role)?;
        self.add_user(&user).await?;
        let password = self.make_checked(&actor, Terms::password_of(&user)).await?;
        Ok(CreatedUser { user, password })
    }

    /// Makes an invitation with which somebody who forgot their password sets another one.
    ///
    /// # Errors
    /// `forbidden`, also for oneself; `not_found`, `rate_limited`.
    pub async fn reset_password(&self, actor: &Actor, user: UserId) -> Result<NewInvitation, ChatError> {
        let actor = self.stored_actor(actor).await?;
        may_give(&actor, Role::Guest)?;
        let user = self.store().user(user).await?.ok_or_else(|| ChatError::not_found("user"))?;
        may_give(&actor, user.role)?;
        if user.id == actor.user {
            // Whoever got hold of a token would have the account for good.
            return Err(ChatError::forbidden("one's own password is changed with the current one"));
        }
        if user.deactivated || user.role == Role::Bot {
            return Err(ChatError::new(
                ErrorCode::Conflict,
                "a closed account, or a bot's, has no password to set",
            ));
        }
        self.chat.rates().invitation(actor.user)?;
        self.make_checked(&actor, Terms::password_of(&user)).await
    }

    /// Sets a password by an invitation, ends all other sessions of the account, and signs in.
    ///
    /// # Errors
    /// `rate_limited`, `forbidden` when the code is not good, `invalid`, `overloaded`.
    pub async fn redeem(&self, request: RedeemRequest, address: IpAddr) -> Result<TokenResponse, ChatError> {
        let RedeemRequest { code, password, device } = request;
        let password = Passwords::acceptable(&password)?;
        let (row, before) = self.good(&code, address).await?;
        let user = row.account.ok_or_else(not_good)?;
        let user = self.store().user(user).await?.filter(|user| !user.deactivated).ok_or_else(not_good)?;
        self.may_still(&row, user.role).await?;
        let phc = self.passwords.hash(&password, Asker::known(address)).await?;
        // Before it too: what fails behind the new password must not leave the sessions of whoever knew the old one.
        self.revoke_all(user.id).await?;
        self.take(&row).await?;
        // Of two codes that are used at once one is good.
        if !self.store().replace_password(user.id, before.as_deref(), &phc).await? {
            return Err(not_good());
        }
        self.revoke_all(user.id).await?;
        self.end_outdated_codes(user.id).await;
        tracing::info!(target: "audit", user = %user.id, invitation = %row.id, %address, "password set by an invitation");
        self.start_session(&user, NewSession::on(device, address)).await
    }

    /// The invitation that a code is of, if it is still good, and the hash of the password that it replaces. Guesses are counted;
    /// what others guess does not hold up whoever has the code.
    async fn good(&self, code: &str, address: IpAddr) -> Result<(InvitationRow, Option<String>), ChatError> {
        // With the id as it stands in codes.
        let parts = code.trim().split_once('.');
        let parts = parts.and_then(|(id, secret)| Some((InvitationId(Uuid::try_parse(id).ok()?), secret)));
        let found = match parts {
            Some((id, secret)) => self.with_password(id).await?.filter(|(row, password)| {
                let secret = Secret::of(secret.to_owned());
                row.code_hash == code_hash(&secret, row.account, password.as_deref())
            }),
            None => None,
        };
        let Some((row, password)) = found else {
            let id = parts.map(|(id, _)| id);
            let whose = id.map_or("invitation".into(), |id| format!("invitation {id}"));
            self.publish(self.limits.login(&whose, address)?.wrong());
            tracing::info!(target: "audit", invitation = id.map(tracing::field::display), %address, "invitation refused");
            return Err(not_good());
        };
        let good = row.uses_left > 0 && row.expires_at > now_ms() && row.created_at >= self.verifier.since();
        if good { Ok((row, password)) } else { Err(not_good()) }
    }

    async fn with_password(
        &self,
        id: InvitationId,
    ) -> Result<Option<(InvitationRow, Option<String>)>, ChatError> {
        let Some(row) = self.store().invitation(id).await? else { return Ok(None) };
        let password = replaced(&**self.store(), row.account).await?;
        Ok(Some((row, password)))
    }

    /// The same, if accounts are made with it.
    pub(super) async fn invitation_for_accounts(
        &self,
        code: &str,
        address: IpAddr,
    ) -> Result<InvitationRow, ChatError> {
        let (row, _) = self.good(code, address).await?;
        if row.account.is_some() {
            return Err(not_good());
        }
        self.may_still(&row, row.role).await?;
        Ok(row)
    }

    /// Whether its maker may still do what it does to somebody of this role.
    async fn may_still(&self, row: &InvitationRow, role: Role) -> Result<(), ChatError> {
        let Some(maker) = row.created_by else { return Ok(()) };
        let standing = standing(&**self.store(), maker).await?.ok_or_else(not_good)?;
        if may_make(standing, role) { Ok(()) } else { Err(not_good()) }
    }

    /// Uses it once. What fails behind it costs a use.
    pub(super) async fn take(&self, row: &InvitationRow) -> Result<(), ChatError> {
        let mut left = row.uses_left;
        for _ in 0..TRIES {
            if left == 0 {
                return Err(not_good());
            }
            if self.store().change_uses(row.id, left, left - 1).await? {
                return Ok(());
            }
            left = self.store().invitation(row.id).await?.map_or(0, |row| row.uses_left);
        }
        Err(ChatError::overloaded(500))
    }

    /// The role of an account that is made with it, or without any.
    pub(super) const fn role_of_new(invitation: Option<&InvitationRow>, first: bool) -> Role {
        match invitation {
            Some(row) if !first => row.role,
            _ => initial_role(first),
        }
    }
}

fn may_give(actor: &Actor, role: Role) -> Result<(), ChatError> {
    allow_org(actor, OrgAction::Administer { from: role, to: role })
}

fn shown(row: InvitationRow) -> Invitation {
    let InvitationRow { id, account, role, uses_left, created_by, created_at, expires_at, note, .. } = row;
    Invitation { id, account, role, uses_left, created_by, created_at, expires_at, note }
}

/// One answer for everything that is wrong with a code.
fn not_good() -> ChatError {
    ChatError::forbidden("the invitation is not good, or not any more; ask for another one")
}
