//! Reading a log over REST when `sync` could not recover it.

use std::time::Duration;

use chat_protocol::{ChannelId, Event, Generation, Seq};
use tokio::sync::mpsc;

use crate::{Rest, RestError};

/// How long one page is tried before the driver gets the error.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Messages from recovery to the driver.
#[derive(Debug)]
pub(crate) enum Recovered {
    /// The next events of a log, ascending.
    Page(Vec<Event>),
    /// All was read, or no more can be.
    Done(ChannelId, Result<(), RestError>),
}

/// Reads the log after `after` until its end, of this generation of the server's store as far as is known. The driver's
/// queue has a bound, so a busy consumer slows this down instead of filling memory.
pub(crate) async fn page(
    rest: Rest,
    generation: Option<Generation>,
    channel: ChannelId,
    after: Seq,
    out: mpsc::Sender<Recovered>,
) {
    let outcome = pages(&rest, generation, channel, after, &out).await;
    // A driver that has ended needs no word.
    let _ = out.send(Recovered::Done(channel, outcome)).await;
}

async fn pages(
    rest: &Rest,
    generation: Option<Generation>,
    channel: ChannelId,
    mut after: Seq,
    out: &mpsc::Sender<Recovered>,
) -> Result<(), RestError> {
    loop {
        let page = Rest::retrying(RETRY_FOR, || rest.events_of(generation, channel, after)).await?;
        let last = page.items.last().map(|event| event.seq);
        let more = page.next.is_some() && last.is_some_and(|seq| seq > after);
        after = last.unwrap_or(after);
        if out.send(Recovered::Page(page.items)).await.is_err() || !more {
            return Ok(());
        }
    }
}
