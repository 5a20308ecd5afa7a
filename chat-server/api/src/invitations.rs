//! Invitations: making, listing and ending them. Using them is the role auth's.

use axum::{Json, extract::State};
use chat_auth::Authenticated;
use chat_http::{HttpError, JsonBody, PathParams, problems};
use chat_protocol::{
    InvitationId,
    rest::{CreateInvitation, Invitation, NewInvitation, Page},
};
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::ApiState;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_invitations, create_invitation)).routes(routes!(end_invitation))
}

/// The invitations that are still good, newest first, without their codes; by an admin. Never more than one page.
#[utoipa::path(
    get,
    path = "/v1/invitations",
    tag = "invitations",
    operation_id = "list_invitations",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The invitations.", body = Page<Invitation>),
        problems::SignedIn, problems::Denied,
    ),
)]
async fn list_invitations(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
) -> Result<Json<Page<Invitation>>, HttpError> {
    let items = state.auth.invitations(&actor).await?;
    Ok(Json(Page { items, next: None }))
}

/// Invite people to make accounts; by an admin, for roles below their own. The code is shown this once.
#[utoipa::path(
    post,
    path = "/v1/invitations",
    tag = "invitations",
    operation_id = "create_invitation",
    security(("bearer" = [])),
    request_body = CreateInvitation,
    responses(
        (status = 201, description = "Made.", body = NewInvitation),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Clash,
    ),
)]
async fn create_invitation(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    JsonBody(request): JsonBody<CreateInvitation>,
) -> Result<(StatusCode, Json<NewInvitation>), HttpError> {
    Ok((StatusCode::CREATED, Json(state.auth.invite(&actor, request).await?)))
}

/// End an invitation; by an admin.
#[utoipa::path(
    delete,
    path = "/v1/invitations/{id}",
    tag = "invitations",
    operation_id = "end_invitation",
    security(("bearer" = [])),
    params(("id" = InvitationId, Path, description = "The invitation.")),
    responses(
        (status = 204, description = "Ended."),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing,
    ),
)]
async fn end_invitation(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(id): PathParams<InvitationId>,
) -> Result<StatusCode, HttpError> {
    state.auth.end_invitation(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
