//! Sends go to the process that owns their channel; when it does not answer they are written without it, once.

mod certificates;
mod cluster;
mod flapping;
mod proxy;

use std::sync::Arc;

use certificates::Authority;
use chat_cluster::{config::ClusterConfig, metrics::ClusterMetrics};
use chat_cluster::{
    hop::{Hop, HopError, HopOptions},
    tls::CertificateFiles,
};
use chat_domain::store::{GenerationRow, GenerationStore as _};
use chat_protocol::{ChannelId, ClientId, ErrorCode, Generation};
use cluster::{Process, SHORT_TIMEOUT, World};
use proxy::{Mode, Proxy};

use crate::harness::wait::{until, until_so};

/// Two processes with certificates of one authority, which know each other.
async fn two() -> (World, Process, Process) {
    two_in(World::new().await).await
}

async fn two_in(world: World) -> (World, Process, Process) {
    let authority = Authority::new();
    let a = world.process("a", Some(authority.issue(&world.dir.path().join("a")))).await;
    let b = world.process("b", Some(authority.issue(&world.dir.path().join("b")))).await;
    world.set_live(&[a.node(), b.node()]);
    (world, a, b)
}

/// The same, and what stands before `b`.
async fn two_with_proxy(world: World) -> (World, Process, Process, Proxy) {
    let (world, a, b) = two_in(world).await;
    let proxy = Proxy::before(b.address()).await;
    world.set_live(&[a.node(), b.node_at(proxy.address)]);
    (world, a, b, proxy)
}

/// Sends one message to a channel that `b` owns; how many appends `b` took from others for it.
async fn sent_over_the_hop(world: &World, a: &Process, b: &Process, channel: ChannelId) -> u64 {
    a.undisturbed(async || {
        let before = b.metrics.hop_served.get();
        world.send(a, channel).await;
        b.metrics.hop_served.get() - before
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_a_hot_channel_and_one_appends() {
    let (world, a, b) = two().await;
    let channel = world.channel_owned_by("b", &a).await;
    let (world, a, b) = (&world, &a, &b);
    let committed = a
        .undisturbed(async || {
            let (before_a, before_b) = (a.published(), b.published());
            let send = |n: usize| async move {
                world.send(if n.is_multiple_of(2) { a } else { b }, channel).await.seq
            };
            let mut seqs = futures_util::future::join_all((0..200).map(send)).await;
            seqs.sort_unstable();
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
            (a.published() - before_a, b.published() - before_b)
        })
        .await;
    assert_eq!(committed, (0, 200), "only the owner commits");
    assert!(a.metrics.hop_forwarded.get() > 0 && b.metrics.hop_served.get() > 0);
    assert_eq!(b.metrics.hop_forwarded.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_client_id_goes_to_the_owner_too() {
    let (world, a, b) = two().await;
    let channel = world.channel_owned_by("b", &a).await;
    let went = a
        .undisturbed(async || {
            let (published, served) = (a.published(), b.metrics.hop_served.get());
            world.send(&a, channel).await;
            a.chat.leave(&world.ada, channel).await.unwrap();
            // Known at once, not when the bus says so: nobody follows it here.
            assert!(world.submit(&a.chat, channel, ClientId::new()).await.is_err());
            a.chat.join(&world.ada, channel).await.unwrap();
            (a.published() - published, b.metrics.hop_served.get() - served)
        })
        .await;
    assert_eq!(went, (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_of_the_cluster_is_refused_and_writes_by_itself() {
    let world = World::new().await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dir = |name: &str| world.dir.path().join(name);
    let b = world.process("b", Some(ours.issue(&dir("b")))).await;
    let mut strangers = vec![
        world.process("other-authority", Some(theirs.issue(&dir("other")))).await,
        world.process("other-name", Some(ours.issue_for("web.example.com", &dir("web")))).await,
        world.process("no-certificate", None).await,
    ];
    // Trusts us, but shows a certificate that we do not trust.
    let mixed = CertificateFiles { ca: ours.issue(&dir("mixed")).ca, ..theirs.issue(&dir("mixed2")) };
    strangers.push(world.process("mixed", Some(mixed)).await);
    for stranger in &strangers {
        let proxy = Proxy::before(b.address()).await;
        world.set_live(&[b.node_at(proxy.address)]);
        // The first send starts the connection; all are committed meanwhile.
        let channel = world.channel(stranger).await;
        for _ in 0..3 {
            world.send(stranger, channel).await;
            proxy.came_back().await;
            assert!(stranger.owners.remote(channel).is_none(), "{} was let in", stranger.name);
        }
        assert_eq!(world.messages(channel).await.len(), 3);
    }
    assert_eq!(b.metrics.hop_served.get(), 0);
    // One that belongs gets through.
    world.set_live(&[b.node()]);
    let a = world.process("a", Some(ours.issue(&dir("a")))).await;
    world.channel_owned_by("b", &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_on_another_generation_of_the_store_is_not_written_for() {
    let (world, a, b) = two().await;
    let channel = world.channel_owned_by("b", &a).await;
    // The channel may have been made over the connection, and what came before it without.
    let (served, fell_back) = (b.metrics.hop_served.get(), a.metrics.hop_fell_back.get());
    // Neither says: as processes of 0.1.0.
    world.send(&a, channel).await;
    assert_eq!(b.metrics.hop_served.get() - served, 1);
    a.chat.look_at_generation().await.unwrap();
    world.send(&a, channel).await;
    assert_eq!(b.metrics.hop_served.get() - served, 2, "one that says, and one that does not");
    let next = GenerationRow { id: Generation::new(), since: 0 };
    world.store.begin_generation(next, None).await.unwrap();
    // It has noticed, and the other one has not.
    b.chat.look_at_generation().await.unwrap();
    let before = a.published();
    for _ in 0..3 {
        world.send(&a, channel).await;
    }
    assert_eq!(b.metrics.hop_served.get() - served, 2);
    let fell_back = a.metrics.hop_fell_back.get() - fell_back;
    assert_eq!((a.published() - before, fell_back), (3, 3), "it writes by itself");
    a.chat.look_at_generation().await.unwrap();
    world.send(&a, channel).await;
    assert_eq!(b.metrics.hop_served.get() - served, 3);
    assert_eq!(world.messages(channel).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_hangs_is_done_without_and_later_used_again() {
    let world = World { timeout: SHORT_TIMEOUT, ..World::new().await };
    let (world, a, b, proxy) = two_with_proxy(world).await;
    let channel = world.channel_owned_by("b", &a).await;
    proxy.set(Mode::HoldRequests);
    let before = a.published();
    let first = world.send(&a, channel).await;
    // Left alone for a while: this one does not wait for it.
    let second = world.send(&a, channel).await;
    assert_eq!((first.duplicate, second.duplicate, second.seq), (false, false, first.seq + 1));
    assert_eq!(a.published() - before, 2);
    assert!(a.metrics.hop_fell_back.get() >= 1);

    // What was held arrives, late.
    proxy.set(Mode::Pass);
    let before = b.published();
    let mut last = second.seq;
    until_so("the owner appends again", async || {
        let next = world.send(&a, channel).await;
        assert_eq!((next.duplicate, next.seq), (false, last + 1));
        last = next.seq;
        b.published() > before
    })
    .await;
    let sent = last - first.seq + 1;
    assert_eq!(world.messages(channel).await.len() as u64, sent, "each is there once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_commits_and_does_not_say_so_has_committed_once() {
    let (world, a, b, proxy) = two_with_proxy(World::new().await).await;
    let channel = world.channel_owned_by("b", &a).await;
    proxy.set(Mode::HoldAnswers);
    let (before_a, before_b) = (a.published(), b.published());
    let dies = async {
        until("the owner commits", || b.published() > before_b).await;
        proxy.set(Mode::Cut);
    };
    let (sent, ()) = tokio::join!(world.send(&a, channel), dies);
    assert!(!sent.duplicate, "it was sent once");
    assert_eq!(world.messages(channel).await.len(), 1);
    assert_eq!(b.published() - before_b, 1, "the owner committed it");
    assert_eq!(a.published() - before_a, 1, "and might have died before it could answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_dies_with_batches_under_way_loses_and_doubles_nothing() {
    for held in [Mode::HoldRequests, Mode::HoldAnswers] {
        let (world, a, _b, proxy) = two_with_proxy(World::new().await).await;
        let channel = world.channel_owned_by("b", &a).await;
        let mut ids = Vec::new();
        let mut pending = Vec::new();
        for n in 0..300 {
            if n == 100 {
                proxy.set(held);
            }
            let id = ClientId::new();
            pending.push(world.submit(&a.chat, channel, id).await.unwrap());
            ids.push(id);
        }
        proxy.set(Mode::Cut);
        let mut acked: Vec<(ClientId, u64)> = Vec::new();
        for (id, pending) in ids.into_iter().zip(pending) {
            match pending.committed().await {
                Ok(committed) => {
                    assert!(!committed.duplicate);
                    acked.push((id, committed.seq));
                }
                // It waited for too long, and nothing was done.
                Err(error) => assert_eq!(error.code, ErrorCode::Overloaded),
            }
        }
        assert!(!acked.is_empty());
        assert_eq!(world.messages(channel).await, acked, "in the order in which they were sent, each once");
    }
}

#[tokio::test]
async fn without_certificates_only_loopback_is_served() {
    let options = |listen: [u8; 4], certificates| HopOptions {
        listen: Some((listen, 0).into()),
        advertise: String::new(),
        certificates,
        timeout: SHORT_TIMEOUT,
    };
    let open = |listen| Hop::open(options(listen, None), Arc::new(ClusterMetrics::default()));
    assert!(open([127, 0, 0, 1]).await.is_ok());
    assert!(matches!(open([0, 0, 0, 0]).await, Err(HopError::Insecure(_))));
    let dir = tempfile::tempdir().unwrap();
    let unreachable = options([0, 0, 0, 0], Some(Authority::new().issue(dir.path())));
    let unreachable = Hop::open(unreachable, Arc::new(ClusterMetrics::default())).await;
    assert!(matches!(unreachable, Err(HopError::Advertise(_))));
    let incomplete = ClusterConfig { key_file: "key.pem".into(), ..ClusterConfig::default() };
    assert!(matches!(HopOptions::new(&incomplete), Err(HopError::Incomplete)));
    assert_eq!(HopOptions::new(&ClusterConfig::default()).unwrap().listen, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_certificates_processes_of_one_machine_speak_in_plain_text() {
    let world = World::new().await;
    let a = world.process("a", None).await;
    let b = world.process("b", None).await;
    world.set_live(&[a.node(), b.node()]);
    let channel = world.channel_owned_by("b", &a).await;
    assert_eq!(sent_over_the_hop(&world, &a, &b, channel).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_were_renewed_are_used_from_then_on() {
    let world = World::new().await;
    let (old, new) = (Authority::new(), Authority::new());
    let dir = |name: &str| world.dir.path().join(name);
    let b = world.process("b", Some(old.issue(&dir("b")))).await;
    // Knows the new authority only.
    let a = world.process("a", Some(new.issue(&dir("a")))).await;
    let proxy = Proxy::before(b.address()).await;
    world.set_live(&[b.node_at(proxy.address)]);
    let channel = world.channel(&a).await;
    world.send(&a, channel).await;
    proxy.came_back().await;
    assert!(a.owners.remote(channel).is_none());
    // Half-written files change nothing and stop nothing.
    std::fs::write(dir("b").join("key.pem"), "").unwrap();
    proxy.came_back().await;
    world.send(&a, channel).await;
    new.issue(&dir("b"));
    until("the owner shows its new certificate", || a.owners.remote(channel).is_some()).await;
    assert_eq!(sent_over_the_hop(&world, &a, &b, channel).await, 1);
}
