//! What every engine behind [`chat_domain::bus::Bus`] must do. Each function is one test; it gets two processes' ends
//! of one bus, which for the bus of a single process are the same.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_domain::bus::{Bus, BusError, BusMessage, CommittedEvent, Position, Signal, Subscription};
use chat_protocol::{ChannelId, Event, EventBody, ServerFrame, SessionId, UserId};
use tokio::time::timeout;

/// For anything that must come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A bus under test.
#[async_trait]
pub(crate) trait Fixture: Sized {
    /// With `capacity` messages for a slow subscriber.
    async fn open(capacity: usize) -> Self;
    /// One process's end.
    fn here(&self) -> &Arc<dyn Bus>;
    /// Another process's end.
    fn there(&self) -> &Arc<dyn Bus>;
    /// Makes the bus forget what it was given so far, sending `filler` through it when that takes it.
    async fn forget(&self, filler: BusMessage);
}

/// Makes a test of each function of the suite.
#[macro_export]
macro_rules! bus_suite {
    ($fixture:ty) => {
        $crate::bus_suite! { $fixture;
            events_of_a_channel_arrive_everywhere_in_order,
            an_event_arrives_as_it_was_encoded,
            signals_arrive_everywhere,
            who_subscribes_gets_nothing_from_before,
            who_comes_back_gets_what_followed_its_position,
            who_comes_back_too_late_learns_it,
            a_slow_subscriber_learns_it_and_goes_on,
            everything_has_left_after_a_flush,
        }
    };
    ($fixture:ty; $($test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::bus_suite::$test::<$fixture>().await;
            }
        )+
    };
}

/// A message to a channel.
pub(crate) fn event(channel: ChannelId, seq: u64) -> BusMessage {
    let body = EventBody::Message { text: format!("number {seq} 👋"), files: vec![], deleted: false };
    let event =
        Event { channel, seq, at: 1_700_000_000_000, by: UserId::new(), id: None, body: body.clone() };
    let json = serde_json::to_vec(&ServerFrame::Event(event)).unwrap().into();
    let body = body.into();
    BusMessage::Event(Arc::new(CommittedEvent {
        channel,
        seq,
        body,
        json,
        end: None,
        generation: None,
        reader: None,
    }))
}

/// The next message but for what nobody asked for; heartbeats and the like are not seen here at all.
async fn next(subscription: &mut dyn Subscription) -> Result<BusMessage, BusError> {
    timeout(DEADLINE, subscription.next()).await.expect("something comes in time")
}

/// The last position of each channel, when each of them has come to `last`; what comes twice is looked over.
pub(crate) async fn until(
    subscription: &mut dyn Subscription,
    channels: &[ChannelId],
    last: u64,
) -> HashMap<ChannelId, u64> {
    let mut heads: HashMap<ChannelId, u64> = HashMap::new();
    while channels.iter().any(|channel| heads.get(channel) != Some(&last)) {
        let BusMessage::Event(event) = next(subscription).await.expect("nothing is missed") else { continue };
        let head = heads.entry(event.channel).or_insert(event.seq - 1);
        assert!(event.seq <= *head + 1, "after {head} came {}", event.seq);
        *head = event.seq.max(*head);
    }
    heads
}

pub(crate) async fn events_of_a_channel_arrive_everywhere_in_order<F: Fixture>() {
    let bus = F::open(10_000).await;
    let mut subscriptions = [bus.here().subscribe(), bus.there().subscribe(), bus.there().subscribe()];
    let channels: Vec<ChannelId> = (0..10).map(|_| ChannelId::new()).collect();
    for seq in 1..=300 {
        for (n, channel) in channels.iter().enumerate() {
            // Each channel has one process that writes to it.
            let publisher = if n % 2 == 0 { bus.here() } else { bus.there() };
            publisher.publish(event(*channel, seq)).await.unwrap();
        }
    }
    for subscription in &mut subscriptions {
        let heads = until(subscription.as_mut(), &channels, 300).await;
        assert_eq!(heads.len(), channels.len());
        assert!(subscription.try_next().is_none(), "something came twice");
    }
}

pub(crate) async fn an_event_arrives_as_it_was_encoded<F: Fixture>() {
    let bus = F::open(100).await;
    let mut subscriptions = [bus.here().subscribe(), bus.there().subscribe()];
    let sent = event(ChannelId::new(), 42);
    bus.here().publish(sent.clone()).await.unwrap();
    let BusMessage::Event(sent) = sent else { unreachable!() };
    for subscription in &mut subscriptions {
        let BusMessage::Event(got) = next(subscription.as_mut()).await.unwrap() else {
            panic!("not an event")
        };
        assert_eq!(
            (got.channel, got.seq, &got.body, &got.json),
            (sent.channel, sent.seq, &sent.body, &sent.json)
        );
    }
}

pub(crate) async fn signals_arrive_everywhere<F: Fixture>() {
    let bus = F::open(100).await;
    let mut subscriptions = [bus.here().subscribe(), bus.there().subscribe()];
    let signals = [
        Signal::Typing { channel: ChannelId::new(), user: UserId::new() },
        Signal::SessionRevoked { session: SessionId::new() },
        Signal::Online { node: "a".into(), epoch: 1, part: 0, parts: 1, users: vec![UserId::new(); 100] },
    ];
    for signal in &signals {
        bus.here().publish(BusMessage::Signal(signal.clone())).await.unwrap();
    }
    for subscription in &mut subscriptions {
        let mut left = signals.to_vec();
        while !left.is_empty() {
            let BusMessage::Signal(signal) = next(subscription.as_mut()).await.unwrap() else {
                panic!("an event")
            };
            left.retain(|wanted| *wanted != signal);
        }
    }
}

pub(crate) async fn who_subscribes_gets_nothing_from_before<F: Fixture>() {
    let bus = F::open(100).await;
    let mut early = bus.there().subscribe();
    let (before, after) = (ChannelId::new(), ChannelId::new());
    bus.here().publish(event(before, 1)).await.unwrap();
    until(early.as_mut(), &[before], 1).await;
    let mut late = bus.there().subscribe();
    assert!(late.try_next().is_none());
    bus.here().publish(event(after, 1)).await.unwrap();
    let heads = until(late.as_mut(), &[after], 1).await;
    assert_eq!(heads.len(), 1, "{heads:?}");
}

pub(crate) async fn who_comes_back_gets_what_followed_its_position<F: Fixture>() {
    let bus = F::open(10_000).await;
    let channels = [ChannelId::new(), ChannelId::new()];
    let publishers = [bus.here(), bus.there()];
    let mut subscription = bus.there().subscribe();
    let publish = async |seq| {
        for (channel, publisher) in channels.iter().zip(publishers) {
            publisher.publish(event(*channel, seq)).await.unwrap();
        }
    };
    publish(1).await;
    let position = settled(subscription.as_mut(), &channels, 1).await;
    drop(subscription);
    for seq in 2..=50 {
        publish(seq).await;
    }
    // On either process, since a client may come back to another one.
    for publisher in publishers {
        let mut back = publisher.subscribe_from(&position);
        until(back.as_mut(), &channels, 50).await;
    }
    let mut back = bus.here().subscribe_from(&position);
    until(back.as_mut(), &channels, 50).await;
    publish(51).await;
    until(back.as_mut(), &channels, 51).await;
}

/// A position after which nothing of what has come so far comes again.
async fn settled(subscription: &mut dyn Subscription, channels: &[ChannelId], last: u64) -> Position {
    until(subscription, channels, last).await;
    subscription.position()
}

pub(crate) async fn who_comes_back_too_late_learns_it<F: Fixture>() {
    let bus = F::open(100).await;
    let channel = ChannelId::new();
    let mut subscription = bus.here().subscribe();
    bus.there().publish(event(channel, 1)).await.unwrap();
    let position = settled(subscription.as_mut(), &[channel], 1).await;
    drop(subscription);
    bus.there().publish(event(channel, 2)).await.unwrap();
    bus.forget(event(ChannelId::new(), 1)).await;
    let mut back = bus.here().subscribe_from(&position);
    bus.there().publish(event(channel, 3)).await.unwrap();
    let mut missed = false;
    loop {
        match next(back.as_mut()).await {
            Err(error) => missed |= matches!(error, BusError::Missed(_)),
            Ok(BusMessage::Event(event)) if event.channel == channel && event.seq == 3 => break,
            Ok(_) => {}
        }
    }
    assert!(missed, "event 2 is gone, and nobody said so");
}

pub(crate) async fn a_slow_subscriber_learns_it_and_goes_on<F: Fixture>() {
    let bus = F::open(16).await;
    let (mut slow, channel) = (bus.here().subscribe(), ChannelId::new());
    for seq in 1..=100 {
        bus.here().publish(event(channel, seq)).await.unwrap();
    }
    let missed = next(slow.as_mut()).await;
    assert!(matches!(missed, Err(BusError::Missed(n)) if n > 0), "{missed:?}");
    let mut last = 0;
    while last < 100 {
        if let Ok(BusMessage::Event(event)) = next(slow.as_mut()).await {
            assert!(event.seq > last, "after {last} came {}", event.seq);
            last = event.seq;
        }
    }
}

pub(crate) async fn everything_has_left_after_a_flush<F: Fixture>() {
    let bus = F::open(1_000).await;
    let (mut subscription, channel) = (bus.there().subscribe(), ChannelId::new());
    for seq in 1..=200 {
        bus.here().publish(event(channel, seq)).await.unwrap();
    }
    bus.here().flush().await;
    until(subscription.as_mut(), &[channel], 200).await;
}
