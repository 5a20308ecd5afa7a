//! The handle of a client that stays connected.

use std::{sync::Arc, time::Duration};

use chat_protocol::{ChannelId, ClientFrame, ClientId, Seq, UserId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    Auth, ConnectionState, End, Options, Rest, RestError, SendError, Sent, Updates,
    driver::{Command, Driver, Reply},
};

/// Commands on their way to the driver.
const MAX_COMMANDS: usize = 64;
/// Updates on their way to the consumer; more wait in the driver.
const UPDATES_UNDER_WAY: usize = 64;

/// Why there is no connection to begin with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Signing in failed.
    #[error("failed to sign in")]
    Rest(#[from] RestError),
    /// The server does not want this client, or not any more.
    #[error("failed to connect")]
    Ended(#[source] End),
    /// No welcome in time.
    #[error("no welcome within {} s: {reason}", .deadline.as_secs())]
    NoWelcome {
        /// How long it was tried.
        deadline: Duration,
        /// What happened last.
        reason: String,
    },
}

/// A handle to a connection that comes back by itself. Cheap to clone; when the last one is dropped, the
/// connection is closed and what waits in the outbox fails with [`SendError::Ended`].
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<ConnectionState>,
    rest: Rest,
    /// Places in the outbox.
    places: Arc<Semaphore>,
}

impl Client {
    /// Signs in as `auth` says, connects to the server at `base_url` and waits for its welcome.
    ///
    /// # Errors
    /// When signing in fails, the server refuses, or no welcome came within
    /// [`Options::first_welcome_deadline`].
    pub async fn connect(
        base_url: &str,
        auth: Auth,
        options: Options,
    ) -> Result<(Self, Updates), ClientError> {
        let rest = Rest::connect(base_url, auth).await?;
        let deadline = options.first_welcome_deadline;
        let (client, updates) = Self::start(rest, options);
        client.welcomed(deadline).await?;
        Ok((client, updates))
    }

    /// Begins to connect and returns at once: for a program that is useful before the server is there.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(rest: Rest, options: Options) -> (Self, Updates) {
        let (commands, command_receiver) = mpsc::channel(MAX_COMMANDS);
        let (update_sender, updates) = mpsc::channel(UPDATES_UNDER_WAY);
        let (state_sender, state) = watch::channel(ConnectionState::Connecting);
        let updates = Updates::new(updates, options.generation, options.cursors.clone());
        let places = Arc::new(Semaphore::new(options.max_outbox.min(Semaphore::MAX_PERMITS)));
        let driver = Driver::new(rest.clone(), options, command_receiver, update_sender, state_sender);
        tokio::spawn(Box::pin(driver.run()));
        (Self { commands, state, rest, places }, updates)
    }

    /// Waits until the server has welcomed this client.
    ///
    /// # Errors
    /// When the client ended, or it took longer than `deadline`.
    pub async fn welcomed(&self, deadline: Duration) -> Result<UserId, ClientError> {
        let mut state = self.state.clone();
        let mut reason = "no answer".to_owned();
        let welcome = async {
            loop {
                match &*state.borrow_and_update() {
                    ConnectionState::Connected { user, .. } => return Ok(*user),
                    ConnectionState::Ended(end) => return Err(ClientError::Ended(end.clone())),
                    ConnectionState::Waiting { reason: why, .. } => reason.clone_from(why),
                    ConnectionState::Connecting => {}
                }
                if state.changed().await.is_err() {
                    return Err(ClientError::Ended(self.why_ended()));
                }
            }
        };
        match timeout(deadline, welcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::NoWelcome { deadline, reason }),
        }
    }

    /// The connection as it is now.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.state.borrow().clone()
    }

    /// The REST interface of the same server, with the same tokens.
    #[must_use]
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Reports that the person has seen everything up to `seq`. The newest is sent until the server has it,
    /// at most once a second.
    pub async fn read(&self, channel: ChannelId, seq: Seq) {
        self.send_to_driver(Command::Read(channel, seq)).await;
    }

    /// Reports that the person types, at most every 3 seconds; lost while not connected.
    pub async fn typing(&self, channel: ChannelId) {
        self.send_to_driver(Command::Typing(channel)).await;
    }

    /// Replaces the list of users whose presence is reported; kept over reconnects. At most
    /// [`chat_protocol::limits::MAX_WATCHED_USERS`], those beyond it are left out.
    pub async fn watch(&self, mut users: Vec<UserId>) {
        users.truncate(chat_protocol::limits::MAX_WATCHED_USERS);
        self.send_to_driver(Command::Watch(users)).await;
    }

    /// Closes the connection and waits until that is done. What waits in the outbox fails.
    pub async fn close(&self) {
        self.send_to_driver(Command::Close).await;
        self.commands.closed().await;
    }

    /// Puts a command into the outbox, as soon as there is a place in it.
    pub(crate) async fn append(&self, id: ClientId, channel: ChannelId, frame: ClientFrame) -> Pending {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("nobody closes the semaphore");
        self.put(place, id, channel, frame).await
    }

    /// The same when there is a place now.
    pub(crate) async fn try_append(
        &self,
        id: ClientId,
        channel: ChannelId,
        frame: ClientFrame,
    ) -> Result<Pending, SendError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| SendError::OutboxFull)?;
        Ok(self.put(place, id, channel, frame).await)
    }

    async fn put(
        &self,
        place: OwnedSemaphorePermit,
        id: ClientId,
        channel: ChannelId,
        frame: ClientFrame,
    ) -> Pending {
        let (sender, outcome) = oneshot::channel();
        let reply = Reply { outcome: sender, _place: place };
        // When the driver is gone, it drops `reply`, and the outcome says so.
        self.send_to_driver(Command::Append { id, channel, frame, reply }).await;
        Pending { id, outcome, state: self.state.clone() }
    }

    async fn send_to_driver(&self, command: Command) {
        // A driver that has ended needs no word.
        let _ = self.commands.send(command).await;
    }

    fn why_ended(&self) -> End {
        why_ended(&self.state)
    }
}

/// A command in the outbox.
#[derive(Debug)]
pub struct Pending {
    id: ClientId,
    outcome: oneshot::Receiver<Result<Sent, SendError>>,
    state: watch::Receiver<ConnectionState>,
}

impl Pending {
    /// The command's id; its event will carry the same.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Waits until it is committed or has failed.
    ///
    /// # Errors
    /// When it is refused for good, does not fit, or the client ends first.
    pub async fn outcome(self) -> Result<Sent, SendError> {
        self.outcome.await.unwrap_or_else(|_| Err(SendError::Ended(why_ended(&self.state))))
    }
}

fn why_ended(state: &watch::Receiver<ConnectionState>) -> End {
    match &*state.borrow() {
        ConnectionState::Ended(end) => end.clone(),
        _ => End::Closed,
    }
}
