//! Files: descriptions, which messages have them, what their owner has stored, what is to be looked at later.

use std::sync::Arc;

use chat_domain::store::{FileHold, FileRow, FileTask, FileWork, LEAST_CHARGED, Store, Stored};
use chat_protocol::{ChannelId, ClientId, FileId, UserId};

use super::fixtures::now;

fn file(owner: UserId, channel: ChannelId, size: u64) -> FileRow {
    FileRow {
        id: FileId::new(),
        channel,
        owner,
        name: "plan.pdf".into(),
        media_type: "application/pdf".into(),
        size,
        sha256: [7; 32],
        created_at: now(),
    }
}

pub(crate) async fn a_file_is_described(store: Arc<dyn Store>) {
    let file = file(UserId::new(), ChannelId::new(), 25 << 20);
    assert_eq!(store.file(file.id).await.unwrap(), None);
    store.put_file(&file).await.unwrap();
    assert_eq!(store.file(file.id).await.unwrap(), Some(file));
}

pub(crate) async fn a_file_lives_as_long_as_a_message_has_it(store: Arc<dyn Store>) {
    let (owner, channel) = (UserId::new(), ChannelId::new());
    let (one, other) = (file(owner, channel, 1), file(owner, channel, 1));
    for row in [&one, &other] {
        store.put_file(row).await.unwrap();
        assert!(!store.is_attached(row.id).await.unwrap());
    }
    let both = [one.clone(), other.clone()];
    let ids = [one.id, other.id];
    store.attach(&both, channel, 5).await.unwrap();
    store.attach(&both, channel, 5).await.unwrap();
    store.attach(&both[..1], channel, 9).await.unwrap();
    assert!(!store.retire(one.id).await.unwrap() && !store.retire(other.id).await.unwrap());

    assert_eq!(store.detach(&ids, channel, 5).await.unwrap(), [other.id]);
    assert_eq!(store.file(other.id).await.unwrap(), None);
    assert_eq!(store.file(one.id).await.unwrap(), Some(one.clone()));
    // Late, and again: neither brings anything back.
    store.attach(&both, channel, 5).await.unwrap();
    assert_eq!(store.file(other.id).await.unwrap(), None);
    assert_eq!(store.detach(&ids, channel, 5).await.unwrap(), [other.id]);
    assert_eq!(store.detach(&ids[..1], channel, 9).await.unwrap(), [one.id]);
    assert_eq!(store.file(one.id).await.unwrap(), None);
    assert!(!store.is_attached(one.id).await.unwrap());

    for id in ids {
        store.erase_file(id).await.unwrap();
        store.erase_file(id).await.unwrap();
        assert_eq!(store.file(id).await.unwrap(), None);
        assert!(store.retire(id).await.unwrap(), "what is not there is gone");
    }
    store.attach(&both, channel, 11).await.unwrap();
    assert_eq!(store.file(one.id).await.unwrap(), None);
}

pub(crate) async fn a_deletion_that_overtakes_its_message_counts(store: Arc<dyn Store>) {
    let channel = ChannelId::new();
    let row = file(UserId::new(), channel, 1);
    store.put_file(&row).await.unwrap();
    assert_eq!(store.detach(&[row.id], channel, 5).await.unwrap(), [row.id]);
    store.attach(std::slice::from_ref(&row), channel, 5).await.unwrap();
    assert_eq!(store.file(row.id).await.unwrap(), None);
    assert!(!store.is_attached(row.id).await.unwrap());
}

pub(crate) async fn an_upload_in_no_message_is_retired(store: Arc<dyn Store>) {
    let channel = ChannelId::new();
    let row = file(UserId::new(), channel, 1);
    store.put_file(&row).await.unwrap();
    assert!(store.retire(row.id).await.unwrap());
    assert!(store.retire(row.id).await.unwrap());
    assert_eq!(store.file(row.id).await.unwrap(), None);
    assert!(store.retire(FileId::new()).await.unwrap());
}

pub(crate) async fn a_file_that_is_held_does_not_go(store: Arc<dyn Store>) {
    let (owner, channel) = (UserId::new(), ChannelId::new());
    let (sent, upload) = (file(owner, channel, 1), file(owner, channel, 1));
    let both = [sent.clone(), upload.clone()];
    let ids = [sent.id, upload.id];
    for row in &both {
        store.put_file(row).await.unwrap();
    }
    store.attach(&both[..1], channel, 5).await.unwrap();
    let hold = || FileHold { id: ClientId::new(), due: now() };
    let (first, second) = (hold(), hold());
    for hold in [first, first, second] {
        assert_eq!(store.hold(&both, hold).await.unwrap(), []);
    }
    let unattached = store.stored_by(owner).await.unwrap().unattached;
    assert_eq!(unattached, 1, "no message has had it");
    assert_eq!(store.detach(&ids[..1], channel, 5).await.unwrap(), []);
    assert!(!store.retire(upload.id).await.unwrap());
    // One of the two was committed.
    store.attach(&both[..1], channel, 6).await.unwrap();
    assert_eq!(store.let_go(&ids, first).await.unwrap(), []);
    assert_eq!(store.detach(&ids[..1], channel, 6).await.unwrap(), []);
    assert_eq!(store.file(sent.id).await.unwrap(), Some(sent.clone()));
    // What was never in a message has its time.
    assert_eq!(store.let_go(&ids, second).await.unwrap(), [sent.id]);
    assert_eq!(store.let_go(&ids, second).await.unwrap(), [sent.id]);
    assert_eq!(store.file(sent.id).await.unwrap(), None);
    assert_eq!(store.file(upload.id).await.unwrap(), Some(upload.clone()));
    assert!(store.retire(upload.id).await.unwrap());
    // A deletion that comes between the commit and the end of the hold.
    let row = file(owner, channel, 1);
    store.put_file(&row).await.unwrap();
    store.hold(std::slice::from_ref(&row), first).await.unwrap();
    assert_eq!(store.detach(&[row.id], channel, 7).await.unwrap(), []);
    store.attach(std::slice::from_ref(&row), channel, 7).await.unwrap();
    assert_eq!(store.let_go(&[row.id], first).await.unwrap(), [row.id]);
}

pub(crate) async fn what_is_gone_is_not_held(store: Arc<dyn Store>) {
    let channel = ChannelId::new();
    let (gone, stands) = (file(UserId::new(), channel, 1), file(UserId::new(), channel, 1));
    for row in [&gone, &stands] {
        store.put_file(row).await.unwrap();
    }
    assert!(store.retire(gone.id).await.unwrap());
    let never = file(UserId::new(), channel, 1);
    let hold = FileHold { id: ClientId::new(), due: now() };
    let all = [gone.clone(), stands.clone(), never.clone()];
    let mut refused = store.hold(&all, hold).await.unwrap();
    refused.sort_unstable();
    let mut expected = [gone.id, never.id];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    assert!(!store.retire(stands.id).await.unwrap());
    store.erase_file(gone.id).await.unwrap();
    assert_eq!(store.let_go(&[gone.id, stands.id, never.id], hold).await.unwrap(), []);
    for row in [&gone, &never] {
        assert_eq!(store.file(row.id).await.unwrap(), None, "a hold brings nothing back");
        assert!(store.retire(row.id).await.unwrap() && !store.is_attached(row.id).await.unwrap());
    }
    assert!(store.retire(stands.id).await.unwrap());
}

pub(crate) async fn what_a_person_has_stored_is_known(store: Arc<dyn Store>) {
    let (owner, channel) = (UserId::new(), ChannelId::new());
    let stored = async || store.stored_by(owner).await.unwrap();
    assert_eq!(stored().await, Stored::default());
    let (small, large) = (file(owner, channel, 1), file(owner, channel, 1_000_000));
    let others = file(UserId::new(), channel, 7);
    for row in [&small, &large, &others] {
        store.put_file(row).await.unwrap();
    }
    let bytes = LEAST_CHARGED + 1_000_000;
    assert_eq!(stored().await, Stored { bytes, unattached: 2 });
    store.attach(&[large.clone(), others], channel, 3).await.unwrap();
    assert_eq!(stored().await, Stored { bytes, unattached: 1 });
    store.detach(&[large.id], channel, 3).await.unwrap();
    assert_eq!(stored().await, Stored { bytes: LEAST_CHARGED, unattached: 1 });
    store.retire(small.id).await.unwrap();
    assert_eq!(stored().await, Stored::default());
}

pub(crate) async fn work_comes_when_it_is_due_until_it_is_done(store: Arc<dyn Store>) {
    const HOUR: u64 = 3_600_000;
    let (file, channel, at) = (FileId::new(), ChannelId::new(), now());
    let sent = FileTask::Sent { channel, by: UserId::new(), id: ClientId::new() };
    let deleted = FileTask::Deleted { channel, seq: 4 };
    let tasks =
        [(at - 3 * HOUR, sent), (at - HOUR, FileTask::Uploaded), (at, deleted), (at + 1, FileTask::Remove)];
    let work: Vec<_> = tasks.iter().map(|(due, task)| FileWork { due: *due, file, task: *task }).collect();
    for _ in 0..2 {
        store.add_file_work(&work).await.unwrap();
    }
    // Others' may stand beside it.
    let due = async |now| {
        let mut due = store.due_file_work(now, 1_000).await.unwrap();
        assert!(due.is_sorted_by_key(|work| work.due));
        due.retain(|work| work.file == file);
        due
    };
    assert_eq!(due(at - HOUR - 1).await, work[..1]);
    assert_eq!(due(at).await, work[..3]);
    store.file_work_done(&work[1..2]).await.unwrap();
    store.file_work_done(&work[1..2]).await.unwrap();
    assert_eq!(due(at + 1).await, [work[0].clone(), work[2].clone(), work[3].clone()]);
    assert_eq!(store.due_file_work(at + 1, 1).await.unwrap().len(), 1);
    store.file_work_done(&work).await.unwrap();
    assert_eq!(due(at + 1).await, []);
    // Later work is found although nothing was there before.
    store.add_file_work(&work[2..]).await.unwrap();
    assert_eq!(due(at + 1).await, work[2..]);
    store.file_work_done(&work).await.unwrap();
}
