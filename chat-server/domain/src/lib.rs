//! The domain: what may happen in a channel, who may do it, and what follows from it.
//!
//! `chat` has the operations. `store`, `bus` and `blob` are the contracts of what they run on; each engine is a crate of its
//! own. Nothing here knows a database, a bus product, HTTP or sockets: the test `layers` of `chat-server` holds that.

pub mod blob;
pub mod bus;
pub mod chat;
pub mod clock;
pub mod opaque;
pub mod store;
