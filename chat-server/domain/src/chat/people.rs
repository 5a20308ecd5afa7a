//! People: who they are, and what of them may be changed by whom.

use std::collections::HashSet;

use chat_log::text::fold;
use chat_protocol::{
    UserId, limits,
    rest::{Page, Role, UpdateUser, User},
};
use futures_util::future::try_join_all;

use super::{
    Actor, Chat, ChatError, display_name, paging,
    permissions::{OrgAction, allow_org},
    reading::bad_cursor,
};
use crate::store::Standing;

/// Channels of a guest that are looked through for people at the same time.
const CHANNELS_AT_ONCE: usize = 8;

impl Chat {
    /// Those of these people whom the actor may know of: all, but for guests only themselves and whom they share a channel
    /// with, a direct one too. Ids of people who do not exist may be among them.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn visible(&self, actor: &Actor, users: &[UserId]) -> Result<HashSet<UserId>, ChatError> {
        if actor.role != Role::Guest {
            return Ok(users.iter().copied().collect());
        }
        let (mut seen, mut rest): (HashSet<_>, HashSet<_>) =
            users.iter().copied().partition(|user| *user == actor.user);
        if rest.is_empty() {
            return Ok(seen);
        }
        let channels = self.directory.memberships(actor.user).await?;
        for some in channels.chunks(CHANNELS_AT_ONCE) {
            let wanted: Vec<UserId> = rest.iter().copied().collect();
            let members: Vec<_> =
                some.iter().map(|place| self.store.members_among(place.channel, &wanted)).collect();
            for user in try_join_all(members).await?.into_iter().flatten() {
                rest.remove(&user);
                seen.insert(user);
            }
            if rest.is_empty() {
                break;
            }
        }
        Ok(seen)
    }

    /// Whether the actor may know of somebody.
    ///
    /// # Errors
    /// `not_found` when not, as for somebody who does not exist.
    pub async fn check_visible(&self, actor: &Actor, user: UserId) -> Result<(), ChatError> {
        let visible = self.visible(actor, &[user]).await?;
        if visible.contains(&user) { Ok(()) } else { Err(ChatError::not_found("user")) }
    }

    /// One user.
    ///
    /// # Errors
    /// No such user, or not the actor's to see.
    pub async fn user(&self, actor: &Actor, user: UserId) -> Result<User, ChatError> {
        self.check_visible(actor, user).await?;
        self.store.user(user).await?.ok_or_else(|| ChatError::not_found("user"))
    }

    /// These users, in order of handle; those that do not exist, or are not the actor's to see, are left out.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn users(&self, actor: &Actor, ids: &[UserId]) -> Result<Vec<User>, ChatError> {
        let visible = self.visible(actor, ids).await?;
        let ids: Vec<UserId> = ids.iter().copied().filter(|id| visible.contains(id)).collect();
        let mut users = self.store.users(&ids).await?;
        users.sort_by(|a, b| a.handle.cmp(&b.handle));
        Ok(users)
    }

    /// All users whose handle, or a word of whose name, begins with `prefix`, in order of handle.
    ///
    /// # Errors
    /// The actor may not browse, the cursor is not one of this listing's, the prefix is too long.
    pub async fn list_users(
        &self,
        actor: &Actor,
        prefix: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<User>, ChatError> {
        allow_org(actor, OrgAction::Browse)?;
        if cursor.is_some_and(|cursor| !is_handle(cursor)) {
            return Err(bad_cursor());
        }
        // What does not show is not looked for.
        let prefix = prefix.filter(|prefix| !fold(prefix).is_empty());
        if prefix.is_some_and(|prefix| prefix.chars().count() > limits::MAX_DISPLAY_NAME_CHARS) {
            return Err(ChatError::invalid(format!(
                "q is too long: at most {} characters are allowed",
                limits::MAX_DISPLAY_NAME_CHARS
            )));
        }
        let read = self.store.list_users(prefix, cursor, paging::with_next(limit)).await?;
        let (items, next) = paging::cut(read, limit, |user| user.handle.clone());
        Ok(Page { items, next })
    }
}

fn is_handle(text: &str) -> bool {
    (1..=limits::MAX_HANDLE_CHARS).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// A change that is asked for, checked as far as it says itself.
pub struct AccountChange {
    display_name: Option<String>,
    role: Option<Role>,
    deactivated: Option<bool>,
}

impl AccountChange {
    /// Reads what was asked for.
    ///
    /// # Errors
    /// `invalid`: not a name.
    pub fn read(change: UpdateUser) -> Result<Self, ChatError> {
        let UpdateUser { display_name: name, role, deactivated } = change;
        Ok(Self { display_name: name.as_deref().map(display_name).transpose()?, role, deactivated })
    }

    /// The name that is asked for.
    #[must_use]
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// Whether the role changes, or the account is closed or opened.
    #[must_use]
    pub const fn is_of_standing(&self) -> bool {
        self.role.is_some() || self.deactivated.is_some()
    }

    /// The user's standing with the change applied, if the actor may make all of it.
    ///
    /// # Errors
    /// `forbidden` when they may not.
    pub fn applied(&self, actor: &Actor, before: &User) -> Result<Standing, ChatError> {
        let now = Standing { role: before.role, deactivated: before.deactivated };
        let to = Standing {
            role: self.role.unwrap_or(now.role),
            deactivated: self.deactivated.unwrap_or(now.deactivated),
        };
        if self.display_name.is_some() && actor.user == before.id {
            allow_org(actor, OrgAction::UpdateSelf)?;
        } else if self.display_name.is_some() {
            allow_org(actor, OrgAction::Administer { from: now.role, to: now.role })?;
        }
        if self.role.is_some() || self.deactivated.is_some() {
            allow_org(actor, OrgAction::Administer { from: now.role, to: to.role })?;
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ErrorCode, SessionId};

    use super::*;

    fn user(role: Role) -> User {
        User {
            id: UserId::new(),
            handle: "grace".into(),
            display_name: "Grace".into(),
            role,
            created_at: 1,
            deactivated: false,
        }
    }

    fn by(user: &User) -> Actor {
        Actor { user: user.id, role: user.role, auth_version: 0, session: SessionId::new() }
    }

    #[test]
    fn one_changes_ones_name_and_admins_the_rest() {
        let (owner, admin, member) = (user(Role::Owner), user(Role::Admin), user(Role::Member));
        let name = || UpdateUser { display_name: Some(" New ".into()), ..UpdateUser::default() };
        let role = |role| UpdateUser { role: Some(role), ..UpdateUser::default() };
        let close = || UpdateUser { deactivated: Some(true), ..UpdateUser::default() };
        let code = |actor: &User, whom: &User, change| {
            let applied = AccountChange::read(change).and_then(|change| change.applied(&by(actor), whom));
            applied.map_err(|e| e.code).map(drop)
        };
        let forbidden = Err(ErrorCode::Forbidden);

        assert_eq!(AccountChange::read(name()).map(|change| change.display_name), Ok(Some("New".into())));
        assert_eq!(code(&member, &member, name()), Ok(()));
        assert_eq!(code(&member, &admin, name()), forbidden);
        assert_eq!(code(&admin, &member, name()), Ok(()));
        assert_eq!(code(&member, &member, role(Role::Admin)), forbidden);
        assert_eq!(code(&admin, &member, role(Role::Guest)), Ok(()));
        assert_eq!(code(&admin, &member, role(Role::Owner)), forbidden);
        assert_eq!(code(&admin, &owner, close()), forbidden);
        assert_eq!(code(&owner, &admin, close()), Ok(()));
        assert_eq!(code(&owner, &owner, role(Role::Admin)), Ok(()), "the store keeps the last one");
        assert_eq!(code(&admin, &admin, role(Role::Member)), forbidden);
        assert_eq!(code(&member, &member, close()), forbidden);
        let blank = UpdateUser { display_name: Some(" \t ".into()), ..UpdateUser::default() };
        assert_eq!(code(&member, &member, blank), Err(ErrorCode::Invalid));
    }
}
