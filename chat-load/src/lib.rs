//! Open-loop load for a Folkmoot server, and the truth about what became of it.

pub mod client_id;
pub mod event_head;
pub mod histogram;
pub mod history;
