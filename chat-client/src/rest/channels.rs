//! Channels, members, reading of logs, and read markers.

use chat_protocol::{
    ChannelId, Event, GENERATION_HEADER, Generation, Seq, UserId,
    limits::MAX_PAGE,
    rest::{
        AddMembers, Channel, CreateChannel, MarkRead, Member, Message, OpenDirect, Page, ReadMarker,
        UpdateChannel,
    },
};
use reqwest::Method;

use super::{Rest, RestError, read};

impl Rest {
    /// One's own channels.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn channels(&self) -> Result<Vec<Channel>, RestError> {
        self.all("v1/channels", &[]).await
    }

    /// Public channels that one may join.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn public_channels(&self) -> Result<Vec<Channel>, RestError> {
        self.all("v1/channels", &[("scope", "public".to_owned())]).await
    }

    /// Private channels that nobody with an open account is in; for owners.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn orphaned_channels(&self) -> Result<Vec<Channel>, RestError> {
        self.all("v1/channels", &[("scope", "orphaned".to_owned())]).await
    }

    /// One channel.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn channel(&self, channel: ChannelId) -> Result<Channel, RestError> {
        self.get(&format!("v1/channels/{channel}"), &[]).await
    }

    /// Makes a public or private channel.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn create_channel(&self, body: &CreateChannel) -> Result<Channel, RestError> {
        self.with_body(Method::POST, "v1/channels", body).await
    }

    /// Renames, archives or gives a topic.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn update_channel(
        &self,
        channel: ChannelId,
        body: &UpdateChannel,
    ) -> Result<Channel, RestError> {
        self.with_body(Method::PATCH, &format!("v1/channels/{channel}"), body).await
    }

    /// Joins a public channel.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn join(&self, channel: ChannelId) -> Result<Channel, RestError> {
        let path = format!("v1/channels/{channel}/join");
        read(self.signed(Method::POST, &path, |request| request).await?, &path).await
    }

    /// Joins a private channel that nobody with an open account is in; for owners.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn take_over(&self, channel: ChannelId) -> Result<Channel, RestError> {
        let path = format!("v1/channels/{channel}/take-over");
        read(self.signed(Method::POST, &path, |request| request).await?, &path).await
    }

    /// Leaves a channel.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn leave(&self, channel: ChannelId) -> Result<(), RestError> {
        self.signed(Method::POST, &format!("v1/channels/{channel}/leave"), |request| request).await.map(drop)
    }

    /// One page of a channel's members.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn members(&self, channel: ChannelId, cursor: Option<&str>) -> Result<Page<Member>, RestError> {
        let mut query = vec![("limit", MAX_PAGE.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.get(&format!("v1/channels/{channel}/members"), &query).await
    }

    /// Adds at most 100 users to a channel.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn add_members(&self, channel: ChannelId, users: &[UserId]) -> Result<(), RestError> {
        let body = AddMembers { users: users.to_vec() };
        let path = format!("v1/channels/{channel}/members");
        self.signed(Method::POST, &path, |request| request.json(&body)).await.map(drop)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn remove_member(&self, channel: ChannelId, user: UserId) -> Result<(), RestError> {
        let path = format!("v1/channels/{channel}/members/{user}");
        self.signed(Method::DELETE, &path, |request| request).await.map(drop)
    }

    /// Finds or makes the direct or group channel of these users and oneself.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn open_direct(&self, users: &[UserId]) -> Result<Channel, RestError> {
        self.with_body(Method::POST, "v1/dms", &OpenDirect { users: users.to_vec() }).await
    }

    /// One page of a channel's events after `after`, ascending. The page is the last one when it has no
    /// `next`; the following page is the one after its last event.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn events(&self, channel: ChannelId, after: Seq) -> Result<Page<Event>, RestError> {
        self.events_of(None, channel, after).await
    }

    /// Like [`Rest::events`], but refuses an answer of another generation of the server's store than this.
    pub(crate) async fn events_of(
        &self,
        generation: Option<Generation>,
        channel: ChannelId,
        after: Seq,
    ) -> Result<Page<Event>, RestError> {
        let query = [("after", after.to_string()), ("limit", MAX_PAGE.to_string())];
        let path = format!("v1/channels/{channel}/events");
        let response = self.signed(Method::GET, &path, |request| request.query(&query)).await?;
        let answered = response
            .headers()
            .get(GENERATION_HEADER)
            .and_then(|answered| answered.to_str().ok()?.parse().ok());
        match (generation, answered) {
            (Some(expected), Some(found)) if expected != found => Err(RestError::OtherGeneration { path }),
            _ => read(response, &path).await,
        }
    }

    /// One page of at most `limit` messages as they read now, newest first.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn messages(
        &self,
        channel: ChannelId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Message>, RestError> {
        let mut query = vec![("limit", limit.clamp(1, MAX_PAGE).to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.get(&format!("v1/channels/{channel}/messages"), &query).await
    }

    /// One's read marker.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn read_marker(&self, channel: ChannelId) -> Result<ReadMarker, RestError> {
        self.get(&format!("v1/channels/{channel}/read"), &[]).await
    }

    /// Moves one's read marker forward; it never goes back.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn mark_read(&self, channel: ChannelId, seq: Seq) -> Result<ReadMarker, RestError> {
        self.with_body(Method::PUT, &format!("v1/channels/{channel}/read"), &MarkRead { seq }).await
    }
}
