//! Sends go to the process that owns their channel; when it does not answer they are written without it, once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod certificates;
mod cluster;
mod flapping;
mod proxy;

use std::sync::Arc;

use certificates::Authority;
use chat_protocol::{ChannelId, ClientId};
use chat_server::{
    cluster::{
        hop::{Hop, HopError, HopOptions},
        tls::CertificateFiles,
    },
    config::ClusterConfig,
    metrics::Metrics,
};
use cluster::{Process, TIMEOUT, World, eventually};
use proxy::{Mode, Proxy};

/// Two processes with certificates of one authority, which know each other.
async fn two() -> (World, Process, Process) {
    let world = World::new().await;
    let authority = Authority::new();
    let a = world.process("a", Some(authority.issue(&world.dir.path().join("a")))).await;
    let b = world.process("b", Some(authority.issue(&world.dir.path().join("b")))).await;
    world.set_live(&[a.node(), b.node()]);
    (world, a, b)
}

/// The same, and what stands before `b`.
async fn two_with_proxy() -> (World, Process, Process, Proxy) {
    let (world, a, b) = two().await;
    let proxy = Proxy::before(b.address()).await;
    world.set_live(&[a.node(), b.node_at(proxy.address)]);
    (world, a, b, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_a_hot_channel_and_one_appends() {
    let (world, a, b) = two().await;
    let channel = world.channel_owned_by("b", &a).await;
    let (before_a, before_b) = (a.published(), b.published());
    let (world, a, b) = (&world, &a, &b);
    let send =
        |n: usize| async move { world.send(if n.is_multiple_of(2) { a } else { b }, channel).await.seq };
    let mut seqs = futures_util::future::join_all((0..200).map(send)).await;
    seqs.sort_unstable();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert_eq!(a.published(), before_a, "only the owner commits");
    assert_eq!(b.published() - before_b, 200);
    assert!(a.metrics.hop_forwarded.get() > 0 && b.metrics.hop_served.get() > 0);
    assert_eq!((a.metrics.hop_fell_back.get(), b.metrics.hop_forwarded.get()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_client_id_goes_to_the_owner_too() {
    let (world, a, b) = two().await;
    let channel = world.channel_owned_by("b", &a).await;
    let before = a.published();
    world.send(&a, channel).await;
    a.chat.leave(&world.ada, channel).await.unwrap();
    // Known at once, not when the bus says so: nobody follows it here.
    assert!(world.submit(&a.chat, channel, ClientId::new()).await.is_err());
    a.chat.join(&world.ada, channel).await.unwrap();
    assert_eq!(a.published(), before);
    assert_eq!(b.metrics.hop_served.get(), 3);
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
    world.set_live(&[b.node()]);
    for stranger in &strangers {
        // The first send starts the connection; all are committed meanwhile.
        let channel = world.channel(stranger).await;
        for _ in 0..20 {
            world.send(stranger, channel).await;
            tokio::time::sleep(TIMEOUT / 20).await;
        }
        assert!(stranger.owners.remote(channel).is_none(), "{} was let in", stranger.name);
        assert_eq!(world.messages(channel).await.len(), 20);
    }
    assert_eq!(b.metrics.hop_served.get(), 0);
    // One that belongs gets through.
    let a = world.process("a", Some(ours.issue(&dir("a")))).await;
    world.channel_owned_by("b", &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_hangs_is_done_without_and_later_used_again() {
    let (world, a, b, proxy) = two_with_proxy().await;
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
    eventually("the owner is used again", || a.owners.remote(channel).is_some()).await;
    let served = b.metrics.hop_served.get();
    let third = world.send(&a, channel).await;
    eventually("the owner appends again", || b.metrics.hop_served.get() > served).await;
    assert_eq!((third.seq, world.messages(channel).await.len()), (second.seq + 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_commits_and_does_not_say_so_has_committed_once() {
    let (world, a, b, proxy) = two_with_proxy().await;
    let channel = world.channel_owned_by("b", &a).await;
    proxy.set(Mode::HoldAnswers);
    let (before_a, before_b) = (a.published(), b.published());
    let sent = world.send(&a, channel).await;
    assert!(!sent.duplicate, "it was sent once");
    assert_eq!(world.messages(channel).await.len(), 1);
    assert_eq!(b.published() - before_b, 1, "the owner committed it");
    assert_eq!(a.published() - before_a, 1, "and might have died before it could tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_dies_with_batches_under_way_loses_and_doubles_nothing() {
    for held in [Mode::HoldRequests, Mode::HoldAnswers] {
        let (world, a, _b, proxy) = two_with_proxy().await;
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
            let committed = pending.committed().await.unwrap();
            assert!(!committed.duplicate);
            acked.push((id, committed.seq));
        }
        assert_eq!(world.messages(channel).await, acked, "in the order in which they were sent, each once");
    }
}

#[tokio::test]
async fn without_certificates_only_loopback_is_served() {
    let options = |listen: [u8; 4], certificates| HopOptions {
        listen: Some((listen, 0).into()),
        advertise: String::new(),
        certificates,
        timeout: TIMEOUT,
    };
    let open = |listen| Hop::open(options(listen, None), Arc::new(Metrics::new()));
    assert!(open([127, 0, 0, 1]).await.is_ok());
    assert!(matches!(open([0, 0, 0, 0]).await, Err(HopError::Insecure(_))));
    let dir = tempfile::tempdir().unwrap();
    let unreachable = options([0, 0, 0, 0], Some(Authority::new().issue(dir.path())));
    let unreachable = Hop::open(unreachable, Arc::new(Metrics::new())).await;
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
    let channel: ChannelId = world.channel_owned_by("b", &a).await;
    world.send(&a, channel).await;
    assert_eq!(b.metrics.hop_served.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_were_renewed_are_used_from_then_on() {
    let world = World::new().await;
    let (old, new) = (Authority::new(), Authority::new());
    let dir = |name: &str| world.dir.path().join(name);
    let b = world.process("b", Some(old.issue(&dir("b")))).await;
    // Knows the new authority only.
    let a = world.process("a", Some(new.issue(&dir("a")))).await;
    world.set_live(&[b.node()]);
    let channel = world.channel(&a).await;
    world.send(&a, channel).await;
    assert!(a.owners.remote(channel).is_none());
    // Half-written files change nothing and stop nothing.
    std::fs::write(dir("b").join("key.pem"), "").unwrap();
    world.send(&a, channel).await;
    new.issue(&dir("b"));
    eventually("the owner shows its new certificate", || a.owners.remote(channel).is_some()).await;
    world.send(&a, channel).await;
    assert_eq!(b.metrics.hop_served.get(), 1);
}
