//! What an event of a channel's log means, in one place: may it happen ([`State::decide`]), what does it change for those
//! after it ([`State::apply`]), what follows from it outside of the log ([`effect`]), how do events show ([`fold`]), what
//! remains of a deleted message ([`scrub()`]), what counts as unread ([`count`]).
//!
//! Pure: no I/O, no clock, no async. Stores load what [`needs`] names into a [`State`] and ask it; caches, SDKs and checkers
//! [`fold`] what they have. `apply` and `fold` take whatever stands in a log, also what `decide` would refuse today: such
//! logs exist.
//!
//! To add a kind of event: add the variant to [`chat_protocol::EventBody`] and follow the compiler through `kind`; no match
//! there has a catch-all arm. The vectors in `vectors/` hold other languages to the same behaviour.

pub mod count;
mod decide;
mod emoji;
mod event;
pub mod fold;
mod kind;
pub mod permission;
pub mod text;
pub mod vectors;

pub use decide::{ChannelFacts, Decision, State, claims_name, needs, needs_for};
pub use emoji::check_emoji;
pub use event::{Appended, Authority, Body, NewEvent};
pub use kind::*;

/// What public channels are listed by: their names in lower case, surrounding space gone.
#[must_use]
pub fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// What no two public channels may have in common: see [`text::look`].
#[must_use]
pub fn name_claim(name: &str) -> String {
    let look = text::look(name);
    // Of old names of which nothing shows.
    if look.is_empty() { name_key(name) } else { look }
}
