//! Who may do what: the one place that decides.
//!
//! Pure: callers load what a decision needs, this module decides, callers act.

use chat_protocol::{ChannelKind, SessionId, UserId, rest::Role};

use super::ChatError;

/// Who asks: what a verified access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: UserId,
    /// Their role when the token was issued.
    pub role: Role,
    /// The session that the token belongs to.
    pub session: SessionId,
}

/// What a decision about a channel depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView {
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Read-only.
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

/// What can be done in the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrgAction {
    /// List people and public channels.
    Browse,
    /// Make a public or private channel.
    CreateChannel,
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

/// Higher ranks administer lower ones.
const fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 4,
        Role::Admin => 3,
        Role::Member => 2,
        Role::Bot => 2,
        Role::Guest => 1,
    }
}

const fn is_admin(role: Role) -> bool {
    rank(role) >= 3
}

/// Decides about the organisation.
///
/// # Errors
/// `forbidden`, with what would be needed.
pub fn allow_org(actor: &Actor, action: OrgAction) -> Result<(), ChatError> {
    let allowed = match action {
        OrgAction::Browse | OrgAction::CreateChannel => rank(actor.role) >= 2,
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
        OrgAction::CreateChannel => "expected a member, admin or owner to create channels",
        OrgAction::OpenDirect | OrgAction::UpdateSelf => "not permitted",
        OrgAction::Administer { .. } => "expected an admin, and a role below their own, or the owner",
    }))
}

/// Decides about a channel. A channel that the actor may not read is `not_found`, whatever they want of it.
///
/// # Errors
/// `not_found`, `forbidden` or `archived`, with what would be needed.
pub fn allow(actor: &Actor, view: &ChannelView, action: ChannelAction) -> Result<(), ChatError> {
    use ChannelAction as A;
    let may_read = view.member || (view.kind == ChannelKind::Public && rank(actor.role) >= 2);
    if !may_read {
        return Err(ChatError::not_found("channel"));
    }
    let writes = !matches!(action, A::Read | A::Leave | A::Archive);
    if writes && view.archived {
        return Err(ChatError::new(
            chat_protocol::ErrorCode::Archived,
            "the channel is archived; expected it to be brought back first",
        ));
    }
    let needs_member = matches!(
        action,
        A::Post
            | A::Edit { .. }
            | A::Delete { .. }
            | A::AddMembers
            | A::RemoveMember
            | A::Describe
            | A::Archive
    );
    let moderates = is_admin(actor.role) || view.creator;
    let fixed = view.kind.is_direct();
    let refusal = match action {
        _ if needs_member && !view.member => Some("expected a member of the channel; join it first"),
        A::Edit { own: false } => Some("expected the author; nobody edits others' messages"),
        A::Delete { own: false } if !moderates || fixed => {
            Some("expected the author, the channel's creator or an admin")
        }
        A::Join if fixed => Some("direct and group channels have fixed members"),
        A::Leave | A::AddMembers | A::RemoveMember | A::Describe | A::Archive if fixed => {
            Some("direct and group channels have fixed members and no settings")
        }
        A::AddMembers if rank(actor.role) < 2 => Some("guests cannot add members"),
        A::RemoveMember if !moderates => Some("expected the channel's creator or an admin"),
        A::Describe if rank(actor.role) < 2 => Some("guests cannot change a channel"),
        A::Archive if !moderates => Some("expected the channel's creator or an admin"),
        _ => None,
    };
    refusal.map_or(Ok(()), |message| Err(ChatError::forbidden(message)))
}

#[cfg(test)]
mod tests {
    use chat_protocol::ErrorCode;

    use super::*;

    fn actor(role: Role) -> Actor {
        Actor { user: UserId::new(), role, session: SessionId::new() }
    }

    fn view(kind: ChannelKind, member: bool) -> ChannelView {
        ChannelView { kind, archived: false, member, creator: false }
    }

    #[test]
    fn channels_are_decided_by_kind_membership_and_role() {
        use ChannelAction as A;
        use ChannelKind as K;
        use ErrorCode as E;
        let cases: &[(Role, K, bool, A, Option<E>)] = &[
            (Role::Member, K::Public, false, A::Read, None),
            (Role::Guest, K::Public, false, A::Read, Some(E::NotFound)),
            (Role::Guest, K::Public, true, A::Read, None),
            (Role::Owner, K::Private, false, A::Read, Some(E::NotFound)),
            (Role::Owner, K::Direct, false, A::Post, Some(E::NotFound)),
            (Role::Member, K::Public, false, A::Post, Some(E::Forbidden)),
            (Role::Guest, K::Private, true, A::Post, None),
            (Role::Member, K::Public, false, A::Join, None),
            (Role::Member, K::Private, false, A::Join, Some(E::NotFound)),
            (Role::Member, K::Private, true, A::AddMembers, None),
            (Role::Guest, K::Private, true, A::AddMembers, Some(E::Forbidden)),
            (Role::Member, K::Direct, true, A::AddMembers, Some(E::Forbidden)),
            (Role::Member, K::Group, true, A::Leave, Some(E::Forbidden)),
            (Role::Owner, K::Public, true, A::Edit { own: false }, Some(E::Forbidden)),
            (Role::Member, K::Public, true, A::Edit { own: true }, None),
            (Role::Admin, K::Public, true, A::Delete { own: false }, None),
            (Role::Member, K::Public, true, A::Delete { own: false }, Some(E::Forbidden)),
            (Role::Admin, K::Direct, true, A::Delete { own: false }, Some(E::Forbidden)),
            (Role::Member, K::Public, true, A::RemoveMember, Some(E::Forbidden)),
            (Role::Member, K::Public, true, A::Archive, Some(E::Forbidden)),
            (Role::Admin, K::Public, true, A::Archive, None),
        ];
        for (role, kind, member, action, expected) in cases {
            let got = allow(&actor(*role), &view(*kind, *member), *action).err().map(|e| e.code);
            assert_eq!(got, *expected, "{role:?} {kind:?} member={member} {action:?}");
        }
    }

    #[test]
    fn an_archived_channel_can_be_read_left_and_brought_back_only() {
        use ChannelAction as A;
        let archived = ChannelView { kind: ChannelKind::Public, archived: true, member: true, creator: true };
        for action in [A::Read, A::Leave, A::Archive] {
            assert!(allow(&actor(Role::Member), &archived, action).is_ok(), "{action:?}");
        }
        for action in [A::Post, A::Edit { own: true }, A::AddMembers, A::Describe] {
            let code = allow(&actor(Role::Owner), &archived, action).err().map(|e| e.code);
            assert_eq!(code, Some(ErrorCode::Archived), "{action:?}");
        }
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
