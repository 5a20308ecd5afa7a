//! `/v1/auth/…` and `/.well-known/jwks.json`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRef, State},
    response::IntoResponse,
};
use chat_http::{ClientAddress, HttpError, JsonBody, PathParams, problems};
use chat_protocol::{
    SessionId,
    rest::{
        LoginRequest, Page, PasswordRequest, RedeemRequest, RefreshRequest, RegisterRequest, SessionInfo,
        TokenResponse,
    },
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Auth, Authenticated, Client, JwkSet, TokenVerifier};

impl FromRef<Arc<Auth>> for TokenVerifier {
    fn from_ref(auth: &Arc<Auth>) -> Self {
        auth.verifier()
    }
}

/// The routes of the role `auth`.
pub fn router(auth: Arc<Auth>) -> OpenApiRouter {
    routes().with_state(auth)
}

/// The routes of the role `auth` without a state, for their OpenAPI description.
#[must_use]
pub fn routes() -> OpenApiRouter<Arc<Auth>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(password))
        .routes(routes!(sessions))
        .routes(routes!(revoke_session))
        .routes(routes!(redeem))
        .routes(routes!(jwks))
}

/// Tokens are nobody's to keep but the client's (RFC 6749 §5.1).
fn uncached(tokens: TokenResponse) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(tokens))
}

/// Make an account and sign in. Refused where registration is closed, and to an address that makes too many.
#[utoipa::path(
    post,
    path = "/v1/auth/register",
    tag = "auth",
    operation_id = "register",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "Signed in.", body = TokenResponse),
        problems::Open, problems::JsonBody, problems::Denied, problems::Clash, problems::Limited,
    ),
)]
async fn register(
    State(auth): State<Arc<Auth>>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<impl IntoResponse, HttpError> {
    let tokens = auth.register(request, address).await?;
    Ok((StatusCode::CREATED, uncached(tokens)))
}

/// Sign in with a password. Wrong ones are limited, for each account and for each address.
#[utoipa::path(
    post,
    path = "/v1/auth/login",
    tag = "auth",
    operation_id = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in.", body = TokenResponse),
        problems::Open, problems::JsonBody, problems::Login, problems::Limited,
    ),
)]
async fn login(
    State(auth): State<Arc<Auth>>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<impl IntoResponse, HttpError> {
    Ok(uncached(auth.login(request, address).await?))
}

/// New tokens for a refresh token, which works once: used again, it ends its session. For 30 s the same client may ask again
/// and gets the same refresh token, should the answer be lost.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    tag = "auth",
    operation_id = "refresh",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens; the old refresh token is used up.", body = TokenResponse),
        problems::Open, problems::JsonBody, problems::Login,
    ),
)]
async fn refresh(
    State(auth): State<Arc<Auth>>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<impl IntoResponse, HttpError> {
    let name = headers.get(header::USER_AGENT).and_then(|name| name.to_str().ok()).unwrap_or_default();
    Ok(uncached(auth.refresh(&request.refresh_token, Client { address, name }).await?))
}

/// End the session that asks, and close its sockets.
#[utoipa::path(
    post,
    path = "/v1/auth/logout",
    tag = "auth",
    operation_id = "logout",
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Ended."),
        problems::SignedIn,
    ),
)]
async fn logout(
    State(auth): State<Arc<Auth>>,
    Authenticated(actor): Authenticated,
) -> Result<StatusCode, HttpError> {
    auth.revoke(actor.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change one's own password. Ends all other sessions. Refused when the current password is wrong; limited as logins are.
#[utoipa::path(
    post,
    path = "/v1/auth/password",
    tag = "auth",
    operation_id = "change_password",
    security(("bearer" = [])),
    request_body = PasswordRequest,
    responses(
        (status = 204, description = "Changed."),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash, problems::Limited,
    ),
)]
async fn password(
    State(auth): State<Arc<Auth>>,
    Authenticated(actor): Authenticated,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<PasswordRequest>,
) -> Result<StatusCode, HttpError> {
    auth.change_password(&actor, request, address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's own sessions, newest first; never more than one page.
#[utoipa::path(
    get,
    path = "/v1/auth/sessions",
    tag = "auth",
    operation_id = "list_sessions",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The sessions.", body = Page<SessionInfo>),
        problems::SignedIn,
    ),
)]
async fn sessions(
    State(auth): State<Arc<Auth>>,
    Authenticated(actor): Authenticated,
) -> Result<Json<Page<SessionInfo>>, HttpError> {
    let items = auth.sessions(&actor).await?;
    Ok(Json(Page { items, next: None }))
}

/// End one of one's own sessions, and close its sockets.
#[utoipa::path(
    delete,
    path = "/v1/auth/sessions/{id}",
    tag = "auth",
    operation_id = "revoke_session",
    security(("bearer" = [])),
    params(("id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "Ended."),
        problems::SignedIn, problems::Parameters, problems::Missing,
    ),
)]
async fn revoke_session(
    State(auth): State<Arc<Auth>>,
    Authenticated(actor): Authenticated,
    PathParams(id): PathParams<SessionId>,
) -> Result<StatusCode, HttpError> {
    auth.revoke_own(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a password by an invitation: the first one of an account that an admin made, or a forgotten one. Ends all other sessions
/// of the account, and signs in.
#[utoipa::path(
    post,
    path = "/v1/auth/redeem",
    tag = "auth",
    operation_id = "redeem",
    request_body = RedeemRequest,
    responses(
        (status = 200, description = "Signed in.", body = TokenResponse),
        problems::Open, problems::JsonBody, problems::Denied, problems::Limited,
    ),
)]
async fn redeem(
    State(auth): State<Arc<Auth>>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<RedeemRequest>,
) -> Result<impl IntoResponse, HttpError> {
    Ok(uncached(auth.redeem(request, address).await?))
}

/// The public keys that access tokens are signed with (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "auth",
    operation_id = "jwks",
    responses((status = 200, description = "The keys, the signing one first.", body = JwkSet)),
)]
async fn jwks(State(auth): State<Arc<Auth>>) -> impl IntoResponse {
    let keys = auth.verifier().keys().jwks();
    ([(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"))], Json(keys))
}
