//! Errors as `application/problem+json` (RFC 9457), with `Retry-After` (RFC 9110 §10.2.3) where it applies.

use std::any::Any;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use chat_domain::{chat::ChatError, store::StoreError};
use chat_protocol::{ErrorCode, Problem};
use http::{HeaderValue, StatusCode, header};

/// An error as an RFC 9457 body.
fn problem(error: &ChatError) -> Problem {
    let code = serde_json::to_string(&error.code).unwrap_or_default();
    Problem {
        kind: format!("https://folkmoot.dev/problems/{}", code.trim_matches('"')),
        title: error.code.title().into(),
        status: error.code.status(),
        detail: error.message.clone(),
        code: error.code,
        retryable: error.code.retryable(),
        retry_after_ms: error.retry_after_ms,
    }
}

/// What a handler answers when the domain refuses: the error as a problem.
#[derive(Debug)]
pub struct HttpError(pub ChatError);

impl From<ChatError> for HttpError {
    fn from(error: ChatError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let problem = problem(&self.0);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(ms) = problem.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if problem.status == 401 {
            // RFC 6750 §3: every 401 names the scheme.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Answers paths that do not exist.
pub async fn fallback() -> HttpError {
    HttpError(ChatError::new(ErrorCode::NotFound, "no such path; /openapi.json lists those there are"))
}

/// Answers methods that a path does not have.
pub async fn method_not_allowed() -> HttpError {
    HttpError(ChatError::new(
        ErrorCode::MethodNotAllowed,
        "this path does not take that method; see the Allow header",
    ))
}

/// Answers for a handler that panicked. The panic itself was logged by the panic hook.
#[must_use]
pub fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response {
    HttpError(ChatError::new(ErrorCode::Internal, "a bug in the server; it was logged")).into_response()
}
