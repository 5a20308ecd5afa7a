//! The SDK against a server that does what the test says.
#![allow(clippy::unwrap_used, reason = "tests")]

mod busy;
#[cfg(feature = "cli")]
mod chat;
mod ending;
mod gaps;
mod reconnect;
mod restored;
mod server;
mod sign_in;

use std::{collections::HashMap, time::Duration};

use chat_client::{Auth, Backoff, Client, ConnectionState, Options, Update, Updates};
use chat_protocol::{ChannelId, ChannelState, Event, EventBody, Seq, UserId};
use uuid::Uuid;

pub(crate) const ME: UserId = UserId(Uuid::from_u128(1));
pub(crate) const CHANNEL: ChannelId = ChannelId(Uuid::from_u128(7));

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it happens within 60 s")
}

pub(crate) fn event(seq: Seq) -> Event {
    let body = EventBody::Message { text: seq.to_string(), files: vec![], deleted: false };
    Event { channel: CHANNEL, seq, at: 0, by: ME, id: None, body }
}

pub(crate) fn head(head: Seq) -> Vec<ChannelState> {
    vec![ChannelState { channel: CHANNEL, head, read: 0, unread: None }]
}

pub(crate) fn options() -> Options {
    let backoff = Backoff { base: Duration::from_millis(5), cap: Duration::from_millis(50) };
    Options { backoff, ..Options::default() }
}

pub(crate) fn after(seq: Seq) -> Options {
    Options { cursors: HashMap::from([(CHANNEL, seq)]), ..options() }
}

/// A client with a fixed token, not connected yet.
pub(crate) async fn start(url: &str, options: Options) -> (Client, Updates) {
    let rest = chat_client::Rest::connect(url, Auth::AccessToken("token".into())).await.unwrap();
    Client::start(rest, options)
}

/// The next events, whatever else comes in between.
pub(crate) async fn events(updates: &mut Updates, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match within(updates.next()).await.expect("the client has not ended") {
            Update::Event(event) => seqs.push(event.seq),
            Update::State(ConnectionState::Ended(end)) => panic!("ended: {end}, got {seqs:?}"),
            _ => {}
        }
    }
    seqs
}

/// The next state of the connection that `wanted` accepts.
pub(crate) async fn state<T>(
    updates: &mut Updates,
    mut wanted: impl FnMut(ConnectionState) -> Option<T>,
) -> T {
    loop {
        if let Update::State(state) = within(updates.next()).await.expect("the client has not ended")
            && let Some(found) = wanted(state)
        {
            return found;
        }
    }
}
