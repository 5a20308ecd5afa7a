//! Pulsar killed, restarted and hung under publishing: nothing of the log is lost to a subscriber that repairs when it is
//! asked to, and everything goes on by itself.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_domain::bus::{Bus, BusError, BusMessage, Signal, Subscription};
use chat_protocol::{ChannelId, UserId};
use chat_pulsar::config::PulsarConfig;
use chat_pulsar::{BusMetrics, ProvisionOptions, PulsarBus, PulsarOptions, provision};
use tokio::time::{Instant, timeout};

use crate::bus_suite::event;
use crate::harness::engines::OwnPulsar;

/// For anything that must come, on a machine that starts JVMs beside it.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two events of a channel.
const PACE: Duration = Duration::from_millis(100);

async fn connect(config: &PulsarConfig) -> (PulsarBus, BusMetrics) {
    let options = PulsarOptions {
        stall_after: Duration::from_secs(3),
        request_timeout: Duration::from_secs(3),
        ..PulsarOptions::of(config)
    };
    let metrics = options.metrics.clone();
    (PulsarBus::connect(options).await.unwrap(), metrics)
}

/// The store of this test: how far each channel has come.
#[derive(Clone)]
struct Logs(Arc<HashMap<ChannelId, AtomicU64>>);

impl Logs {
    fn new(channels: usize) -> Self {
        Self(Arc::new((0..channels).map(|_| (ChannelId::new(), AtomicU64::new(0))).collect()))
    }

    fn heads(&self) -> HashMap<ChannelId, u64> {
        self.0.iter().map(|(channel, head)| (*channel, head.load(Ordering::SeqCst))).collect()
    }

    /// Commits and publishes, channel by channel, until it is stopped.
    async fn write(self, bus: Arc<PulsarBus>, stop: Arc<AtomicU64>) {
        let mut pace = tokio::time::interval(PACE);
        while stop.load(Ordering::SeqCst) == 0 {
            pace.tick().await;
            for (channel, head) in self.0.iter() {
                let seq = head.fetch_add(1, Ordering::SeqCst) + 1;
                // Refused when too much waits; the log has it.
                let _ = bus.publish(event(*channel, seq)).await;
            }
        }
    }
}

/// What a gateway knows: the last position of each channel, and how it got there.
struct Follower {
    logs: Logs,
    subscription: Box<dyn Subscription>,
    heads: HashMap<ChannelId, u64>,
    /// Times it was asked to repair.
    repairs: u64,
}

impl Follower {
    fn new(bus: &PulsarBus, logs: &Logs) -> Self {
        Self { logs: logs.clone(), subscription: bus.subscribe(), heads: logs.heads(), repairs: 0 }
    }

    /// Follows one message. A gap that nobody reported is what must not be.
    async fn step(&mut self) {
        match timeout(DEADLINE, self.subscription.next()).await.expect("something comes in time") {
            Ok(BusMessage::Event(event)) => {
                let Some(head) = self.heads.get_mut(&event.channel) else { return };
                assert!(event.seq <= *head + 1, "after {head} came {}, and nothing was said", event.seq);
                *head = event.seq.max(*head);
            }
            Ok(BusMessage::Signal(_)) => {}
            Err(BusError::Missed(_)) => {
                self.repairs += 1;
                self.heads = self.logs.heads();
            }
            Err(BusError::Closed) => panic!("the bus closed"),
        }
    }

    /// Until it is where the logs are now.
    async fn catch_up(&mut self) {
        let goal = self.logs.heads();
        let began = Instant::now();
        while goal.iter().any(|(channel, head)| self.heads[channel] < *head) {
            assert!(began.elapsed() < DEADLINE, "does not catch up");
            self.step().await;
        }
    }
}

/// Breaks the broker and mends it, under publishing.
async fn survives<B, M>(pulsar: &OwnPulsar, break_it: B, mend_it: M)
where
    B: AsyncFnOnce(&OwnPulsar),
    M: AsyncFnOnce(&OwnPulsar),
{
    let config = pulsar.config();
    provision(&ProvisionOptions::of(&config)).await.unwrap();
    let (here, metrics) = connect(&config).await;
    let (there, there_metrics) = connect(&config).await;
    let here = Arc::new(here);
    let logs = Logs::new(8);
    let mut follower = Follower::new(&there, &logs);
    let mut own = Follower::new(&here, &logs);
    let stop = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn(logs.clone().write(Arc::clone(&here), Arc::clone(&stop)));
    while metrics.published.get() == 0 {
        follower.step().await;
    }

    break_it(pulsar).await;
    // Whoever is at the process that wrote does not notice at all.
    for _ in 0..40 {
        own.step().await;
    }
    assert_eq!(own.repairs, 0);
    let deadline = Instant::now() + DEADLINE;
    while metrics.connected.get() == 1 || there_metrics.connected.get() == 1 {
        assert!(Instant::now() < deadline, "nobody noticed");
        own.step().await;
    }
    mend_it(pulsar).await;

    let before = metrics.published.get();
    while metrics.published.get() <= before || there_metrics.connected.get() == 0 {
        assert!(Instant::now() < deadline, "publishing does not go on");
        own.step().await;
    }
    follower.catch_up().await;
    assert!(follower.repairs > 0, "signals were lost, and nobody said so");
    // A broker that has just come back may be given up once more, and what was published in between is read
    // behind the first repair. After that everything comes by the bus, without another repair.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let repairs = follower.repairs;
        for _ in 0..3 {
            follower.catch_up().await;
        }
        if follower.repairs == repairs {
            break;
        }
        assert!(Instant::now() < deadline, "repairs do not end");
    }
    stop.store(1, Ordering::SeqCst);
    writer.await.unwrap();
    here.flush().await;
    follower.catch_up().await;
    assert_eq!(metrics.dropped.get(), 0, "the queues were to hold for this long");
    signals_go_through(&here, follower.subscription.as_mut()).await;
}

async fn signals_go_through(from: &PulsarBus, to: &mut dyn Subscription) {
    let signal = Signal::Typing { channel: ChannelId::new(), user: UserId::new() };
    from.publish(BusMessage::Signal(signal.clone())).await.unwrap();
    let arrives = async { while !matches!(to.next().await, Ok(BusMessage::Signal(got)) if got == signal) {} };
    timeout(DEADLINE, arrives).await.expect("a signal comes in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_or_hangs_loses_nothing() {
    let pulsar = OwnPulsar::start().await;
    survives(&pulsar, async |pulsar| pulsar.kill().await, async |pulsar| pulsar.restart().await).await;
    // A connection that stays open and says nothing.
    survives(&pulsar, async |pulsar| pulsar.stop().await, async |pulsar| pulsar.cont().await).await;
    starts_without_a_broker(&pulsar).await;
}

/// A process that starts while the broker is away serves its own, and joins in later.
async fn starts_without_a_broker(pulsar: &OwnPulsar) {
    let config = pulsar.config();
    provision(&ProvisionOptions::of(&config)).await.unwrap();
    pulsar.kill().await;
    let (bus, _) = connect(&config).await;
    let (mut own, channel) = (bus.subscribe(), ChannelId::new());
    bus.publish(event(channel, 1)).await.unwrap();
    assert!(matches!(own.next().await, Ok(BusMessage::Event(event)) if event.seq == 1));
    pulsar.restart().await;
    let (other, _) = connect(&config).await;
    let mut there = other.subscribe();
    let arrives = async {
        for seq in 2.. {
            bus.publish(event(channel, seq)).await.unwrap();
            if let Ok(Ok(BusMessage::Event(_))) = timeout(Duration::from_millis(100), there.next()).await {
                return;
            }
        }
    };
    timeout(DEADLINE, arrives).await.expect("joins in");
}
