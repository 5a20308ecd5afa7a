//! One socket, shared by its task and by everybody who has something for it.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use chat_domain::chat::Actor;
use chat_protocol::{CloseCode, ServerFrame};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Notify};

use super::{
    outbox::{Outbox, Pushed},
    places::{Moved, Places},
    wire,
};

/// A socket. Memory per socket is counted in hundreds of bytes: there are tens of thousands.
pub(super) struct Conn {
    pub(super) id: u64,
    stream: TcpStream,
    outbox: Mutex<Outbox>,
    max_queued_bytes: usize,
    /// Wakes the socket's task: something waits to be written, or the socket must close.
    wake: Notify,
    /// Who it is, once `hello` was accepted.
    actor: OnceLock<Actor>,
    /// Channels whose events it gets. Changed only together with the hub's own entry.
    pub(super) places: Mutex<Places>,
    /// Seconds since `epoch` when something was last heard.
    heard: AtomicU32,
    /// Seconds since `epoch` when it is old enough to be sent away.
    old_at: AtomicU32,
    epoch: Instant,
    /// It was asked to go: finish what is in flight, take nothing new.
    leaving: AtomicBool,
}

impl Conn {
    pub(super) fn new(id: u64, stream: TcpStream, max_queued_bytes: usize, epoch: Instant) -> Arc<Self> {
        let conn = Self {
            id,
            stream,
            outbox: Mutex::new(Outbox::new()),
            max_queued_bytes,
            wake: Notify::new(),
            actor: OnceLock::new(),
            places: Mutex::default(),
            heard: AtomicU32::new(0),
            old_at: AtomicU32::new(u32::MAX),
            epoch,
            leaving: AtomicBool::new(false),
        };
        conn.hear();
        Arc::new(conn)
    }

    pub(super) fn actor(&self) -> Option<&Actor> {
        self.actor.get()
    }

    pub(super) fn identify(&self, actor: Actor) {
        // A socket says hello once; a second one is refused before it gets here.
        let _ = self.actor.set(actor);
    }

    /// Hands over encoded frames. True when this was what made the socket too slow.
    pub(super) fn push(&self, frames: &[Bytes]) -> bool {
        let pushed = self.outbox.lock().push(&self.stream, frames, self.max_queued_bytes);
        if pushed != Pushed::Done {
            self.wake.notify_one();
        }
        pushed == Pushed::TooSlow
    }

    /// Hands over a frame that may be dropped: nothing ephemeral is queued behind a backlog.
    pub(super) fn push_ephemeral(&self, frame: &Bytes) {
        let mut outbox = self.outbox.lock();
        if !outbox.wants_write() {
            let pushed = outbox.push(&self.stream, std::slice::from_ref(frame), self.max_queued_bytes);
            drop(outbox);
            if pushed != Pushed::Done {
                self.wake.notify_one();
            }
        }
    }

    /// Hands over the answer to a control frame.
    pub(super) fn control(&self, frame: Bytes) {
        let pushed = self.outbox.lock().control(&self.stream, frame, self.max_queued_bytes);
        if pushed != Pushed::Done {
            self.wake.notify_one();
        }
    }

    pub(super) fn send(&self, frame: &ServerFrame) {
        self.push(&[wire::server_frame(frame)]);
    }

    /// Sends the welcome, or an error in its place, and behind it whatever has come since the subscription.
    pub(super) fn welcome(&self, frame: &ServerFrame) {
        let channels = match frame {
            ServerFrame::Welcome { channels, .. } => channels.as_slice(),
            _ => &[],
        };
        let mut places = self.places.lock();
        let moved = places.welcome(channels);
        self.outbox.lock().release(wire::server_frame(frame));
        for moved in moved {
            self.send(&moved.frame());
        }
        drop(places);
        self.wake.notify_one();
    }

    /// Sends that a read marker of its user moved, unless the client knows of a later one.
    pub(super) fn moved(&self, moved: Moved) {
        // Under the lock, so that frames leave in the order in which they were taken.
        let mut places = self.places.lock();
        if places.take(moved) {
            self.send(&moved.frame());
        }
    }

    /// Sends why there is no welcome, nothing of what has come since a subscription, and closes.
    pub(super) fn refuse(&self, frame: &ServerFrame, code: CloseCode) {
        self.outbox.lock().refuse(wire::server_frame(frame), code);
        self.wake.notify_one();
    }

    /// Drops what waits and closes.
    pub(super) fn close(&self, code: CloseCode) {
        self.outbox.lock().close(code);
        self.wake.notify_one();
    }

    /// Closes behind all that waits.
    pub(super) fn finish(&self, code: CloseCode) {
        self.outbox.lock().finish(code);
        self.wake.notify_one();
    }

    /// Answers the client's close, behind all that waits.
    pub(super) fn answer_close(&self, close: Bytes) {
        self.outbox.lock().finish_with(close);
        self.wake.notify_one();
    }

    /// Asks the client to go and the task to finish what is in flight.
    pub(super) fn leave(&self, after_ms: u64) {
        self.send(&ServerFrame::Reconnect { after_ms });
        self.leaving.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.outbox.lock().is_closing()
    }

    pub(super) fn hear(&self) {
        self.heard.store(self.after(Duration::ZERO), Ordering::Relaxed);
    }

    /// It is old after this time.
    pub(super) fn live_for(&self, time: Duration) {
        self.old_at.store(self.after(time), Ordering::Relaxed);
    }

    pub(super) fn is_old(&self) -> bool {
        self.old_at.load(Ordering::Relaxed) <= self.after(Duration::ZERO)
    }

    /// A time from now, in seconds since `epoch`.
    fn after(&self, time: Duration) -> u32 {
        u32::try_from((self.epoch.elapsed() + time).as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn silent_seconds(&self) -> u64 {
        self.epoch.elapsed().as_secs().saturating_sub(u64::from(self.heard.load(Ordering::Relaxed)))
    }

    /// Whether something came, or the client has gone.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    /// Reads what came.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing did; else the socket failed.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(into)
    }

    /// Writes what waits. Returns when the socket should close or must be looked at, never while all is well.
    pub(super) async fn flush(&self) {
        loop {
            let waits = {
                let outbox = self.outbox.lock();
                if outbox.is_closing() || self.is_leaving() {
                    return;
                }
                outbox.wants_write()
            };
            if waits {
                if self.stream.writable().await.is_err() || self.outbox.lock().flush(&self.stream).is_err() {
                    self.outbox.lock().die();
                }
            } else {
                self.wake.notified().await;
            }
        }
    }

    /// Writes all that waits; when the socket closes, up to and including the close frame.
    pub(super) async fn write_out(&self) {
        loop {
            {
                let mut outbox = self.outbox.lock();
                if outbox.flush(&self.stream).is_err() || outbox.is_finished() {
                    return;
                }
                if !outbox.wants_write() {
                    return;
                }
            }
            if self.stream.writable().await.is_err() {
                return;
            }
        }
    }
}
