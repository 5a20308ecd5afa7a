//! The life of one socket: hello, commands, acks, end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chat_domain::chat::{Actor, ChatError, Command, permissions::ChannelAction};
use chat_http::refused;
use chat_protocol::{ChannelId, ClientFrame, ClientId, CloseCode, ErrorCode, Seq, ServerFrame, limits};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use governor::{DefaultDirectRateLimiter, RateLimiter};

use super::{
    Gateway, Place,
    conn::Conn,
    decode::decode,
    hub::InMemory,
    reader::{Heard, Reader},
    upgrade::Stranger,
    wire,
};
use crate::metrics::Refused;

/// Typing in one channel is passed on once in this time.
const TYPING_SECONDS: u64 = 3;
/// Frames that may come before hello is there: pings, say.
const MAX_EARLY: u32 = 20;
/// Commands, pings and pongs refused for their rate before the socket is closed.
const MAX_REFUSED: u32 = 200;
/// How long a client may take to read what waits for it, before a close and before the answer to a `sync`.
const READING_SECONDS: u64 = 5;
/// How long the answers to what was taken are waited for when the socket is to go: a command whose outcome takes longer
/// to find out is sent again by the client, with the same id.
const LAST_ANSWERS: Duration = Duration::from_secs(8);

/// Serves a socket until it ends. Whatever ends it, nothing of it stays behind.
pub(super) async fn run(gateway: Arc<Gateway>, conn: Arc<Conn>, mut reader: Reader, stranger: Stranger) {
    let mut away = Some(stranger.away());
    let mut stranger = Some(stranger);
    let first = {
        let away = away.clone().unwrap_or_default();
        let hello = Box::pin(hello(&gateway, &conn, &mut reader, &mut stranger));
        let hello = tokio::time::timeout(gateway.options.hello_timeout, hello);
        tokio::select! {
            first = hello => first.unwrap_or(Err(Some(CloseCode::HelloTimeout).into())),
            () = gateway.draining.cancelled() => Err(Some(CloseCode::Restart).into()),
            () = away.cancelled() => Err(Unwelcome { why: Refused::Crowded, code: Some(CloseCode::TryLater) }),
        }
    };
    // Held to the end.
    let mut place = None;
    let code = match first {
        Ok((actor, its)) => {
            (place, away) = (Some(its), None);
            let session = Session {
                limiter: RateLimiter::direct(gateway.quota),
                gateway: &gateway,
                conn: &conn,
                actor,
                typing: None,
                refused: 0,
                in_flight: FuturesUnordered::new(),
            };
            session.serve(&mut reader).await
        }
        Err(Unwelcome { why, code }) => {
            gateway.metrics.refusals.inc(why);
            code
        }
    };
    gateway.leave(&conn);
    if let Some(code) = code {
        conn.finish(code);
    }
    let farewell = Box::pin(async {
        conn.write_out().await;
        // RFC 6455 §7.1.1: the server closes the TCP connection after the client's close answer, or its end.
        while reader.next(&conn).await.is_ok() {}
        // The answer to a close of the client's.
        conn.write_out().await;
    });
    let needed_elsewhere = async {
        match &away {
            Some(away) => away.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // First, so that a close frame is on its way whatever the others say.
        biased;
        _ = tokio::time::timeout(Duration::from_secs(READING_SECONDS), farewell) => {}
        () = needed_elsewhere => {}
    }
    drop((stranger, place));
}

/// Why there is no welcome.
pub(super) struct Unwelcome {
    pub(super) why: Refused,
    /// The code to close with, or `None` when the client went by itself.
    pub(super) code: Option<CloseCode>,
}

impl From<Option<CloseCode>> for Unwelcome {
    fn from(code: Option<CloseCode>) -> Self {
        Self { why: Refused::closed_with(code), code }
    }
}

/// Waits for the first frame, and welcomes whoever sent it.
async fn hello(
    gateway: &Arc<Gateway>,
    conn: &Arc<Conn>,
    reader: &mut Reader,
    stranger: &mut Option<Stranger>,
) -> Result<(Actor, Place), Unwelcome> {
    for _ in 0..MAX_EARLY {
        match reader.next(conn).await? {
            Heard::Text(text) => match decode(&text) {
                Ok(ClientFrame::Hello { token, .. }) => {
                    return gateway.welcome(conn, &token, stranger).await;
                }
                Ok(_) => {
                    let error = ChatError::new(ErrorCode::Unauthenticated, "the first frame is not hello");
                    conn.welcome(&wire::error_frame(error, None));
                    return Err(Some(CloseCode::Protocol).into());
                }
                Err((id, error)) => {
                    conn.welcome(&wire::error_frame(error, id));
                    return Err(Some(CloseCode::Protocol).into());
                }
            },
            Heard::Control => conn.hear(),
        }
    }
    Err(Some(CloseCode::RateLimited).into())
}

struct Session<'a> {
    gateway: &'a Arc<Gateway>,
    conn: &'a Arc<Conn>,
    actor: Actor,
    limiter: DefaultDirectRateLimiter,
    refused: u32,
    /// Where typing was last passed on, and when.
    typing: Option<(ChannelId, Instant)>,
    /// Commands whose commit is awaited.
    in_flight: FuturesUnordered<BoxFuture<'static, ServerFrame>>,
}

impl Session<'_> {
    /// Serves until the end. Answers the code to close with, or `None` when a close is on its way already or the
    /// client has gone.
    async fn serve(mut self, reader: &mut Reader) -> Option<CloseCode> {
        while !self.conn.is_leaving() {
            let has_capacity = self.in_flight.len() < self.gateway.options.max_in_flight;
            tokio::select! {
                heard = reader.next(self.conn), if has_capacity => match heard {
                    Ok(heard) => {
                        self.conn.hear();
                        // Boxed: what a command needs is not held by every idle socket.
                        let done = match heard {
                            Heard::Text(text) => Box::pin(self.command(&text)).await,
                            Heard::Control => self.control(),
                        };
                        if let Err(code) = done {
                            return Some(code);
                        }
                    }
                    Err(code) => return code,
                },
                Some(answer) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.conn.send(&answer);
                }
                () = self.conn.flush() => {
                    if self.conn.is_closing() {
                        return None;
                    }
                }
            }
        }
        // The socket is to go: what was taken is finished, nothing new is read.
        let answers = async {
            while let Some(answer) = self.in_flight.next().await {
                self.conn.send(&answer);
            }
        };
        let _ = tokio::time::timeout(LAST_ANSWERS, answers).await;
        Some(CloseCode::Restart)
    }

    /// Carries out one command. The error is the code to close with.
    async fn command(&mut self, text: &str) -> Result<(), CloseCode> {
        let decoded = decode(text);
        let id = match &decoded {
            Ok(frame) => frame.id(),
            Err((id, _)) => *id,
        };
        if let Err(not_until) = self.limiter.check() {
            self.refused += 1;
            if self.refused > MAX_REFUSED {
                return Err(CloseCode::RateLimited);
            }
            let wait = not_until.wait_time_from(governor::clock::Clock::now(self.limiter.clock()));
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            self.refuse(id, ChatError::rate_limited(wait_ms));
            return Ok(());
        }
        let frame = match decoded {
            Ok(frame) => frame,
            Err((_, error)) => {
                self.refuse(id, error);
                return Ok(());
            }
        };
        if let Err(error) = self.dispatch(frame).await {
            self.refuse(id, error);
        }
        Ok(())
    }

    /// Counts a control frame, which was answered already: with the commands, since it costs as much.
    fn control(&mut self) -> Result<(), CloseCode> {
        if self.limiter.check().is_err() {
            self.refused += 1;
            if self.refused > MAX_REFUSED {
                return Err(CloseCode::RateLimited);
            }
        }
        Ok(())
    }

    fn refuse(&self, id: Option<ClientId>, error: ChatError) {
        self.gateway.metrics.command_errors.inc();
        refused(error.code, Some(self.actor.user), None, "socket");
        self.conn.send(&wire::error_frame(error, id));
    }

    async fn dispatch(&mut self, frame: ClientFrame) -> Result<(), ChatError> {
        let frame = match Command::of(frame) {
            Ok((id, channel, command)) => return self.submit(id, channel, command).await,
            Err(frame) => frame,
        };
        let chat = &self.gateway.chat;
        match frame {
            ClientFrame::Hello { .. } => Err(ChatError::new(
                ErrorCode::Conflict,
                "hello is sent only once; the next frames must be commands",
            )),
            ClientFrame::Read { channel, seq, .. } => {
                chat.mark_read(&self.actor, channel, seq).await.map(|_| ())
            }
            ClientFrame::Typing { channel, .. } => {
                let recent = self
                    .typing
                    .is_some_and(|(last, at)| last == channel && at.elapsed().as_secs() < TYPING_SECONDS);
                if recent {
                    return Ok(());
                }
                self.typing = Some((channel, Instant::now()));
                chat.typing(&self.actor, channel).await
            }
            ClientFrame::Watch { users, .. } => {
                if users.len() > limits::MAX_WATCHED_USERS {
                    return Err(ChatError::invalid(format!(
                        "too many users to watch: at most {} are allowed, got {}",
                        limits::MAX_WATCHED_USERS,
                        users.len()
                    )));
                }
                self.gateway.watch(self.conn, &self.actor, users).await
            }
            ClientFrame::Sync { id, channel, after } => self.sync(id, channel, after).await,
            ClientFrame::Ping { id } => {
                self.conn.send(&ServerFrame::Pong { id });
                Ok(())
            }
            // What is none of these is a command on messages.
            _ => Err(ChatError::new(ErrorCode::UnknownType, "this type of frame is not for this socket")),
        }
    }

    /// Queues a command for its channel's log; its answer follows when it is committed, without holding up what
    /// the client sends next.
    async fn submit(&mut self, id: ClientId, channel: ChannelId, command: Command) -> Result<(), ChatError> {
        let began = Instant::now();
        // Whoever has several sockets is one person.
        self.gateway.chat.rates().command(self.actor.user)?;
        let pending = self.gateway.chat.submit(&self.actor, channel, id, command).await?;
        let (conn, metrics) = (Arc::clone(self.conn), Arc::clone(&self.gateway.metrics));
        let user = self.actor.user;
        self.in_flight.push(Box::pin(async move {
            match pending.committed().await {
                Ok(done) => {
                    metrics.ack_seconds.observe(began.elapsed().as_secs_f64());
                    ServerFrame::Ack {
                        id,
                        channel: done.channel,
                        seq: done.seq,
                        at: done.at,
                        duplicate: done.duplicate,
                    }
                }
                Err(error) => {
                    metrics.command_errors.inc();
                    refused(error.code, Some(user), None, "socket");
                    if error.code == ErrorCode::Unauthenticated {
                        // The role changed meanwhile. Unanswered, the command is sent again with the new token.
                        conn.close(CloseCode::Unauthenticated);
                    }
                    wire::error_frame(error, Some(id))
                }
            }
        }));
        Ok(())
    }

    /// Answers with every event after a position, or says plainly that it could not.
    async fn sync(&mut self, id: Option<ClientId>, channel: ChannelId, after: Seq) -> Result<(), ChatError> {
        let Gateway { chat, feed, metrics, reads, .. } = &**self.gateway;
        let hub = &feed.hub;
        chat.authorize(&self.actor, channel, ChannelAction::Read).await?;
        let (frames, head): (Option<Vec<Bytes>>, Seq) = match hub.in_memory(channel, after) {
            InMemory::All { frames, head } => {
                metrics.syncs_from_memory.inc();
                (Some(frames), head)
            }
            InMemory::No => {
                metrics.syncs_from_store.inc();
                let read = reads.sync(chat, channel, after, hub.head(channel)).await?;
                (read.frames.clone(), read.head)
            }
        };
        // A client that asks for many channels at once is answered as fast as it reads, and an answer that does not fit
        // the socket's queue is not sent: it would close the socket as too slow, again and again.
        let _ = tokio::time::timeout(Duration::from_secs(READING_SECONDS), self.conn.write_out()).await;
        let limit = self.gateway.options.max_queued_bytes / 2;
        let frames = frames.filter(|frames| frames.iter().map(Bytes::len).sum::<usize>() <= limit);
        let recovered = frames.is_some();
        // One piece: between these frames and `synced` nothing of this channel is missing.
        let mut frames = frames.unwrap_or_default();
        frames.push(wire::server_frame(&ServerFrame::Synced { id, channel, head, recovered }));
        if self.conn.push(&frames) {
            metrics.slow_consumers.inc();
        }
        Ok(())
    }
}
