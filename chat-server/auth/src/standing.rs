//! What changes with somebody's role: tokens from before are not accepted any more, anywhere.

use chat_domain::{
    bus::{BusMessage, Signal},
    chat::{Actor, ChatError},
};
use chat_protocol::UserId;

use super::{Auth, outdated};

impl Auth {
    /// The actor with the role that is stored, whatever the token says: for deciding about accounts.
    ///
    /// # Errors
    /// `unauthenticated` when the token is from before a change of the role, or the account is closed; what the store says.
    pub async fn stored_actor(&self, actor: &Actor) -> Result<Actor, ChatError> {
        let account = self.store().account(actor.user).await?;
        let account = account.filter(|account| !account.user.deactivated).ok_or_else(outdated)?;
        if account.auth_version > actor.auth_version {
            self.verifier.revoked().versions().raise(actor.user, account.auth_version);
            return Err(outdated());
        }
        Ok(Actor { role: account.user.role, auth_version: account.auth_version, ..*actor })
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
