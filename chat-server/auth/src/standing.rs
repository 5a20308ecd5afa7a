//! What changes with somebody's role: tokens from before are not accepted any more, anywhere.

use chat_domain::{
    bus::{BusMessage, Signal},
    chat::{AccountChange, Actor, ChatError, now_ms},
    store::StandingChange,
};
use chat_protocol::{
    ErrorCode, UserId,
    rest::{Role, User},
};

use super::{
    Auth,
    invitations::{end_codes, end_unfounded},
    outdated,
};

/// How often a change is decided anew when others change the same user at the same time.
const DECISIONS: usize = 8;

impl Auth {
    /// The actor with the role that is stored, whatever the token says: for deciding about accounts.
    ///
    /// # Errors
    /// `unauthenticated` when the token is from before a change of the role, or the account is closed; what the store says.
    pub(super) async fn stored_actor(&self, actor: &Actor) -> Result<Actor, ChatError> {
        let account = self.store().account(actor.user).await?;
        let account = account.filter(|account| !account.user.deactivated).ok_or_else(outdated)?;
        if account.auth_version > actor.auth_version {
            self.verifier.revoked().versions().raise(actor.user, account.auth_version);
            return Err(outdated());
        }
        Ok(Actor { role: account.user.role, auth_version: account.auth_version, ..*actor })
    }

    /// Changes a user: their name, their role, or whether the account is closed. Closing an account ends its sessions.
    ///
    /// # Errors
    /// `forbidden`, `not_found`, `conflict` when the last owner would go, `overloaded`.
    pub async fn change_account(
        &self,
        actor: &Actor,
        user: UserId,
        change: &AccountChange,
    ) -> Result<User, ChatError> {
        // Whether somebody is there is not for every guest to know.
        self.chat.check_visible(actor, user).await?;
        let after = if change.is_of_standing() {
            self.change_standing(actor, user, change).await?
        } else {
            let before = self.store().user(user).await?.ok_or_else(|| ChatError::not_found("user"))?;
            let actor = if actor.user == user { *actor } else { self.stored_actor(actor).await? };
            change.applied(&actor, &before)?;
            before
        };
        let Some(name) = change.display_name() else { return Ok(after) };
        if after.display_name != name && !self.store().set_display_name(user, name).await? {
            return Err(ChatError::not_found("user"));
        }
        Ok(User { display_name: name.to_owned(), ..after })
    }

    /// Changes the role, or closes or opens the account; decided on what is stored of both, and again when that changes.
    async fn change_standing(
        &self,
        actor: &Actor,
        user: UserId,
        change: &AccountChange,
    ) -> Result<User, ChatError> {
        for _ in 0..DECISIONS {
            let actor = self.stored_actor(actor).await?;
            let before = self.store().account(user).await?.ok_or_else(|| ChatError::not_found("user"))?;
            let to = change.applied(&actor, &before.user)?;
            let opened = before.user.deactivated && !to.deactivated;
            if to.role == Role::Owner
                && (before.user.role != Role::Owner || opened)
                && self.store().password(user).await?.is_none()
            {
                // The last owner who can sign in could go. Whoever has a password keeps one.
                return Err(ChatError::new(
                    ErrorCode::Conflict,
                    "whoever has no password yet cannot own the organisation; they set one with their code (another one: POST \
                     /v1/users/{user}/password-reset), then they can become an owner",
                ));
            }
            if opened {
                // Before it, while no others are made.
                end_codes(&**self.store(), user).await?;
            }
            let changed = self.store().change_standing(user, before.auth_version, to, now_ms()).await?;
            let auth_version = match changed {
                StandingChange::Changed { auth_version } => auth_version,
                StandingChange::Outdated => continue,
                StandingChange::LastOwner => {
                    return Err(ChatError::new(
                        ErrorCode::Conflict,
                        "the last owner cannot go; make somebody else an owner first",
                    ));
                }
                StandingChange::NoUser => return Err(ChatError::not_found("user")),
            };
            // The rest also when it was so before: the first attempt may have failed between the two. Sessions go first, so that
            // sockets of a closed account are closed for good.
            let revoked = if to.deactivated { self.revoke_all(user).await } else { Ok(()) };
            let ended = if to.deactivated { end_codes(&**self.store(), user).await } else { Ok(()) };
            let unfounded = end_unfounded(&**self.store(), user, to).await;
            if auth_version > 0 {
                self.announce_version(user, auth_version).await;
            }
            revoked?;
            ended?;
            unfounded?;
            if auth_version != before.auth_version {
                tracing::info!(target: "audit", by = %actor.user, %user, role = ?to.role, deactivated = to.deactivated, "account changed");
            }
            return Ok(User { role: to.role, deactivated: to.deactivated, ..before.user });
        }
        Err(ChatError::overloaded(500))
    }

    /// Sends all processes the version of somebody whose role changed: their sockets close, and they refresh their tokens.
    /// To be called after the change; again does no harm.
    pub async fn announce_version(&self, user: UserId, version: u64) {
        self.verifier.revoked().versions().raise(user, version);
        let signal = BusMessage::Signal(Signal::AuthVersion { user, version });
        if let Err(error) = self.chat.bus().publish(signal).await {
            // Others learn it from the store, a little later.
            tracing::warn!(%user, %error, "the new version was not published");
        }
    }
}
