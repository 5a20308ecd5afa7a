//! Channels and their members.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{Json, extract::State};
use chat_auth::Authenticated;
use chat_http::{HttpError, JsonBody, PathParams, QueryParams, problems};
use chat_protocol::{
    ChannelId, UserId,
    rest::{AddMembers, Channel, CreateChannel, Member, OpenDirect, Page, UpdateChannel},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, page_limit};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_channels, create_channel))
        .routes(routes!(get_channel, update_channel))
        .routes(routes!(join_channel))
        .routes(routes!(leave_channel))
        .routes(routes!(take_over_channel))
        .routes(routes!(list_members, add_members))
        .routes(routes!(remove_member))
        .routes(routes!(open_direct))
}

/// Which channels a listing shows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    /// Those that the asking user is in.
    #[default]
    Mine,
    /// All public ones.
    Public,
    /// Private ones that nobody with an open account is in; for owners.
    Orphaned,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListChannels {
    /// Whose: `mine` in order of id, `public` in order of name, or, for owners, `orphaned`: private ones that nobody with an open
    /// account is in. A page of those may have fewer items than `limit`, or none, although there is a `next`.
    #[serde(default)]
    #[param(inline, required = false)]
    scope: Scope,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMembers {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// One's channels, or those that one could join.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", params(ListChannels), security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of channels", body = Page<Channel>),
        problems::SignedIn, problems::Limits, problems::Denied,
    ),
)]
async fn list_channels(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    QueryParams(query): QueryParams<ListChannels>,
) -> Result<Json<Page<Channel>>, HttpError> {
    let (cursor, limit) = (query.cursor.as_deref(), page_limit(query.limit)?);
    let page = match query.scope {
        Scope::Mine => state.chat.my_channels(&actor, cursor, limit).await?,
        Scope::Public => state.chat.public_channels(&actor, cursor, limit).await?,
        Scope::Orphaned => state.chat.orphaned_channels(&actor, cursor, limit).await?,
    };
    Ok(Json(page))
}

/// Makes a public or private channel.
#[utoipa::path(
    post, path = "/v1/channels", tag = "channels", request_body = CreateChannel, security(("bearer" = [])),
    responses(
        (status = 201, description = "The new channel", body = Channel),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn create_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    JsonBody(request): JsonBody<CreateChannel>,
) -> Result<(StatusCode, Json<Channel>), HttpError> {
    let channel = state.chat.create_channel(&actor, request).await?;
    Ok((StatusCode::CREATED, Json(channel)))
}

/// Gets one channel.
#[utoipa::path(
    get, path = "/v1/channels/{channel}", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")),
    responses(
        (status = 200, description = "The channel", body = Channel),
        problems::SignedIn, problems::Parameters, problems::Missing,
    ),
)]
async fn get_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
) -> Result<Json<Channel>, HttpError> {
    Ok(Json(state.chat.channel(&actor, channel).await?))
}

/// Renames a channel, changes its topic, archives it or brings it back.
#[utoipa::path(
    patch, path = "/v1/channels/{channel}", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")), request_body = UpdateChannel,
    responses(
        (status = 200, description = "The channel as it is now", body = Channel),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn update_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
    JsonBody(change): JsonBody<UpdateChannel>,
) -> Result<Json<Channel>, HttpError> {
    Ok(Json(state.chat.update_channel(&actor, channel, change).await?))
}

/// Joins a public channel; being in it already is fine.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/join", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")),
    responses(
        (status = 200, description = "The channel", body = Channel),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn join_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
) -> Result<Json<Channel>, HttpError> {
    Ok(Json(state.chat.join(&actor, channel).await?))
}

/// Leaves a channel.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/leave", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")),
    responses(
        (status = 204, description = "Left"),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn leave_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
) -> Result<StatusCode, HttpError> {
    state.chat.leave(&actor, channel).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Joins a private channel that nobody with an open account is in; by an owner. The channel's log says so.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/take-over", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")),
    responses(
        (status = 200, description = "The channel", body = Channel),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn take_over_channel(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
) -> Result<Json<Channel>, HttpError> {
    Ok(Json(state.chat.take_over(&actor, channel).await?))
}

/// A channel's members, in order of user id.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/members", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel"), ListMembers),
    responses(
        (status = 200, description = "A page of members", body = Page<Member>),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing,
    ),
)]
async fn list_members(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
    QueryParams(query): QueryParams<ListMembers>,
) -> Result<Json<Page<Member>>, HttpError> {
    let limit = page_limit(query.limit)?;
    Ok(Json(state.chat.members(&actor, channel, query.cursor.as_deref(), limit).await?))
}

/// Adds users to a channel; those who are in it already stay.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/members", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")), request_body = AddMembers,
    responses(
        (status = 204, description = "All of them are members"),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn add_members(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
    JsonBody(request): JsonBody<AddMembers>,
) -> Result<StatusCode, HttpError> {
    state.chat.add_members(&actor, channel, request.users).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user from a channel; their not being in it is fine.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/members/{user}", tag = "channels", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel"), ("user" = UserId, Path, description = "Id of the user")),
    responses(
        (status = 204, description = "They are not a member"),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn remove_member(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams((channel, user)): PathParams<(ChannelId, UserId)>,
) -> Result<StatusCode, HttpError> {
    state.chat.remove_member(&actor, channel, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds or makes the direct or group channel of some users and oneself.
#[utoipa::path(
    post, path = "/v1/dms", tag = "channels", request_body = OpenDirect, security(("bearer" = [])),
    responses(
        (status = 200, description = "Their channel", body = Channel),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn open_direct(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    JsonBody(request): JsonBody<OpenDirect>,
) -> Result<Json<Channel>, HttpError> {
    Ok(Json(state.chat.open_direct(&actor, request.users).await?))
}
