//! Private channels in which nobody is left who could open the door: the last one has left, or all accounts in it are closed.
//! An owner finds them and joins; their logs say so.

use chat_protocol::{
    ChannelId, ChannelKind, EventBody, Seq, UserId,
    rest::{Channel, Page},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Actor, Chat, ChatError, now_ms,
    permissions::{ChannelAction, OrgAction, allow_org},
    reading::bad_cursor,
};
use crate::store::{Appended, NewEvent, Refusal};

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
        let asked: Vec<_> = private.iter().map(|channel| self.orphaned_since(*channel)).collect();
        let orphaned: Vec<Option<Seq>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let both = private.into_iter().zip(orphaned);
        let mut found: Vec<ChannelId> =
            both.filter_map(|(channel, orphaned)| orphaned.map(|_| channel)).collect();
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().copied();
        }
        let mut rows = self.store.channels(&found).await?;
        rows.sort_by_key(|row| found.iter().position(|channel| *channel == row.id));
        let items = self.show_all(actor, rows.into_iter().map(|row| (row, None)).collect()).await?;
        Ok(Page { items, next: next.map(|last| last.to_string()) })
    }

    /// Joins a private channel that nobody is in who could let anybody in. Being in it already is fine. Of two who do so at once
    /// one is in it, who can let the other one in.
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
        let none = || ChatError::not_found("channel");
        if view.kind != ChannelKind::Private {
            return Err(none());
        }
        if !view.member {
            let since = self.orphaned_since(channel).await?.ok_or_else(none)?;
            // Nobody in it could allow it, as long as nobody else has come.
            let joins = EventBody::MemberJoined { user: actor.user };
            let joins =
                NewEvent { nobody_since: Some(since), ..NewEvent::of_server(actor.user, now_ms(), joins) };
            match self.append(channel, vec![joins]).await?.first() {
                Some(Appended::New { .. }) => {
                    tracing::info!(target: "audit", by = %actor.user, %channel, "orphaned channel taken over");
                }
                Some(Appended::Refused(Refusal::NoEffect)) => {}
                Some(Appended::Refused(_)) => return Err(none()),
                Some(Appended::Duplicate { .. }) | None => return Err(ChatError::unknown_outcome()),
            }
        }
        self.channel(actor, channel).await
    }

    /// If no member of it has an account that is not closed, the position with which the last of them joined.
    async fn orphaned_since(&self, channel: ChannelId) -> Result<Option<Seq>, ChatError> {
        let (mut after, mut newest) = (None, 0);
        loop {
            let page = self.store.members(channel, after, MEMBERS).await?;
            let members: Vec<UserId> = page.iter().map(|member| member.user).collect();
            if self.store.users(&members).await?.iter().any(|user| !user.deactivated) {
                return Ok(None);
            }
            newest = page.iter().map(|member| member.since).fold(newest, Seq::max);
            after = members.last().copied();
            if members.len() < MEMBERS {
                return Ok(Some(newest));
            }
        }
    }
}
