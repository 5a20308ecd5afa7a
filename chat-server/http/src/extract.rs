//! Extractors that answer bad input with a problem that says what was expected.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, FailedToBufferBody, PathRejection, QueryRejection},
    },
};
use chat_domain::chat::ChatError;
use chat_protocol::{ClientId, ErrorCode};
use http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{HttpError, connection::is_too_slow};

/// A JSON body that is not whole after this long is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

type Check = dyn Fn() -> Result<(), ChatError> + Send + Sync;

/// Asks again whether whoever sent a request may still act. An extension of every request whose sender is known: a body may
/// come long after the headers, and what they were allowed meanwhile may have ended.
#[derive(Clone)]
pub struct StillAllowed(Arc<Check>);

impl StillAllowed {
    /// What `check` says at that moment.
    pub fn new(check: impl Fn() -> Result<(), ChatError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// To be asked when a body is there, before anything is done with it.
    ///
    /// # Errors
    /// `unauthenticated` when they may not.
    pub fn check(&self) -> Result<(), ChatError> {
        (self.0)()
    }
}

/// A JSON body, which is always an object. It is given only to those who are still allowed to act when it is there.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        if !is_json(request.headers()) {
            return Err(HttpError(ChatError::new(
                ErrorCode::UnsupportedMediaType,
                "the body must have Content-Type: application/json",
            )));
        }
        let allowed = request.extensions().get::<StillAllowed>().cloned();
        let read = timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| {
            let most = BODY_TIMEOUT.as_secs();
            malformed(format!("the body is too slow: at most {most} s are allowed"))
        })?;
        let bytes = bytes.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                HttpError(ChatError::new(ErrorCode::TooLarge, "the body is too large"))
            }
            rejection => malformed(
                is_too_slow(&rejection)
                    .unwrap_or_else(|| "the body was cut off, or its encoding is broken".to_owned()),
            ),
        })?;
        if let Some(allowed) = allowed {
            allowed.check()?;
        }
        // An array would do for serde, with the fields in their order: a form that nobody promised.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(malformed("the body is an array; it must be a JSON object"));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(misspelt(rejection.body_text())),
        }
    }
}

/// What was wrong with an input by serde, with what may have been meant.
fn misspelt(mut text: String) -> HttpError {
    if let Some(meant) = meant(&text) {
        text.push_str(&format!("; did you mean `{meant}`?"));
    }
    malformed(text)
}

/// The known word that is most like the unknown one in a message of serde, "unknown field `a`, expected one of `b`, `c`" or the like.
fn meant(message: &str) -> Option<&str> {
    let (_, words) =
        message.split_once("unknown field ").or_else(|| message.split_once("unknown variant "))?;
    let mut words = words.split('`').skip(1).step_by(2);
    let given = words.next()?.to_lowercase();
    words.min_by_key(|known| strsim::damerau_levenshtein(&given, known))
}

/// `application/json`, or what is named after it (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
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
            .map_err(|rejection: QueryRejection| misspelt(rejection.body_text()))
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

    async fn read(request: http::request::Builder, body: axum::body::Body) -> Result<(), ErrorCode> {
        #[derive(serde::Deserialize)]
        #[allow(dead_code, reason = "only whether it can be read matters")]
        struct Named {
            name: String,
        }
        let request = request.body(body).expect("a request");
        JsonBody::<Named>::from_request(request, &()).await.map(drop).map_err(|HttpError(error)| error.code)
    }

    #[tokio::test]
    async fn what_is_misspelt_is_refused_with_what_is_most_like_it() {
        use chat_protocol::rest::{RefreshRequest, UpdateUser};

        async fn refused<T: DeserializeOwned>(body: &'static str) -> String {
            let request = json().body(axum::body::Body::from(body)).expect("a request");
            let Err(HttpError(error)) = JsonBody::<T>::from_request(request, &()).await else {
                panic!("{body} was taken");
            };
            assert_eq!(error.code, ErrorCode::Malformed);
            error.message
        }
        for (body, meant) in [
            (r#"{"deactivate":true}"#, "did you mean `deactivated`?"),
            (r#"{"displayName":"Ada","role":"owner"}"#, "did you mean `display_name`?"),
            (r#"{"role":"Owner"}"#, "did you mean `owner`?"),
        ] {
            let message = refused::<UpdateUser>(body).await;
            assert!(message.ends_with(meant), "{body}: {message}");
        }
        let message = refused::<RefreshRequest>(r#"{"refresh":"abc"}"#).await;
        assert!(message.ends_with("did you mean `refresh_token`?"), "{message}");
    }

    fn json() -> http::request::Builder {
        http::Request::builder().header(header::CONTENT_TYPE, "application/json")
    }

    #[tokio::test]
    async fn a_body_is_a_json_object_and_says_that_it_is() {
        for (body, expected) in [
            (r#" {"name":"ada"}"#, Ok(())),
            (r#"["ada"]"#, Err(ErrorCode::Malformed)),
            (" \n[\"ada\"]", Err(ErrorCode::Malformed)),
            (r#"{"name":7}"#, Err(ErrorCode::Malformed)),
            (r#"{}"#, Err(ErrorCode::Malformed)),
            (r#"{"name":"ada"#, Err(ErrorCode::Malformed)),
            ("", Err(ErrorCode::Malformed)),
        ] {
            assert_eq!(read(json(), body.into()).await, expected, "{body:?}");
        }
        for (named, expected) in [
            ("application/json; charset=utf-8", Ok(())),
            ("Application/JSON", Ok(())),
            ("application/merge-patch+json", Ok(())),
            ("text/json", Err(ErrorCode::UnsupportedMediaType)),
            ("application/jsonx", Err(ErrorCode::UnsupportedMediaType)),
        ] {
            let request = http::Request::builder().header(header::CONTENT_TYPE, named);
            assert_eq!(read(request, r#"{"name":"ada"}"#.into()).await, expected, "{named}");
        }
        let unnamed = read(http::Request::builder(), r#"{"name":"ada"}"#.into()).await;
        assert_eq!(unnamed, Err(ErrorCode::UnsupportedMediaType));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let body = axum::body::Body::from_stream(never);
        assert_eq!(read(json(), body).await, Err(ErrorCode::Malformed));
    }

    #[tokio::test]
    async fn who_is_not_allowed_any_more_when_the_body_is_there_does_nothing_with_it() {
        let refuse = || Err(ChatError::new(ErrorCode::Unauthenticated, "signed out"));
        let request = json().extension(StillAllowed::new(refuse));
        assert_eq!(read(request, r#"{"name":"ada"}"#.into()).await, Err(ErrorCode::Unauthenticated));
        let request = json().extension(StillAllowed::new(|| Ok(())));
        assert_eq!(read(request, r#"{"name":"ada"}"#.into()).await, Ok(()));
    }

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
