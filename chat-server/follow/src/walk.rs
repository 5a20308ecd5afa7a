//! Walks through what a consumer may lack, shard by shard, and moves its checkpoints.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chat_domain::store::follow::Step;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{deliver::Failure, queue::Until, run::Runner};

impl Runner {
    pub(super) async fn walk_loop(self: Arc<Self>) {
        // Before it knows the others, a process takes everything for its own.
        let alone = self.store.walks_save();
        let mut pause = if alone { Duration::ZERO } else { self.options.begin_after };
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.walk.notified() => {}
                () = self.stop.cancelled() => return,
            }
            pause = if alone { self.options.save_every } else { self.options.walk_every };
            for shard in 0..self.store.shards() {
                if !self.owns(shard) {
                    continue;
                }
                if let Err(failure) = self.walk_shard(shard).await {
                    let source = std::error::Error::source(&failure).map(ToString::to_string);
                    tracing::warn!(consumer = self.name, shard, error = %failure, source, "walk did not end");
                    pause = self.options.backoff.1.min(self.options.walk_every);
                }
                if self.stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    async fn walk_shard(&self, shard: u32) -> Result<(), Failure> {
        if !self.known.lock().contains(&shard) {
            let behind = self.ask(self.store.behind(self.name, shard)).await?;
            let mut queue = self.queue.lock();
            behind.into_iter().for_each(|channel| queue.is_behind(channel, Instant::now()));
            drop(queue);
            self.work.notify_one();
            self.known.lock().insert(shard);
        }
        let mut place = None;
        loop {
            if self.queue.lock().is_full() {
                return Err(Failure::Full);
            }
            let step = self.ask(self.store.walk(self.name, shard, place.take())).await?;
            self.take_step(&step).await?;
            if self.stop.is_cancelled() || !self.owns(shard) {
                return Ok(());
            }
            if let Some(way) = step.reached
                && !self.ask(self.store.move_checkpoint(self.name, shard, way)).await?
            {
                // Another process takes the shard for its own as well.
                return Ok(());
            }
            match step.next {
                Some(next) => place = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Gives the consumer what it lacks of these channels, or notes them as behind.
    async fn take_step(&self, step: &Step) -> Result<(), Failure> {
        let settled = step.settled;
        stream::iter(step.channels.iter().copied())
            .map(Ok)
            .try_for_each_concurrent(self.options.at_once, async |channel| {
                if self.stop.is_cancelled() {
                    return Ok(());
                }
                let waits = self.queue.lock().waits(channel, Instant::now());
                if !waits {
                    match self.deliver(channel, Until::Head { settled }, settled).await {
                        Ok(()) => {
                            self.succeeded(channel).await;
                            return Ok(());
                        }
                        Err(failure) if failure.is_of_channel() => {
                            self.failed(channel, &failure);
                        }
                        // It is not this channel that is in the way.
                        Err(failure) => return Err(failure),
                    }
                }
                if settled { self.note_behind(channel).await } else { Ok(()) }
            })
            .await
    }
}
