//! Commands of several people on a real embedded store, beside a model that knows two things only: a log is dense, and
//! an id that was committed answers with its first position for ever.
#![no_main]

use std::{collections::HashMap, sync::Arc};

use chat_domain::{
    bus::local::LocalBus,
    chat::{Actor, Chat, ChatError, Command},
    store::DirectoryStore as _,
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, Seq, SessionId, UserId,
    rest::{Channel, Committed, CreateChannel, Role, UpdateChannel, User},
};
use chat_sqlite::SqliteStore;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const PEOPLE: usize = 4;
const CHANNELS: usize = 3;

#[derive(Arbitrary, Debug)]
struct Step {
    who: u8,
    channel: u8,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Message { id: u8, command: MessageCommand },
    Around(Around),
}

#[derive(Arbitrary, Debug)]
enum MessageCommand {
    Send { text: String },
    Edit { target: u8, text: String },
    Delete { target: u8 },
    React { target: u8, emoji: u8, removed: bool },
}

/// The last one is none.
const EMOJI: [&str; 3] = ["👍", "🎉", "x"];

#[derive(Arbitrary, Debug)]
enum Around {
    Read { seq: Seq },
    Join,
    Leave,
    Add { user: u8 },
    Remove { user: u8 },
    Archive { archived: bool },
    Describe { topic: String },
}

impl MessageCommand {
    fn command(&self) -> Command {
        match self {
            Self::Send { text } => Command::Send { text: text.clone(), files: vec![], seen: None },
            Self::Edit { target, text } => Command::Edit { target: (*target).into(), text: text.clone() },
            Self::Delete { target } => Command::Delete { target: (*target).into() },
            Self::React { target, emoji, removed } => Command::React {
                target: (*target).into(),
                emoji: EMOJI[usize::from(*emoji) % EMOJI.len()].into(),
                removed: *removed,
            },
        }
    }
}

struct World {
    runtime: Runtime,
    chat: Arc<Chat>,
    people: Vec<Actor>,
    _dir: tempfile::TempDir,
}

/// Opened once: making a store for each input would leave time for little else.
fn world() -> World {
    // Memory where there is some: what is looked for does not depend on a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let store = Arc::new(SqliteStore::open(&dir.path().join("fuzz.sqlite")).expect("a store"));
    let roles = [Role::Owner, Role::Member, Role::Guest, Role::Bot];
    let people: Vec<Actor> = roles
        .map(|role| Actor { user: UserId::new(), role, auth_version: 0, session: SessionId::new() })
        .into();
    for (actor, handle) in people.iter().zip(["ada", "grace", "linus", "bot"]) {
        let user = User {
            id: actor.user,
            handle: handle.into(),
            display_name: handle.into(),
            role: actor.role,
            created_at: 1,
            deactivated: false,
        };
        assert!(runtime.block_on(store.create_user(&user)).expect("the store takes a user"));
    }
    let chat = runtime.block_on(async { Chat::new(store, Arc::new(LocalBus::new())) });
    World { runtime, chat, people, _dir: dir }
}

/// Whatever is asked, it is answered with a decision: nothing of the server may break.
fn decided<T>(result: Result<T, ChatError>) -> Option<T> {
    result.map_err(|error| assert!(!error.code.retryable(), "{error:?}")).ok()
}

impl World {
    async fn found_channels(&self) -> Vec<Channel> {
        let owner = &self.people[0];
        let mut channels = Vec::new();
        for kind in [ChannelKind::Public, ChannelKind::Private] {
            let request = CreateChannel {
                kind,
                name: Uuid::new_v4().to_string(),
                topic: String::new(),
                members: vec![self.people[2].user],
            };
            channels.push(self.chat.create_channel(owner, request).await.expect("a channel"));
        }
        // The same one for every input: its log goes on where the last one left it.
        channels
            .push(self.chat.open_direct(owner, vec![self.people[1].user]).await.expect("a direct channel"));
        channels
    }

    async fn head(&self, channel: ChannelId) -> Seq {
        self.chat.store().channel(channel).await.expect("readable").expect("exists").end.head
    }

    async fn message(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        command: &MessageCommand,
    ) -> Result<Committed, ChatError> {
        self.chat.submit(actor, channel, id, command.command()).await?.committed().await
    }

    async fn around(&self, actor: &Actor, channel: ChannelId, step: &Around) -> Result<(), ChatError> {
        let other = |user: u8| self.people[usize::from(user) % PEOPLE].user;
        let chat = &self.chat;
        let update = |change| async move { chat.update_channel(actor, channel, change).await.map(drop) };
        match step {
            Around::Read { seq } => chat.mark_read(actor, channel, *seq).await.map(drop),
            Around::Join => chat.join(actor, channel).await.map(drop),
            Around::Leave => chat.leave(actor, channel).await,
            Around::Add { user } => chat.add_members(actor, channel, vec![other(*user)]).await,
            Around::Remove { user } => chat.remove_member(actor, channel, other(*user)).await,
            Around::Archive { archived } => {
                update(UpdateChannel { archived: Some(*archived), ..UpdateChannel::default() }).await
            }
            Around::Describe { topic } => {
                update(UpdateChannel { topic: Some(topic.clone()), ..UpdateChannel::default() }).await
            }
        }
    }

    async fn run(&self, steps: &[Step]) {
        let channels = self.found_channels().await;
        // Ids are this input's own: the store outlives it.
        let namespace = Uuid::new_v4();
        let mut first: HashMap<(ChannelId, UserId, u8), Seq> = HashMap::new();
        for step in steps {
            let actor = &self.people[usize::from(step.who) % PEOPLE];
            let channel = channels[usize::from(step.channel) % CHANNELS].id;
            let before = self.head(channel).await;
            match &step.what {
                What::Message { id, command } => {
                    let client_id = ClientId(Uuid::new_v5(&namespace, &[*id]));
                    let done = decided(self.message(actor, channel, client_id, command).await);
                    let grown = self.head(channel).await - before;
                    match done {
                        Some(done) if done.duplicate => {
                            assert_eq!(first.get(&(channel, actor.user, *id)), Some(&done.seq));
                            assert_eq!(grown, 0, "a duplicate left an event");
                        }
                        Some(done) => {
                            assert_eq!((done.seq, grown), (before + 1, 1), "expected the next position");
                            let again = first.insert((channel, actor.user, *id), done.seq);
                            assert_eq!(again, None, "an id was committed twice");
                        }
                        None => assert_eq!(grown, 0, "a refused command left an event"),
                    }
                }
                What::Around(step) => {
                    decided(self.around(actor, channel, step).await);
                    assert!(self.head(channel).await >= before, "a log never shrinks");
                }
            }
        }
        for channel in channels {
            let head = self.head(channel.id).await;
            let log = self.chat.store().events(channel.id, channel.head, 1_000).await.expect("readable");
            assert!(log.iter().map(|event| event.seq).eq(channel.head + 1..=head), "dense up to the head");
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    thread_local!(static WORLD: World = world());
    WORLD.with(|world| world.runtime.block_on(world.run(&steps[..steps.len().min(40)])));
});
