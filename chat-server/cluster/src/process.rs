//! What every process of a cluster does, whatever its roles: it reads the bus, keeps what `chat` remembers up to date, knows
//! who lives, and says that it lives itself. What else is to be done with what comes is the listeners' business.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chat_domain::{
    bus::{BusError, BusMessage, CommittedEvent, Signal, Subscription},
    chat::{Chat, are_strangers},
    store::GenerationRow,
};
use chat_protocol::{ChannelId, Generation, Seq};
use tokio::sync::watch;

use super::{Change, Cluster, OnlineSum};
use crate::metrics::ClusterMetrics;

/// How often listeners have their turn.
const TURN_EVERY: Duration = Duration::from_millis(200);
/// A publish that takes longer is given up: digests show what was lost by it.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);
/// Messages handled before others may run.
const BUS_BATCH: usize = 64;

/// What a listener has to say at its turn.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be published, in this order.
    pub signals: Vec<Signal>,
    /// Who is at this process, as it is known once these signals are; `None` from one that knows nothing of that.
    pub online: Option<OnlineSum>,
}

/// One who listens to what the bus brings. Nothing here may wait.
pub trait Listener: Send + Sync + 'static {
    /// An event was committed. [`Chat`] knows of it.
    fn committed(&self, event: &Arc<CommittedEvent>);

    /// Messages of the bus were missed: events, signals, nobody knows.
    fn missed(&self) {}

    /// Another generation of the store has begun (a restore from a backup): nothing that is remembered of logs holds. [`Chat`]
    /// has forgotten what it knew.
    fn begins(&self, _generation: Option<Generation>) {}

    /// Something short-lived. Digests come after what follows from them for [`Listener::changed`].
    fn heard(&self, _signal: &Signal) {}

    /// A process came or went.
    fn changed(&self, _change: &Change) {}

    /// Logs go at least that far, some process says.
    fn heads(&self, _heads: &[(ChannelId, Seq)]) {}

    /// What is to be done several times a second.
    fn turn(&self, _now: Instant) -> Turn {
        Turn::default()
    }
}

/// This process, as a part of its cluster.
pub struct Process {
    chat: Arc<Chat>,
    cluster: Arc<Cluster>,
    metrics: Arc<ClusterMetrics>,
    listeners: Vec<Arc<dyn Listener>>,
}

impl Process {
    /// Starts to read the bus; what was published before is not seen. It ends when the result is dropped or the bus closes.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn spawn(
        chat: Arc<Chat>,
        cluster: Arc<Cluster>,
        metrics: Arc<ClusterMetrics>,
        listeners: Vec<Arc<dyn Listener>>,
    ) -> Arc<Self> {
        let mut generations = chat.generations();
        cluster.begin(generations.borrow_and_update().map(|row| row.id));
        let process = Arc::new(Self { chat, cluster, metrics, listeners });
        tokio::spawn(generation_loop(Arc::downgrade(&process), generations));
        tokio::spawn(bus_loop(Arc::downgrade(&process), process.chat.bus().subscribe()));
        tokio::spawn(turn_loop(Arc::downgrade(&process)));
        process
    }

    /// Takes leave of the other processes, who need not wait for its silence. Also ends owning channels.
    pub async fn leave(&self) {
        publish(&self.chat, self.cluster.leave()).await;
        self.chat.bus().flush().await;
    }

    fn handle(&self, message: &BusMessage) {
        match message {
            BusMessage::Event(event) if self.is_strange(event.generation) => {}
            BusMessage::Signal(Signal::Read { generation, .. }) if self.is_strange(*generation) => {}
            BusMessage::Event(event) => {
                self.chat.observe(event);
                self.listeners.iter().for_each(|listener| listener.committed(event));
            }
            BusMessage::Signal(signal) => {
                if matches!(signal, Signal::Digest(_) | Signal::Gone { .. }) {
                    self.changed(&self.cluster.hear(signal, Instant::now()));
                }
                if let Signal::Digest(digest) = signal
                    && self.is_strange(digest.generation)
                {
                    return;
                }
                self.listeners.iter().for_each(|listener| listener.heard(signal));
                if let Signal::Digest(digest) = signal {
                    self.listeners.iter().for_each(|listener| listener.heads(&digest.heads));
                }
            }
        }
    }

    /// Whether something is of another generation of the store than this process works on.
    fn is_strange(&self, generation: Option<Generation>) -> bool {
        are_strangers(self.cluster.generation(), generation)
    }

    /// The store is in this generation now.
    fn begin(&self, generation: Option<Generation>) {
        let restored = self.is_strange(generation);
        let changes = self.cluster.begin(generation);
        if restored {
            self.listeners.iter().for_each(|listener| listener.begins(generation));
        }
        self.changed(&changes);
    }

    fn missed(&self) {
        self.chat.forget_all();
        self.listeners.iter().for_each(|listener| listener.missed());
    }

    fn changed(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Joined { node } => tracing::info!(%node, "process joined"),
                Change::Left { node } => tracing::info!(%node, "process left"),
                Change::Died { node } => tracing::warn!(%node, "process died"),
            }
            self.listeners.iter().for_each(|listener| listener.changed(change));
        }
    }

    /// One turn. Answers what is to be published, in this order.
    fn turn(&self) -> Vec<Signal> {
        let now = Instant::now();
        self.changed(&self.cluster.tick(now));
        self.metrics.processes.set(i64::try_from(self.cluster.others().len() + 1).unwrap_or(i64::MAX));
        let (mut signals, mut online) = (Vec::new(), OnlineSum::default());
        for listener in &self.listeners {
            let turn = listener.turn(now);
            signals.extend(turn.signals);
            online = turn.online.unwrap_or(online);
        }
        // Behind the news: its checksum is of what was said before it.
        let heads = |limit, within| self.chat.recent_heads(limit, within);
        if let Some(digest) = self.cluster.digest(now, online, heads) {
            // What the bus does not even bring back to its publisher is missing here, too.
            self.listeners.iter().for_each(|listener| listener.heads(&digest.heads));
            signals.push(Signal::Digest(digest));
        }
        signals
    }
}

/// Publishes a signal; that it gets lost is shown by digests.
pub async fn publish(chat: &Chat, signal: Signal) {
    let published = chat.bus().publish(BusMessage::Signal(signal));
    match tokio::time::timeout(PUBLISH_WITHIN, published).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "signal was not published"),
        Err(_) => tracing::debug!("signal was not published in time"),
    }
}

async fn bus_loop(process: Weak<Process>, mut subscription: Box<dyn Subscription>) {
    loop {
        let mut next = Some(subscription.next().await);
        let Some(process) = process.upgrade() else { return };
        let mut handled = 0;
        while let Some(message) = next {
            match message {
                Ok(message) => process.handle(&message),
                Err(BusError::Missed(count)) => {
                    tracing::warn!(count, "bus messages were missed; repairing from the store");
                    process.missed();
                }
                Err(BusError::Closed) => return,
            }
            handled += 1;
            next = if handled < BUS_BATCH { subscription.try_next() } else { None };
        }
        drop(process);
        tokio::task::yield_now().await;
    }
}

async fn generation_loop(process: Weak<Process>, mut generations: watch::Receiver<Option<GenerationRow>>) {
    while generations.changed().await.is_ok() {
        let Some(process) = process.upgrade() else { return };
        let generation = generations.borrow_and_update().map(|row| row.id);
        process.begin(generation);
    }
}

async fn turn_loop(process: Weak<Process>) {
    let mut ticks = tokio::time::interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(process) = process.upgrade() else { return };
        for signal in process.turn() {
            publish(&process.chat, signal).await;
        }
    }
}
