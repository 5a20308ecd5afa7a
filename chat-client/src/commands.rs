//! Everything that one can do to a channel's messages, over both doors: the socket of a [`Client`], which resends until the
//! outcome is known, and requests of [`Rest`].

use chat_log::check_emoji;
use chat_protocol::{
    ChannelId, ClientFrame, ClientId, FileId, Seq,
    rest::{Committed, EditMessage, SendMessage},
};
use reqwest::{Method, RequestBuilder};
use uuid::Uuid;

use crate::{Client, Pending, Rest, RestError, SendError, Sent};

/// The header that makes a request idempotent for 24 hours.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl Client {
    /// Sends a message and waits until it is committed, through as many connections as it takes. Giving up
    /// waiting does not take it back.
    ///
    /// # Errors
    /// When it is refused for good, does not fit, or the client ends first.
    pub async fn send(&self, channel: ChannelId, text: impl Into<String>) -> Result<Sent, SendError> {
        self.submit(channel, text, Vec::new()).await.outcome().await
    }

    /// Puts a message into the outbox and returns with its id, as soon as there is a place in it. Messages to
    /// one channel are committed in the order in which this was called. `files` were uploaded to the channel
    /// before.
    pub async fn submit(&self, channel: ChannelId, text: impl Into<String>, files: Vec<FileId>) -> Pending {
        self.submit_as(new_id(), channel, text, files).await
    }

    /// Like [`Client::submit`], by a person who had seen the channel up to `seen`: if nobody else has written since, their
    /// read marker moves to the message.
    pub async fn submit_seen(
        &self,
        channel: ChannelId,
        text: impl Into<String>,
        files: Vec<FileId>,
        seen: Seq,
    ) -> Pending {
        let (id, text) = (new_id(), text.into());
        self.append(id, channel, ClientFrame::Send { id, channel, text, files, seen: Some(seen) }).await
    }

    /// Like [`Client::submit`], with an id of one's own: for an outbox on disk that outlives the process.
    pub async fn submit_as(
        &self,
        id: ClientId,
        channel: ChannelId,
        text: impl Into<String>,
        files: Vec<FileId>,
    ) -> Pending {
        self.append(id, channel, ClientFrame::Send { id, channel, text: text.into(), files, seen: None })
            .await
    }

    /// Like [`Client::submit`], for a program that would rather inform its user than wait for a place.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] when [`crate::Options::max_outbox`] commands wait already.
    pub async fn try_submit(
        &self,
        channel: ChannelId,
        text: impl Into<String>,
        files: Vec<FileId>,
    ) -> Result<Pending, SendError> {
        let (id, text) = (new_id(), text.into());
        self.try_append(id, channel, ClientFrame::Send { id, channel, text, files, seen: None }).await
    }

    /// Gives one's own message `target` a new text, and waits until that is committed.
    ///
    /// # Errors
    /// Like [`Client::send`].
    pub async fn edit(
        &self,
        channel: ChannelId,
        target: Seq,
        text: impl Into<String>,
    ) -> Result<Sent, SendError> {
        let (id, text) = (new_id(), text.into());
        self.append(id, channel, ClientFrame::Edit { id, channel, target, text }).await.outcome().await
    }

    /// Deletes message `target`, and waits until that is committed.
    ///
    /// # Errors
    /// Like [`Client::send`].
    pub async fn delete(&self, channel: ChannelId, target: Seq) -> Result<Sent, SendError> {
        let id = new_id();
        self.append(id, channel, ClientFrame::Delete { id, channel, target }).await.outcome().await
    }

    /// Reacts to message `target` with an emoji, and waits until that is committed.
    ///
    /// # Errors
    /// Like [`Client::send`]; [`chat_protocol::ErrorCode::Conflict`] when one has reacted so already,
    /// [`chat_protocol::ErrorCode::TooManyReactions`] when there are as many reactions as a message may have.
    pub async fn react(
        &self,
        channel: ChannelId,
        target: Seq,
        emoji: impl Into<String>,
    ) -> Result<Sent, SendError> {
        self.reaction(channel, target, emoji.into(), false).await
    }

    /// Takes one's own reaction to message `target` back, and waits until that is committed.
    ///
    /// # Errors
    /// Like [`Client::send`]; [`chat_protocol::ErrorCode::Conflict`] when there is none.
    pub async fn unreact(
        &self,
        channel: ChannelId,
        target: Seq,
        emoji: impl Into<String>,
    ) -> Result<Sent, SendError> {
        self.reaction(channel, target, emoji.into(), true).await
    }

    async fn reaction(
        &self,
        channel: ChannelId,
        target: Seq,
        emoji: String,
        removed: bool,
    ) -> Result<Sent, SendError> {
        let id = new_id();
        let frame = ClientFrame::React { id, channel, target, emoji, removed };
        self.append(id, channel, frame).await.outcome().await
    }
}

impl Rest {
    /// Sends a message. Repeating it with the same `key` within 24 hours makes no second one.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn send_message(
        &self,
        channel: ChannelId,
        key: ClientId,
        body: &SendMessage,
    ) -> Result<Committed, RestError> {
        let path = format!("v1/channels/{channel}/messages");
        self.commit(Method::POST, &path, key, |request| request.json(body)).await
    }

    /// Gives one's own message a new text.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn edit_message(
        &self,
        channel: ChannelId,
        target: Seq,
        key: ClientId,
        text: &str,
    ) -> Result<Committed, RestError> {
        let path = format!("v1/channels/{channel}/messages/{target}");
        let body = EditMessage { text: text.to_owned() };
        self.commit(Method::PATCH, &path, key, |request| request.json(&body)).await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn delete_message(
        &self,
        channel: ChannelId,
        target: Seq,
        key: ClientId,
    ) -> Result<Committed, RestError> {
        let path = format!("v1/channels/{channel}/messages/{target}");
        self.commit(Method::DELETE, &path, key, |request| request).await
    }

    /// Reacts to a message with an emoji.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn react(
        &self,
        channel: ChannelId,
        target: Seq,
        key: ClientId,
        emoji: &str,
    ) -> Result<Committed, RestError> {
        self.commit(Method::PUT, &reaction(channel, target, emoji)?, key, |request| request).await
    }

    /// Takes one's own reaction to a message back.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn unreact(
        &self,
        channel: ChannelId,
        target: Seq,
        key: ClientId,
        emoji: &str,
    ) -> Result<Committed, RestError> {
        self.commit(Method::DELETE, &reaction(channel, target, emoji)?, key, |request| request).await
    }

    async fn commit(
        &self,
        method: Method,
        path: &str,
        key: ClientId,
        shape: impl Fn(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<Committed, RestError> {
        let key = key.to_string();
        let shape = move |request: RequestBuilder| shape(request.header(IDEMPOTENCY_KEY, &key));
        self.read_signed(method, path, shape).await
    }
}

fn new_id() -> ClientId {
    ClientId(Uuid::new_v4())
}

/// The path of one's own reaction. Emoji may contain what means something in a path, such as `#` and `*` of keycaps. What is
/// no emoji may be no segment of a path either, such as `..`.
fn reaction(channel: ChannelId, target: Seq, emoji: &str) -> Result<String, RestError> {
    check_emoji(emoji).map_err(RestError::Emoji)?;
    let emoji: String = emoji.bytes().map(|byte| format!("%{byte:02X}")).collect();
    Ok(format!("v1/channels/{channel}/messages/{target}/reactions/{emoji}"))
}
