//! People: listing, looking up, and changing them.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{Json, extract::State};
use chat_auth::Authenticated;
use chat_domain::{
    chat::{
        Actor, ChatError, display_name, now_ms, paging,
        permissions::{OrgAction, allow_org},
    },
    store::{Standing, StandingChange},
};
use chat_http::{HttpError, JsonBody, PathParams, QueryParams, problems};
use chat_protocol::{
    ErrorCode, UserId, limits,
    rest::{Page, Role, UpdateUser, User},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, bad_cursor, page_limit};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_users))
        .routes(routes!(get_me))
        .routes(routes!(get_user, update_user))
}

/// Most users that one request looks up by id.
const MAX_IDS: usize = 100;
/// How often a change is decided anew when others change the same user at the same time.
const DECISIONS: usize = 8;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListUsers {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// What the handle or a word of the display name begins with, without regard to case.
    #[param(max_length = 64)]
    q: Option<String>,
    /// Instead of all: these, separated by commas; at most 100. Those that do not exist are left out.
    ids: Option<String>,
}

/// People, in order of handle.
#[utoipa::path(
    get, path = "/v1/users", tag = "users", params(ListUsers), security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of users", body = Page<User>),
        problems::SignedIn, problems::Limits, problems::Denied,
    ),
)]
async fn list_users(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    QueryParams(query): QueryParams<ListUsers>,
) -> Result<Json<Page<User>>, HttpError> {
    let store = state.chat.store();
    let limit = page_limit(query.limit)?;
    if let Some(ids) = query.ids.as_deref() {
        // Guests need the names of those they share a channel with; ids are not guessable.
        let mut items = store.users(&parse_ids(ids)?).await?;
        items.sort_by(|a, b| a.handle.cmp(&b.handle));
        return Ok(Json(Page { items, next: None }));
    }
    allow_org(&actor, OrgAction::Browse)?;
    let after = query.cursor.as_deref();
    if after.is_some_and(|cursor| !is_handle(cursor)) {
        return Err(bad_cursor().into());
    }
    let prefix = query.q.as_deref().filter(|q| !q.is_empty());
    if prefix.is_some_and(|q| q.chars().count() > limits::MAX_DISPLAY_NAME_CHARS) {
        return Err(ChatError::invalid(format!(
            "q is too long: at most {} characters are allowed",
            limits::MAX_DISPLAY_NAME_CHARS
        ))
        .into());
    }
    let read = store.list_users(prefix, after, paging::with_next(limit)).await?;
    let (items, next) = paging::cut(read, limit, |user| user.handle.clone());
    Ok(Json(Page { items, next }))
}

/// Who is signed in.
#[utoipa::path(
    get, path = "/v1/users/me", tag = "users", security(("bearer" = [])),
    responses((status = 200, description = "The user", body = User), problems::SignedIn, problems::Missing),
)]
async fn get_me(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
) -> Result<Json<User>, HttpError> {
    Ok(Json(find(&state, actor.user).await?))
}

/// Gets one user.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users", security(("bearer" = [])),
    params(("user" = UserId, Path, description = "Id of the user")),
    responses(
        (status = 200, description = "The user", body = User),
        problems::SignedIn, problems::Parameters, problems::Missing,
    ),
)]
async fn get_user(
    State(state): State<ApiState>,
    Authenticated(_actor): Authenticated,
    PathParams(user): PathParams<UserId>,
) -> Result<Json<User>, HttpError> {
    Ok(Json(find(&state, user).await?))
}

/// Changes a user: one's own display name, or anything by an admin. Closing an account ends its sessions.
#[utoipa::path(
    patch, path = "/v1/users/{user}", tag = "users", security(("bearer" = [])),
    params(("user" = UserId, Path, description = "Id of the user")), request_body = UpdateUser,
    responses(
        (status = 200, description = "The user as they are now", body = User),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn update_user(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(user): PathParams<UserId>,
    JsonBody(change): JsonBody<UpdateUser>,
) -> Result<Json<User>, HttpError> {
    let change = Wanted::read(change)?;
    let after = if change.role.is_some() || change.deactivated.is_some() {
        change_standing(&state, &actor, user, &change).await?
    } else {
        let before = find(&state, user).await?;
        let actor = if actor.user == user { actor } else { state.auth.stored_actor(&actor).await? };
        change.applied(&actor, &before)?;
        before
    };
    let Some(name) = change.display_name else { return Ok(Json(after)) };
    if after.display_name != name && !state.chat.store().set_display_name(user, &name).await? {
        return Err(ChatError::not_found("user").into());
    }
    Ok(Json(User { display_name: name, ..after }))
}

/// Changes the role, or closes or opens the account; decided on what is stored of both, and again when that changes.
async fn change_standing(
    state: &ApiState,
    actor: &Actor,
    user: UserId,
    change: &Wanted,
) -> Result<User, ChatError> {
    for _ in 0..DECISIONS {
        let actor = state.auth.stored_actor(actor).await?;
        let before = state.chat.store().account(user).await?.ok_or_else(|| ChatError::not_found("user"))?;
        let to = change.applied(&actor, &before.user)?;
        let changed = state.chat.store().change_standing(user, before.auth_version, to, now_ms()).await?;
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
        let revoked = if to.deactivated { state.auth.revoke_all(user).await } else { Ok(()) };
        if auth_version > 0 {
            state.auth.announce_version(user, auth_version).await;
        }
        revoked?;
        if auth_version != before.auth_version {
            tracing::info!(target: "audit", by = %actor.user, %user, role = ?to.role, deactivated = to.deactivated, "account changed");
        }
        return Ok(User { role: to.role, deactivated: to.deactivated, ..before.user });
    }
    Err(ChatError::overloaded(500))
}

async fn find(state: &ApiState, user: UserId) -> Result<User, ChatError> {
    state.chat.store().user(user).await?.ok_or_else(|| ChatError::not_found("user"))
}

/// A change that is asked for, checked as far as it says itself.
struct Wanted {
    display_name: Option<String>,
    role: Option<Role>,
    deactivated: Option<bool>,
}

impl Wanted {
    fn read(change: UpdateUser) -> Result<Self, ChatError> {
        let UpdateUser { display_name: name, role, deactivated } = change;
        Ok(Self { display_name: name.as_deref().map(display_name).transpose()?, role, deactivated })
    }

    /// The user's standing with the change applied, if the actor may make all of it.
    fn applied(&self, actor: &Actor, before: &User) -> Result<Standing, ChatError> {
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

fn parse_ids(text: &str) -> Result<Vec<UserId>, ChatError> {
    let ids: Vec<&str> = text.split(',').filter(|id| !id.is_empty()).collect();
    if ids.len() > MAX_IDS {
        return Err(ChatError::invalid(format!("too many ids: at most {MAX_IDS} are allowed")));
    }
    ids.into_iter()
        .map(|id| id.parse().map_err(|e| ChatError::new(ErrorCode::Malformed, format!("{e}"))))
        .collect()
}

fn is_handle(text: &str) -> bool {
    (1..=limits::MAX_HANDLE_CHARS).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use chat_protocol::SessionId;

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
            let applied = Wanted::read(change).and_then(|wanted| wanted.applied(&by(actor), whom));
            applied.map_err(|e| e.code).map(drop)
        };
        let forbidden = Err(ErrorCode::Forbidden);

        assert_eq!(Wanted::read(name()).map(|wanted| wanted.display_name), Ok(Some("New".into())));
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
