//! Who may do what, for the doors: channels by the rules of `chat_log::permission`, which the commit asks again, and the
//! organisation by its own.
//!
//! Pure: callers load what a decision needs, this module decides, callers act.

pub use chat_log::permission::{ChannelAction, ChannelView};
use chat_log::{
    Authority,
    permission::{is_admin, rank},
};
use chat_protocol::{SessionId, UserId, rest::Role};

use super::ChatError;

/// Who asks: what a verified access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// Id of the user.
    pub user: UserId,
    /// Their role when the token was issued.
    pub role: Role,
    /// Their version then: it rises when the role changes.
    pub auth_version: u64,
    /// The session that the token belongs to.
    pub session: SessionId,
}

impl Actor {
    /// What the commit decides by.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        Authority { role: self.role, auth_version: self.auth_version }
    }
}

/// What can be done in the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgAction {
    /// List people and public channels.
    Browse,
    /// Make a public or private channel.
    CreateChannel,
    /// Find private channels that nobody is in, and join them.
    TakeOver,
    /// Open a direct or group channel.
    OpenDirect,
    /// Change one's own display name.
    UpdateSelf,
    /// Change somebody's role from and to these, or close their account (`to` = `from`).
    Administer {
        /// Their role now.
        from: Role,
        /// Their role afterwards.
        to: Role,
    },
}

/// Decides about the organisation.
///
/// # Errors
/// `forbidden`, with what would be needed.
pub fn allow_org(actor: &Actor, action: OrgAction) -> Result<(), ChatError> {
    let allowed = match action {
        OrgAction::Browse | OrgAction::CreateChannel => rank(actor.role) >= 2,
        OrgAction::TakeOver => matches!(actor.role, Role::Owner),
        OrgAction::OpenDirect | OrgAction::UpdateSelf => true,
        OrgAction::Administer { from, to } => {
            is_admin(actor.role)
                && (actor.role as u8 == Role::Owner as u8
                    || (rank(from) < rank(actor.role) && rank(to) < rank(actor.role)))
        }
    };
    if allowed {
        return Ok(());
    }
    Err(ChatError::forbidden(match action {
        OrgAction::Browse => "guests see only the channels they were added to",
        OrgAction::CreateChannel => "only members, admins and the owner may create channels",
        OrgAction::TakeOver => "only the owner may take over channels that nobody is in",
        OrgAction::OpenDirect | OrgAction::UpdateSelf => "not permitted",
        OrgAction::Administer { .. } => "only the owner, or an admin for roles below their own, may do this",
    }))
}

/// Decides about a channel. A channel that the actor may not read is `not_found`, whatever they want of it.
///
/// # Errors
/// `not_found`, `forbidden` or `archived`, with what would be needed.
pub fn allow(actor: &Actor, view: &ChannelView, action: ChannelAction) -> Result<(), ChatError> {
    chat_log::permission::allow(actor.role, view, action).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(role: Role) -> Actor {
        Actor { user: UserId::new(), role, auth_version: 0, session: SessionId::new() }
    }

    #[test]
    fn nobody_administers_their_equals_but_the_owner() {
        let administer = |by, from, to| allow_org(&actor(by), OrgAction::Administer { from, to }).is_ok();
        assert!(administer(Role::Admin, Role::Member, Role::Guest));
        assert!(!administer(Role::Admin, Role::Admin, Role::Member));
        assert!(!administer(Role::Admin, Role::Member, Role::Admin));
        assert!(!administer(Role::Admin, Role::Owner, Role::Member));
        assert!(administer(Role::Owner, Role::Admin, Role::Owner));
        assert!(!administer(Role::Member, Role::Guest, Role::Guest));
        assert!(!administer(Role::Bot, Role::Guest, Role::Guest));
    }
}
