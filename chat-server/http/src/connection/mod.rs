//! Connections from their first byte on: how many there may be and of whom, how long each of their phases may take, and how many
//! bytes. Whoever has shown no authority yet is a stranger: strangers have bounds for each address and in all, and the newest
//! wins, so that many who say nothing never keep out one who speaks. Whoever has a valid token is counted by person.
//!
//! `crowd` decides who goes, `limits` how many there may be, `admission` carries it out. `activity` knows how far a connection
//! is, and `stream`, `bodies` and `answer` keep that up to date. `under_way` is what people may have under way at once, over all of
//! their connections, each a part of a `pool`.

mod activity;
mod admission;
mod answer;
mod bodies;
mod crowd;
mod limits;
mod metrics;
mod pool;
mod requests;
mod stream;
mod under_way;

pub use activity::{Activity, Flight};
pub use admission::{Admission, Guest, Seat, StrangersBody};
pub use answer::Answer;
pub use bodies::{MIN_BODY_RATE, Paced, is_too_slow};
pub use limits::AdmissionLimits;
pub use metrics::{Closed, ConnectionMetrics};
pub use requests::Requests;
pub use stream::{Stream, is_too_much};
pub use under_way::Shares;
