//! A message with a file, against the deletion of the last other message that has it: 200 rounds, on both stores.
//! On Cassandra the two come through different processes; on SQLite there is one.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use chat_blobs::disk::DiskBlobs;
use chat_cassandra::{CassandraStore, migrate::migrate};
use chat_domain::{
    blob::BlobStore,
    bus::{Bus, local::LocalBus},
    chat::{Actor, Chat, FileLimits, Files, Upload, now_ms},
    store::Store,
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, ErrorCode, FileId, Seq,
    rest::{CreateChannel, Role},
};
use chat_sqlite::SqliteStore;

use crate::harness;
use crate::keyspace::Keyspace;

/// Rounds that go on beside each other, each in a channel of its own: what takes long is waiting for the store.
const LANES: usize = 10;
const ROUNDS_OF_A_LANE: usize = 20;
const MINUTE: u64 = 60_000;
const LIMITS: FileLimits = FileLimits { bytes_per_person: 0, unattached_per_person: u64::MAX, keep_free: 0 };

struct Process {
    chat: Arc<Chat>,
    files: Arc<Files>,
}

/// Two processes; the same one twice where a store has only one.
struct Two {
    one: Process,
    other: Process,
    store: Arc<dyn Store>,
    actor: Actor,
}

impl Two {
    async fn on(one: Arc<dyn Store>, other: Arc<dyn Store>, blobs: &Path) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let blobs: Arc<dyn BlobStore> = Arc::new(DiskBlobs::open(blobs).unwrap());
        let actor = harness::people::stored(&*one, "ada", Role::Owner).await;
        let process = |store: &Arc<dyn Store>| {
            let chat = Chat::new(Arc::clone(store), Arc::clone(&bus));
            Process { files: Files::new(Arc::clone(&chat), Arc::clone(&blobs), LIMITS), chat }
        };
        let same = Arc::ptr_eq(&one, &other);
        let first = process(&one);
        let second = if same {
            Process { chat: Arc::clone(&first.chat), files: Arc::clone(&first.files) }
        } else {
            process(&other)
        };
        Self { one: first, other: second, store: one, actor }
    }

    async fn channel(&self, name: String) -> ChannelId {
        let create =
            CreateChannel { kind: ChannelKind::Private, name, topic: String::new(), members: Vec::new() };
        self.one.chat.create_channel(&self.actor, create).await.unwrap().id
    }

    async fn upload(&self, channel: ChannelId) -> FileId {
        let id = FileId::new();
        let mut staged = self.one.files.stage(id).await.unwrap();
        staged.write(Bytes::from_static(b"text")).await.unwrap();
        let (name, media_type) = ("a.txt".into(), "text/plain");
        let upload = Upload { id, channel, name, media_type, size: 4, sha256: [0; 32], staged };
        self.one.files.keep(&self.actor, upload).await.unwrap().id
    }

    async fn send(&self, by: &Process, channel: ChannelId, file: FileId) -> Result<Seq, ErrorCode> {
        let sent = by.chat.send(&self.actor, channel, ClientId::new(), "see".into(), vec![file], None).await;
        sent.map(|committed| committed.seq).map_err(|error| error.code)
    }

    async fn delete(&self, by: &Process, channel: ChannelId, seq: Seq) {
        by.chat.delete(&self.actor, channel, ClientId::new(), seq).await.unwrap();
    }

    /// Whether somebody gets all of its bytes.
    async fn is_served(&self, file: FileId) -> bool {
        let Ok(row) = self.other.files.find(&self.actor, file).await else { return false };
        let bytes = self.other.files.read(self.actor, row.id, 0..row.size, || Ok(())).await;
        let Ok(bytes) = bytes else { return false };
        let chunks: Vec<_> = futures_util::StreamExt::collect(bytes).await;
        chunks.into_iter().all(|chunk| chunk.is_ok())
    }

    async fn sweep(&self) {
        // Beyond the time after which somebody looks what became of a command.
        for process in [&self.one, &self.other] {
            process.files.sweep(now_ms() + 30 * MINUTE).await.unwrap();
        }
    }

    /// Files that are in no message any more, and those that are in one.
    async fn rounds(&self, lane: usize) -> (Vec<FileId>, Vec<(ChannelId, Seq, FileId)>) {
        let channel = self.channel(format!("lane {lane}")).await;
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS_OF_A_LANE {
            let file = self.upload(channel).await;
            let first = self.send(&self.one, channel, file).await.unwrap();
            // In half of the rounds two messages have it, and both are deleted at once.
            let second = match round % 2 {
                0 => None,
                _ => Some(self.send(&self.other, channel, file).await.unwrap()),
            };
            let second_goes = async {
                if let Some(second) = second {
                    self.delete(&self.other, channel, second).await;
                }
            };
            let sent = async {
                // The two meet at different points.
                for _ in 0..round / 2 {
                    tokio::task::yield_now().await;
                }
                self.send(&self.other, channel, file).await
            };
            let first_goes = self.delete(&self.one, channel, first);
            let (sent, (), ()) = tokio::join!(sent, first_goes, second_goes);
            match sent {
                Ok(seq) => {
                    assert!(self.is_served(file).await, "a message has a dead file in round {round}");
                    kept.push((channel, seq, file));
                }
                Err(code) => {
                    assert_eq!(code, ErrorCode::Invalid, "in round {round}");
                    gone.push(file);
                }
            }
        }
        (gone, kept)
    }
}

async fn no_message_has_a_dead_file(two: Two) {
    let lanes = futures_util::future::join_all((0..LANES).map(|lane| two.rounds(lane))).await;
    two.sweep().await;
    for (gone, kept) in lanes {
        for (_, seq, file) in &kept {
            assert!(two.is_served(*file).await, "the file of message {seq} died later");
        }
        for (channel, seq, _) in &kept {
            two.delete(&two.one, *channel, *seq).await;
        }
        for file in gone.into_iter().chain(kept.iter().map(|(.., file)| *file)) {
            assert!(!two.is_served(file).await, "a file that no message has is served");
            assert_eq!(two.store.file(file).await.unwrap(), None, "a file that no message has stays");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_has_a_dead_file_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).unwrap());
    no_message_has_a_dead_file(Two::on(Arc::clone(&store), store, &dir.path().join("files")).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_has_a_dead_file_on_cassandra() {
    let dir = tempfile::tempdir().unwrap();
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let store = || -> Arc<dyn Store> { Arc::new(CassandraStore::new(Arc::clone(&keyspace.cql))) };
    no_message_has_a_dead_file(Two::on(store(), store(), &dir.path().join("files")).await).await;
    keyspace.drop().await;
}
