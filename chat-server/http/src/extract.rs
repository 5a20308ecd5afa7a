//! Extractors that answer bad input with a problem that says what was expected.

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
};
use chat_domain::chat::ChatError;
use chat_protocol::{ClientId, ErrorCode};
use http::{header, request::Parts};
use serde::de::DeserializeOwned;

use super::HttpError;

/// A JSON body.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(HttpError(match rejection {
                JsonRejection::MissingJsonContentType(_) => ChatError::new(
                    ErrorCode::UnsupportedMediaType,
                    "the body must have Content-Type: application/json",
                ),
                JsonRejection::BytesRejection(_) => {
                    ChatError::new(ErrorCode::TooLarge, "the body is too large or was cut off")
                }
                JsonRejection::JsonDataError(e) => ChatError::invalid(e.body_text()),
                other => ChatError::new(ErrorCode::Malformed, other.body_text()),
            })),
        }
    }
}

/// Parameters in the path. One that is not readable names nothing that exists.
pub struct PathParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(value)| Self(value))
            .map_err(|rejection: PathRejection| malformed(rejection.body_text()))
    }
}

/// Parameters in the query.
pub struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Query::<T>::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|rejection: QueryRejection| malformed(rejection.body_text()))
    }
}

/// The `Idempotency-Key` header: a UUID that the client made.
pub struct IdempotencyKey(pub ClientId);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let value = parts
            .headers
            .get("idempotency-key")
            .ok_or_else(|| malformed("the Idempotency-Key header is missing"))?;
        value
            .to_str()
            .ok()
            .and_then(|text| text.trim_matches('"').parse().ok())
            .map(Self)
            .ok_or_else(|| malformed("the Idempotency-Key is not a UUID"))
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1), not verified yet.
pub struct BearerToken(pub String);

impl<S: Send + Sync> FromRequestParts<S> for BearerToken {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Self(token.trim().to_owned()))
            .ok_or_else(|| {
                let missing = "the Authorization: Bearer header is missing";
                HttpError(ChatError::new(ErrorCode::Unauthenticated, missing))
            })
    }
}

fn malformed(message: impl Into<String>) -> HttpError {
    HttpError(ChatError::new(ErrorCode::Malformed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_token_is_taken_from_the_header() {
        let token = async |request: http::request::Builder| {
            let (mut parts, ()) = request.body(()).expect("a request").into_parts();
            BearerToken::from_request_parts(&mut parts, &()).await.ok().map(|BearerToken(token)| token)
        };
        for (value, expected) in
            [("Bearer abc", Some("abc")), ("bearer  abc ", Some("abc")), ("Basic abc", None), ("abc", None)]
        {
            let request = http::Request::builder().header(header::AUTHORIZATION, value);
            assert_eq!(token(request).await.as_deref(), expected, "{value:?}");
        }
        assert_eq!(token(http::Request::builder()).await, None);
    }
}
