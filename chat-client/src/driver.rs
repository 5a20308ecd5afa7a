//! The task behind a client: one loop that owns the connection, the timeline, the outbox and the signals,
//! and never waits for the consumer or the network while the other has something to say.

mod connection;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, ClientFrame, ClientId, Event, Seq, UserId};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep_until,
};

use crate::{
    ConnectionState, End, Options, Rest, SendError, Sent, Update,
    link::{Link, Step},
    outbox::Outbox,
    recover::{self, Recovered},
    signals::Signals,
    timeline::Timeline,
};

/// Pages of recovered logs that wait for the driver.
const MAX_RECOVERED: usize = 2;
/// Pause before a log that could not be recovered is tried again.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Gets the outcome of a command, and holds its place in the outbox until then.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: oneshot::Sender<Result<Sent, SendError>>,
    pub(crate) _place: OwnedSemaphorePermit,
}

impl Reply {
    fn settle(self, outcome: Result<Sent, SendError>) {
        // Whoever does not wait for the outcome does not want it.
        let _ = self.outcome.send(outcome);
    }
}

/// Commands from the handle to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Append to a channel's log.
    Append { id: ClientId, channel: ChannelId, frame: ClientFrame, reply: Reply },
    /// Move the read marker.
    Read(ChannelId, Seq),
    /// The user types in this channel.
    Typing(ChannelId),
    /// Replace the watch list.
    Watch(Vec<UserId>),
    /// Close the connection and end.
    Close,
}

/// Why the loop goes on.
enum Woke {
    Command(Option<Command>),
    Recovered(Recovered),
    Step(Step),
    /// Something may be due.
    Due,
}

/// Everything a client has.
pub(crate) struct Driver {
    options: Options,
    rest: Rest,
    commands: mpsc::Receiver<Command>,
    updates: mpsc::Sender<Update>,
    state: watch::Sender<ConnectionState>,
    /// Updates for which the consumer has no room yet.
    pending: VecDeque<Update>,
    /// The consumer is gone; events are dropped as if it had had them.
    deaf: bool,
    link: Link,
    me: Option<UserId>,
    timeline: Timeline,
    outbox: Outbox<Reply>,
    signals: Signals,
    recovery: JoinSet<()>,
    recovered: (mpsc::Sender<Recovered>, mpsc::Receiver<Recovered>),
    /// Nothing is recovered before this.
    hold: Option<Instant>,
    /// Failed tries since a connection last held.
    failures: u32,
    /// The token that the server does not accept, and whether another one was tried since.
    rejected: Option<String>,
    replaced: bool,
    /// How many tokens in a row opened no socket.
    refused: u32,
}

impl Driver {
    pub(crate) fn new(
        rest: Rest,
        options: Options,
        commands: mpsc::Receiver<Command>,
        updates: mpsc::Sender<Update>,
        state: watch::Sender<ConnectionState>,
    ) -> Self {
        Self {
            timeline: Timeline::new(options.start, options.generation, &options.cursors),
            outbox: Outbox::new(options.max_outbox, options.backoff),
            options,
            rest,
            commands,
            updates,
            state,
            pending: VecDeque::new(),
            deaf: false,
            link: Link::Waiting(Instant::now()),
            me: None,
            signals: Signals::default(),
            recovery: JoinSet::new(),
            recovered: mpsc::channel(MAX_RECOVERED),
            hold: None,
            failures: 0,
            rejected: None,
            replaced: false,
            refused: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        let end = loop {
            let now = Instant::now();
            self.expire(now);
            self.pump(now).await;
            let wake = self.wake_at(now);
            let has_capacity = self.has_capacity();
            let woke = tokio::select! {
                command = self.commands.recv() => Woke::Command(command),
                permit = self.updates.reserve(), if !self.pending.is_empty() => {
                    match permit {
                        Ok(permit) => {
                            if let Some(update) = self.pending.pop_front() {
                                permit.send(update);
                            }
                        }
                        Err(_) => {
                            self.deaf = true;
                            self.pending.clear();
                        }
                    }
                    Woke::Due
                }
                Some(recovered) = self.recovered.1.recv(), if has_capacity => Woke::Recovered(recovered),
                Some(_) = self.recovery.join_next(), if !self.recovery.is_empty() => Woke::Due,
                step = self.link.step() => Woke::Step(step),
                () = sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => Woke::Due,
            };
            match woke {
                Woke::Command(Some(Command::Close) | None) => break End::Closed,
                Woke::Command(Some(command)) => self.command(command),
                Woke::Recovered(recovered) => self.recovered(recovered),
                Woke::Step(step) => {
                    if let Err(end) = self.step(step) {
                        break end;
                    }
                }
                Woke::Due => {}
            }
        };
        self.end(end).await;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Append { id, channel, frame, reply } => {
                if let Err((reply, error)) = self.outbox.push(id, channel, frame, reply) {
                    reply.settle(Err(error));
                }
            }
            Command::Read(channel, seq) => self.signals.read(channel, seq),
            Command::Typing(channel) if matches!(self.link, Link::Open(_)) => {
                self.signals.typing(channel, Instant::now());
            }
            Command::Typing(_) | Command::Close => {}
            Command::Watch(users) => self.signals.watch(users),
        }
    }

    fn recovered(&mut self, recovered: Recovered) {
        match recovered {
            Recovered::Page(events) => self.events(events),
            Recovered::Done(channel, outcome) => {
                let gone = outcome.as_ref().is_err_and(|error| !error.retryable());
                if let Err(error) = &outcome {
                    tracing::warn!(%channel, %error, "a log could not be recovered");
                }
                if !self.timeline.paged(channel, gone) {
                    self.hold = Some(Instant::now() + RECOVERY_PAUSE);
                }
            }
        }
    }

    /// Events came: those whose turn it is go to the consumer.
    fn events(&mut self, events: impl IntoIterator<Item = Event>) {
        let Some(me) = self.me else { return };
        let mut ready = Vec::new();
        for event in events {
            let has_capacity = self.deaf || self.pending.len() + ready.len() < self.options.max_updates;
            if self.timeline.event(event, me, has_capacity, &mut ready) {
                self.hand_out(&mut ready);
                self.restored();
            }
        }
        self.hand_out(&mut ready);
    }

    fn hand_out(&mut self, ready: &mut Vec<Event>) {
        if self.deaf {
            ready.clear();
        } else {
            self.pending.extend(ready.drain(..).map(Update::Event));
        }
    }

    /// The server was restored from a backup: what is known of its logs is of logs that are no more.
    fn restored(&mut self) {
        tracing::warn!("the server was restored from a backup: all logs begin anew");
        // Pages on their way are of before, perhaps.
        self.recovery.abort_all();
        self.recovered = mpsc::channel(MAX_RECOVERED);
        self.hold = None;
        self.signals.forget_reads();
        for reply in self.outbox.without_changes() {
            reply.settle(Err(SendError::Restored));
        }
        if !self.deaf {
            let (generation, cursors) = (self.timeline.generation(), self.timeline.cursors());
            self.pending.push_back(Update::Restored { generation, cursors });
        }
    }

    /// News that is dropped while the consumer is busy.
    fn news(&mut self, update: Update) {
        if !self.deaf && self.has_capacity() {
            self.pending.push_back(update);
        }
    }

    fn announce(&mut self, state: ConnectionState) {
        self.state.send_replace(state.clone());
        if self.deaf {
            return;
        }
        match self.pending.back_mut() {
            // While nobody looks, only the newest matters; events keep their place between two states.
            Some(Update::State(last)) => *last = state,
            _ => self.pending.push_back(Update::State(state)),
        }
    }

    fn has_capacity(&self) -> bool {
        self.deaf || self.pending.len() < self.options.max_updates
    }

    fn expire(&mut self, now: Instant) {
        for reply in self.outbox.expired(now) {
            reply.settle(Err(SendError::Expired));
        }
    }

    /// Starts reading logs over REST, as far as there is room for what comes.
    fn recover(&mut self, now: Instant) {
        if self.hold.is_some_and(|until| until > now) || !self.has_capacity() {
            return;
        }
        while let Some((channel, after)) = self.timeline.page() {
            let out = self.recovered.0.clone();
            let generation = self.timeline.generation();
            self.recovery.spawn(recover::page(self.rest.clone(), generation, channel, after, out));
        }
    }

    async fn end(mut self, end: End) {
        self.recovery.abort_all();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.command(command);
        }
        for reply in self.outbox.drain() {
            reply.settle(Err(SendError::Ended(end.clone())));
        }
        self.retire();
        self.announce(ConnectionState::Ended(end));
        // The consumer still gets what it had coming, however long it takes; this task holds nothing else.
        for update in self.pending {
            if self.updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

/// The earliest of some times.
fn earliest(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    times.into_iter().flatten().min()
}
