//! What was committed, as the asking user may see it; and what is not durable: typing.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Weak},
};

use chat_protocol::{
    ChannelId, Seq, UserId, limits,
    rest::{Channel, Member, Message, Page},
};

use super::{
    Actor, Chat, ChatError, RecentEvents,
    directory::{READ_TIMEOUT, is_away},
    paging,
    permissions::{ChannelAction, OrgAction, allow_org},
    recent,
};
use crate::{
    bus::{BusMessage, Signal},
    store::{ChannelRow, End, Membership, StoreError, StoredEvent, name_key},
};

/// One page of a log, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    /// The events of the page.
    pub items: Vec<StoredEvent>,
    /// The last position on this page, when there may be more.
    pub next: Option<Seq>,
}

/// Where a page is from.
enum Read<S, R> {
    Stored(S),
    Remembered(R),
}

impl Chat {
    /// Where these logs end. For gateways, which ask for members only.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, ChatError> {
        Ok(self.store.ends(channels).await?)
    }

    /// The last position of a log; 0 when there is none. For gateways, which ask for members only.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn head(&self, channel: ChannelId) -> Result<Seq, ChatError> {
        Ok(self.store.heads(&[channel]).await?.first().map_or(0, |(_, head)| *head))
    }

    /// At most `limit` events of a log after a position. For gateways, which hand them to members only.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn log_after(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ChatError> {
        Ok(self.store.events(channel, after, limit).await?)
    }

    /// One channel, as the actor sees it.
    ///
    /// # Errors
    /// No such channel, or not the actor's to see.
    pub async fn channel(&self, actor: &Actor, channel: ChannelId) -> Result<Channel, ChatError> {
        self.authorize(actor, channel, ChannelAction::Read).await?;
        let row = self.store.channel(channel).await?.ok_or_else(|| ChatError::not_found("channel"))?;
        let membership = self.store.membership(channel, actor.user).await?;
        self.show_all(actor, vec![(row, membership)])
            .await?
            .pop()
            .ok_or_else(|| ChatError::not_found("channel"))
    }

    /// The actor's channels in order of id.
    ///
    /// # Errors
    /// The cursor is not one of this listing's.
    pub async fn my_channels(
        &self,
        actor: &Actor,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Channel>, ChatError> {
        let after: Option<ChannelId> = cursor.map(|c| c.parse().map_err(|_| bad_cursor())).transpose()?;
        let memberships = self.directory.memberships(actor.user).await?;
        let rest = memberships.iter().filter(|m| after.is_none_or(|after| m.channel > after));
        let read = rest.take(paging::with_next(limit)).copied().collect();
        let (page, next) = paging::cut(read, limit, |place: &Membership| place.channel.to_string());
        let ids: Vec<ChannelId> = page.iter().map(|m| m.channel).collect();
        let mut rows: HashMap<ChannelId, ChannelRow> =
            self.store.channels(&ids).await?.into_iter().map(|row| (row.id, row)).collect();
        let places = page.into_iter().filter_map(|place| Some((rows.remove(&place.channel)?, Some(place))));
        let items = self.show_all(actor, places.collect()).await?;
        Ok(Page { items, next })
    }

    /// Public channels in order of name.
    ///
    /// # Errors
    /// A guest asks, or the cursor is not one of this listing's.
    pub async fn public_channels(
        &self,
        actor: &Actor,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Channel>, ChatError> {
        allow_org(actor, OrgAction::Browse)?;
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let (id, name) = cursor.split_once(' ').ok_or_else(bad_cursor)?;
                Some((name.to_owned(), id.parse().map_err(|_| bad_cursor())?))
            }
        };
        let read = self.store.public_channels(after, paging::with_next(limit)).await?;
        let (rows, next) = paging::cut(read, limit, |row| {
            format!("{} {}", row.id, name_key(row.name.as_deref().unwrap_or_default()))
        });
        let mine: HashMap<ChannelId, Membership> =
            self.directory.memberships(actor.user).await?.into_iter().map(|m| (m.channel, m)).collect();
        let places = rows.into_iter().map(|row| (mine.get(&row.id).copied(), row));
        let items = self.show_all(actor, places.map(|(place, row)| (row, place)).collect()).await?;
        Ok(Page { items, next })
    }

    /// A channel's members in order of user id.
    ///
    /// # Errors
    /// Not the actor's to see, or the cursor is not one of this listing's.
    pub async fn members(
        &self,
        actor: &Actor,
        channel: ChannelId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Member>, ChatError> {
        self.authorize(actor, channel, ChannelAction::Read).await?;
        let after = cursor.map(|c| c.parse().map_err(|_| bad_cursor())).transpose()?;
        let read = self.store.members(channel, after, paging::with_next(limit)).await?;
        let (items, next) = paging::cut(read, limit, |member| member.user.to_string());
        Ok(Page { items, next })
    }

    /// A page of a channel's log after a position, ascending.
    ///
    /// # Errors
    /// Not the actor's to see.
    pub async fn events(
        &self,
        actor: &Actor,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<EventsPage, ChatError> {
        self.authorize(actor, channel, ChannelAction::Read).await?;
        let store = Arc::clone(&self.store);
        let read = async move { store.events(channel, after, paging::with_next(limit)).await };
        let remembered = |recent: &dyn RecentEvents| recent::events_page(recent, channel, after, limit);
        let read = match self.unless_remembered(channel, read, remembered).await? {
            Read::Stored(read) => read,
            Read::Remembered(page) => return Ok(page),
        };
        let (items, next) = paging::cut(read, limit, |event| event.seq);
        if next.is_none()
            && let Some(recent) = self.recent.get().and_then(Weak::upgrade)
        {
            recent.was_read(channel, &items);
        }
        Ok(EventsPage { items, next })
    }

    /// A page of a channel's messages before a position, newest first, edits and deletions applied.
    ///
    /// # Errors
    /// Not the actor's to see.
    pub async fn messages(
        &self,
        actor: &Actor,
        channel: ChannelId,
        before: Seq,
        limit: usize,
    ) -> Result<Page<Message>, ChatError> {
        self.authorize(actor, channel, ChannelAction::Read).await?;
        let store = Arc::clone(&self.store);
        let read = async move { store.messages(channel, before, paging::with_next(limit)).await };
        let remembered = |recent: &dyn RecentEvents| recent::messages_page(recent, channel, before, limit);
        let read = match self.unless_remembered(channel, read, remembered).await? {
            Read::Stored(read) => read,
            Read::Remembered(page) => return Ok(page),
        };
        let (items, next) = paging::cut(read, limit, |message| message.seq.to_string());
        Ok(Page { items, next })
    }

    /// All of a user's channels, in order of channel id: one read.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, ChatError> {
        self.directory.memberships(user).await
    }

    /// What the store gives, or memory when the store is away or takes its time and memory has what is asked for.
    async fn unless_remembered<S: Send + 'static, R>(
        &self,
        channel: ChannelId,
        read: impl Future<Output = Result<S, StoreError>> + Send + 'static,
        remembered: impl Fn(&dyn RecentEvents) -> Option<R>,
    ) -> Result<Read<S, R>, ChatError> {
        let recent = self.recent.get().and_then(Weak::upgrade);
        if let Some(recent) = &recent {
            recent.is_read(channel);
        }
        let remembered = || recent.as_ref().and_then(|recent| remembered(&**recent)).map(Read::Remembered);
        let mut read = Box::pin(read);
        let stored = match tokio::time::timeout(READ_TIMEOUT, &mut read).await {
            Ok(stored) => stored,
            Err(_) => match remembered() {
                Some(page) => {
                    // How it ends says how the store is.
                    tokio::spawn(read);
                    return Ok(page);
                }
                None => read.await,
            },
        };
        let error = match stored {
            Ok(stored) => return Ok(Read::Stored(stored)),
            Err(error) => ChatError::from(error),
        };
        if is_away(&error) { remembered().ok_or(error) } else { Err(error) }
    }

    /// How far the actor has read.
    ///
    /// # Errors
    /// The actor is not a member.
    pub async fn read_marker(&self, actor: &Actor, channel: ChannelId) -> Result<Seq, ChatError> {
        let membership = self.store.membership(channel, actor.user).await?;
        membership.map(|m| m.read).ok_or_else(|| ChatError::not_found("channel among your own"))
    }

    /// Moves the actor's read marker forward and notifies all their devices.
    ///
    /// # Errors
    /// The actor is not a member.
    pub async fn mark_read(&self, actor: &Actor, channel: ChannelId, seq: Seq) -> Result<Seq, ChatError> {
        let generation = self.generation();
        let marked = self.store.set_read(actor.user, channel, seq).await?;
        let (place, end) = marked.ok_or_else(|| ChatError::not_found("channel among your own"))?;
        // The marker stands whatever becomes of this.
        let unread =
            self.unread(actor.user, vec![(place, end)]).await.ok().and_then(|unread| unread.first().copied());
        let head = unread.map(|_| end.head);
        self.signal(Signal::Read { user: actor.user, channel, seq: place.read, unread, head, generation })
            .await;
        Ok(place.read)
    }

    /// Notifies a channel that the actor is typing.
    ///
    /// # Errors
    /// The actor may not post there.
    pub async fn typing(&self, actor: &Actor, channel: ChannelId) -> Result<(), ChatError> {
        self.authorize(actor, channel, ChannelAction::Post).await?;
        self.signal(Signal::Typing { channel, user: actor.user }).await;
        Ok(())
    }

    async fn signal(&self, signal: Signal) {
        if let Err(error) = self.bus.publish(BusMessage::Signal(signal)).await {
            tracing::debug!(%error, "signal was not published");
        }
    }

    /// Channels as the actor sees them, each with their place in it.
    pub(super) async fn show_all(
        &self,
        actor: &Actor,
        rows: Vec<(ChannelRow, Option<Membership>)>,
    ) -> Result<Vec<Channel>, ChatError> {
        let places = rows.iter().filter_map(|(row, membership)| Some(((*membership)?, row.end))).collect();
        let mut unread = self.unread(actor.user, places).await?.into_iter();
        let mut channels = Vec::with_capacity(rows.len());
        for (row, membership) in rows {
            let unread = if membership.is_some() { unread.next() } else { None };
            channels.push(self.show(row, membership, unread).await?);
        }
        Ok(channels)
    }

    async fn show(
        &self,
        row: ChannelRow,
        membership: Option<Membership>,
        unread: Option<u64>,
    ) -> Result<Channel, ChatError> {
        let users = if row.kind.is_direct() {
            let members = self.store.members(row.id, None, limits::MAX_GROUP_MEMBERS).await?;
            members.into_iter().map(|member| member.user).collect()
        } else {
            Vec::new()
        };
        Ok(Channel {
            id: row.id,
            kind: row.kind,
            name: row.name,
            topic: row.topic,
            archived: row.archived,
            created_by: row.created_by,
            created_at: row.created_at,
            head: row.end.head,
            read: membership.map(|m| m.read),
            unread,
            users,
        })
    }
}

/// Of a cursor that no page of the listing gave.
#[must_use]
pub fn bad_cursor() -> ChatError {
    ChatError::new(
        chat_protocol::ErrorCode::Malformed,
        "the cursor is not from an earlier page of this listing",
    )
}
