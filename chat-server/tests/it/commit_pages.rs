//! How many pages of the file a message takes: counted in the write-ahead log, which has one frame a page and marks the last
//! one of each commit.

use std::path::Path;

use chat_domain::store::{Authority, DirectoryStore as _, LogStore as _, NewEvent};
use chat_protocol::{ClientId, rest::Role};
use chat_sqlite::SqliteStore;

use crate::conformance::fixtures::{commit, message, named, new_channel, new_user};

/// Fewer than what makes the store begin its write-ahead log anew.
const MESSAGES: usize = 400;

/// Pages of each commit since the log was begun.
fn commits(path: &Path) -> Vec<usize> {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4_096;
    let log = std::fs::read(path.with_extension("db-wal")).unwrap();
    let mut commits = Vec::new();
    let mut pages = 0;
    for frame in log[HEADER..].chunks_exact(FRAME) {
        pages += 1;
        // Pages of the file after this commit; 0 in all frames but the last.
        if frame[4..8] != [0; 4] {
            commits.push(std::mem::take(&mut pages));
        }
    }
    commits
}

#[tokio::test]
async fn a_message_that_comes_alone_writes_few_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let people: Vec<_> = (0..50).map(|n| new_user(&format!("user{n}"), "User")).collect();
    let ids: Vec<_> = people.iter().map(|user| user.id).collect();
    let store = SqliteStore::open(&path).unwrap();
    for user in &people {
        assert!(store.create_user(user).await.unwrap());
    }
    let mut channels = Vec::new();
    for _ in 0..20 {
        channels.push(new_channel(&store, &ids).await);
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    for n in 0..MESSAGES {
        let (channel, by) = (channels[n % 20], ids[n * 7 % 50]);
        let authority = Some(Authority { role: Role::Member, auth_version: 0 });
        let seen = Some(store.heads(&[channel]).await.unwrap()[0].1);
        let sent = message(by, &"x".repeat(200));
        commit(&store, channel, named(NewEvent { authority, seen, ..sent }, ClientId::new())).await;
    }
    let mut pages = commits(&path);
    let all: usize = pages.iter().sum();
    pages.sort_unstable();
    println!("{all} pages in {} commits: {pages:?}", pages.len());
    // The row, its place in the log, the channel's end.
    assert_eq!(pages[pages.len() / 2], 3);
    // Where one of the three begins a new page; what is written for many messages at once comes on top.
    assert!(pages[MESSAGES * 97 / 100] <= 6, "{pages:?}");
    assert!(all < MESSAGES * 4, "{all} pages for {MESSAGES} messages");
}
