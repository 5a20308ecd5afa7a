//! Whatever senders, retries and crashes do at the same time: every log stays dense, nothing acknowledged is lost
//! or moved, and no client id is committed twice.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chat_domain::store::{Appended, LogStore, NewEvent, StoreError};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Seq, UserId};
use chat_sqlite::{FaultPoint, SqliteOptions, SqliteStore};
use proptest::prelude::*;

/// One thing that a sender does.
#[derive(Debug, Clone)]
enum Step {
    /// Sends so many new messages in one call.
    Send { channel: usize, count: usize },
    /// Sends one of its earlier calls once more, acknowledged or not.
    Resend { which: prop::sample::Index },
    /// Gives up waiting at once; the call may be done or not.
    SendAndLeave { channel: usize },
}

#[derive(Debug, Clone)]
struct Scenario {
    channels: usize,
    senders: Vec<Vec<Step>>,
    /// The writer dies at these: so many commits after it was opened, before or after the commit.
    crashes: Vec<(usize, bool)>,
}

fn step(channels: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..channels, 1..4_usize).prop_map(|(channel, count)| Step::Send { channel, count }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Resend { which }),
        1 => (0..channels).prop_map(|channel| Step::SendAndLeave { channel }),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    (1..4_usize).prop_flat_map(|channels| {
        let senders = prop::collection::vec(prop::collection::vec(step(channels), 1..12), 1..5);
        let crashes = prop::collection::vec((0..12_usize, any::<bool>()), 0..4);
        (senders, crashes).prop_map(move |(senders, crashes)| Scenario { channels, senders, crashes })
    })
}

/// One call of a sender, and the answers to it.
#[derive(Debug, Clone)]
struct Call {
    channel: ChannelId,
    events: Vec<NewEvent>,
    acked: Option<Vec<Seq>>,
    /// It got the answer once that the outcome is unknown, or did not stay for the answer.
    in_doubt: bool,
}

struct Sender {
    user: UserId,
    steps: Vec<Step>,
    calls: Vec<Call>,
}

impl Sender {
    fn new_call(&self, channel: ChannelId, count: usize) -> Call {
        let message = |_| {
            let body = EventBody::Message { text: "hi".into(), files: vec![], deleted: false };
            NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(self.user, u64::MAX >> 2, body) }
        };
        Call { channel, events: (0..count).map(message).collect(), acked: None, in_doubt: false }
    }

    /// Goes on until its steps are done or the store died; then the step is taken again after the restart.
    async fn run(mut self, store: Arc<SqliteStore>, channels: Arc<[ChannelId]>) -> Self {
        while let Some(step) = self.steps.last().cloned() {
            let index = match step {
                Step::Send { channel, count } => {
                    self.calls.push(self.new_call(channels[channel], count));
                    self.calls.len() - 1
                }
                Step::SendAndLeave { channel } => {
                    let mut call = self.new_call(channels[channel], 1);
                    let append = std::pin::pin!(store.append(call.channel, call.events.clone()));
                    let _ = futures_util::poll!(append);
                    call.in_doubt = true;
                    self.calls.push(call);
                    self.steps.pop();
                    continue;
                }
                Step::Resend { .. } if self.calls.is_empty() => {
                    self.steps.pop();
                    continue;
                }
                Step::Resend { which } => which.index(self.calls.len()),
            };
            self.steps.pop();
            if !self.calls[index].send(&store).await {
                break;
            }
        }
        self
    }
}

impl Call {
    /// False when the store is dead.
    async fn send(&mut self, store: &SqliteStore) -> bool {
        match store.append(self.channel, self.events.clone()).await {
            Ok(outcomes) => {
                self.learn(&outcomes);
                true
            }
            Err(StoreError::UnknownOutcome(_)) => {
                self.in_doubt = true;
                false
            }
            Err(StoreError::Unavailable(_)) => false,
            Err(other) => panic!("expected an answer or a dead store, got {other:?}"),
        }
    }

    fn learn(&mut self, outcomes: &[Appended]) {
        let repeats = self.acked.is_some();
        let seqs = outcomes.iter().map(|outcome| match *outcome {
            Appended::New { seq } => {
                assert!(!repeats, "{outcome:?} for what was acknowledged before");
                seq
            }
            Appended::Duplicate { seq, at } => {
                assert!(repeats || self.in_doubt, "{outcome:?} for what was never sent before");
                assert_eq!(at, self.events[0].at);
                seq
            }
            Appended::Refused(refusal) => panic!("expected no refusal, got {refusal:?}"),
        });
        let seqs: Vec<_> = seqs.collect();
        // A call is all or nothing, so its events are neighbours.
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
        if let Some(before) = &self.acked {
            assert_eq!(before, &seqs, "the same position each time");
        }
        self.acked = Some(seqs);
    }
}

/// A store that dies at the given commit.
fn open(path: &Path, crash: Option<(usize, bool)>) -> Arc<SqliteStore> {
    let commits = AtomicUsize::new(0);
    let fault = Arc::new(move |point| match crash {
        Some((at, false)) if point == FaultPoint::BeforeCommit => {
            commits.fetch_add(1, Ordering::Relaxed) == at
        }
        Some((at, true)) if point == FaultPoint::AfterCommit => commits.fetch_add(1, Ordering::Relaxed) == at,
        _ => false,
    });
    let options = SqliteOptions { fault: Some(fault), ..SqliteOptions::default() };
    Arc::new(SqliteStore::open_with(path, options).unwrap())
}

async fn play(scenario: Scenario) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let channels: Arc<[ChannelId]> = (0..scenario.channels).map(|_| ChannelId::new()).collect();
    let store = open(&path, None);
    for &channel in &*channels {
        let body =
            EventBody::ChannelCreated { channel_kind: ChannelKind::Direct, name: None, topic: String::new() };
        let create = NewEvent::of_server(UserId::new(), 1, body);
        store.append(channel, vec![create]).await.unwrap();
    }
    drop(store);

    let mut senders: Vec<_> = scenario
        .senders
        .into_iter()
        .map(|steps| Sender { user: UserId::new(), steps, calls: Vec::new() })
        .collect();
    // Each life of the store but the last ends in a crash, if there is enough to do.
    let lives = scenario.crashes.into_iter().map(Some).chain([None]);
    for crash in lives {
        let store = open(&path, crash);
        let running: Vec<_> = senders
            .drain(..)
            .map(|sender| tokio::spawn(sender.run(Arc::clone(&store), Arc::clone(&channels))))
            .collect();
        for sender in running {
            senders.push(sender.await.unwrap());
        }
        drop(Arc::into_inner(store).unwrap());
    }
    let store = open(&path, None);
    let mut calls: Vec<_> = senders.into_iter().flat_map(|sender| sender.calls).collect();
    check(&store, &channels, &calls).await;

    // Sending again whatever was not acknowledged settles it.
    for call in &mut calls {
        if call.acked.is_none() {
            // A call that was refused by a dead store was not done; one in doubt may have been.
            assert!(call.send(&store).await);
        }
    }
    check(&store, &channels, &calls).await;
}

async fn check(store: &SqliteStore, channels: &[ChannelId], calls: &[Call]) {
    for &channel in channels {
        let log = store.events(channel, 0, 100_000).await.unwrap();
        let head = log.len() as Seq;
        assert!(log.iter().map(|event| event.seq).eq(1..=head), "dense");
        assert_eq!(store.heads(&[channel]).await.unwrap(), [(channel, head)]);

        let mut found: HashMap<ClientId, Seq> = HashMap::new();
        for event in log {
            let Some(id) = event.id else { continue };
            assert_eq!(found.insert(id, event.seq), None, "{id} stands there twice");
        }
        for call in calls.iter().filter(|call| call.channel == channel) {
            let ids = call.events.iter().map(|event| event.id.unwrap());
            let seqs: Vec<Option<Seq>> = ids.map(|id| found.remove(&id)).collect();
            match &call.acked {
                Some(acked) => {
                    assert!(seqs.iter().copied().eq(acked.iter().copied().map(Some)), "{call:?} {seqs:?}")
                }
                None if call.in_doubt => assert!(
                    seqs.iter().all(Option::is_some) || seqs.iter().all(Option::is_none),
                    "{call:?} was done in part: {seqs:?}"
                ),
                None => assert!(seqs.iter().all(Option::is_none), "{call:?} was refused and done: {seqs:?}"),
            }
        }
        assert!(found.is_empty(), "nobody sent {found:?}");
    }
    // Each sender's calls that were acknowledged when first sent stand in the order sent: they waited for each other.
    for call in calls {
        assert!(call.acked.as_ref().is_none_or(|seqs| seqs.is_sorted()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_survive_retries_and_crashes(scenario in scenario()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(play(scenario));
    }
}
