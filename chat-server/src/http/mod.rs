//! What all REST doors share: errors as RFC 9457 problems, and extractors whose rejections are such problems.

mod extract;
mod problem;

pub use extract::{BearerToken, ClientAddress, IdempotencyKey, JsonBody, PathParams, QueryParams};
pub use problem::{fallback, method_not_allowed, panic_response};
