//! People: listing, looking up, and changing them.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{Json, extract::State};
use chat_protocol::{
    ErrorCode, UserId, limits,
    rest::{Page, UpdateUser, User},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ApiState, bad_cursor, page_limit, problems};
use crate::{
    auth::Authenticated,
    chat::{
        Actor, ChatError,
        permissions::{OrgAction, allow_org},
    },
    http::{JsonBody, PathParams, QueryParams},
};

/// Most users that one request looks up by id.
const MAX_IDS: usize = 100;

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
pub(super) async fn list_users(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    QueryParams(query): QueryParams<ListUsers>,
) -> Result<Json<Page<User>>, ChatError> {
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
        return Err(bad_cursor());
    }
    let prefix = query.q.as_deref().filter(|q| !q.is_empty());
    if prefix.is_some_and(|q| q.chars().count() > limits::MAX_DISPLAY_NAME_CHARS) {
        return Err(ChatError::invalid(format!(
            "expected q to have at most {} characters",
            limits::MAX_DISPLAY_NAME_CHARS
        )));
    }
    let mut items = store.list_users(prefix, after, limit + 1).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|user| user.handle.clone());
    Ok(Json(Page { items, next }))
}

/// Who is signed in.
#[utoipa::path(
    get, path = "/v1/users/me", tag = "users", security(("bearer" = [])),
    responses((status = 200, description = "The user", body = User), problems::SignedIn, problems::Missing),
)]
pub(super) async fn get_me(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
) -> Result<Json<User>, ChatError> {
    find(&state, actor.user).await.map(Json)
}

/// One user.
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "users", security(("bearer" = [])),
    params(("user" = UserId, Path, description = "Whom")),
    responses(
        (status = 200, description = "The user", body = User),
        problems::SignedIn, problems::Parameters, problems::Missing,
    ),
)]
pub(super) async fn get_user(
    State(state): State<ApiState>,
    Authenticated(_actor): Authenticated,
    PathParams(user): PathParams<UserId>,
) -> Result<Json<User>, ChatError> {
    find(&state, user).await.map(Json)
}

/// Changes a user: one's own display name, or anything by an admin. Closing an account ends its sessions.
#[utoipa::path(
    patch, path = "/v1/users/{user}", tag = "users", security(("bearer" = [])),
    params(("user" = UserId, Path, description = "Whom")), request_body = UpdateUser,
    responses(
        (status = 200, description = "The user as they are now", body = User),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing,
    ),
)]
pub(super) async fn update_user(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(user): PathParams<UserId>,
    JsonBody(change): JsonBody<UpdateUser>,
) -> Result<Json<User>, ChatError> {
    let before = find(&state, user).await?;
    let after = changed(&actor, &before, change)?;
    if after != before && !state.chat.store().update_user(&after).await? {
        return Err(ChatError::not_found("user"));
    }
    // Also when it was closed before: the first attempt may have failed between the two writes.
    if after.deactivated {
        state.auth.revoke_all(user).await?;
    }
    if after.role != before.role || after.deactivated != before.deactivated {
        tracing::info!(target: "audit", by = %actor.user, %user, role = ?after.role, deactivated = after.deactivated, "account changed");
    }
    Ok(Json(after))
}

async fn find(state: &ApiState, user: UserId) -> Result<User, ChatError> {
    state.chat.store().user(user).await?.ok_or_else(|| ChatError::not_found("user"))
}

/// The user with the change applied, if the actor may make it.
fn changed(actor: &Actor, before: &User, change: UpdateUser) -> Result<User, ChatError> {
    let myself = actor.user == before.id;
    let mut after = before.clone();
    if let Some(name) = change.display_name {
        allow_org(
            actor,
            if myself {
                OrgAction::UpdateSelf
            } else {
                OrgAction::Administer { from: before.role, to: before.role }
            },
        )?;
        after.display_name = display_name(&name)?;
    }
    if change.role.is_some() || change.deactivated.is_some() {
        after.role = change.role.unwrap_or(before.role);
        after.deactivated = change.deactivated.unwrap_or(before.deactivated);
        allow_org(actor, OrgAction::Administer { from: before.role, to: after.role })?;
        // So that there always is an owner.
        if myself && (after.role, after.deactivated) != (before.role, before.deactivated) {
            return Err(ChatError::forbidden(
                "nobody changes their own role or closes their own account; expected another owner or admin to",
            ));
        }
    }
    Ok(after)
}

fn display_name(name: &str) -> Result<String, ChatError> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > limits::MAX_DISPLAY_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(ChatError::invalid(format!(
            "expected a display name of 1 to {} characters without control characters",
            limits::MAX_DISPLAY_NAME_CHARS
        )));
    }
    Ok(name.to_owned())
}

fn parse_ids(text: &str) -> Result<Vec<UserId>, ChatError> {
    let ids: Vec<&str> = text.split(',').filter(|id| !id.is_empty()).collect();
    if ids.len() > MAX_IDS {
        return Err(ChatError::invalid(format!("expected at most {MAX_IDS} ids")));
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
    use chat_protocol::{SessionId, rest::Role};

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
        Actor { user: user.id, role: user.role, session: SessionId::new() }
    }

    #[test]
    fn one_changes_ones_name_and_admins_the_rest() {
        let (owner, admin, member) = (user(Role::Owner), user(Role::Admin), user(Role::Member));
        let name = || UpdateUser { display_name: Some(" New ".into()), ..UpdateUser::default() };
        let role = |role| UpdateUser { role: Some(role), ..UpdateUser::default() };
        let close = || UpdateUser { deactivated: Some(true), ..UpdateUser::default() };
        let code = |actor: &User, whom: &User, change| {
            changed(&by(actor), whom, change).map_err(|e| e.code).map(drop)
        };
        let forbidden = Err(ErrorCode::Forbidden);

        assert_eq!(changed(&by(&member), &member, name()).map(|u| u.display_name), Ok("New".into()));
        assert_eq!(code(&member, &admin, name()), forbidden);
        assert_eq!(code(&admin, &member, name()), Ok(()));
        assert_eq!(code(&member, &member, role(Role::Admin)), forbidden);
        assert_eq!(code(&admin, &member, role(Role::Guest)), Ok(()));
        assert_eq!(code(&admin, &member, role(Role::Owner)), forbidden);
        assert_eq!(code(&admin, &owner, close()), forbidden);
        assert_eq!(code(&owner, &admin, close()), Ok(()));
        assert_eq!(code(&owner, &owner, close()), forbidden, "there would be no owner left");
        assert_eq!(code(&owner, &owner, role(Role::Owner)), Ok(()), "no change");
        let blank = UpdateUser { display_name: Some(" \t ".into()), ..UpdateUser::default() };
        assert_eq!(code(&member, &member, blank), Err(ErrorCode::Invalid));
    }
}
