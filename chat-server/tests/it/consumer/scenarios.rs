//! What holds on every store.

use std::{sync::Arc, time::Duration};

use chat_domain::bus::{Bus as _, BusMessage, CommittedEvent, local::LocalBus};
use chat_follow::{FollowOptions, count::EventCounter};

use super::{
    recorder::{MemoryCounts, Recorder, exact},
    world::{Known, Logs, channels, follow, follow_as, options, say, until},
};

fn counter(counts: &MemoryCounts) -> Arc<EventCounter<MemoryCounts>> {
    Arc::new(EventCounter::new(counts.clone()))
}

/// Walks would take an hour, the bus takes moments.
pub(crate) async fn the_bus_makes_it_fast(store: Arc<dyn Logs>) {
    let bus = LocalBus::new();
    let (counts, recorder) = (MemoryCounts::default(), Recorder::new("recorder"));
    let hour = Duration::from_hours(1);
    let options = FollowOptions { walk_every: hour, begin_after: hour, save_every: hour, ..options() };
    let consumers = vec![counter(&counts) as _, Arc::clone(&recorder) as _];
    let follower = follow_as(&store, consumers, Known::new("a", &["a"]), &options);
    let reading = tokio::spawn(Arc::clone(&follower).read(bus.subscribe()));
    let channels = channels(&store, 3).await;
    for n in 0..60 {
        let channel = channels[n % 3];
        let seq = say(&store, channel).await;
        let body = chat_protocol::EventBody::Unknown.into();
        let event = CommittedEvent {
            channel,
            seq,
            body,
            json: bytes::Bytes::new(),
            end: None,
            generation: None,
            reader: None,
        };
        bus.publish(BusMessage::Event(Arc::new(event))).await.unwrap();
    }
    for channel in channels {
        until("the count is the log's head", async || counts.of(channel) == exact(22)).await;
        until("the other consumer has had all", async || recorder.had(channel).len() >= 22).await;
        assert_eq!(recorder.had(channel), (1..=22).collect::<Vec<_>>());
    }
    follower.stop().await;
    reading.await.unwrap();
}

/// What was there before, what comes while nobody listens, and what comes after a restart; all without a bus.
pub(crate) async fn without_a_bus_nothing_is_missed_or_doubled_across_restarts(store: Arc<dyn Logs>) {
    let counts = MemoryCounts::default();
    let channels = channels(&store, 12).await;
    let mut head = 2;
    for _life in 0..3 {
        let recorder = Recorder::new("recorder");
        let follower = follow(&store, vec![counter(&counts) as _, Arc::clone(&recorder) as _]);
        for _ in 0..10 {
            for channel in &channels {
                assert_eq!(say(&store, *channel).await, head + 1);
            }
            head += 1;
        }
        for channel in &channels {
            until("the count is the log's head", async || counts.of(*channel) == exact(head)).await;
            for name in ["count", "recorder"] {
                let saved = async || store.cursor(name, *channel).await.unwrap() == head;
                until("the cursor is saved", saved).await;
            }
        }
        for channel in &channels {
            let had = recorder.had(*channel);
            assert!(had.len() as u64 <= head, "nothing comes twice while nothing fails: {had:?}");
            assert_eq!(had.last(), Some(&head));
        }
        follower.stop().await;
        // While nobody listens.
        for channel in &channels {
            say(&store, *channel).await;
        }
        head += 1;
    }
    let recorder = Recorder::new("recorder");
    let follower = follow(&store, vec![Arc::clone(&recorder) as _]);
    for channel in &channels {
        until("the last one is had", async || !recorder.had(*channel).is_empty()).await;
        assert_eq!(recorder.had(*channel), [head], "it goes on where the last life ended");
    }
    follower.stop().await;
}

/// A consumer that fails at one channel is behind there and nowhere else, also in its next life.
pub(crate) async fn what_fails_stops_nothing_else_and_is_made_up_for(store: Arc<dyn Logs>, passes: bool) {
    let (failing, well) = (Recorder::new("failing"), Recorder::new("well"));
    let made = channels(&store, 2).await;
    let (bad, good) = (made[0], made[1]);
    failing.refuse(bad);
    let follower = follow(&store, vec![Arc::clone(&failing) as _, Arc::clone(&well) as _]);
    say(&store, bad).await;
    until("it is tried again and again", async || failing.refusals() > 5).await;
    say(&store, good).await;
    until("other channels go on", async || failing.had_all(good, 3)).await;
    until("other consumers go on", async || well.had_all(bad, 3)).await;
    if passes {
        // The checkpoint goes on as well, and the channel is noted.
        let noted = async || {
            let shard = store.shard_of(bad);
            store.behind("failing", shard).await.unwrap().contains(&bad)
        };
        until("the channel is noted as behind", noted).await;
    }
    follower.stop().await;
    assert!(failing.had(bad).is_empty());

    let failing = Recorder::new("failing");
    failing.refuse(bad);
    let follower = follow(&store, vec![Arc::clone(&failing) as _]);
    until("it is tried in the next life", async || failing.refusals() > 2).await;
    failing.accept(bad);
    until("it is made up for", async || failing.had_all(bad, 3)).await;
    let forgotten = async || {
        let shard = store.shard_of(bad);
        !store.behind("failing", shard).await.unwrap().contains(&bad)
    };
    until("it is behind no more", forgotten).await;
    assert_eq!(say(&store, bad).await, 4);
    until("it goes on", async || failing.had_all(bad, 4)).await;
    until("its cursor is saved", async || store.cursor("failing", bad).await.unwrap() == 4).await;
    follower.stop().await;
}

/// Two processes share the work, then each takes all of it for its own, then one goes.
pub(crate) async fn processes_that_disagree_double_nothing(store: Arc<dyn Logs>) {
    let counts = MemoryCounts::default();
    let knows = [Known::new("a", &["a", "b"]), Known::new("b", &["a", "b"])];
    let followers = knows
        .each_ref()
        .map(|known| follow_as(&store, vec![counter(&counts) as _], Arc::clone(known), &options()));
    let channels = channels(&store, 8).await;
    let mut head = 2;
    for views in [[&["a", "b"][..], &["a", "b"][..]], [&["a"][..], &["b"][..]], [&["b"][..], &["b"][..]]] {
        knows[0].set(views[0]);
        knows[1].set(views[1]);
        for _ in 0..5 {
            head += 1;
            for channel in &channels {
                let seq = say(&store, *channel).await;
                followers.iter().for_each(|follower| follower.committed(*channel, seq));
            }
        }
        for channel in &channels {
            until("the count is the log's head", async || counts.of(*channel) == exact(head)).await;
        }
    }
    for follower in followers {
        follower.stop().await;
    }
}
