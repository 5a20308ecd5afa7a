//! What every answer of every role goes through: limits, headers, and problems instead of bare statuses.

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, map_request},
};
use chat_protocol::GENERATION_HEADER;
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};

use super::{TrustedProxies, fallback, linger::linger, method_not_allowed, panic_response, refusals::audit};

/// Largest JSON body, in bytes. A message of the longest text, every byte of it escaped as `\u00xx`, fits.
const MAX_JSON_BYTES: usize = 128 * 1024;

/// What an operator can set about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HardenOptions {
    /// Origins whose pages may call the API, besides the server's own; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word is taken for where a request came from.
    pub trusted_proxies: TrustedProxies,
}

/// Finishes the router of all roles: unknown paths and methods and panics become problems, JSON bodies have a limit,
/// answers say that they are not to be cached, sniffed, framed or referred to, unless their handler knew better.
pub fn harden(router: Router, options: &HardenOptions) -> Router {
    let hardened = router
        .fallback(fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_request(linger))
        .layer(from_fn(audit))
        .layer(Extension(options.trusted_proxies.clone()))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(default_header(header::CACHE_CONTROL, "no-store"))
        .layer(default_header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(default_header(header::REFERRER_POLICY, "no-referrer"))
        .layer(default_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    match cors(&options.allowed_origins) {
        Some(layer) => hardened.layer(layer),
        None => hardened,
    }
}

fn default_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// Lets pages of these origins in. Tokens travel in a header, never in a cookie, so no credentials are allowed.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
        if origins.is_empty() {
            return None;
        }
        AllowOrigin::list(origins)
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static(GENERATION_HEADER),
        ])
        .max_age(std::time::Duration::from_secs(600));
    Some(layer)
}
