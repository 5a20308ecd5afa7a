//! Making, changing and leaving channels. Every change is an event.

use std::collections::BTreeSet;

use chat_log::text::{is_line, is_name, tidy};
use chat_protocol::{
    ChannelId, ChannelKind, EventBody, UserId, limits,
    rest::{Channel, CreateChannel, UpdateChannel},
};
use uuid::Uuid;

use super::{
    Actor, Chat, ChatError, now_ms,
    permissions::{self, ChannelAction, OrgAction, allow_org},
};
use crate::store::{Appended, NewEvent, Refusal};

/// Direct and group channels are named by their members (UUIDv5 of the sorted ids), so the same people always
/// find the same channel, however many of them open it at once and on whatever store.
const DIRECT_NAMESPACE: Uuid = Uuid::from_u128(0x6f6c_6b6d_6f6f_4d64_8972_6563_7466_6f6c);

impl Chat {
    /// Makes a public or private channel, with its creator and `members` in it.
    ///
    /// # Errors
    /// A guest asks, a value is not allowed, the name is taken, or they have made too many.
    pub async fn create_channel(&self, actor: &Actor, request: CreateChannel) -> Result<Channel, ChatError> {
        allow_org(actor, OrgAction::CreateChannel)?;
        if request.kind.is_direct() {
            return Err(ChatError::invalid(
                "kind must be public or private; direct and group channels are opened at /v1/dms",
            ));
        }
        let name = check_name(&request.name)?;
        let topic = check_topic(&request.topic)?;
        let mut members: BTreeSet<UserId> = request.members.into_iter().collect();
        members.remove(&actor.user);
        self.check_users(actor, &members).await?;
        let created = EventBody::ChannelCreated { channel_kind: request.kind, name: Some(name), topic };
        let channel = ChannelId::new();
        self.rates().channel(actor.user)?;
        self.found(actor, channel, created, std::iter::once(actor.user).chain(members)).await?;
        self.channel(actor, channel).await
    }

    /// Finds or makes the direct channel of the actor and one other (or nobody), or the group channel with
    /// several others.
    ///
    /// # Errors
    /// Too many users, one that does not exist, or too many channels made.
    pub async fn open_direct(&self, actor: &Actor, users: Vec<UserId>) -> Result<Channel, ChatError> {
        allow_org(actor, OrgAction::OpenDirect)?;
        let mut members: BTreeSet<UserId> = users.into_iter().collect();
        members.insert(actor.user);
        if members.len() > limits::MAX_GROUP_MEMBERS {
            return Err(ChatError::invalid(format!(
                "too many users: at most {} others are allowed; make a private channel for more",
                limits::MAX_GROUP_MEMBERS - 1
            )));
        }
        let name: Vec<u8> = members.iter().flat_map(|user| user.0.into_bytes()).collect();
        let channel = ChannelId(Uuid::new_v5(&DIRECT_NAMESPACE, &name));
        if self.store.channel(channel).await?.is_none() {
            self.check_users(actor, &members).await?;
            self.rates().channel(actor.user)?;
            let channel_kind = if members.len() > 2 { ChannelKind::Group } else { ChannelKind::Direct };
            let created = EventBody::ChannelCreated { channel_kind, name: None, topic: String::new() };
            self.found(actor, channel, created, members).await?;
        }
        self.channel(actor, channel).await
    }

    /// Changes name, topic or archival, whichever is given and differs.
    ///
    /// # Errors
    /// Not allowed, a value is not allowed, or the name is taken.
    pub async fn update_channel(
        &self,
        actor: &Actor,
        channel: ChannelId,
        change: UpdateChannel,
    ) -> Result<Channel, ChatError> {
        let view = self.view(actor, channel).await?;
        let mut bodies = Vec::new();
        // Bringing a channel back comes first, so that one request can bring it back and rename it.
        let brought_back = change.archived == Some(false);
        if let Some(archived) = change.archived {
            permissions::allow(actor, &view, ChannelAction::Archive)?;
            bodies.push(EventBody::Archived { archived });
        }
        let view = permissions::ChannelView { archived: view.archived && !brought_back, ..view };
        if let Some(topic) = change.topic {
            permissions::allow(actor, &view, ChannelAction::Describe)?;
            bodies.insert(usize::from(brought_back), EventBody::TopicChanged { topic: check_topic(&topic)? });
        }
        if let Some(name) = change.name {
            permissions::allow(actor, &view, ChannelAction::Describe)?;
            bodies.insert(usize::from(brought_back), EventBody::Renamed { name: check_name(&name)? });
        }
        if !bodies.is_empty() {
            // One request is one change: all of it or nothing.
            let event = |(n, body)| NewEvent { with_previous: n > 0, ..Self::new_event(actor, body) };
            let events = bodies.into_iter().enumerate().map(event).collect();
            tolerate_no_effect(&self.append(channel, events).await?)?;
        }
        self.channel(actor, channel).await
    }

    /// Joins a public channel; being in it already is fine.
    ///
    /// # Errors
    /// Not allowed, or no such channel.
    pub async fn join(&self, actor: &Actor, channel: ChannelId) -> Result<Channel, ChatError> {
        let view = self.view(actor, channel).await?;
        if !view.member {
            permissions::allow(actor, &view, ChannelAction::Join)?;
            self.add(actor, channel, std::iter::once(actor.user)).await?;
        }
        self.channel(actor, channel).await
    }

    /// Leaves a channel; not being in it is fine.
    ///
    /// # Errors
    /// Direct and group channels cannot be left.
    pub async fn leave(&self, actor: &Actor, channel: ChannelId) -> Result<(), ChatError> {
        self.authorize(actor, channel, ChannelAction::Leave).await?;
        self.remove(actor, channel, actor.user).await
    }

    /// Adds users to a channel; those who are in it already stay.
    ///
    /// # Errors
    /// Not allowed, too many, or one does not exist.
    pub async fn add_members(
        &self,
        actor: &Actor,
        channel: ChannelId,
        users: Vec<UserId>,
    ) -> Result<(), ChatError> {
        self.authorize(actor, channel, ChannelAction::AddMembers).await?;
        let users: BTreeSet<UserId> = users.into_iter().collect();
        self.check_users(actor, &users).await?;
        self.add(actor, channel, users).await
    }

    /// Removes somebody from a channel; their not being in it is fine.
    ///
    /// # Errors
    /// Not allowed.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        channel: ChannelId,
        user: UserId,
    ) -> Result<(), ChatError> {
        let action = if user == actor.user { ChannelAction::Leave } else { ChannelAction::RemoveMember };
        self.authorize(actor, channel, action).await?;
        self.remove(actor, channel, user).await
    }

    /// Writes a channel's first events: that it exists, and who is in it. That it exists already is fine for
    /// direct channels, whose id says all about them.
    async fn found(
        &self,
        actor: &Actor,
        channel: ChannelId,
        created: EventBody,
        members: impl IntoIterator<Item = UserId>,
    ) -> Result<(), ChatError> {
        // Whether the actor may make it was decided by the organisation's rules: the log has none before its first event.
        let at = now_ms();
        let mut events = vec![NewEvent::of_server(actor.user, at, created)];
        events.extend(
            members
                .into_iter()
                .map(|user| NewEvent::of_server(actor.user, at, EventBody::MemberJoined { user })),
        );
        match self.append(channel, events).await?.first() {
            Some(Appended::Refused(Refusal::ChannelExists)) | Some(Appended::New { .. }) => Ok(()),
            Some(Appended::Refused(refusal)) => Err((*refusal).into()),
            Some(Appended::Duplicate { .. }) | None => Err(ChatError::unknown_outcome()),
        }
    }

    async fn add(
        &self,
        actor: &Actor,
        channel: ChannelId,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<(), ChatError> {
        let events: Vec<_> =
            users.into_iter().map(|user| Self::new_event(actor, EventBody::MemberJoined { user })).collect();
        if events.is_empty() {
            return Ok(());
        }
        tolerate_no_effect(&self.append(channel, events).await?)
    }

    async fn remove(&self, actor: &Actor, channel: ChannelId, user: UserId) -> Result<(), ChatError> {
        let event = Self::new_event(actor, EventBody::MemberLeft { user });
        tolerate_no_effect(&self.append(channel, vec![event]).await?)
    }

    async fn check_users(&self, actor: &Actor, users: &BTreeSet<UserId>) -> Result<(), ChatError> {
        if users.len() > limits::MAX_ADD_MEMBERS {
            return Err(ChatError::invalid(format!(
                "too many users at once: at most {} are allowed, got {}",
                limits::MAX_ADD_MEMBERS,
                users.len()
            )));
        }
        let ids: Vec<UserId> = users.iter().copied().collect();
        let known: BTreeSet<UserId> = self
            .users(actor, &ids)
            .await?
            .into_iter()
            .filter(|user| !user.deactivated)
            .map(|user| user.id)
            .collect();
        users
            .difference(&known)
            .next()
            .map_or(Ok(()), |missing| Err(ChatError::invalid(format!("there is no user {missing}"))))
    }
}

/// Doing what is done already is fine for the one who asks; any other refusal is not.
pub(super) fn tolerate_no_effect(outcomes: &[Appended]) -> Result<(), ChatError> {
    outcomes
        .iter()
        .find_map(|outcome| match outcome {
            Appended::Refused(refusal) if *refusal != Refusal::NoEffect => Some((*refusal).into()),
            _ => None,
        })
        .map_or(Ok(()), Err)
}

fn check_name(name: &str) -> Result<String, ChatError> {
    let name = tidy(name.trim());
    let chars = name.chars().count();
    if chars > limits::MAX_CHANNEL_NAME_CHARS || !is_name(&name) {
        return Err(ChatError::invalid(format!(
            "not a usable channel name: it takes 1 to {} characters that show, without control characters, characters that do \
             not show, and marks that turn the direction of text",
            limits::MAX_CHANNEL_NAME_CHARS
        )));
    }
    Ok(name)
}

fn check_topic(topic: &str) -> Result<String, ChatError> {
    let topic = topic.trim();
    if topic.chars().count() > limits::MAX_TOPIC_CHARS || !is_line(topic) {
        return Err(ChatError::invalid(format!(
            "not a usable topic: it takes one line of at most {} characters that show, without marks that turn the direction of text",
            limits::MAX_TOPIC_CHARS
        )));
    }
    Ok(topic.to_owned())
}
