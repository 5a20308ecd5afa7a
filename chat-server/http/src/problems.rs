//! Which problems an operation can answer with, for its description.

use std::collections::BTreeMap;

use chat_protocol::{ErrorCode, Problem};
use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder,
        schema::{ObjectBuilder, Type},
    },
};

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $($code:ident)+;)+) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(ErrorCode::$code),+].into_iter().map(describe).collect()
            }
        }
    )+};
}

problems! {
    /// Any operation that needs a token.
    SignedIn = Unauthenticated RateLimited Internal Overloaded;
    /// Any other one.
    Open = Internal Overloaded;
    /// One that signs in.
    Login = Unauthenticated;
    /// One that somebody may do only so often.
    Limited = RateLimited;
    /// One with parameters.
    Parameters = Malformed;
    /// One with parameters that have limits.
    Limits = Malformed Invalid;
    /// One with a JSON body.
    JsonBody = Malformed TooLarge UnsupportedMediaType Invalid;
    /// One about something that may not exist.
    Missing = NotFound;
    /// One that not everybody may do.
    Denied = Forbidden;
    /// One that the state of things may rule out.
    Clash = Conflict;
    /// One that takes an upload.
    Upload = Malformed TooLarge Invalid NoSpace;
    /// One that sends a download.
    Unsatisfiable = RangeNotSatisfiable;
}

fn describe(code: ErrorCode) -> (String, RefOr<Response>) {
    let mut response = ResponseBuilder::new().description(code.title()).content(
        "application/problem+json",
        ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build(),
    );
    match code {
        ErrorCode::Unauthenticated => {
            response = response.header("WWW-Authenticate", header(Type::String, "Bearer"))
        }
        ErrorCode::Overloaded | ErrorCode::RateLimited => {
            response = response
                .header("Retry-After", header(Type::Integer, "Seconds until trying again makes sense"));
        }
        _ => {}
    }
    (code.status().to_string(), response.build().into())
}

fn header(of: Type, description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(of)))
        .description(Some(description))
        .build()
}

/// The schemas that [`describe`] refers to.
pub fn schemas() -> Vec<(String, RefOr<utoipa::openapi::Schema>)> {
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    schemas
}
