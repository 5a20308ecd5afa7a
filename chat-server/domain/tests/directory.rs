//! What is kept of channels and memberships is never believed for longer than it may be.

use std::{path::Path, sync::Arc, time::Duration};

use chat_domain::{
    chat::{directory::Directory, now_ms},
    store::{LogStore as _, NewEvent},
};
use chat_protocol::{ChannelId, ChannelKind, EventBody, UserId};
use chat_sqlite::SqliteStore;

struct World {
    store: Arc<SqliteStore>,
    channel: ChannelId,
    ada: UserId,
}

impl World {
    /// A private channel with one member.
    async fn new(folder: &Path) -> Self {
        let store = Arc::new(SqliteStore::open(&folder.join("folkmoot.db")).expect("a store"));
        let world = Self { store, channel: ChannelId::new(), ada: UserId::new() };
        let created = EventBody::ChannelCreated {
            channel_kind: ChannelKind::Private,
            name: Some("general".into()),
            topic: String::new(),
        };
        world.append(created).await;
        world.append(EventBody::MemberJoined { user: world.ada }).await;
        world
    }

    async fn append(&self, body: EventBody) {
        let event = NewEvent::of_server(self.ada, now_ms(), body);
        self.store.append(self.channel, vec![event]).await.expect("is appended");
    }

    fn directory(&self, lifetime: Duration) -> Directory {
        Directory::with_lifetime(Arc::<SqliteStore>::clone(&self.store), lifetime)
    }

    /// Whether the channel is archived and whether its member is one, as a directory shows them.
    async fn seen(&self, directory: &Directory) -> (bool, bool) {
        let channel = directory.channel(self.channel).await.expect("is there");
        (channel.archived, directory.is_member(self.channel, self.ada).await.expect("is known"))
    }
}

#[tokio::test]
async fn what_an_event_that_was_lost_outdates_is_believed_for_its_lifetime_at_most() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new(folder.path()).await;
    let (keeps, reads) = (world.directory(Duration::from_secs(3_600)), world.directory(Duration::ZERO));
    for directory in [&keeps, &reads] {
        assert_eq!(world.seen(directory).await, (false, true));
    }

    // Neither is observed.
    world.append(EventBody::Archived { archived: true }).await;
    world.append(EventBody::MemberLeft { user: world.ada }).await;
    assert_eq!(world.seen(&keeps).await, (false, true));
    assert_eq!(world.seen(&reads).await, (true, false));
}

#[tokio::test]
async fn nothing_is_believed_after_something_was_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::new(folder.path()).await;
    let directory = world.directory(Duration::from_secs(3_600));
    assert_eq!(directory.memberships(world.ada).await.expect("are read").len(), 1);
    world.append(EventBody::MemberLeft { user: world.ada }).await;
    assert!(directory.is_member(world.channel, world.ada).await.expect("is kept"));
    directory.forget_all();
    assert!(!directory.is_member(world.channel, world.ada).await.expect("is read"));
}
