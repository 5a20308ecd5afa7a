//! The domain: channels, their logs, who may do what. Knows traits, not databases, and nothing of HTTP.

mod error;
pub mod permissions;

pub use error::ChatError;
pub use permissions::Actor;
