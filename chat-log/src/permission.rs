//! Who may do what to a channel or in it: the one place that decides, for doors and for commits.

use chat_protocol::{ChannelKind, ErrorCode, rest::Role};
use serde::{Deserialize, Serialize};

/// What a decision about a channel depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView {
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Whether it is archived, that is, read-only.
    pub archived: bool,
    /// Whether the actor is a member.
    pub member: bool,
    /// Whether the actor made the channel.
    pub creator: bool,
}

/// What can be done to a channel or in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelAction {
    /// See that it exists, its log, members and files.
    Read,
    /// Send, upload, show typing.
    Post,
    /// Edit this message.
    Edit {
        /// It is the actor's own.
        own: bool,
    },
    /// Delete this message.
    Delete {
        /// It is the actor's own.
        own: bool,
    },
    /// Become a member.
    Join,
    /// Stop being one.
    Leave,
    /// Make others members.
    AddMembers,
    /// Make somebody else stop being one.
    RemoveMember,
    /// Change name or topic.
    Describe,
    /// Archive or bring back.
    Archive,
}

/// Why something is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The actor may not read the channel, so it does not exist for them.
    NotVisible,
    /// The channel is archived.
    Archived,
    /// Only members may.
    NotMember,
    /// Only the author may.
    NotAuthor,
    /// Only the author, the channel's creator or an admin may.
    NotAuthorOrModerator,
    /// Direct and group channels have fixed members.
    FixedMembers,
    /// Guests may not add members.
    GuestAdds,
    /// Guests may not change a channel.
    GuestChanges,
    /// Only the channel's creator or an admin may.
    NotModerator,
    /// The author's role has changed since the command was checked.
    RoleChanged,
}

impl Denial {
    /// What would be needed, for the developer of the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotVisible => "no such channel, or not yours to see",
            Self::Archived => "the channel is archived; it must be unarchived first",
            Self::NotMember => "only members of the channel may do this; join it first",
            Self::NotAuthor => "only the author may do this; nobody edits others' messages",
            Self::NotAuthorOrModerator => "only the author, the channel's creator or an admin may do this",
            Self::FixedMembers => "direct and group channels have fixed members and no settings",
            Self::GuestAdds => "guests cannot add members",
            Self::GuestChanges => "guests cannot change a channel",
            Self::NotModerator => "only the channel's creator or an admin may do this",
            Self::RoleChanged => "your role has changed; refresh the token and try again",
        }
    }

    /// The cause, as clients get it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NotVisible => ErrorCode::NotFound,
            Self::Archived => ErrorCode::Archived,
            Self::RoleChanged => ErrorCode::Unauthenticated,
            Self::NotMember
            | Self::NotAuthor
            | Self::NotAuthorOrModerator
            | Self::FixedMembers
            | Self::GuestAdds
            | Self::GuestChanges
            | Self::NotModerator => ErrorCode::Forbidden,
        }
    }
}

/// Higher ranks administer lower ones.
#[must_use]
pub const fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 4,
        Role::Admin => 3,
        Role::Member | Role::Bot => 2,
        Role::Guest => 1,
    }
}

/// Owners and admins.
#[must_use]
pub const fn is_admin(role: Role) -> bool {
    rank(role) >= 3
}

/// Decides about a channel. A channel that the actor may not read is [`Denial::NotVisible`], whatever they want of it.
///
/// # Errors
/// Why it is not allowed.
pub fn allow(role: Role, view: &ChannelView, action: ChannelAction) -> Result<(), Denial> {
    use ChannelAction as A;
    let may_read = view.member || (view.kind == ChannelKind::Public && rank(role) >= 2);
    if !may_read {
        return Err(Denial::NotVisible);
    }
    let writes = !matches!(action, A::Read | A::Leave | A::Archive);
    if writes && view.archived {
        return Err(Denial::Archived);
    }
    let needs_member = !matches!(action, A::Read | A::Join | A::Leave);
    let moderates = is_admin(role) || view.creator;
    let fixed = view.kind.is_direct();
    let denial = match action {
        _ if needs_member && !view.member => Some(Denial::NotMember),
        A::Edit { own: false } => Some(Denial::NotAuthor),
        A::Delete { own: false } if !moderates || fixed => Some(Denial::NotAuthorOrModerator),
        A::Join | A::Leave | A::AddMembers | A::RemoveMember | A::Describe | A::Archive if fixed => {
            Some(Denial::FixedMembers)
        }
        A::AddMembers if rank(role) < 2 => Some(Denial::GuestAdds),
        A::Describe if rank(role) < 2 => Some(Denial::GuestChanges),
        A::RemoveMember | A::Archive if !moderates => Some(Denial::NotModerator),
        _ => None,
    };
    denial.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(kind: ChannelKind, member: bool) -> ChannelView {
        ChannelView { kind, archived: false, member, creator: false }
    }

    #[test]
    fn channels_are_decided_by_kind_membership_and_role() {
        use ChannelAction as A;
        use ChannelKind as K;
        use Denial as D;
        let cases: &[(Role, K, bool, A, Option<D>)] = &[
            (Role::Member, K::Public, false, A::Read, None),
            (Role::Guest, K::Public, false, A::Read, Some(D::NotVisible)),
            (Role::Guest, K::Public, true, A::Read, None),
            (Role::Owner, K::Private, false, A::Read, Some(D::NotVisible)),
            (Role::Owner, K::Direct, false, A::Post, Some(D::NotVisible)),
            (Role::Member, K::Public, false, A::Post, Some(D::NotMember)),
            (Role::Guest, K::Private, true, A::Post, None),
            (Role::Member, K::Public, false, A::Join, None),
            (Role::Member, K::Private, false, A::Join, Some(D::NotVisible)),
            (Role::Member, K::Private, true, A::AddMembers, None),
            (Role::Guest, K::Private, true, A::AddMembers, Some(D::GuestAdds)),
            (Role::Guest, K::Private, true, A::Describe, Some(D::GuestChanges)),
            (Role::Member, K::Direct, true, A::AddMembers, Some(D::FixedMembers)),
            (Role::Member, K::Group, true, A::Leave, Some(D::FixedMembers)),
            (Role::Owner, K::Public, true, A::Edit { own: false }, Some(D::NotAuthor)),
            (Role::Member, K::Public, true, A::Edit { own: true }, None),
            (Role::Admin, K::Public, true, A::Delete { own: false }, None),
            (Role::Member, K::Public, true, A::Delete { own: false }, Some(D::NotAuthorOrModerator)),
            (Role::Admin, K::Direct, true, A::Delete { own: false }, Some(D::NotAuthorOrModerator)),
            (Role::Member, K::Public, true, A::RemoveMember, Some(D::NotModerator)),
            (Role::Member, K::Public, true, A::Archive, Some(D::NotModerator)),
            (Role::Admin, K::Public, true, A::Archive, None),
        ];
        for (role, kind, member, action, expected) in cases {
            let got = allow(*role, &view(*kind, *member), *action).err();
            assert_eq!(got, *expected, "{role:?} {kind:?} member={member} {action:?}");
        }
    }

    #[test]
    fn an_archived_channel_can_be_read_left_and_brought_back_only() {
        use ChannelAction as A;
        let archived = ChannelView { kind: ChannelKind::Public, archived: true, member: true, creator: true };
        for action in [A::Read, A::Leave, A::Archive] {
            assert_eq!(allow(Role::Member, &archived, action), Ok(()), "{action:?}");
        }
        for action in [A::Post, A::Edit { own: true }, A::AddMembers, A::Describe] {
            assert_eq!(allow(Role::Owner, &archived, action), Err(Denial::Archived), "{action:?}");
        }
    }
}
