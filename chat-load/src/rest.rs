//! Reading channels' logs over REST.

use std::time::Duration;

use chat_protocol::{
    ChannelId, Event,
    limits::MAX_PAGE,
    rest::{Channel, Page},
};

/// Longest wait for one page.
const DEADLINE: Duration = Duration::from_secs(20);
/// Tries for one page, while the server says that trying again may help.
const TRIES: u32 = 6;

/// A log that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The client could not be set up.
    #[error("failed to set up an HTTP client")]
    Setup(#[source] reqwest::Error),
    /// No answer, or one that is not readable.
    #[error("failed to read a page of events of {channel}")]
    Request {
        /// The channel that was read.
        channel: ChannelId,
        /// What the HTTP client reported.
        source: reqwest::Error,
    },
    /// Another answer than 200.
    #[error("a page of events of {channel} was refused with status {status}: {body}")]
    Status {
        /// The channel that was read.
        channel: ChannelId,
        /// HTTP status of the answer.
        status: u16,
        /// The beginning of what it said.
        body: String,
    },
}

/// A client of `/v1/channels/{id}/events`.
#[derive(Debug, Clone)]
pub struct Rest {
    client: reqwest::Client,
    base: String,
}

impl Rest {
    /// A client for a server at `host:port`, without TLS.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn new(host: &str) -> Result<Self, RestError> {
        // The URL is plain HTTP, but the client wants to know who would do its TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().map_err(RestError::Setup)?;
        Ok(Self { client, base: format!("http://{host}") })
    }

    /// All events of a channel after `after`, in the order that the server gives them.
    ///
    /// # Errors
    /// When a page cannot be read, after retries where they make sense.
    pub async fn events(&self, channel: ChannelId, token: &str, after: u64) -> Result<Vec<Event>, RestError> {
        let mut events = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page(channel, token, after, cursor.as_deref()).await?;
            events.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(events),
            }
        }
    }

    /// The last position of a channel's log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn head(&self, channel: ChannelId, token: &str) -> Result<u64, RestError> {
        let failed = |source| RestError::Request { channel, source };
        let url = format!("{}/v1/channels/{channel}", self.base);
        let answer = self.client.get(url).bearer_auth(token).send().await.map_err(failed)?;
        let answer: Channel = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
        Ok(answer.head)
    }

    async fn page(
        &self,
        channel: ChannelId,
        token: &str,
        after: u64,
        cursor: Option<&str>,
    ) -> Result<Page<Event>, RestError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = self.page_once(channel, token, after, cursor).await;
            let worth_it = match &outcome {
                Err(RestError::Status { status, .. }) => matches!(status, 429 | 500..),
                Err(RestError::Request { source, .. }) => !source.is_decode(),
                _ => false,
            };
            if !worth_it || tries == TRIES {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(200) * tries).await;
        }
    }

    /// One page of events after `after`, or where a cursor says, tried once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn page_once(
        &self,
        channel: ChannelId,
        token: &str,
        after: u64,
        cursor: Option<&str>,
    ) -> Result<Page<Event>, RestError> {
        let mut query = vec![("limit", MAX_PAGE.to_string())];
        match cursor {
            Some(cursor) => query.push(("cursor", cursor.to_owned())),
            None => query.push(("after", after.to_string())),
        }
        let failed = |source| RestError::Request { channel, source };
        let answer = self
            .client
            .get(format!("{}/v1/channels/{channel}/events", self.base))
            .query(&query)
            .bearer_auth(token)
            .send()
            .await
            .map_err(failed)?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            let body = answer.text().await.unwrap_or_default().chars().take(300).collect();
            return Err(RestError::Status { channel, status, body });
        }
        answer.json().await.map_err(failed)
    }
}
