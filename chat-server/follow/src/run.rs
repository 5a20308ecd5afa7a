//! The tasks of one consumer: one gives it the channels that are ready, one saves cursors, one walks (`walk`).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chat_cluster::owner::owner_of;
use chat_domain::store::follow::FollowStore;
use chat_protocol::{ChannelId, Seq};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    Consumer, FollowOptions, Processes,
    clock::ClockIsRight,
    deliver::{Failure, Shared},
    queue::{Queue, Until},
};

/// Notes that an older version lives are that far apart.
const OLDER_EVERY: Duration = Duration::from_secs(10 * 60);

/// One consumer in this process.
pub(super) struct Runner {
    pub(super) name: &'static str,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) store: Arc<dyn FollowStore>,
    pub(super) processes: Arc<dyn Processes>,
    pub(super) options: FollowOptions,
    pub(super) queue: Mutex<Queue>,
    /// Something may be ready.
    pub(super) work: Notify,
    /// A walk should begin at once.
    pub(super) walk: Notify,
    pub(super) channels: Mutex<HashMap<ChannelId, Shared>>,
    /// Shards of this process whose channels that are behind are in the queue.
    pub(super) known: Mutex<HashSet<u32>>,
    pub(super) stop: CancellationToken,
}

/// Whether a shard is this process's. Nobody else's, as long as no process is known.
pub(super) fn owns(processes: &dyn Processes, shard: u32) -> bool {
    let followers = processes.followers();
    let key = ChannelId(Uuid::from_u128(u128::from(shard)));
    owner_of(key, &followers).is_none_or(|owner| owner.name == processes.own())
}

impl Runner {
    pub(super) fn spawn(self: &Arc<Self>, tasks: &TaskTracker) {
        tasks.spawn(Arc::clone(self).give());
        tasks.spawn(Arc::clone(self).save_loop());
        tasks.spawn(Arc::clone(self).walk_loop());
    }

    pub(super) fn owns(&self, shard: u32) -> bool {
        owns(&*self.processes, shard)
    }

    fn owns_channel(&self, channel: ChannelId) -> bool {
        self.owns(self.store.shard_of(channel))
    }

    /// An event of a channel was committed.
    pub(super) fn wake(&self, channel: ChannelId, seq: Seq) {
        if !self.owns_channel(channel) {
            return;
        }
        if self.queue.lock().wake(channel, seq) {
            self.work.notify_one();
        }
    }

    /// Gives the consumer what is ready, several channels at a time.
    async fn give(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(self.options.at_once));
        let running = TaskTracker::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Some((channel, until)) = self.next().await else { break };
            let runner = Arc::clone(&self);
            running.spawn(async move {
                runner.give_one(channel, until).await;
                runner.queue.lock().done(channel);
                drop(place);
                runner.work.notify_one();
            });
        }
        running.close();
        running.wait().await;
    }

    /// Waits for a channel; `None` when this ends.
    async fn next(&self) -> Option<(ChannelId, Until)> {
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            let later = match self.queue.lock().take(Instant::now()) {
                Ok(taken) => return Some(taken),
                Err(later) => later,
            };
            let later = async {
                match later {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.work.notified() => {}
                () = later => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn give_one(&self, channel: ChannelId, until: Until) {
        match self.deliver(channel, until, false).await {
            Ok(()) => self.succeeded(channel).await,
            Err(failure) => self.failed(channel, &failure),
        }
    }

    /// A channel was read as far as it was to be.
    pub(super) async fn succeeded(&self, channel: ChannelId) {
        if !self.queue.lock().succeeded(channel) {
            return;
        }
        // It may be noted as behind, by this life or by an earlier one.
        if let Err(failure) = self.caught_up(channel).await {
            self.failed(channel, &failure);
        }
    }

    pub(super) fn failed(&self, channel: ChannelId, failure: &Failure) {
        let failures = self.queue.lock().failed(channel, Instant::now());
        let source = std::error::Error::source(failure).map(ToString::to_string);
        tracing::warn!(consumer = self.name, %channel, failures, error = %failure, source, "consumer is behind");
        self.work.notify_one();
    }

    async fn save_loop(self: Arc<Self>) {
        loop {
            let stopped = tokio::select! {
                () = tokio::time::sleep(self.options.save_every) => false,
                () = self.stop.cancelled() => true,
            };
            self.save_all().await;
            if stopped {
                return;
            }
        }
    }

    /// Saves all cursors, and forgets channels that are quiet or another process's.
    async fn save_all(&self) {
        let own: HashSet<u32> = (0..self.store.shards()).filter(|shard| self.owns(*shard)).collect();
        self.known.lock().retain(|shard| own.contains(shard));
        self.queue.lock().retain(|channel| own.contains(&self.store.shard_of(channel)));
        let channels: Vec<_> =
            self.channels.lock().iter().map(|(id, progress)| (*id, Arc::clone(progress))).collect();
        let crowded = self.is_crowded();
        stream::iter(channels)
            .for_each_concurrent(self.options.at_once, async |(channel, shared)| {
                // What is running is saved next time.
                let Ok(mut progress) = shared.try_lock() else { return };
                if let Err(failure) = self.save(channel, &mut progress).await {
                    let source = std::error::Error::source(&failure).map(ToString::to_string);
                    tracing::warn!(consumer = self.name, %channel, error = %failure, source, "cursor is not saved");
                    return;
                }
                if crowded || !own.contains(&self.store.shard_of(channel)) {
                    self.forget(channel, &shared);
                }
            })
            .await;
    }
}

/// Compares clocks, whether there are consumers or not: what is written now, later ones must find.
pub(super) async fn compare_clocks(
    store: Arc<dyn FollowStore>,
    clock: ClockIsRight,
    options: FollowOptions,
    stop: CancellationToken,
) {
    loop {
        let compared = tokio::time::timeout(options.store_within, clock.compare(store.clock()));
        tokio::select! {
            late = compared => if late.is_err() {
                tracing::debug!("the store's clock was not read in time");
            },
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(options.prepare_every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at other processes' versions and at what the store must prepare, for all consumers.
pub(super) async fn prepare(
    store: Arc<dyn FollowStore>,
    processes: Arc<dyn Processes>,
    runners: Vec<Arc<Runner>>,
    options: FollowOptions,
    stop: CancellationToken,
) {
    let mut older = None::<Instant>;
    let mut more = true;
    loop {
        let within = options.store_within;
        if processes.has_older() && older.is_none_or(|at| at.elapsed() >= OLDER_EVERY) {
            match tokio::time::timeout(within, store.older_version_lives()).await {
                Ok(Ok(())) => older = Some(Instant::now()),
                _ => tracing::warn!("a process of an older version is not noted for consumers"),
            }
        }
        // One process does it, the one that has the first shard.
        if owns(&*processes, 0) {
            let before = more;
            more = match tokio::time::timeout(within, store.prepare()).await {
                Ok(Ok(more)) => more,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "store is not prepared for consumers yet");
                    before
                }
                Err(_) => before,
            };
            if before && !more {
                runners.iter().for_each(|runner| runner.walk.notify_one());
            }
        }
        let pause = if more { Duration::from_millis(20) } else { options.prepare_every };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
