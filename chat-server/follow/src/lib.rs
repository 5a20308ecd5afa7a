//! Durable consumers of the logs: each committed event reaches each consumer at least once, in order per channel, from
//! cursors that survive restarts.
//!
//! The bus makes it fast: an event from it wakes its channel at once (`queue` says which channel is next, `deliver` gives
//! it to the consumer). The store makes it complete: a `walk` goes through the channels that it names and finds what no
//! bus has brought. A cursor moves after the consumer has succeeded, never before. What a consumer cannot take is tried
//! again with growing pauses, and stops neither other channels nor other consumers.
//!
//! Channels are spread over the processes by their shards (rendezvous hashing). Two processes may both take a shard for
//! theirs for a moment: then events come twice, so what a consumer does must be idempotent by (channel, seq), or be
//! written together with the position, see [`count`].
//!
//! This part knows the traits of store and bus, and which processes live; no roles, no domain.

pub mod clock;
pub mod count;
mod deliver;
mod queue;
mod run;
mod walk;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_cluster::{Cluster, Node};
use chat_domain::{
    bus::{BusError, BusMessage, Subscription},
    store::{StoredEvent, follow::FollowStore},
};
use chat_protocol::{ChannelId, Seq};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use clock::ClockIsRight;
use run::Runner;

/// Why a consumer could not take events. They come again.
pub type ConsumerError = Box<dyn std::error::Error + Send + Sync>;

/// Something that follows the logs.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Names its cursors in the store: unique, and the same in every version. Another name begins anew.
    fn name(&self) -> &'static str;

    /// Takes events of one channel: consecutive, following those that it had before. After an error, or when this does not
    /// end in time, they come again, with more behind them perhaps; after a crash the last ones before them come again,
    /// too. Calls for different channels run beside each other.
    ///
    /// # Errors
    /// Whatever it says is logged, and the events come again after a pause.
    async fn handle(&self, channel: ChannelId, events: &[StoredEvent]) -> Result<(), ConsumerError>;
}

/// The processes that share the work.
pub trait Processes: Send + Sync + 'static {
    /// This process's name.
    fn own(&self) -> Arc<str>;

    /// Those that run consumers, this one included. All processes should agree on them, sooner or later.
    fn followers(&self) -> Arc<[Node]>;

    /// Whether a process lives that leaves no notes for consumers, since it is of an older version.
    fn has_older(&self) -> bool;
}

impl Processes for Cluster {
    fn own(&self) -> Arc<str> {
        Arc::clone(self.name())
    }

    fn followers(&self) -> Arc<[Node]> {
        Self::followers(self)
    }

    fn has_older(&self) -> bool {
        Self::has_older(self)
    }
}

/// Limits and times of consumers. The default is right for a server.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// Channels that one consumer is given at the same time, by the bus and by walks each.
    pub at_once: usize,
    /// Events in one call of [`Consumer::handle`] at most.
    pub page: usize,
    /// How long one call may take.
    pub handle_within: Duration,
    /// How long one answer of the store may take.
    pub store_within: Duration,
    /// How often cursors are saved: after a crash, so much may come again.
    pub save_every: Duration,
    /// Between two walks through what a consumer may lack. They find what the bus has lost.
    pub walk_every: Duration,
    /// The first walk waits for so long: by then the other processes are known.
    pub begin_after: Duration,
    /// Between two tries of what failed, from and to.
    pub backoff: (Duration, Duration),
    /// Channels of which one consumer's progress is kept in memory.
    pub most_channels: usize,
    /// Channels that one consumer may fail at before it is given no others.
    pub most_failing: usize,
    /// Between two looks at the store's clock, and at what it must prepare for consumers.
    pub prepare_every: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            at_once: 8,
            page: 200,
            handle_within: Duration::from_secs(30),
            store_within: Duration::from_secs(10),
            save_every: Duration::from_secs(2),
            walk_every: Duration::from_secs(60),
            begin_after: Duration::from_secs(5),
            backoff: (Duration::from_millis(200), Duration::from_secs(30)),
            most_channels: 20_000,
            most_failing: 1_000,
            prepare_every: Duration::from_secs(60),
        }
    }
}

/// All consumers of this process.
pub struct Follower {
    runners: Vec<Arc<Runner>>,
    clock: ClockIsRight,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Follower {
    /// Starts these consumers. [`Follower::committed`] and [`Follower::missed`] are to be called for what the bus brings.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and when two consumers have the same name: they would share cursors.
    #[must_use]
    pub fn start(
        consumers: Vec<Arc<dyn Consumer>>,
        store: &Arc<dyn FollowStore>,
        processes: &Arc<dyn Processes>,
        options: &FollowOptions,
    ) -> Arc<Self> {
        let mut names = HashSet::new();
        for consumer in &consumers {
            let name = consumer.name();
            assert!(names.insert(name), "two consumers are named {name:?}: they would share cursors");
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let runner = |consumer: Arc<dyn Consumer>| {
            Arc::new(Runner {
                name: consumer.name(),
                consumer,
                store: Arc::clone(store),
                processes: Arc::clone(processes),
                queue: Mutex::new(queue::Queue::new(options)),
                work: Notify::new(),
                walk: Notify::new(),
                channels: Mutex::default(),
                known: Mutex::default(),
                options: options.clone(),
                stop: stop.clone(),
            })
        };
        let runners: Vec<_> = consumers.into_iter().map(runner).collect();
        for runner in &runners {
            runner.spawn(&tasks);
        }
        if !runners.is_empty() {
            tasks.spawn(run::prepare(
                Arc::clone(store),
                Arc::clone(processes),
                runners.clone(),
                options.clone(),
                stop.clone(),
            ));
        }
        let clock = ClockIsRight::default();
        tasks.spawn(run::compare_clocks(Arc::clone(store), clock.clone(), options.clone(), stop.clone()));
        tasks.close();
        Arc::new(Self { runners, clock, stop, tasks })
    }

    /// Whether this process's clock is near the store's.
    #[must_use]
    pub const fn clock(&self) -> &ClockIsRight {
        &self.clock
    }

    /// An event was committed.
    pub fn committed(&self, channel: ChannelId, seq: Seq) {
        for runner in &self.runners {
            runner.wake(channel, seq);
        }
    }

    /// Another generation of the store has begun: cursors are those that stand in it.
    pub fn forget(&self) {
        for runner in &self.runners {
            runner.queue.lock().retain(|_| false);
            runner.known.lock().clear();
            runner.channels.lock().clear();
            runner.walk.notify_one();
        }
    }

    /// Events may have been missed: they are looked for at once.
    pub fn missed(&self) {
        for runner in &self.runners {
            runner.walk.notify_one();
        }
    }

    /// Reads a bus for as long as it lives, or until this is stopped: for a process in which nothing else reads it.
    pub async fn read(self: Arc<Self>, mut bus: Box<dyn Subscription>) {
        loop {
            let next = tokio::select! {
                next = bus.next() => next,
                () = self.stop.cancelled() => return,
            };
            match next {
                Ok(BusMessage::Event(event)) => self.committed(event.channel, event.seq),
                Ok(BusMessage::Signal(_)) => {}
                Err(BusError::Missed(_)) => self.missed(),
                Err(BusError::Closed) => return,
            }
        }
    }

    /// Ends in good order: what is under way is finished, cursors are saved. Takes no longer than one call of a consumer
    /// and of the store may take.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
