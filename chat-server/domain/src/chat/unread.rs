//! How many messages a member has not read: a subtraction, and where that is not exact, a bounded look at the events. When
//! thousands come back at the same time, those of one channel look at them together.

use std::sync::{Arc, Weak};

use chat_log::count::{RECOUNTED, Unread, standing, unread};
use chat_protocol::{ChannelId, EventBody, Seq, UserId};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{Chat, ChatError, directory::READ_TIMEOUT, flight::Flights, recent};
use crate::store::{End, Membership, StoredEvent};

/// Channels of one member whose events are looked at, at the same time.
const RECOUNTS: usize = 4;
/// The fewest events that are read: what members who are nearly level need is read once for all of them.
const FEWEST: u64 = 16;

/// A log as it ended there, and after which position it is looked at.
type Window = (ChannelId, Seq, Seq);
/// The messages in a window that stand: position and author.
type Standing = Arc<[(Seq, UserId)]>;

/// Looks at events that are under way.
pub(super) type Recounts = Flights<Window, Result<Standing, ChatError>>;

impl Chat {
    /// The unread messages of a member in each of these channels, up to the end that is given with it.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn unread(&self, user: UserId, places: Vec<(Membership, End)>) -> Result<Vec<u64>, ChatError> {
        stream::iter(places)
            .map(async |(membership, end)| match unread(&end, &membership.marker()) {
                Unread::Exactly(unread) => Ok(unread),
                Unread::Recount { after } => self.recount(user, membership, end, after).await,
            })
            .buffered(RECOUNTS)
            .try_collect()
            .await
    }

    /// The same for somebody who must not wait for it: `None` where it is no subtraction and the events are not there soon.
    pub async fn unread_soon(&self, user: UserId, places: &[(Membership, End)]) -> Vec<Option<u64>> {
        let deadline = tokio::time::Instant::now() + READ_TIMEOUT;
        stream::iter(places.iter().copied())
            .map(async |(membership, end)| match unread(&end, &membership.marker()) {
                Unread::Exactly(unread) => Some(unread),
                Unread::Recount { after } => {
                    let recount = self.recount(user, membership, end, after);
                    tokio::time::timeout_at(deadline, recount).await.ok().and_then(Result::ok)
                }
            })
            .buffered(RECOUNTS)
            .collect()
            .await
    }

    async fn recount(
        &self,
        user: UserId,
        membership: Membership,
        end: End,
        after: Seq,
    ) -> Result<u64, ChatError> {
        let Membership { channel, read, counts, .. } = membership;
        let standing = self.standing(channel, end.head, after).await?;
        let newest = standing.iter().filter(|(seq, by)| *seq > after && *by != user).count() as u64;
        // What is older than that is not looked at.
        let older = match counts.filter(|_| after > read && read >= end.from) {
            Some(counts) => {
                let there = self.store.event(channel, after).await?.and_then(|event| event.counts);
                there.map_or(0, |there| there.n.saturating_sub(counts.n))
            }
            None => 0,
        };
        Ok(newest + older)
    }

    /// The messages that stand after a position, and perhaps some before it, up to where the log ended.
    async fn standing(&self, channel: ChannelId, head: Seq, after: Seq) -> Result<Standing, ChatError> {
        // Few sizes, so that many members share one read.
        let size = head.saturating_sub(after).next_power_of_two().clamp(FEWEST, RECOUNTED);
        let from = head.saturating_sub(size).min(after);
        let limit = usize::try_from(head - from).unwrap_or(usize::MAX);
        let (recent, store) = (self.recent.get().and_then(Weak::upgrade), Arc::clone(&self.store));
        let read = || {
            async move {
                // What was committed last may not have been handed out yet.
                let remembered = recent
                    .and_then(|recent| recent::events_page(&*recent, channel, from, limit))
                    .filter(|page| page.items.last().is_some_and(|event| event.seq >= head));
                let events = match remembered {
                    Some(page) => page.items,
                    None => store.events(channel, from, limit).await?,
                };
                Ok(standing_in(&events, head))
            }
            .boxed()
        };
        self.recounts.join((channel, head, from), read).await
    }
}

fn standing_in(events: &[StoredEvent], head: Seq) -> Standing {
    let up_to_end = events.iter().take_while(|event| event.seq <= head);
    // A body of a newer version's kind counts for nothing here.
    let body = |event: &StoredEvent| serde_json::from_str(&event.body).unwrap_or(EventBody::Unknown);
    let bodies: Vec<(Seq, UserId, EventBody)> =
        up_to_end.map(|event| (event.seq, event.by, body(event))).collect();
    standing(bodies.iter().map(|(seq, by, body)| (*seq, *by, body))).into()
}
