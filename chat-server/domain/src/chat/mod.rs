//! The domain: channels, their logs, who may do what. Knows traits, not databases, and nothing of HTTP.
//!
//! In reading order: `permissions` decides, `messages` and `channels` turn commands into events, `log` sends
//! them (as `unit`s) through `handover` to the process that owns the channel, or to this one's `writer`, which commits them
//! in groups and hands them to the bus; `attachments` follows the files of messages, `reading` shows what was committed,
//! `directory` remembers what the decisions need.

mod attachments;
mod auth_versions;
mod channels;
pub mod directory;
mod encode;
mod error;
mod file_names;
mod files;
mod flight;
mod generation;
mod handover;
mod heads;
mod log;
mod messages;
mod names;
mod orphans;
pub mod paging;
mod people;
pub mod permissions;
mod rates;
mod reading;
mod recent;
mod unit;
mod unread;
mod writer;

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use chat_protocol::{ChannelId, ErrorCode, Millis, Seq, rest::Committed};

use tokio::sync::{Notify, watch};

pub use crate::clock::now_ms;
pub use auth_versions::AuthVersions;
pub use encode::event_json;
pub use error::ChatError;
pub use files::{FileLimits, Files, Upload, blob_failed, no_space};
pub use flight::{Flights, Read};
pub use generation::are_strangers;
pub use handover::{HandOverError, Owners, Remote};
pub use messages::{Command, PendingCommit};
pub use names::display_name;
pub use people::AccountChange;
pub use permissions::Actor;
pub use rates::{Rate, RateOptions, Rates};
pub use reading::{EventsPage, bad_cursor};
pub use recent::RecentEvents;

use crate::{
    bus::{Bus, CommittedEvent},
    store::{Appended, GenerationRow, NewEvent, Store},
};
use directory::Directory;
use heads::RecentHeads;
use log::ChannelLogs;
use permissions::{ChannelAction, ChannelView};
use writer::Writer;

/// What can be set about a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatOptions {
    /// How much people may do.
    pub rates: RateOptions,
    /// An upload that no message has after this long is removed.
    pub unattached_life: Duration,
}

impl Default for ChatOptions {
    /// Nobody is limited; uploads wait for a day.
    fn default() -> Self {
        Self { rates: RateOptions::NONE, unattached_life: Duration::from_secs(86_400) }
    }
}

/// The chat itself: what every door (socket, REST, demo data) goes through.
pub struct Chat {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    directory: Arc<Directory>,
    logs: ChannelLogs,
    heads: Arc<RecentHeads>,
    auth_versions: Arc<AuthVersions>,
    /// See `generation`; shared with who publishes.
    generation: Arc<watch::Sender<Option<GenerationRow>>>,
    /// Who keeps recent events, if anybody does; not kept alive by this.
    recent: OnceLock<Weak<dyn RecentEvents>>,
    recounts: unread::Recounts,
    rates: Arc<Rates>,
    /// For how long an upload may be attached, in milliseconds.
    unattached_life_ms: Millis,
    /// Files are gone, their bytes are to be removed.
    file_work: Arc<Notify>,
}

impl Chat {
    /// A chat on this store and bus, in which nobody is limited. Needs a Tokio runtime.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, bus: Arc<dyn Bus>) -> Arc<Self> {
        Self::with(store, bus, &ChatOptions::default())
    }

    /// A chat with these options. Needs a Tokio runtime.
    #[must_use]
    pub fn with(store: Arc<dyn Store>, bus: Arc<dyn Bus>, options: &ChatOptions) -> Arc<Self> {
        let directory = Arc::new(Directory::new(Arc::clone(&store)));
        let heads = Arc::new(RecentHeads::new());
        let auth_versions = Arc::new(AuthVersions::default());
        let generation = Arc::new(watch::Sender::new(None));
        let writer = Writer::new(
            Arc::clone(&store),
            Arc::clone(&bus),
            Arc::clone(&directory),
            Arc::clone(&heads),
            Arc::clone(&auth_versions),
            Arc::clone(&generation),
        );
        let logs = ChannelLogs::new(writer, Arc::clone(&directory));
        let recent = OnceLock::new();
        let recounts = Flights::default();
        let rates = Arc::new(Rates::new(&options.rates));
        Arc::new(Self {
            store,
            bus,
            directory,
            logs,
            heads,
            auth_versions,
            generation,
            recent,
            recounts,
            rates,
            unattached_life_ms: u64::try_from(options.unattached_life.as_millis()).unwrap_or(Millis::MAX),
            file_work: Arc::default(),
        })
    }

    /// How much people may do.
    #[must_use]
    pub const fn rates(&self) -> &Arc<Rates> {
        &self.rates
    }

    /// The realtime bus.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// The versions of those whose role changed lately.
    #[must_use]
    pub const fn auth_versions(&self) -> &Arc<AuthVersions> {
        &self.auth_versions
    }

    /// The last positions of up to `limit` logs that this process wrote to `within` the last while, newest first.
    #[must_use]
    pub fn recent_heads(&self, limit: usize, within: Duration) -> Vec<(ChannelId, Seq)> {
        self.heads.newest(limit, within)
    }

    /// From now on events of channels that another process owns are handed to it. To be called once, before use.
    pub fn set_owners(&self, owners: Arc<dyn Owners>) {
        self.logs.set_owners(owners);
    }

    /// Appends events that another process decided about and handed over because this one owns the channel. They are
    /// never handed on. Dropped before its turn comes, nothing is done.
    ///
    /// # Errors
    /// [`HandOverError`] says what the other process may do.
    pub async fn append_for(
        &self,
        channel: ChannelId,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Appended>, HandOverError> {
        let submitted = self.logs.take_over(channel, events).map_err(|full| HandOverError::Busy {
            retry_after_ms: full.retry_after_ms.unwrap_or_default(),
        })?;
        submitted.outcome().await.map_err(|error| match error.code {
            ErrorCode::Overloaded | ErrorCode::Internal => HandOverError::NotDone,
            // Nothing done, or an unknown outcome: the other process writes with the same ids either way.
            _ => HandOverError::InDoubt,
        })
    }

    /// Notifies the chat of an event that another process committed, so that it forgets what that outdates.
    pub fn observe(&self, event: &CommittedEvent) {
        self.directory.observe(event.channel, &event.body);
    }

    /// Notifies the chat that events of other processes were missed: it believes nothing that it remembers.
    pub fn forget_all(&self) {
        self.directory.forget_all();
    }

    /// From now on, recent history comes from there while the store is away. The first one counts.
    pub fn set_recent_events(&self, recent: Weak<dyn RecentEvents>) {
        let _ = self.recent.set(recent);
    }

    /// Whether the actor may do this in the channel.
    ///
    /// # Errors
    /// What [`permissions::allow`] says, or that the store could not be asked.
    pub async fn authorize(
        &self,
        actor: &Actor,
        channel: ChannelId,
        action: ChannelAction,
    ) -> Result<(), ChatError> {
        permissions::allow(actor, &self.view(actor, channel).await?, action)
    }

    async fn view(&self, actor: &Actor, channel: ChannelId) -> Result<ChannelView, ChatError> {
        // Side by side: who waits for a store that hangs should wait once.
        let directory = &self.directory;
        let (meta, member) =
            tokio::join!(directory.channel(channel), directory.is_member(channel, actor.user));
        let (meta, member) = (meta?, member?);
        Ok(ChannelView {
            kind: meta.kind,
            archived: meta.archived,
            member,
            creator: meta.created_by == actor.user,
        })
    }

    /// Appends events of one user as one unit and answers for each.
    async fn append(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Vec<Appended>, ChatError> {
        self.logs.submit(channel, events)?.outcome().await
    }

    /// An event that a request made, without a client id.
    fn new_event(actor: &Actor, body: chat_protocol::EventBody) -> NewEvent {
        NewEvent { authority: Some(actor.authority()), ..NewEvent::of_server(actor.user, now_ms(), body) }
    }
}

/// What an outcome means to the one who sent the command.
fn committed(channel: ChannelId, at: u64, outcome: Appended) -> Result<Committed, ChatError> {
    match outcome {
        Appended::New { seq } => Ok(Committed { channel, seq, at, duplicate: false }),
        Appended::Duplicate { seq, at } => Ok(Committed { channel, seq, at, duplicate: true }),
        Appended::Refused(refusal) => Err(refusal.into()),
    }
}
