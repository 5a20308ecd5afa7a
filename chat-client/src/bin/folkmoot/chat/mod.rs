//! `chat`: a conversation in one channel.

mod commands;
mod show;

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    time::Duration,
};

use chat_client::{Client, ConnectionState, End, Options, SendError, Sent, Update, Updates};
use chat_protocol::{
    ClientId, FileRef, Millis, PresenceStatus, Seq, UserId, limits::MAX_WATCHED_USERS, rest::Channel,
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use crate::{
    args::Global,
    browse,
    editor::{Input, Terminal},
    output::Output,
    people::{self, People},
    session::Session,
    text::{self, Paint},
};

/// Messages shown at the start.
const BACKLOG: usize = 20;
/// A message that is under way for longer is said to be.
const NOTICEABLE: Duration = Duration::from_millis(1500);
/// How long leaving waits for messages that are under way.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) async fn chat(global: &Global, out: Output, channel: &str) -> anyhow::Result<()> {
    if out.json {
        anyhow::bail!("chat is for people: programs use `folkmoot tail --json` and `folkmoot send`");
    }
    let session = Session::open(global).await?;
    let channel = people::find_channel(&session.rest, channel).await?;
    let mut people = People::default();
    people.learn(&session.rest, channel.users.iter().copied().chain([session.me])).await?;
    let name = people.channel(&channel, session.me);
    out.line(&out.paint.bold(&format!("{name} as {}", people.name(session.me))))?;
    out.line(&out.paint.dim("/help lists the commands, Ctrl-D leaves"))?;
    browse::print_latest(&session.rest, out, &mut people, channel.id, BACKLOG).await?;
    let options = Options { cursors: HashMap::from([(channel.id, channel.head)]), ..Options::default() };
    let deadline = options.first_welcome_deadline;
    let (client, updates) = Client::start(session.rest.clone(), options);
    client.welcomed(deadline).await?;
    let terminal = Terminal::open(format!("{name}> "), commands::for_editor())?;
    let mut conversation = Conversation {
        seen: channel.head,
        paint: out.paint,
        session,
        channel,
        people,
        client,
        terminal,
        watched: vec![],
        online: HashMap::new(),
        typed: HashMap::new(),
        mine: HashSet::new(),
        last_mine: None,
        newest: 0,
        restored: false,
        unsent: HashMap::new(),
        outcomes: FuturesUnordered::new(),
        away: false,
    };
    conversation.watch_members().await?;
    conversation.client.read(conversation.channel.id, conversation.channel.head).await;
    conversation.run(updates).await
}

struct Conversation {
    paint: Paint,
    session: Session,
    channel: Channel,
    people: People,
    client: Client,
    terminal: Terminal,
    /// Users whose presence is shown.
    watched: Vec<UserId>,
    online: HashMap<UserId, PresenceStatus>,
    typed: HashMap<UserId, Instant>,
    /// What was typed here: it is on the screen already when its event comes.
    mine: HashSet<ClientId>,
    last_mine: Option<Seq>,
    /// The last event on the screen.
    seen: Seq,
    /// The time of the newest event that was shown.
    newest: Millis,
    /// Whether the server was restored meanwhile, so that older events come once more.
    restored: bool,
    unsent: HashMap<ClientId, Unsent>,
    outcomes: FuturesUnordered<BoxFuture<'static, Outcome>>,
    away: bool,
}

/// How something ended that went on beside the conversation.
enum Outcome {
    /// A message that was typed here.
    Message(ClientId, Result<Sent, SendError>),
    /// An edit or deletion; what it is called when it was not done.
    Change(&'static str, Result<Sent, SendError>),
    /// A file that is yet to be sent as a message.
    Upload(anyhow::Result<FileRef>),
}

/// A message that is under way.
struct Unsent {
    since: Instant,
    shown: bool,
}

impl Conversation {
    async fn run(&mut self, mut updates: Updates) -> anyhow::Result<()> {
        loop {
            let late = self
                .unsent
                .values()
                .filter(|unsent| !unsent.shown)
                .map(|unsent| unsent.since + NOTICEABLE)
                .min();
            tokio::select! {
                update = updates.next() => match update {
                    Some(Update::State(ConnectionState::Ended(end))) => return self.ended(end).await,
                    Some(update) => self.show(update).await?,
                    None => return self.ended(End::Closed).await,
                },
                input = self.terminal.next() => match input {
                    Input::Typing => self.client.typing(self.channel.id).await,
                    Input::Line(line) => {
                        if !self.typed_line(&line).await? {
                            return self.leave(updates).await;
                        }
                    }
                    Input::End => return self.leave(updates).await,
                },
                Some(outcome) = self.outcomes.next() => self.settled(outcome).await?,
                () = async { match late { Some(at) => sleep_until(at).await, None => pending().await } } => {
                    self.show_late().await?;
                }
            }
        }
    }

    /// Presence is reported for those who are watched: the members, as far as one may watch.
    async fn watch_members(&mut self) -> anyhow::Result<()> {
        let mut members = self.channel.users.clone();
        let mut cursor = None;
        while members.len() < MAX_WATCHED_USERS && !self.channel.kind.is_direct() {
            let page = self.session.rest.members(self.channel.id, cursor.as_deref()).await?;
            members.extend(page.items.iter().map(|member| member.user));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        members.retain(|user| *user != self.session.me);
        members.truncate(MAX_WATCHED_USERS);
        self.people.learn(&self.session.rest, members.iter().copied()).await?;
        self.watched = members;
        self.client.watch(self.watched.clone()).await;
        Ok(())
    }

    /// Leaves, once what was typed is sent.
    async fn leave(&mut self, mut updates: Updates) -> anyhow::Result<()> {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        while !self.outcomes.is_empty() && Instant::now() < deadline {
            tokio::select! {
                Some(outcome) = self.outcomes.next() => self.settled(outcome).await?,
                Some(update) = updates.next() => self.show(update).await?,
                () = sleep_until(deadline) => {}
            }
        }
        self.client.close().await;
        match self.unsent.len() {
            0 => Ok(()),
            1 => anyhow::bail!("the last message was not sent"),
            n => anyhow::bail!("the last {n} messages were not sent"),
        }
    }

    async fn ended(&mut self, end: End) -> anyhow::Result<()> {
        if self.terminal.shows_typed_lines() {
            self.warn(&format!("{end}; press Enter to leave")).await?;
            self.terminal.closed().await;
        }
        Err(end.into())
    }

    async fn settled(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        match outcome {
            Outcome::Message(id, outcome) => {
                let shown = self.unsent.remove(&id).is_some_and(|unsent| unsent.shown);
                match outcome {
                    Ok(_) if shown => self.note("sent now").await,
                    Ok(_) => Ok(()),
                    Err(error) => {
                        self.mine.remove(&id);
                        self.warn(&format!("not sent: {error}")).await
                    }
                }
            }
            Outcome::Change(_, Ok(_)) => Ok(()),
            Outcome::Change(failed, Err(error)) => self.warn(&format!("{failed}: {error}")).await,
            Outcome::Upload(Ok(file)) => {
                self.note(&format!("uploaded {} ({})", text::one_line(&file.name), text::size(file.size)))
                    .await?;
                self.submit(String::new(), vec![file.id]).await;
                Ok(())
            }
            Outcome::Upload(Err(error)) => self.warn(&format!("not uploaded: {error:#}")).await,
        }
    }

    async fn show_late(&mut self) -> anyhow::Result<()> {
        let mut late = 0;
        for unsent in self.unsent.values_mut() {
            if !unsent.shown && unsent.since.elapsed() >= NOTICEABLE {
                unsent.shown = true;
                late += 1;
            }
        }
        match late {
            0 => Ok(()),
            1 => self.note("not sent yet; it will be as soon as the server takes it").await,
            n => {
                let what =
                    format!("{n} messages are not sent yet; they will be as soon as the server takes them");
                self.note(&what).await
            }
        }
    }

    async fn note(&self, note: &str) -> anyhow::Result<()> {
        self.terminal.print(&self.paint.dim(&format!("* {note}"))).await
    }

    async fn warn(&self, warning: &str) -> anyhow::Result<()> {
        self.terminal.print(&self.paint.red(&format!("! {}", text::one_line(warning)))).await
    }
}
