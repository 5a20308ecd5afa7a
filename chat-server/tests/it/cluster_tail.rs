//! The last event of a log has no successor that would show it is missing: digests and deaths do.

use std::sync::atomic::Ordering;

use crate::harness::cluster::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_bus_lost_arrives_everywhere_without_a_next_one() {
    let cluster = TestCluster::new();
    let (ada, grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let channel = a.channel(&ada, &[&grace], "tail").await;
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    let head = there.head(channel);
    cluster.bus.lose_events.store(true, Ordering::Release);
    let id = here.say(channel, "lost on the way").await;
    // The ack does not wait for it.
    assert_eq!(here.acked(id).await, (head + 1, false));
    assert_eq!(here.event().await.seq, head + 1);
    assert_eq!(there.event().await.seq, head + 1);
    assert_eq!(b.metrics.tail_repairs.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_committed_and_died_before_it_published_arrives() {
    let cluster = TestCluster::new();
    let (ada, grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let channel = a.channel(&ada, &[&grace], "tail").await;
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    let head = there.head(channel);
    b.knows(&a).await;
    // Some life first: what is repaired are the channels that were active lately.
    let id = here.say(channel, "before").await;
    here.acked(id).await;
    assert_eq!(there.event().await.seq, head + 1);
    cluster.bus.lose_events.store(true, Ordering::Release);
    cluster.bus.lose_digests.store(true, Ordering::Release);
    let id = here.say(channel, "its last words").await;
    here.acked(id).await;
    a.kill();
    cluster.bus.lose_digests.store(false, Ordering::Release);
    assert_eq!(there.event().await.seq, head + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_log_ends_is_read_from_the_store_for_who_has_more_than_this_gateway() {
    let cluster = TestCluster::new();
    let (ada, grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let channel = a.channel(&ada, &[&grace], "tail").await;
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    let head = there.head(channel);
    cluster.bus.lose_events.store(true, Ordering::Release);
    cluster.bus.lose_digests.store(true, Ordering::Release);
    let id = here.say(channel, "this gateway has not heard of it").await;
    here.acked(id).await;
    // Her client has it from the other gateway: it must not look as if it were gone.
    let (events, end, recovered) = there.sync(channel, head + 1).await;
    assert_eq!((events.len(), end, recovered), (0, head + 1, true));
    // Of a log that is no more: it gets the end of this one.
    for after in [head + 2, head + 5_000, u64::MAX] {
        let (events, end, recovered) = there.sync(channel, after).await;
        assert_eq!((events.len(), end, recovered), (0, head + 1, true), "after {after}");
    }
}
