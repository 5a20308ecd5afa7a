//! `chat-server make-owner` and `reset-password`: the way back when no owner is left who can sign in.

use chat_domain::{
    chat::ChatError,
    clock::now_ms,
    store::{Standing, StandingChange, Store, StoreError},
};
use chat_protocol::rest::Role;

/// How often it is decided anew when somebody else changes the account at the same time.
const DECISIONS: usize = 8;

/// Why somebody was not helped.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// There is no such account.
    #[error("no account has the handle {0:?}")]
    NoUser(String),
    /// Somebody else went on changing the account.
    #[error("others changed the account all the time; try again")]
    Outdated,
    /// Nobody signs in with a password there.
    #[error("the account of {0:?} is closed, or a bot's: chat-server make-owner opens it")]
    NoPassword(String),
    /// Nobody could sign in as that owner.
    #[error(
        "the account of {0:?} has no password yet: run chat-server reset-password, let its person set one, then run this \
         again; take another account when it is closed or a bot's"
    )]
    NeverSignedIn(String),
    /// There is no room for another invitation, or the store did not do it.
    #[error("failed to make an invitation: {}", .0.message)]
    Invitation(ChatError),
    /// Codes would be good again that are not: of before the account was closed, or of whoever had more to say than its person.
    #[error("failed to end the codes for the account's password: {}", .0.message)]
    Codes(ChatError),
    /// The store did not do it.
    #[error("failed to change the account in the store")]
    Store(#[from] StoreError),
}

/// Makes the account with this handle an owner that is open. Again does no harm.
///
/// # Errors
/// When there is no such account, or the store does not do it.
pub async fn make(store: &dyn Store, handle: &str) -> Result<(), RescueError> {
    let no_user = || RescueError::NoUser(handle.to_owned());
    let user = store.user_by_handle(&handle.to_lowercase()).await?.ok_or_else(no_user)?;
    let owner = Standing { role: Role::Owner, deactivated: false };
    for _ in 0..DECISIONS {
        let account = store.account(user.id).await?.ok_or_else(no_user)?;
        if !account.standing().is_owner() && store.password(user.id).await?.is_none() {
            return Err(RescueError::NeverSignedIn(user.handle));
        }
        if account.user.deactivated {
            chat_auth::end_codes(store, user.id).await.map_err(RescueError::Codes)?;
        }
        match store.change_standing(user.id, account.auth_version, owner, now_ms()).await? {
            StandingChange::Changed { .. } => {
                chat_auth::end_unfounded(store, user.id, owner).await.map_err(RescueError::Codes)?;
                tracing::info!(target: "audit", user = %user.id, handle = user.handle, "made an owner by the command line");
                println!("{} is an owner", user.handle);
                return Ok(());
            }
            StandingChange::NoUser => return Err(no_user()),
            StandingChange::Outdated | StandingChange::LastOwner => {}
        }
    }
    Err(RescueError::Outdated)
}

/// Prints a code with which the person of this account sets another password.
///
/// # Errors
/// When there is no such account, or the store does not do it.
pub async fn reset_password(store: &dyn Store, handle: &str) -> Result<(), RescueError> {
    let no_user = || RescueError::NoUser(handle.to_owned());
    let user = store.user_by_handle(&handle.to_lowercase()).await?.ok_or_else(no_user)?;
    if user.deactivated || user.role == Role::Bot {
        return Err(RescueError::NoPassword(user.handle));
    }
    let made = chat_auth::password_code(store, &user).await.map_err(RescueError::Invitation)?;
    println!(
        "{}\n\nWith this code {} sets another password, once and within 7 days: add /#password=CODE to the address of the web\n\
         client, or run folkmoot redeem CODE.",
        made.code, user.handle
    );
    Ok(())
}
