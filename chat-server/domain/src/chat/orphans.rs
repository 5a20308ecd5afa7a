//! Private channels in which nobody is left who could open the door: the last one has left, or all accounts in it are closed.
//! An owner finds them and joins; their logs say so.

use chat_protocol::{
    ChannelId, ChannelKind, EventBody, UserId,
    rest::{Channel, Page},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Actor, Chat, ChatError,
    channels::tolerate_no_effect,
    now_ms,
    permissions::{ChannelAction, OrgAction, allow_org},
    reading::bad_cursor,
};
use crate::store::NewEvent;

/// Channels of all that one request looks at. A page may have fewer items than were asked for, or none, although there is a
/// next one.
const LOOKED_AT: usize = 200;
/// Channels whose members are read at the same time.
const AT_ONCE: usize = 16;
/// Members that are read at a time.
const MEMBERS: usize = 100;

impl Chat {
    /// Private channels whose members have all left, or have closed accounts. In no order.
    ///
    /// # Errors
    /// The actor is no owner, or the cursor is not one of this listing's.
    pub async fn orphaned_channels(
        &self,
        actor: &Actor,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Channel>, ChatError> {
        allow_org(actor, OrgAction::TakeOver)?;
        let after: Option<ChannelId> = cursor.map(|c| c.parse().map_err(|_| bad_cursor())).transpose()?;
        let all = self.store.all_channels(after, LOOKED_AT).await?;
        let mut next = all.last().filter(|_| all.len() == LOOKED_AT).map(|(last, _)| *last);
        let private = all.into_iter().filter(|(_, kind)| *kind == Some(ChannelKind::Private));
        let private: Vec<ChannelId> = private.map(|(channel, _)| channel).collect();
        let asked: Vec<_> = private.iter().map(|channel| self.is_orphaned(*channel)).collect();
        let orphaned: Vec<bool> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let both = private.into_iter().zip(orphaned);
        let mut found: Vec<ChannelId> =
            both.filter_map(|(channel, orphaned)| orphaned.then_some(channel)).collect();
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().copied();
        }
        let mut rows = self.store.channels(&found).await?;
        rows.sort_by_key(|row| found.iter().position(|channel| *channel == row.id));
        let items = self.show_all(actor, rows.into_iter().map(|row| (row, None)).collect()).await?;
        Ok(Page { items, next: next.map(|last| last.to_string()) })
    }

    /// Joins a private channel that nobody is in who could let anybody in. Being in it already is fine.
    ///
    /// # Errors
    /// The actor is no owner, or there is no such channel among the orphaned ones.
    pub async fn take_over(&self, actor: &Actor, channel: ChannelId) -> Result<Channel, ChatError> {
        if let Err(refused) = allow_org(actor, OrgAction::TakeOver) {
            // Whether it is there is not for everybody to know.
            self.authorize(actor, channel, ChannelAction::Read).await?;
            return Err(refused);
        }
        let view = self.view(actor, channel).await?;
        if view.kind != ChannelKind::Private || !(view.member || self.is_orphaned(channel).await?) {
            return Err(ChatError::not_found("channel"));
        }
        if !view.member {
            // Nobody in it could allow it.
            let joins = EventBody::MemberJoined { user: actor.user };
            let joins = NewEvent::of_server(actor.user, now_ms(), joins);
            tolerate_no_effect(&self.append(channel, vec![joins]).await?)?;
            tracing::info!(target: "audit", by = %actor.user, %channel, "orphaned channel taken over");
        }
        self.channel(actor, channel).await
    }

    /// Whether no member of it has an account that is not closed.
    async fn is_orphaned(&self, channel: ChannelId) -> Result<bool, ChatError> {
        let mut after = None;
        loop {
            let members: Vec<UserId> =
                self.store.members(channel, after, MEMBERS).await?.iter().map(|member| member.user).collect();
            if self.store.users(&members).await?.iter().any(|user| !user.deactivated) {
                return Ok(false);
            }
            after = members.last().copied();
            if members.len() < MEMBERS {
                return Ok(true);
            }
        }
    }
}
