//! Names of people and channels.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use chat_client::{Rest, RestError};
use chat_log::text::fold;
use chat_protocol::{
    ChannelId, ChannelKind, UserId,
    rest::{Channel, User},
};

use crate::text;

/// Those whose names are known already.
#[derive(Debug, Default)]
pub(crate) struct People {
    handles: HashMap<UserId, String>,
}

impl People {
    /// Looks up who is not known yet.
    pub(crate) async fn learn(
        &mut self,
        rest: &Rest,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<(), RestError> {
        let mut unknown: Vec<_> = users.into_iter().filter(|user| !self.handles.contains_key(user)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        self.handles.extend(rest.users_by_id(&unknown).await?.into_iter().map(|user| (user.id, user.handle)));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn named<const N: usize>(handles: [(UserId, &str); N]) -> Self {
        Self { handles: handles.into_iter().map(|(user, handle)| (user, handle.to_owned())).collect() }
    }

    /// The name to print. Handles, not display names: they are unique, so nobody can pose as another.
    pub(crate) fn name(&self, user: UserId) -> String {
        self.handles.get(&user).map_or_else(|| user.to_string(), |handle| text::one_line(handle))
    }

    /// What a channel is called when `me` reads it.
    pub(crate) fn channel(&self, channel: &Channel, me: UserId) -> String {
        if let Some(name) = &channel.name {
            return format!("#{}", text::one_line(name));
        }
        let mut others: Vec<_> = channel
            .users
            .iter()
            .filter(|user| **user != me)
            .map(|user| format!("@{}", self.name(*user)))
            .collect();
        if others.is_empty() {
            others.push(format!("@{}", self.name(me)));
        }
        others.join(",")
    }
}

/// The channel that a person means: a name, `#name`, `@handle` or an id.
pub(crate) async fn find_channel(rest: &Rest, given: &str) -> anyhow::Result<Channel> {
    if let Some(handle) = given.strip_prefix('@') {
        let user = find_user(rest, handle).await?;
        return Ok(rest.open_direct(&[user.id]).await?);
    }
    if let Ok(id) = given.parse::<ChannelId>() {
        return rest.channel(id).await.with_context(|| format!("could not open channel {id}"));
    }
    let name = given.strip_prefix('#').unwrap_or(given);
    let sought = fold(name);
    let named = |channels: Vec<Channel>| -> Vec<Channel> {
        let matches = |c: &Channel| c.name.as_ref().is_some_and(|name| fold(name) == sought);
        channels.into_iter().filter(matches).collect()
    };
    let mut own = named(rest.channels().await?);
    let name = text::one_line(name);
    if own.len() > 1 {
        // Private channels may be called what others are. What is written must not land in the wrong one.
        let each = own.iter().map(|channel| format!("{} ({})", channel.id, kind(channel.kind)));
        bail!(
            "{} of your channels are called #{name}: give the id of one, {}",
            own.len(),
            each.collect::<Vec<_>>().join(" or ")
        );
    }
    if let Some(channel) = own.pop() {
        return Ok(channel);
    }
    if !named(rest.public_channels().await?).is_empty() {
        bail!("you are not in #{name}: join it with `folkmoot join {name}`");
    }
    bail!(
        "found no channel #{name}: `folkmoot channels` lists yours, `folkmoot channels --public` those to join; \
         write @handle for a person"
    )
}

const fn kind(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Public => "public",
        ChannelKind::Private => "private",
        ChannelKind::Direct => "direct",
        ChannelKind::Group => "group",
    }
}

/// A public channel that one may not be in yet.
pub(crate) async fn find_public(rest: &Rest, given: &str) -> anyhow::Result<ChannelId> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    let name = given.strip_prefix('#').unwrap_or(given);
    let sought = fold(name);
    let channels = rest.public_channels().await?.into_iter().chain(rest.channels().await?);
    channels
        .into_iter()
        .find(|channel| channel.name.as_ref().is_some_and(|name| fold(name) == sought))
        .map(|channel| channel.id)
        .with_context(|| {
            format!(
                "found no public channel #{}: `folkmoot channels --public` lists them",
                text::one_line(name)
            )
        })
}

pub(crate) async fn find_user(rest: &Rest, handle: &str) -> anyhow::Result<User> {
    let handle = handle.to_lowercase();
    let mut cursor = None;
    loop {
        let page = rest.users(&handle, cursor.as_deref()).await?;
        if let Some(user) = page.items.into_iter().find(|user| user.handle == handle) {
            return Ok(user);
        }
        cursor = page.next;
        if cursor.is_none() {
            bail!("found nobody called @{}: `folkmoot users` lists people", text::one_line(&handle));
        }
    }
}
