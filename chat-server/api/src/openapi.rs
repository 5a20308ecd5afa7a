//! `/openapi.json`: all REST routes, of this role and of `auth`, as the code has them.

use std::sync::Arc;

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chat_http::problems;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{conditional::none_match, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Folkmoot",
        description = "Team chat. A channel is a log: read its events here, get new ones over the WebSocket that \
                       /asyncapi.json describes. Errors are problems (RFC 9457) with a stable `code`. Answers under \
                       /v1 say in the header `Folkmoot-Generation` which life of the store they are of: after a restore \
                       from a backup it is another one, and so are the logs.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    tags(
        (name = "auth", description = "Accounts, sessions, tokens"),
        (name = "users", description = "People"),
        (name = "channels", description = "Channels and their members"),
        (name = "messages", description = "Logs, messages, read markers"),
        (name = "files", description = "Files"),
        (name = "descriptions", description = "What this server speaks"),
    ),
)]
struct Base;

/// The description of all REST routes.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    document.merge(routes().into_openapi());
    document.merge(chat_auth::routes().into_openapi());
    document.info.contact = None;
    let components = document.components.get_or_insert_default();
    components.schemas.extend(problems::schemas());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token from /v1/auth/login or /v1/auth/refresh"));
    components.security_schemes.insert("bearer".into(), SecurityScheme::Http(bearer.build()).into());
    document
}

/// A description as it is served and checked in: keys in order, indented, one newline at the end.
#[must_use]
pub fn pretty(document: &impl serde::Serialize) -> String {
    // Both kinds of documents are trees with string keys, which always can be written.
    let tree = serde_json::to_value(document).unwrap_or_default();
    format!("{tree:#}\n")
}

/// A description that was made when the server started.
#[derive(Clone)]
pub(super) struct Description {
    text: Bytes,
    etag: Arc<str>,
}

impl Description {
    pub(super) fn new(document: &impl serde::Serialize) -> Self {
        use sha2::{Digest, Sha256};
        let text = pretty(document);
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let etag: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: text.into(), etag: format!("\"{etag}\"").into() }
    }

    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut caching = HeaderMap::new();
        caching.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            caching.insert(header::ETAG, etag);
        }
        if none_match(headers, &self.etag) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        caching.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (caching, self.text.clone()).into_response()
    }
}

/// [`document`], ready to be served.
#[derive(Clone)]
pub(super) struct RestDescription(pub(super) Description);

/// Gets this description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "descriptions", security(()),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
        (status = 304, description = "Not changed"),
    ),
)]
pub(super) async fn get_openapi(
    Extension(RestDescription(description)): Extension<RestDescription>,
    headers: HeaderMap,
) -> Response {
    description.answer(&headers)
}
