//! Rust SDK for Folkmoot, and the `folkmoot` command line.
//!
//! [`Client`] holds a WebSocket through every interruption: it reconnects with backoff, fills the gaps of
//! each channel's log and resends what was not acknowledged, so that its user sees each event once and in
//! order, and each send ends in one message or a typed error. [`Rest`] is everything that is not live.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use chat_client::{Auth, Client, Options, Update};
//!
//! let auth = Auth::Password { handle: "ada".into(), password: "correct horse".into() };
//! let (client, mut updates) = Client::connect("http://127.0.0.1:8080", auth, Options::default()).await?;
//! let channel = client.rest().channels().await?[0].id;
//! client.send(channel, "hello").await?;
//! while let Some(update) = updates.next().await {
//!     if let Update::Event(event) = update {
//!         println!("{} {}", event.seq, event.by);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rules it keeps are those of `docs/protocol.md`.

mod backoff;
mod client;
mod commands;
mod driver;
mod link;
mod options;
mod outbox;
mod recover;
mod rest;
mod signals;
mod socket;
mod timeline;
mod tokens;
mod update;

pub use backoff::Backoff;
pub use client::{Client, ClientError, Pending};
pub use options::{Options, Start};
pub use outbox::{Refusal, SendError, Sent};
pub use rest::{Rest, RestError};
pub use socket::OpenError;
pub use tokens::{Auth, MemoryStore, StoreError, TokenStore, Tokens};
pub use update::{ConnectionState, End, Update, Updates};

pub use chat_protocol as protocol;
