//! Open-loop load for a Folkmoot server, and the truth about what became of it.

pub mod bars;
pub mod bench;
pub mod broadcaster;
pub mod chaos;
pub mod client_id;
mod driver;
mod engine;
pub mod event_head;
pub mod histogram;
pub mod history;
pub mod intervals;
pub mod logs;
pub mod message;
pub mod options;
pub mod presence_errors;
mod progress;
mod reads;
pub mod reconnects;
pub mod report;
pub mod rest;
pub mod run;
pub mod scale;
pub mod server_process;
pub mod timeline;
pub mod tokens;
pub mod ws;
