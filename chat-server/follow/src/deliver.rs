//! Gives one channel's events to a consumer, in order, and moves the cursor behind them.

use std::{future::Future, sync::Arc};

use chat_domain::store::StoreError;
use chat_protocol::{ChannelId, Seq};

use super::{ConsumerError, queue::Until, run::Runner};

/// Tries to save a cursor that another process moves.
const SAVES: usize = 3;

/// How far a consumer has come in a channel. Locked while the channel is given to it.
#[derive(Default)]
pub(super) struct Progress {
    /// The last event that it has had; `None`: to be read from the store.
    handled: Option<Seq>,
    /// The cursor as it stands in the store.
    saved: Seq,
}

/// One channel's progress; whoever holds the lock is the only one who gives the channel to the consumer.
pub(super) type Shared = Arc<tokio::sync::Mutex<Progress>>;

impl Progress {
    fn is_saved(&self) -> bool {
        self.handled.is_none_or(|handled| handled <= self.saved)
    }
}

/// Why a channel does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("store was not read or written")]
    Store(#[from] StoreError),
    #[error("store did not answer in time")]
    StoreLate,
    #[error("consumer did not take events from {from} on")]
    Refused { from: Seq, source: ConsumerError },
    #[error("consumer did not end in time with events from {from} on")]
    Late { from: Seq },
    #[error("expected event {expected} of the log, found {found:?}")]
    Gap { expected: Seq, found: Option<Seq> },
    #[error("too many channels are followed at once")]
    Full,
}

impl Failure {
    /// Whether it is this channel that does not go on, and not the store.
    pub(super) const fn is_of_channel(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Late { .. } | Self::Gap { .. })
    }
}

impl Runner {
    /// Reads a channel as far as `until` says and gives it to the consumer. With `save` the cursor is saved at the end,
    /// otherwise some time later.
    pub(super) async fn deliver(&self, channel: ChannelId, until: Until, save: bool) -> Result<(), Failure> {
        let shared = self.progress(channel)?;
        let mut progress = shared.lock().await;
        let result = self.give_events(channel, until, &mut progress).await;
        // Also what went well before a failure.
        if save || result.is_err() || self.stop.is_cancelled() {
            self.save(channel, &mut progress).await?;
        }
        if progress.is_saved() && self.is_crowded() {
            self.forget(channel, &shared);
        }
        result
    }

    /// Whether what is kept of quiet channels is better forgotten.
    pub(super) fn is_crowded(&self) -> bool {
        self.channels.lock().len() > self.options.most_channels / 2
    }

    /// Forgets a channel whose lock the caller holds, unless somebody else waits for it.
    pub(super) fn forget(&self, channel: ChannelId, shared: &Shared) {
        let mut channels = self.channels.lock();
        // The map's and the caller's.
        if Arc::strong_count(shared) == 2 {
            channels.remove(&channel);
        }
    }

    async fn give_events(
        &self,
        channel: ChannelId,
        until: Until,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let mut handled = self.handled(channel, progress).await?;
        let head = match until {
            Until::Seq(seq) => seq,
            Until::Head { settled } => self.ask(self.store.head(channel, settled)).await?,
        };
        while handled < head {
            let events = self.ask(self.store.events(channel, handled, self.options.page)).await?;
            let Some(last) = events.last().map(|event| event.seq) else {
                return Err(Failure::Gap { expected: handled + 1, found: None });
            };
            let from = handled + 1;
            if let Some(found) = (from..).zip(&events).find_map(|(n, e)| (n != e.seq).then_some(e.seq)) {
                return Err(Failure::Gap { expected: from, found: Some(found) });
            }
            let taken = self.consumer.handle(channel, &events);
            match tokio::time::timeout(self.options.handle_within, taken).await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(Failure::Refused { from, source }),
                Err(_) => return Err(Failure::Late { from }),
            }
            handled = last;
            progress.handled = Some(handled);
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn handled(&self, channel: ChannelId, progress: &mut Progress) -> Result<Seq, Failure> {
        if let Some(handled) = progress.handled {
            return Ok(handled);
        }
        let cursor = self.ask(self.store.cursor(self.name, channel)).await?;
        *progress = Progress { handled: Some(cursor), saved: cursor };
        Ok(cursor)
    }

    /// Saves a channel's cursor, if it has moved.
    pub(super) async fn save(&self, channel: ChannelId, progress: &mut Progress) -> Result<(), Failure> {
        for _ in 0..SAVES {
            let Some(handled) = progress.handled.filter(|handled| *handled > progress.saved) else {
                return Ok(());
            };
            let moved = self.store.move_cursor(self.name, channel, progress.saved, handled);
            if self.ask(moved).await? {
                progress.saved = handled;
                return Ok(());
            }
            // Another process takes the channel for its own as well, and may have gone further.
            let cursor = self.ask(self.store.cursor(self.name, channel)).await?;
            *progress = Progress { handled: Some(handled.max(cursor)), saved: cursor };
        }
        Err(Failure::StoreLate)
    }

    /// A channel that the consumer does not take is noted, so that the checkpoint may pass it.
    pub(super) async fn note_behind(&self, channel: ChannelId) -> Result<(), Failure> {
        let progress = self.progress(channel)?;
        let mut progress = progress.lock().await;
        let handled = self.handled(channel, &mut progress).await?;
        self.save(channel, &mut progress).await?;
        let until = self.ask(self.store.head(channel, true)).await?;
        self.ask(self.store.set_behind(self.name, channel, handled, until)).await
    }

    /// A channel that was noted as behind has been read to its end.
    pub(super) async fn caught_up(&self, channel: ChannelId) -> Result<(), Failure> {
        let progress = self.progress(channel)?;
        let mut progress = progress.lock().await;
        self.save(channel, &mut progress).await?;
        let Some(handled) = progress.handled else { return Ok(()) };
        self.ask(self.store.clear_behind(self.name, channel, handled)).await
    }

    fn progress(&self, channel: ChannelId) -> Result<Shared, Failure> {
        let mut channels = self.channels.lock();
        if let Some(progress) = channels.get(&channel) {
            return Ok(Arc::clone(progress));
        }
        if channels.len() >= self.options.most_channels {
            return Err(Failure::Full);
        }
        Ok(Arc::clone(channels.entry(channel).or_default()))
    }

    /// An answer of the store, in time.
    pub(super) async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.options.store_within, asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::StoreLate),
        }
    }
}
