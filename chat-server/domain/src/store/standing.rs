//! What somebody may do in the organisation, and how that changes.

use chat_protocol::rest::{Role, User};

/// A user, with what only the server needs to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's public fields.
    pub user: User,
    /// How often their standing has changed. Access tokens carry it: those with a lower one are not accepted any more.
    pub auth_version: u64,
}

impl Account {
    /// What they may do.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing { role: self.user.role, deactivated: self.user.deactivated }
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The user's role.
    pub role: Role,
    /// Their account is closed.
    pub deactivated: bool,
}

impl Standing {
    /// Whether they own the organisation and can act on it.
    #[must_use]
    pub fn is_owner(self) -> bool {
        self.role == Role::Owner && !self.deactivated
    }
}

/// What became of a change of somebody's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingChange {
    /// The standing is as asked for.
    Changed {
        /// The version from now on; the one that was expected when the standing was so already.
        auth_version: u64,
    },
    /// Their version is another than the expected one: what the change was decided on is outdated. Nothing was done.
    Outdated,
    /// They are the last owner whose account is not closed. Nothing was done.
    LastOwner,
    /// There is no such user.
    NoUser,
}
