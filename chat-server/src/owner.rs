//! `chat-server make-owner`: the way back when no owner is left who can sign in.

use chat_domain::{
    clock::now_ms,
    store::{Standing, StandingChange, Store, StoreError},
};
use chat_protocol::rest::Role;

/// How often it is decided anew when somebody else changes the account at the same time.
const DECISIONS: usize = 8;

/// Why somebody was not made an owner.
#[derive(Debug, thiserror::Error)]
pub enum MakeOwnerError {
    /// There is no such account.
    #[error("no account has the handle {0:?}")]
    NoUser(String),
    /// Somebody else went on changing the account.
    #[error("others changed the account all the time; try again")]
    Outdated,
    /// The store did not do it.
    #[error("failed to change the account in the store")]
    Store(#[from] StoreError),
}

/// Makes the account with this handle an owner that is open. Again does no harm.
///
/// # Errors
/// When there is no such account, or the store does not do it.
pub async fn make(store: &dyn Store, handle: &str) -> Result<(), MakeOwnerError> {
    let no_user = || MakeOwnerError::NoUser(handle.to_owned());
    let user = store.user_by_handle(&handle.to_lowercase()).await?.ok_or_else(no_user)?;
    let owner = Standing { role: Role::Owner, deactivated: false };
    for _ in 0..DECISIONS {
        let account = store.account(user.id).await?.ok_or_else(no_user)?;
        match store.change_standing(user.id, account.auth_version, owner, now_ms()).await? {
            StandingChange::Changed { .. } => {
                tracing::info!(target: "audit", user = %user.id, handle = user.handle, "made an owner by the command line");
                println!("{} is an owner", user.handle);
                return Ok(());
            }
            StandingChange::NoUser => return Err(no_user()),
            StandingChange::Outdated | StandingChange::LastOwner => {}
        }
    }
    Err(MakeOwnerError::Outdated)
}
