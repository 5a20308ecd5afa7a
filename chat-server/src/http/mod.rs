//! What all REST doors share: errors as RFC 9457 problems, and extractors whose rejections are such problems.

mod client_address;
mod extract;
mod problem;

pub use client_address::{ClientAddress, Network, NotANetwork, TrustedProxies};
pub use extract::{BearerToken, IdempotencyKey, JsonBody, PathParams, QueryParams};
pub use problem::{fallback, method_not_allowed, panic_response};
