//! What happened, and whether it was allowed to: pure, without I/O or clocks.
//!
//! [`Cursor`] is what one receiver keeps of one channel, [`ChannelLog`] is the channel as the server gives
//! it at the end, and [`verdict`] compares them and the acks. [`record`] replays a run from JSON lines.

mod check;
mod cursor;
pub mod record;
mod rules;

pub use check::{Ack, ChannelLog, LogEntry, Read, Receipt, Times, Verdict, verdict};
pub use cursor::{Cursor, Observation, Tally};
pub use rules::Replay;
