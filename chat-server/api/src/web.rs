//! The web client, from inside the binary.

use std::borrow::Cow;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_domain::chat::ChatError;
use chat_http::{HttpError, fallback};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::{Embed, EmbeddedFile};

use super::conditional::none_match;

#[derive(Embed)]
#[folder = "../web/"]
struct Assets;

/// Scripts, styles and images of our own only; `blob:` shows files that were fetched with a token.
/// `'self'` covers sockets to the same host (CSP 3 §6.7.2.8; Safari from 16 on).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'",
);

pub(super) fn router() -> Router {
    Router::new().route("/", get(index)).route("/app/{file}", get(file))
}

async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers).await
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers).await
}

async fn serve(name: &str, headers: &HeaderMap) -> Response {
    let (Some(media_type), Some(asset)) = (media_type(name), Assets::get(name)) else {
        return fallback().await.into_response();
    };
    answer(media_type, asset, headers).unwrap_or_else(|error| HttpError(error).into_response())
}

fn answer(media_type: &'static str, asset: EmbeddedFile, headers: &HeaderMap) -> Result<Response, ChatError> {
    let etag = format!(r#""{}""#, URL_SAFE_NO_PAD.encode(&asset.metadata.sha256_hash()[..16]));
    let etag_value = HeaderValue::from_str(&etag).map_err(|_| {
        ChatError::new(chat_protocol::ErrorCode::Internal, "the entity tag is not a header value")
    })?;
    // A new version of the server is a new version of the client: ask every time, get 304 most times.
    let caching = [
        (header::ETAG, etag_value),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    if none_match(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let content = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    Ok(match asset.data {
        Cow::Borrowed(bytes) => (caching, content, bytes).into_response(),
        Cow::Owned(bytes) => (caching, content, bytes).into_response(),
    })
}

/// The media type by the name's ending; what has another one is not part of the client.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}
