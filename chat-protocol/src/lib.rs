//! Wire types, limits and close codes of Folkmoot's WebSocket (`folkmoot.v1`) and REST interfaces.
//!
//! No I/O and no runtime: what both ends of a connection must agree on, and nothing else.
//! `docs/protocol.md` describes the same for a person who writes a client.

mod close;
mod error;
mod event;
#[cfg(feature = "schema")]
mod examples;
mod frame;
mod ids;
pub mod limits;
pub mod rest;

pub use close::CloseCode;
pub use error::{ErrorCode, Problem};
pub use event::*;
pub use frame::{ChannelState, ClientFrame, PresenceStatus, ServerFrame, UserPresence};
pub use ids::{ChannelId, ClientId, FileId, Generation, InvitationId, ParseIdError, SessionId, UserId};

/// The WebSocket subprotocol that this crate describes (`Sec-WebSocket-Protocol`, RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "folkmoot.v1";

/// The header of REST answers that says of which generation of the store they are ([`Generation`], a UUID).
pub const GENERATION_HEADER: &str = "folkmoot-generation";

/// Position of an event in its channel's log: 1, 2, 3, … without holes. 0 means "before the first event".
pub type Seq = u64;

/// Milliseconds since the Unix epoch. For people to read; order is always [`Seq`], never a clock.
pub type Millis = u64;
