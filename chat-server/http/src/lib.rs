//! What all REST doors share: errors as RFC 9457 problems, extractors whose rejections are such problems, `harden`, which every
//! answer of every role goes through, and the way to a door of another process.

mod client_address;
pub mod connection;
mod extract;
pub mod forward;
mod harden;
mod host;
mod linger;
mod problem;
pub mod problems;
mod refusals;

pub use client_address::{ClientAddress, Network, NotANetwork, TrustedProxies, network, site};
pub use connection::Guest;
pub use extract::{BearerToken, IdempotencyKey, JsonBody, PathParams, QueryParams, StillAllowed};
pub use harden::{HardenOptions, harden};
pub use host::{SINGLE_HEADERS, has_good_host, has_one_of_each};
pub use problem::{HttpError, fallback, method_not_allowed, panic_response};
pub use refusals::{Caller, refused, register_refusals};
