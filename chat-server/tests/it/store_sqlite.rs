//! What the embedded store does beyond the contract: its file, its lock, its queues, its bulk loading.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use chat_domain::store::{Appended, AuthStore, DirectoryStore, LogStore, NewEvent, SessionRow, StoreError};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Seq, SessionId, UserId, limits};
use chat_sqlite::{FaultHook, FaultPoint, SeedChannel, SeedPlan, Seeded, SqliteOptions, SqliteStore};
use rusqlite::Connection;

use crate::conformance::fixtures::{
    append, commit, created, event, joined, message, named, new_channel, new_session, new_user, now, unique,
};
use crate::harness::wait;

fn source(error: &StoreError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("folkmoot.db");
    let (ada, id) = (UserId::new(), ClientId::new());
    let store = SqliteStore::open(&path).unwrap();
    let channel = new_channel(&store, &[ada]).await;
    let first = named(message(ada, "hi"), id);
    commit(&store, channel, first.clone()).await;
    drop(store);
    // SQLite also removes the file, unless it finds it locked just then; that it is empty is what is promised.
    let left = path.with_extension("db-wal").metadata().map_or(0, |file| file.len());
    assert_eq!(left, 0, "closing empties the write-ahead log");

    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.heads(&[channel]).await.unwrap(), [(channel, 3)]);
    assert_eq!(append(&store, channel, first.clone()).await, Appended::Duplicate { seq: 3, at: first.at });
}

#[tokio::test]
async fn nobody_else_on_the_machine_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat").join("data").join("folkmoot.db");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let store = SqliteStore::open(&path).unwrap();
    new_channel(&store, &[UserId::new()]).await;
    let files = |path: &Path| {
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    assert!(files(&path).len() >= 3, "the store, its log and its lock");
    for file in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(
        (mode(path.parent().unwrap()), mode(path.parent().unwrap().parent().unwrap())),
        (0o700, 0o700)
    );
    drop(store);
    // Those of a version that was not careful.
    for file in files(&path) {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let _store = SqliteStore::open(&path).unwrap();
    for file in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).map(drop).unwrap_err();
    assert!(source(&error).contains("holds the lock"), "{error:?}");
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 4_000).unwrap();
    let error = SqliteStore::open(&path).map(drop).unwrap_err();
    assert!(source(&error).contains("4000"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    std::fs::write(&path, "# notes of my own, longer than the header of a database would be\n".repeat(99))
        .unwrap();
    assert!(matches!(SqliteStore::open(&path).map(drop), Err(StoreError::Failed(_))));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("# notes"));
}

fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.flatten().collect()
}

fn occurrences(haystack: &[u8], needle: &str) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()
}

#[tokio::test]
async fn deleted_text_leaves_the_disk() {
    const SECRET: &str = "xyzzy-plugh-secret";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let ada = UserId::new();
    let store = SqliteStore::open(&path).unwrap();
    // Several logs that grow in turns make the engine split pages and move rows around; the long texts
    // overflow their pages.
    let mut channels = Vec::new();
    for _ in 0..4 {
        channels.push(new_channel(&store, &[ada]).await);
    }
    let mut messages = Vec::new();
    for round in 0..60 {
        for &channel in &channels {
            let filler = "lorem ipsum ".repeat(round * round % 97 * 6);
            let seq = commit(&store, channel, message(ada, &format!("{SECRET} {filler} {SECRET}"))).await;
            if round % 3 == 0 {
                let text = format!("{filler} {SECRET}");
                let edit = EventBody::Edited { target: seq, text, deleted: false };
                commit(&store, channel, event(ada, edit)).await;
            }
            messages.push((channel, seq));
        }
    }
    drop(store);
    assert!(occurrences(&bytes_on_disk(folder.path()), SECRET) > messages.len(), "the search finds it");

    let store = SqliteStore::open(&path).unwrap();
    for (channel, target) in messages {
        commit(&store, channel, event(ada, EventBody::Deleted { target })).await;
    }
    drop(store);
    assert_eq!(occurrences(&bytes_on_disk(folder.path()), SECRET), 0);
}

/// A store whose writer waits before each commit until the returned sender lets it go on.
fn open_held(
    path: &Path,
    mut options: SqliteOptions,
) -> (SqliteStore, mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (at_commit, arrived) = mpsc::sync_channel(1_000);
    let (go_on, may_go_on) = mpsc::sync_channel::<()>(1_000);
    let may_go_on = parking_lot::Mutex::new(may_go_on);
    options.fault = Some(Arc::new(move |point| {
        if point == FaultPoint::BeforeCommit {
            at_commit.send(()).ok();
            // The test is over when the other end is gone.
            may_go_on.lock().recv().ok();
        }
        false
    }));
    let store = SqliteStore::open_with(path, options).unwrap();
    (store, arrived, go_on)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { write_queue: 2, ..SqliteOptions::default() };
    let (store, arrived, go_on) = open_held(&folder.path().join("folkmoot.db"), options);
    let store = Arc::new(store);
    let user = new_user("ada", "Ada");
    let held = tokio::spawn({
        let (store, user) = (Arc::clone(&store), user.clone());
        async move { store.create_user(&user).await.unwrap() }
    });
    tokio::task::spawn_blocking(move || (arrived.recv().unwrap(), arrived)).await.unwrap();

    let set = |phc: &'static str| {
        let (store, user) = (Arc::clone(&store), user.id);
        async move { store.set_password(user, phc).await }
    };
    let mut queued = [Box::pin(set("one")), Box::pin(set("two"))];
    for write in &mut queued {
        assert!(futures_util::poll!(write.as_mut()).is_pending());
    }
    let refused = set("three").await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Overloaded { retry_after_ms } if retry_after_ms > 0),
        "{refused:?}"
    );
    assert_eq!(store.user(user.id).await.unwrap(), None, "what is not committed is not seen");

    go_on.send(()).unwrap();
    assert!(held.await.unwrap());
    go_on.send(()).unwrap();
    for write in queued {
        write.await.unwrap();
    }
    assert_eq!(store.password(user.id).await.unwrap().as_deref(), Some("two"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_past_its_deadline_has_an_unknown_outcome_that_a_repeat_settles() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { deadline: Duration::from_millis(200), ..SqliteOptions::default() };
    let (store, _arrived, go_on) = open_held(&folder.path().join("folkmoot.db"), options);
    let (ada, channel, id) = (UserId::new(), ChannelId::new(), ClientId::new());
    let first = named(created(ada, ChannelKind::Private, Some(&unique("late"))), id);
    let late = store.append(channel, vec![first.clone()]).await;
    assert!(matches!(late, Err(StoreError::UnknownOutcome(_))), "{late:?}");
    // It was not taken back by its caller's going away.
    drop(go_on);
    // A repeat may be past its deadline too, as often as the machine is that slow.
    let again = wait::until_within(wait::DEADLINE, "a repeat is answered", async || {
        match store.append(channel, vec![first.clone()]).await {
            Err(StoreError::UnknownOutcome(_)) => None,
            again => Some(again.unwrap()),
        }
    })
    .await;
    assert_eq!(again, [Appended::Duplicate { seq: 1, at: first.at }]);
}

#[tokio::test]
async fn one_failing_write_does_not_spoil_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap();
    let session = new_session(UserId::new(), now());
    let other = SessionRow { id: SessionId::new(), ..session.clone() };
    let (first, again, other) = tokio::join!(
        store.create_session(&session),
        store.create_session(&session),
        store.create_session(&other)
    );
    first.unwrap();
    assert!(matches!(again, Err(StoreError::Failed(_))), "{again:?}");
    other.unwrap();
    assert_eq!(store.sessions_of(session.user, now()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn client_ids_are_kept_for_a_day_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap();
    let ada = UserId::new();
    let channel = new_channel(&store, &[ada]).await;
    let sent = named(message(ada, "hi"), ClientId::new());
    commit(&store, channel, sent.clone()).await;
    assert_eq!(store.purge(sent.at + limits::IDEMPOTENCY_WINDOW_MS).await.unwrap(), 0);
    assert!(matches!(append(&store, channel, sent.clone()).await, Appended::Duplicate { seq: 3, .. }));
    assert_eq!(store.purge(sent.at + 2 * limits::IDEMPOTENCY_WINDOW_MS).await.unwrap(), 1);
    assert_eq!(commit(&store, channel, sent.clone()).await, 4);
    assert_eq!(store.purge(sent.at).await.unwrap(), 0);
    assert!(matches!(append(&store, channel, sent.clone()).await, Appended::Duplicate { seq: 4, .. }));
    assert_eq!(store.purge(sent.at + 2 * limits::IDEMPOTENCY_WINDOW_MS).await.unwrap(), 1);
}

/// As many that what they bring with them is written to its tables once and again.
const MANY: Seq = 150;

#[tokio::test]
async fn ids_and_markers_are_there_at_once_and_after_opening_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&store, &[ada, grace]).await;
    let mut sent = Vec::new();
    for n in 0..MANY {
        // One of two has seen what is before it.
        let (by, seen) = if n % 2 == 0 { (ada, Some(3 + n)) } else { (grace, None) };
        let event = named(NewEvent { seen, ..message(by, "hi") }, ClientId::new());
        let seq = commit(&store, channel, event.clone()).await;
        sent.push((seq, event));
        if n % 40 == 0 {
            drop(store);
            store = SqliteStore::open(&path).unwrap();
        }
        let place = store.membership(channel, by).await.unwrap().unwrap();
        assert_eq!(store.memberships(by).await.unwrap(), [place]);
        let read = if by == ada { seq } else { place.since };
        assert_eq!((place.own, place.read), (seq, read));
        let counts = store.event(channel, read).await.unwrap().unwrap().counts;
        assert_eq!(place.counts, counts);
    }
    for (seq, event) in sent {
        let (id, at) = (event.id.unwrap(), event.at);
        assert_eq!(store.committed_as(channel, event.by, id).await.unwrap(), Some((seq, at)));
        assert_eq!(append(&store, channel, event).await, Appended::Duplicate { seq, at });
    }
    assert_eq!(store.committed_as(channel, ada, ClientId::new()).await.unwrap(), None);
}

#[tokio::test]
async fn messages_of_before_somebody_left_do_not_move_their_marker() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap();
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&store, &[ada, grace]).await;
    commit(&store, channel, NewEvent { seen: Some(3), ..message(ada, "hi") }).await;
    let place = store.membership(channel, ada).await.unwrap().unwrap();
    assert_eq!((place.since, place.read, place.own), (2, 4, 4));
    commit(&store, channel, event(ada, EventBody::MemberLeft { user: ada })).await;
    assert_eq!(store.membership(channel, ada).await.unwrap(), None);
    let since = commit(&store, channel, joined(ada)).await;
    for _ in 0..MANY {
        let place = store.membership(channel, ada).await.unwrap().unwrap();
        assert_eq!((place.since, place.read, place.own), (since, since, 0));
        commit(&store, channel, message(grace, "hi")).await;
    }
}

#[tokio::test]
async fn a_marker_that_was_moved_on_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap();
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&store, &[ada, grace]).await;
    commit(&store, channel, NewEvent { seen: Some(3), ..message(ada, "hi") }).await;
    let last = commit(&store, channel, message(grace, "hi")).await;
    let (read, _) = store.set_read(ada, channel, last).await.unwrap().unwrap();
    assert_eq!((read.read, read.own), (last, 4));
    // Not to one's own message, which it was at already.
    assert_eq!(store.set_read(ada, channel, 4).await.unwrap().unwrap().0, read);
    for _ in 0..MANY {
        assert_eq!(store.membership(channel, ada).await.unwrap(), Some(read));
        commit(&store, channel, message(grace, "hi")).await;
    }
}

#[tokio::test]
async fn a_seeded_store_is_like_one_filled_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap();
    let users: Vec<_> = (0..30).map(|i| new_user(&format!("user{i:02}"), "User")).collect();
    let channels: Vec<_> = (0..6)
        .map(|i| SeedChannel {
            id: ChannelId::new(),
            kind: ChannelKind::Public,
            name: Some(format!("channel {i}")),
            topic: "seeded".into(),
            created_by: users[0].id,
            at: now(),
            members: users[i..i + 20].iter().map(|user| user.id).collect(),
        })
        .collect();
    let plan = SeedPlan { users: users.clone(), channels: channels.clone() };
    let seeded = store.seed(plan.clone()).await.unwrap();
    assert_eq!(seeded, Seeded { users: 30, channels: 6, memberships: 120 });

    assert_eq!(store.list_users(None, None, 100).await.unwrap(), users);
    assert_eq!(store.memberships(users[5].id).await.unwrap().len(), 6);
    let log = store.events(channels[3].id, 0, 100).await.unwrap();
    assert!(log.iter().map(|event| event.seq).eq(1..=21));
    assert_eq!(store.channel(channels[3].id).await.unwrap().unwrap().end.head, 21 as Seq);
    let member = store.membership(channels[3].id, users[3].id).await.unwrap().unwrap();
    assert_eq!((member.since, member.read), (2, 2));
    // Once more adds nothing.
    assert_eq!(store.seed(plan).await.unwrap(), Seeded::default());
}

#[tokio::test]
async fn a_store_that_takes_no_appends_says_so_though_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let fault: FaultHook = Arc::new(|point| point == FaultPoint::BeforeCommit);
    let options = SqliteOptions { fault: Some(fault), ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&folder.path().join("folkmoot.db"), options).unwrap();
    let lost = store.append(ChannelId::new(), vec![message(UserId::new(), "lost")]).await;
    assert!(matches!(lost, Err(StoreError::UnknownOutcome(_))), "{lost:?}");
    assert!(store.check().await.is_err());
    assert!(!store.has_users().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap().check().await.unwrap();
}

#[tokio::test]
async fn while_the_disk_is_full_it_says_so_until_a_write_works() {
    let folder = tempfile::tempdir().unwrap();
    let pages = Arc::new(AtomicU32::new(u32::MAX - 1));
    let options = SqliteOptions { pages: Some(Arc::clone(&pages)), ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&folder.path().join("folkmoot.db"), options).unwrap();
    let ada = UserId::new();
    let channel = new_channel(&store, &[ada]).await;
    store.check().await.unwrap();
    // No more than there are.
    pages.store(1, Ordering::Relaxed);
    let text = "x".repeat(16_000);
    let mut failed = None;
    for _ in 0..1_000 {
        if let Err(error) = store.append(channel, vec![message(ada, &text)]).await {
            failed = Some(error);
            break;
        }
    }
    assert!(matches!(failed, Some(StoreError::Failed(_) | StoreError::UnknownOutcome(_))), "{failed:?}");
    for _ in 0..3 {
        assert!(store.check().await.is_err(), "nothing was written since");
    }
    // Reading goes on.
    assert!(store.heads(&[channel]).await.is_ok());
    pages.store(u32::MAX - 1, Ordering::Relaxed);
    store.check().await.unwrap();
    commit(&store, channel, message(ada, &text)).await;
    store.check().await.unwrap();
}
