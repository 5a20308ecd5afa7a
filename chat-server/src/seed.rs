//! `chat-server seed`: a store full of people for load tests, and a token for each of them.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chat_auth::{MAX_TOKEN_LIFE, OpenError, TokenVerifier};
use chat_cassandra::CassandraStore;
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::{Actor, ChatError, now_ms},
    store::{Appended, NewEvent, SessionRow, Store, StoreError, initial_role},
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, EventBody, SessionId, UserId,
    rest::{Role, User},
};
use chat_sqlite::{SeedChannel, SeedPlan, SqliteStore};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::seq::index::sample;
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    cli::{SeedArgs, Sizes},
    config::{Config, StoreEngine},
    engines::{EngineError, open_cassandra_store, open_sqlite},
};

/// Rows handed to the store at once, between two lines of progress.
const CHUNK: usize = 10_000;
/// Memberships handed to the store at once.
const MEMBERSHIPS_CHUNK: usize = 50_000;
/// Sessions written at once to the embedded store, which commits those that wait together.
const SESSIONS_AT_ONCE: usize = 512;
/// Channels whose logs are appended to at once.
const CHANNELS_AT_ONCE: usize = 32;
/// Events of one append.
const EVENTS_AT_ONCE: usize = 100;

/// What is filled.
struct Target {
    store: Arc<dyn Store>,
    /// The embedded store takes many rows in one transaction.
    sqlite: Option<Arc<SqliteStore>>,
    /// Cassandra takes many rows at once when nothing has to be decided about them.
    cassandra: Option<Arc<CassandraStore>>,
}

impl Target {
    async fn open(config: &Config) -> Result<Self, EngineError> {
        Ok(match config.store {
            StoreEngine::Sqlite => {
                let sqlite = Arc::new(open_sqlite(&config.data.dir)?);
                Self { store: Arc::clone(&sqlite) as Arc<dyn Store>, sqlite: Some(sqlite), cassandra: None }
            }
            StoreEngine::Cassandra => {
                let cassandra = Arc::new(open_cassandra_store(&config.cassandra).await?);
                let store = Arc::clone(&cassandra) as Arc<dyn Store>;
                Self { store, sqlite: None, cassandra: Some(cassandra) }
            }
        })
    }
}

/// Why a store could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// More members than users.
    #[error("a channel is to have {members} members, expected at most --users, which is {users}")]
    Members {
        /// Members that were asked for.
        members: u32,
        /// Users that there are.
        users: u32,
    },
    /// More in the crowd than users with a token.
    #[error("--crowd is {crowd}, expected at most --online, which is {online}")]
    Crowd {
        /// Members that the channel should have.
        crowd: u32,
        /// Users with a token.
        online: u32,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] EngineError),
    /// The store did not take it.
    #[error("failed to write the rows to the store")]
    Store(#[from] StoreError),
    /// There are no keys to sign with.
    #[error(transparent)]
    Auth(#[from] OpenError),
    /// Tokens cannot be signed.
    #[error("the store has no signing key")]
    Keys(#[from] ChatError),
    /// The file of tokens cannot be written.
    #[error("failed to write {}", path.display())]
    Tokens {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// One line of the file.
#[derive(Serialize)]
struct Line<'a> {
    user: UserId,
    token: &'a str,
    channels: &'a [ChannelId],
}

/// Adds users, channels and memberships, and writes the tokens.
///
/// # Errors
/// When the store or the file cannot be written; what was added before stays.
pub async fn run(args: &SeedArgs, config: &Config) -> Result<(), SeedError> {
    let online = args.online.unwrap_or(args.users).min(args.users);
    let largest = args.spread.iter().map(|sizes| sizes.members).chain(args.members).max().unwrap_or_default();
    if largest > args.users {
        return Err(SeedError::Members { members: largest, users: args.users });
    }
    if let Some(crowd) = args.crowd.filter(|crowd| *crowd > online) {
        return Err(SeedError::Crowd { crowd, online });
    }
    let target = Target::open(config).await?;
    let tokens = |source| SeedError::Tokens { path: args.tokens.clone(), source };
    let mut out = BufWriter::new(private_file(&args.tokens).map_err(tokens)?);

    let users = add_users(&target, args.users).await?;
    let (channels, memberships) = plan_channels(args, &users, online as usize);
    let total = channels.len();
    let long = channels.first().map(|channel| (channel.id, channel.members.clone()));
    add_channels(&target, channels).await?;
    if let Some((channel, members)) = long {
        add_messages(&*target.store, channel, &members, args.messages).await?;
    }
    let sessions = add_sessions(&target, &users[..online as usize]).await?;
    let store = target.store;

    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
    // Tokens are only issued here.
    let (versions, generations) = (Arc::default(), watch::Sender::new(None).subscribe());
    let keys_file = &config.auth.signing_keys_file;
    let verifier =
        TokenVerifier::load(&store, &bus, versions, generations, keys_file, MAX_TOKEN_LIFE, Arc::default())
            .await?;
    verifier.keys().ensure().await?;
    for ((user, session), channels) in users.iter().zip(sessions).zip(&memberships) {
        let actor = Actor { user: user.id, role: user.role, auth_version: 0, session };
        let token = verifier.issue(&actor, MAX_TOKEN_LIFE)?;
        let line = Line { user: user.id, token: &token, channels };
        serde_json::to_writer(&mut out, &line).map_err(|error| tokens(error.into()))?;
        out.write_all(b"\n").map_err(tokens)?;
    }
    out.flush().map_err(tokens)?;
    let tokens = args.tokens.display();
    match args.members {
        Some(members) => eprintln!(
            "{} users in {total} channels of {members}; their tokens are in {tokens} for 24 hours",
            args.users
        ),
        None => eprintln!(
            "{} users in {total} channels; the tokens of {online} are in {tokens} for 24 hours",
            args.users
        ),
    }
    Ok(())
}

/// Tokens let their readers in: nobody else may read them.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

async fn add_users(target: &Target, count: u32) -> Result<Vec<User>, SeedError> {
    let mut first = !target.store.has_users().await?;
    // Handles of this run, so that a store can be filled twice.
    let run = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
    let now = now_ms();
    let users: Vec<User> = (0..count)
        .map(|n| User {
            id: UserId::new(),
            handle: format!("load-{run}-{n}"),
            display_name: format!("Load {n}"),
            role: if std::mem::take(&mut first) { initial_role(true) } else { Role::Member },
            created_at: now,
            deactivated: false,
        })
        .collect();
    let mut progress = Progress::new("users", users.len());
    for chunk in users.chunks(CHUNK) {
        if let Some(sqlite) = &target.sqlite {
            sqlite.seed(SeedPlan { users: chunk.to_vec(), channels: Vec::new() }).await?;
        }
        if let Some(cassandra) = &target.cassandra {
            cassandra.seed_users(chunk).await?;
        }
        progress.add(chunk.len());
    }
    Ok(users)
}

/// The channels, and for each user the ids of theirs.
fn plan_channels(args: &SeedArgs, users: &[User], online: usize) -> (Vec<SeedChannel>, Vec<Vec<ChannelId>>) {
    let run = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
    let mut memberships = vec![Vec::new(); users.len()];
    let channels = members_of(args, users.len(), online)
        .enumerate()
        .map(|(n, members)| {
            let id = ChannelId::new();
            for &member in &members {
                memberships[member].push(id);
            }
            let members: Vec<UserId> = members.into_iter().map(|member| users[member].id).collect();
            SeedChannel {
                id,
                kind: ChannelKind::Public,
                name: Some(format!("load-{run}-{n}")),
                topic: String::new(),
                created_by: members[0],
                at: now_ms(),
                members,
            }
        })
        .collect();
    (channels, memberships)
}

/// The members of each channel, as places in the list of users.
fn members_of(args: &SeedArgs, users: usize, online: usize) -> Box<dyn Iterator<Item = Vec<usize>>> {
    if let Some((channels, members)) = args.channels.zip(args.members) {
        let mut slots = (0..users).cycle();
        return Box::new((0..channels).map(move |_| slots.by_ref().take(members as usize).collect()));
    }
    let draw = |from: usize, members: u32| sample(&mut rand::rng(), from, members as usize).into_vec();
    let each = |sizes: Sizes| std::iter::repeat_n(sizes.members, sizes.channels as usize);
    let crowd = args.crowd.map(|members| draw(online, members));
    let others = args.spread.clone().into_iter().flat_map(each);
    Box::new(crowd.into_iter().chain(others.map(move |members| draw(users, members))))
}

async fn add_channels(target: &Target, channels: Vec<SeedChannel>) -> Result<(), SeedError> {
    let total = channels.iter().map(|channel| channel.members.len()).sum();
    let mut progress = Progress::new("memberships", total);
    let mut group = Vec::new();
    let mut size = 0;
    let mut channels = channels.into_iter().peekable();
    while let Some(channel) = channels.next() {
        size += channel.members.len();
        group.push(channel);
        if size >= MEMBERSHIPS_CHUNK || channels.peek().is_none() {
            let group = std::mem::take(&mut group);
            match &target.sqlite {
                Some(sqlite) => {
                    sqlite.seed(SeedPlan { users: Vec::new(), channels: group }).await?;
                }
                None => {
                    stream::iter(&group)
                        .map(|channel| append_channel(&*target.store, channel))
                        .buffer_unordered(CHANNELS_AT_ONCE)
                        .try_collect::<()>()
                        .await?;
                }
            }
            progress.add(std::mem::take(&mut size));
        }
    }
    Ok(())
}

/// The channel as people make one: event by event.
async fn append_channel(store: &dyn Store, channel: &SeedChannel) -> Result<(), StoreError> {
    let created = EventBody::ChannelCreated {
        channel_kind: channel.kind,
        name: channel.name.clone(),
        topic: channel.topic.clone(),
    };
    let joined = channel.members.iter().map(|user| EventBody::MemberJoined { user: *user });
    let events: Vec<NewEvent> = std::iter::once(created)
        .chain(joined)
        .map(|body| NewEvent::of_server(channel.created_by, channel.at, body))
        .collect();
    for events in events.chunks(EVENTS_AT_ONCE) {
        for outcome in store.append(channel.id, events.to_vec()).await? {
            if let Appended::Refused(refusal) = outcome {
                return Err(StoreError::Failed(
                    format!("an event of a new channel was refused: {refusal:?}").into(),
                ));
            }
        }
    }
    Ok(())
}

/// Messages of a channel's members, appended as those of people are.
async fn add_messages(
    store: &dyn Store,
    channel: ChannelId,
    members: &[UserId],
    count: u32,
) -> Result<(), StoreError> {
    let mut progress = Progress::new("messages", count as usize);
    let numbers: Vec<u32> = (0..count).collect();
    for numbers in numbers.chunks(EVENTS_AT_ONCE) {
        let text = |number: &u32| format!("Message {number} of a long log");
        let events: Vec<NewEvent> = numbers
            .iter()
            .zip(members.iter().cycle())
            .map(|(number, by)| {
                let body = EventBody::Message { text: text(number), files: Vec::new(), deleted: false };
                NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(*by, now_ms(), body) }
            })
            .collect();
        store.append(channel, events).await?;
        progress.add(numbers.len());
    }
    Ok(())
}

/// A session for each user, so that tokens can be revoked like any others. Nobody has their refresh tokens.
async fn add_sessions(target: &Target, users: &[User]) -> Result<Vec<SessionId>, SeedError> {
    let now = now_ms();
    let life = u64::try_from(MAX_TOKEN_LIFE.as_millis()).unwrap_or(u64::MAX);
    let rows: Vec<SessionRow> = users
        .iter()
        .map(|user| SessionRow {
            id: SessionId::new(),
            user: user.id,
            created_at: now,
            used_at: now,
            expires_at: now + life,
            device: "load test".into(),
            refresh_hash: rand::random(),
            chain: None,
            network: None,
            revoked_at: None,
        })
        .collect();
    let mut progress = Progress::new("sessions", rows.len());
    for chunk in rows.chunks(CHUNK) {
        match &target.cassandra {
            Some(cassandra) => cassandra.seed_sessions(chunk).await?,
            None => {
                stream::iter(chunk)
                    .map(|row| target.store.create_session(row))
                    .buffer_unordered(SESSIONS_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
        }
        progress.add(chunk.len());
    }
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// A progress line on a terminal.
struct Progress {
    what: &'static str,
    done: usize,
    total: usize,
    shown: bool,
}

impl Progress {
    fn new(what: &'static str, total: usize) -> Self {
        Self { what, done: 0, total, shown: io::stderr().is_terminal() }
    }

    fn add(&mut self, count: usize) {
        self.done += count;
        if self.shown {
            let end = if self.done >= self.total { "\n" } else { "" };
            eprint!("\r{}: {} of {}{end}", self.what, self.done, self.total);
        }
    }
}
