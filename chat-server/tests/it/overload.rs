//! A store that struggles costs answers, not sockets: whoever asks gets an answer at once with the time to come back,
//! and what was asked again is done once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, extract::Request};
use chat_api::ApiState;
use chat_auth::{Auth, AuthOptions, TokenVerifier};
use chat_blobs::disk::DiskBlobs;
use chat_cluster::metrics::ClusterMetrics;
use chat_cluster::{
    Cluster, ClusterOptions,
    process::{Listener, Process},
};
use chat_domain::store::class::Class;
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::{Actor, Chat, FileLimits, Files, now_ms},
    store::{Appended, DirectoryStore as _, LogStore as _, NewEvent, Refusal, Store, StoreError},
};
use chat_follow::clock::ClockIsRight;
use chat_gateway::metrics::GatewayMetrics;
use chat_gateway::{Gateway, GatewayOptions};
use chat_guard::{BreakerState, Guarded, LimitBounds};
use chat_http::connection::Admission;
use chat_protocol::{
    ChannelId, ChannelKind, ClientFrame, ClientId, CloseCode, ErrorCode, EventBody, Problem, Seq,
    ServerFrame,
    rest::{CreateChannel, Role},
};
use chat_server::{
    admin::{self, AdminState},
    http_server,
    metrics::Metrics,
};
use chat_sqlite::SqliteStore;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::harness;
use crate::harness::moody_store::{Mood, MoodyStore};
use crate::harness::{
    wait::{DEADLINE, until, until_so, until_within},
    ws::{Incoming, TestSocket},
};

const ROOMY: LimitBounds = LimitBounds { min: 8, initial: 128, max: 1_024, appends: 128 };

/// A guarded store that does what the test asks for, with one user.
struct World {
    store: Arc<MoodyStore>,
    guarded: Arc<Guarded<MoodyStore>>,
    actor: Actor,
    dir: tempfile::TempDir,
}

impl World {
    async fn new(bounds: LimitBounds) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let sqlite = SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store");
        let actor = harness::people::stored(&sqlite, "ada", Role::Owner).await;
        let store = MoodyStore::new(sqlite);
        let guarded = Arc::new(Guarded::new(Arc::clone(&store), bounds));
        Self { store, guarded, actor, dir }
    }

    async fn breakers_are(&self, state: BreakerState) {
        until("the breakers change", || self.guarded.breakers() == [state; 2]).await;
    }
}

/// What serves sockets and REST on it.
struct Server {
    base_url: String,
    verifier: TokenVerifier,
    token: String,
    channels: Vec<ChannelId>,
    stop: CancellationToken,
    /// Reads the bus as long as it is there.
    _process: Arc<Process>,
}

impl Server {
    async fn start(world: &World, channels: usize) -> Self {
        let store: Arc<dyn Store> = Arc::clone(&world.guarded) as _;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let chat = Chat::new(Arc::clone(&store), bus);
        let auth = Auth::new(Arc::clone(&chat), store, AuthOptions::default()).await.expect("keys");
        let verifier = auth.verifier();
        let cluster = Cluster::new(ClusterOptions::default());
        // As in a process that serves REST.
        let options = GatewayOptions { recent_of_all: true, ..GatewayOptions::default() };
        let gateway = Gateway::new(
            Arc::clone(&chat),
            verifier.clone(),
            Arc::clone(&cluster),
            options,
            Arc::new(GatewayMetrics::default()),
        );
        gateway.spawn();
        let listener: Arc<dyn Listener> = Arc::<Gateway>::clone(&gateway);
        let process =
            Process::spawn(Arc::clone(&chat), cluster, Arc::new(ClusterMetrics::default()), vec![listener]);
        let blobs = DiskBlobs::open(world.dir.path().join("files")).expect("a folder");
        let api = chat_api::router(ApiState {
            chat: Arc::clone(&chat),
            verifier: verifier.clone(),
            files: Files::new(
                Arc::clone(&chat),
                Arc::new(blobs),
                FileLimits { bytes_per_person: 0, unattached_per_person: 100, keep_free: 0 },
            ),
            auth,
            max_file_bytes: 1_000,
            uploads_at_once: 4,
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        let router = gateway.router().merge(api);
        tokio::spawn(http_server::serve(listener, router, Admission::default(), stop.clone()));
        let mut made = Vec::new();
        for n in 0..channels {
            let channel = CreateChannel {
                kind: ChannelKind::Private,
                name: format!("channel {n}"),
                topic: String::new(),
                members: Vec::new(),
            };
            made.push(chat.create_channel(&world.actor, channel).await.expect("is made").id);
        }
        let token = verifier.issue(&world.actor, Duration::from_secs(600)).expect("a token");
        Self { base_url, verifier, token, channels: made, stop, _process: process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What became of a command.
#[derive(Debug)]
enum Answer {
    Committed(Seq),
    Later { code: ErrorCode, after: u64 },
}

async fn answer(socket: &mut TestSocket, wanted: ClientId) -> Answer {
    socket
        .until(|frame| match frame {
            ServerFrame::Ack { id, seq, .. } if id == wanted => Some(Answer::Committed(seq)),
            ServerFrame::Error { id: Some(id), code, retryable, retry_after_ms, .. } if id == wanted => {
                assert!(retryable, "{code:?}");
                Some(Answer::Later { code, after: retry_after_ms.expect("says when") })
            }
            _ => None,
        })
        .await
}

/// Sends as a client does: the same again, when the answer asked for it.
async fn insist(socket: &mut TestSocket, id: ClientId, channel: ChannelId, text: &str) -> Seq {
    until_within(DEADLINE, "a send is taken", async || {
        socket.send(&ClientFrame::Send { id, channel, text: text.into(), files: vec![], seen: None }).await;
        match answer(socket, id).await {
            Answer::Committed(seq) => Some(seq),
            Answer::Later { after, .. } => {
                tokio::time::sleep(Duration::from_millis(after)).await;
                None
            }
        }
    })
    .await
}

fn fresh() -> ClientId {
    ClientId(uuid::Uuid::new_v4())
}

/// The texts of a channel's log.
async fn texts(world: &World, channel: ChannelId) -> Vec<String> {
    let events = world.store.events(channel, 0, 1_000).await.expect("is read");
    let texts =
        events.iter().filter_map(|event| match serde_json::from_str(&event.body).expect("is readable") {
            EventBody::Message { text, .. } => Some(text),
            _ => None,
        });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_sends_are_answered_without_it_and_sockets_stay() {
    let world = World::new(ROOMY).await;
    let server = Server::start(&world, 1).await;
    let channel = server.channels[0];
    let mut socket = TestSocket::connect(&server.base_url, &server.token).await;
    insist(&mut socket, fresh(), channel, "before").await;

    world.store.be(Mood::Away);
    // Nobody sends anything: the probe alone notices.
    world.breakers_are(BreakerState::Open).await;
    let calls = world.store.calls();
    let ids: Vec<ClientId> = (0..20).map(|_| fresh()).collect();
    for (n, id) in ids.iter().enumerate() {
        socket
            .send(&ClientFrame::Send { id: *id, channel, text: n.to_string(), files: vec![], seen: None })
            .await;
        let Answer::Later { code, after } = answer(&mut socket, *id).await else { panic!("it is away") };
        assert_eq!(code, ErrorCode::Overloaded);
        assert!((1..=5_000).contains(&after), "{after}");
    }
    assert_eq!(world.store.calls(), calls, "the store was asked although it is away");

    // Whoever comes gets the same answer, on the socket and over REST.
    let mut late = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    late.hello(&server.token).await;
    match late.next().await {
        Incoming::Frame(ServerFrame::Error { code, retryable, retry_after_ms, .. }) => {
            assert!(retryable && retry_after_ms.is_some(), "{code:?}");
        }
        other => panic!("expected an error first, got {other:?}"),
    }
    assert_eq!(late.closed().await, Some(CloseCode::TryLater.code()));
    let http = reqwest_client();
    let url = format!("{}/v1/channels", server.base_url);
    let rest = http.get(&url).bearer_auth(&server.token).send().await.expect("answers");
    assert_eq!(rest.status(), 503);
    assert!(rest.headers().contains_key("retry-after"));
    let problem: Problem = rest.json().await.expect("a problem");
    assert!(problem.retryable && problem.retry_after_ms.is_some(), "{problem:?}");

    world.store.be(Mood::Well);
    for (n, id) in ids.iter().enumerate() {
        insist(&mut socket, *id, channel, &n.to_string()).await;
    }
    world.breakers_are(BreakerState::Closed).await;
    let expected: Vec<String> =
        std::iter::once("before".to_owned()).chain((0..20).map(|n| n.to_string())).collect();
    assert_eq!(texts(&world, channel).await, expected);
    assert!(server.verifier.verify(&server.token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_behind_what_hangs_and_all_of_it_is_there_once_afterwards() {
    const CHANNELS: usize = 4;
    let world = World::new(ROOMY).await;
    let server = Server::start(&world, CHANNELS).await;
    let mut sockets = Vec::new();
    for channel in &server.channels {
        let mut socket = TestSocket::connect(&server.base_url, &server.token).await;
        insist(&mut socket, fresh(), *channel, "before").await;
        sockets.push(socket);
    }

    world.store.be(Mood::Hangs);
    let mut sent = Vec::new();
    for (socket, channel) in sockets.iter_mut().zip(&server.channels) {
        // The first is on its way when the second comes.
        let (first, second) = (fresh(), fresh());
        let before = world.store.calls();
        let text = |n: usize| format!("{n}");
        socket
            .send(&ClientFrame::Send {
                id: first,
                channel: *channel,
                text: text(1),
                files: vec![],
                seen: None,
            })
            .await;
        until("it is on its way", || {
            world.store.calls() > before || world.guarded.breakers()[0] == BreakerState::Open
        })
        .await;
        socket
            .send(&ClientFrame::Send {
                id: second,
                channel: *channel,
                text: text(2),
                files: vec![],
                seen: None,
            })
            .await;
        let Answer::Later { code, .. } = answer(socket, second).await else { panic!("it hangs") };
        assert_eq!(code, ErrorCode::Overloaded);
        sent.push([first, second]);
    }
    // Long before the first of them times out.
    until("it is taken for dead", || world.guarded.breakers()[0] == BreakerState::Open).await;

    world.store.be(Mood::Well);
    for ((socket, channel), ids) in sockets.iter_mut().zip(&server.channels).zip(sent) {
        for (n, id) in (1..).zip(ids) {
            insist(socket, id, *channel, &format!("{n}")).await;
        }
        assert_eq!(texts(&world, *channel).await, ["before", "1", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_history_does_not_wait_for_a_store_that_hangs() {
    let world = World::new(ROOMY).await;
    let server = Server::start(&world, 1).await;
    let channel = server.channels[0];
    let mut socket = TestSocket::connect(&server.base_url, &server.token).await;
    let first = insist(&mut socket, fresh(), channel, "first").await;
    insist(&mut socket, fresh(), channel, "second").await;
    let http = reqwest_client();
    let read = async |path: String| {
        let url = format!("{}/v1/channels/{channel}/{path}", server.base_url);
        let answer = http.get(&url).bearer_auth(&server.token).send().await.expect("answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("is read")
    };
    // Whoever reads has been there before.
    read("messages".into()).await;

    // Before the breaker notices, after which no call waits. When that came first, it is tried again.
    until_so("what is in memory is read while calls hang", async || {
        world.store.be(Mood::Hangs);
        let messages = read("messages".into()).await;
        assert!(messages.contains("first") && messages.contains("second"), "{messages}");
        let events = read(format!("events?after={first}")).await;
        assert!(!events.contains("first") && events.contains("second"), "{events}");
        let unnoticed = world.guarded.breakers() == [BreakerState::Closed; 2];
        if !unnoticed {
            world.store.be(Mood::Well);
            world.breakers_are(BreakerState::Closed).await;
        }
        unnoticed
    })
    .await;
    // And it is noticed although nobody waited for it.
    world.breakers_are(BreakerState::Open).await;
    world.store.be(Mood::Well);
    world.breakers_are(BreakerState::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_loses_of_a_channel_that_is_read_is_in_memory_nevertheless() {
    let world = World::new(ROOMY).await;
    let server = Server::start(&world, 1).await;
    let channel = server.channels[0];
    let (http, url) = (reqwest_client(), format!("{}/v1/channels/{channel}", server.base_url));
    let send = async |text: &str| {
        let body = serde_json::json!({ "text": text });
        let request = http.post(format!("{url}/messages")).bearer_auth(&server.token).json(&body);
        let answer = request.header("idempotency-key", fresh().to_string()).send().await.expect("answers");
        assert_eq!(answer.status(), 201, "{text}");
    };
    let read = async || {
        let url = format!("{url}/messages");
        let answer = http.get(&url).bearer_auth(&server.token).send().await.expect("answers");
        answer.text().await.expect("is read")
    };
    send("first").await;
    read().await;
    // Committed by a process that died before it answered anybody.
    world.store.append(channel, vec![message(&world.actor, "second")]).await.expect("is appended");
    send("third").await;
    assert!(read().await.contains("second"));
    // No socket is in the channel, and the gap is closed for those who read.
    until_so("memory has it all", async || {
        world.store.be(Mood::Away);
        let messages = read().await;
        world.store.be(Mood::Well);
        ["first", "second", "third"].iter().all(|text| messages.contains(text))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_from_the_store_is_remembered_before_what_came_since() {
    let world = World::new(ROOMY).await;
    // All of the channel so far is another process's, and this one has seen nothing of it.
    let other = Server::start(&world, 1).await;
    let channel = other.channels[0];
    let server = Server::start(&world, 0).await;
    let (http, url) = (reqwest_client(), format!("{}/v1/channels/{channel}", server.base_url));
    let events = async || {
        let answer = http.get(format!("{url}/events?after=0")).bearer_auth(&server.token).send().await;
        answer.expect("answers").text().await.expect("is read")
    };
    for text in ["first", "second"] {
        world.store.append(channel, vec![message(&world.actor, text)]).await.expect("is appended");
    }
    assert!(events().await.contains("second"));
    let has = |page: &str, texts: &[&str]| texts.iter().all(|text| page.contains(text));

    world.store.be(Mood::Away);
    let page = events().await;
    assert!(has(&page, &["first", "second"]), "a quiet channel: {page}");
    world.store.be(Mood::Well);
    world.breakers_are(BreakerState::Closed).await;

    let mut socket = TestSocket::connect(&server.base_url, &server.token).await;
    insist(&mut socket, fresh(), channel, "third").await;
    world.store.be(Mood::Away);
    let page = events().await;
    assert!(has(&page, &["first", "second", "third"]), "one that went on: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_while_there_is_no_room_is_one_write() {
    let world = World::new(LimitBounds { appends: 1, ..ROOMY }).await;
    let server = Server::start(&world, 2).await;
    let [busy, other] = server.channels[..] else { panic!("two channels") };
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(TestSocket::connect(&server.base_url, &server.token).await);
    }
    let mut another = TestSocket::connect(&server.base_url, &server.token).await;
    insist(&mut another, fresh(), busy, "before").await;
    insist(&mut another, fresh(), other, "before").await;

    /// Sends. When this returns an id, it waits for its channel's turn, since frames are taken in order; `None` when it was
    /// refused.
    async fn send(socket: &mut TestSocket, channel: ChannelId, text: &str) -> Option<ClientId> {
        let id = fresh();
        socket.send(&ClientFrame::Send { id, channel, text: text.into(), files: vec![], seen: None }).await;
        socket.send(&ClientFrame::Ping { id: Some(id) }).await;
        let taken = |frame| match frame {
            ServerFrame::Pong { id: Some(of) } if of == id => Some(true),
            ServerFrame::Error { id: Some(of), .. } if of == id => Some(false),
            _ => None,
        };
        socket.until(taken).await.then_some(id)
    }
    // What waits for too long is refused, and proves nothing: then it is tried again.
    let appends = until_within(DEADLINE, "all are taken", async || {
        world.breakers_are(BreakerState::Closed).await;
        world.store.be(Mood::Held);
        let before = world.store.appends();
        let first = send(&mut another, other, "takes the only place").await;
        let mut waiting = Vec::new();
        if first.is_some() {
            until("it is on its way", || world.store.appends() > before).await;
            for (n, socket) in sockets.iter_mut().enumerate() {
                waiting.push(send(socket, busy, &n.to_string()).await);
            }
        }
        world.store.be(Mood::Well);
        let mut committed = 0;
        for (socket, id) in
            std::iter::once(&mut another).chain(&mut sockets).zip([first].into_iter().chain(waiting))
        {
            if let Some(id) = id
                && matches!(answer(socket, id).await, Answer::Committed(_))
            {
                committed += 1;
            }
        }
        (committed == 9).then(|| world.store.appends() - before)
    })
    .await;
    assert_eq!(appends, 2, "one write a channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_in_cannot_take_the_places_of_those_who_write() {
    let world = World::new(LimitBounds { min: 8, initial: 8, max: 8, ..ROOMY }).await;
    let server = Server::start(&world, 1).await;
    let channel = server.channels[0];
    world.store.be(Mood::Slow(Duration::from_millis(300)));
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let guarded = Arc::clone(&world.guarded);
            let user = world.actor.user;
            tokio::spawn(async move { guarded.memberships(user).await })
        })
        .collect();
    until("the crowd waits", || world.guarded.load(Class::Connect).1 > 100).await;
    assert!(world.guarded.load(Class::Connect).0 <= 4, "half of the places are others'");
    for n in 0..4_u8 {
        let event = message(&world.actor, &n.to_string());
        let appended = world.guarded.append(channel, vec![event]).await.expect("gets in");
        assert!(matches!(appended[..], [Appended::New { .. }]));
    }
    let mut refused = 0;
    for one in crowd {
        match one.await.expect("does not panic") {
            Ok(_) => {}
            Err(StoreError::Overloaded { retry_after_ms }) => {
                assert!(retry_after_ms > 0);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the queue has a bound in time");
    assert_eq!(world.guarded.load(Class::Connect), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_for_the_callers_fault_does_not_close_the_door() {
    let world = World::new(ROOMY).await;
    for n in 0..100_u8 {
        let event = message(&world.actor, &n.to_string());
        let appended = world.guarded.append(ChannelId::new(), vec![event]).await.expect("answers");
        assert_eq!(appended, [Appended::Refused(Refusal::NoChannel)]);
        assert!(world.guarded.channel(ChannelId::new()).await.expect("answers").is_none());
    }
    assert_eq!(world.guarded.breakers(), [BreakerState::Closed; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_gives_the_place_back() {
    let world = World::new(LimitBounds { min: 1, initial: 1, max: 1, ..ROOMY }).await;
    world.store.be(Mood::Hangs);
    let guarded = Arc::clone(&world.guarded);
    let user = world.actor.user;
    let calling = tokio::spawn(async move { guarded.user(user).await });
    until("it is under way", || world.guarded.load(Class::Lookup).0 == 1).await;
    calling.abort();
    until("its place is free", || world.guarded.load(Class::Lookup).0 == 0).await;
    world.store.be(Mood::Well);
    until("it is well", || world.guarded.breakers() == [BreakerState::Closed; 2]).await;
    assert!(world.guarded.user(user).await.expect("gets in").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_go_at_any_moment_leave_nothing_behind() {
    let world = World::new(LimitBounds { min: 2, initial: 2, max: 2, ..ROOMY }).await;
    world.store.be(Mood::Slow(Duration::from_millis(2)));
    let user = world.actor.user;
    let mut calling = Vec::new();
    for n in 0..400_u64 {
        let guarded = Arc::clone(&world.guarded);
        let call = async move {
            let wait = Duration::from_micros(n * 37 % 9_000);
            drop(tokio::time::timeout(wait, guarded.user(user)).await);
            drop(tokio::time::timeout(wait, guarded.memberships(user)).await);
        };
        calling.push(tokio::spawn(call));
    }
    for call in calling {
        call.await.expect("does not panic");
    }
    for class in Class::ALL {
        until("nobody is left", || world.guarded.load(class) == (0, 0)).await;
    }
    assert!(world.guarded.user(user).await.expect("gets in").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_store_is_away_still_wants_traffic() {
    let world = World::new(ROOMY).await;
    let ready = Arc::new(AtomicBool::new(true));
    let clock = ClockIsRight::default();
    let admin = admin::router(AdminState {
        store: Arc::clone(&world.guarded) as _,
        metrics: Arc::new(Metrics::new()),
        ready: Arc::clone(&ready),
        clock: clock.clone(),
        token_file: Arc::from(std::path::Path::new("")),
        gateway: None,
    });
    let statuses = async || {
        let mut statuses = [0; 2];
        for (path, status) in ["/readyz", "/readyz/process"].into_iter().zip(&mut statuses) {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            *status = admin.clone().oneshot(request).await.expect("answers").status().as_u16();
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200]);
    // A clock that is far from the store's is this process's own trouble.
    clock.compare(std::future::ready(Ok(Some(now_ms() + 11 * 60_000)))).await;
    assert_eq!(statuses().await, [503, 503]);
    clock.compare(std::future::ready(Ok(Some(now_ms())))).await;
    assert_eq!(statuses().await, [200, 200]);
    world.store.be(Mood::Away);
    world.breakers_are(BreakerState::Open).await;
    assert_eq!(statuses().await, [503, 200]);
    ready.store(false, Ordering::Release);
    assert_eq!(statuses().await, [503, 503]);
    world.store.be(Mood::Well);
    world.breakers_are(BreakerState::Closed).await;
    assert_eq!(statuses().await, [503, 503]);
}

fn message(actor: &Actor, text: &str) -> NewEvent {
    let body = EventBody::Message { text: text.into(), files: vec![], deleted: false };
    NewEvent {
        id: Some(fresh()),
        authority: Some(actor.authority()),
        ..NewEvent::of_server(actor.user, now_ms(), body)
    }
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().expect("a client")
}
