//! How many messages a member has not read: a subtraction, and where that is not exact, a bounded look at the events.

use std::sync::Weak;

use chat_log::count::{RECOUNTED, Unread, recount, unread};
use chat_protocol::{ChannelId, EventBody, Seq, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Chat, ChatError, recent};
use crate::store::{End, Membership};

/// Channels of one member whose events are looked at, at the same time.
const RECOUNTS: usize = 4;

impl Chat {
    /// The unread messages of a member in each of these channels, up to the end that is given with it.
    ///
    /// # Errors
    /// The store could not be asked.
    pub(crate) async fn unread(
        &self,
        user: UserId,
        places: Vec<(Membership, End)>,
    ) -> Result<Vec<u64>, ChatError> {
        stream::iter(places)
            .map(async |(membership, end)| match unread(&end, &membership.marker()) {
                Unread::Exactly(unread) => Ok(unread),
                Unread::Recount { after } => self.recount(user, membership, end, after).await,
            })
            .buffered(RECOUNTS)
            .try_collect()
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
        let events = self.bodies(channel, after).await?;
        let up_to_end = events.iter().take_while(|(seq, ..)| *seq <= end.head);
        let newest = recount(up_to_end.map(|(_, by, body)| (*by, body)), user);
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

    /// The events after a position, from memory if they are there.
    async fn bodies(
        &self,
        channel: ChannelId,
        after: Seq,
    ) -> Result<Vec<(Seq, UserId, EventBody)>, ChatError> {
        let limit = usize::try_from(RECOUNTED).unwrap_or(usize::MAX);
        let remembered = self
            .recent
            .get()
            .and_then(Weak::upgrade)
            .and_then(|recent| recent::events_page(&*recent, channel, after, limit));
        let events = match remembered {
            Some(page) => page.items,
            None => self.store.events(channel, after, limit).await?,
        };
        // A body of a newer version's kind counts for nothing here.
        let body = |text: &str| serde_json::from_str(text).unwrap_or(EventBody::Unknown);
        Ok(events.iter().map(|event| (event.seq, event.by, body(&event.body))).collect())
    }
}
