//! People: listing, looking up, and changing them.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{Json, extract::State};
use chat_auth::Authenticated;
use chat_domain::chat::{AccountChange, ChatError};
use chat_http::{HttpError, JsonBody, PathParams, QueryParams, problems};
use chat_protocol::{
    ErrorCode, UserId,
    rest::{CreateUser, CreatedUser, NewInvitation, Page, UpdateUser, User},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, page_limit};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_users, create_user))
        .routes(routes!(get_me))
        .routes(routes!(get_user, update_user))
        .routes(routes!(reset_password))
}

/// Most users that one request looks up by id.
const MAX_IDS: usize = 100;
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
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
    /// Instead of all: these, separated by commas; at most 100. Those that do not exist are left out, and for guests those
    /// whom they share no channel with.
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
    let limit = page_limit(query.limit)?;
    if let Some(ids) = query.ids.as_deref() {
        let items = state.chat.users(&actor, &parse_ids(ids)?).await?;
        return Ok(Json(Page { items, next: None }));
    }
    Ok(Json(state.chat.list_users(&actor, query.q.as_deref(), query.cursor.as_deref(), limit).await?))
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
    Ok(Json(state.chat.user(&actor, actor.user).await?))
}

/// Gets one user. To guests only those exist whom they share a channel with.
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
    Authenticated(actor): Authenticated,
    PathParams(user): PathParams<UserId>,
) -> Result<Json<User>, HttpError> {
    Ok(Json(state.chat.user(&actor, user).await?))
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
    let change = AccountChange::read(change)?;
    Ok(Json(state.auth.change_account(&actor, user, &change).await?))
}

/// Make an account for somebody else; by an admin, for roles below their own. Whoever has the code sets the first password.
#[utoipa::path(
    post,
    path = "/v1/users",
    tag = "users",
    operation_id = "create_user",
    security(("bearer" = [])),
    request_body = CreateUser,
    responses(
        (status = 201, description = "Made.", body = CreatedUser),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Clash,
    ),
)]
async fn create_user(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    JsonBody(request): JsonBody<CreateUser>,
) -> Result<(StatusCode, Json<CreatedUser>), HttpError> {
    Ok((StatusCode::CREATED, Json(state.auth.create_user(&actor, request).await?)))
}

/// Let somebody who forgot their password set another one; by an admin, for roles below their own. Nothing ends until they do.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/password-reset",
    tag = "users",
    operation_id = "reset_password",
    security(("bearer" = [])),
    params(("user" = UserId, Path, description = "Id of the user.")),
    responses(
        (status = 201, description = "Made.", body = NewInvitation),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn reset_password(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(user): PathParams<UserId>,
) -> Result<(StatusCode, Json<NewInvitation>), HttpError> {
    Ok((StatusCode::CREATED, Json(state.auth.reset_password(&actor, user).await?)))
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
