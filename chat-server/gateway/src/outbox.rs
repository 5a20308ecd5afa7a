//! What waits to be written to one socket. Bounded: who reads too slowly is cut off, never waited for.
//!
//! Whoever has a frame for the socket writes it right there when nothing waits, without waking the socket's
//! task: at thousands of sockets, waking a task for each delivery costs more than the delivery. Only what the
//! kernel does not take is queued for the task.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::Bytes;
use chat_protocol::CloseCode;

use super::wire;

/// What a queued frame costs beside its bytes, about: its place in the queue and the head of its allocation.
const FRAME_COST: usize = 64;
/// Frames gathered into one vectored write.
const BATCH: usize = 64;

/// Where bytes go: takes some of them at once, or says [`io::ErrorKind::WouldBlock`].
pub(super) trait Sink {
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl Sink for tokio::net::TcpStream {
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [only] = bufs { self.try_write(only) } else { Self::try_write_vectored(self, bufs) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not welcomed yet: what comes is kept behind the welcome.
    Held,
    Open,
    /// A close frame is the last thing in the queue.
    Closing,
    /// The socket failed; nothing is written any more.
    Dead,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Written, or not wanted any more.
    Done,
    /// Some of it waits: the socket's task must flush.
    Queued,
    /// The bound was hit: the socket's task must close.
    TooSlow,
}

#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Bytes>,
    /// Bytes of the first queued frame that were written already.
    written: usize,
    /// With [`FRAME_COST`] for each frame.
    queued_bytes: usize,
    state: State,
}

/// What a frame counts in the queue.
fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_COST
}

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), written: 0, queued_bytes: 0, state: State::Held }
    }

    /// Hands over whole frames, in order. More than `max_bytes` waiting is too slow a consumer.
    pub(super) fn push(&mut self, sink: &impl Sink, frames: &[Bytes], max_bytes: usize) -> Pushed {
        match self.state {
            State::Closing | State::Dead => return Pushed::Done,
            State::Held => {}
            State::Open => {
                if self.queue.is_empty() {
                    return self.write_through(sink, frames);
                }
            }
        }
        let more: usize = frames.iter().map(cost).sum();
        if self.queued_bytes + more > max_bytes {
            self.close(CloseCode::SlowConsumer);
            return Pushed::TooSlow;
        }
        self.enqueue(frames);
        if self.state == State::Held { Pushed::Done } else { Pushed::Queued }
    }

    /// Hands over the answer to a control frame of the client's, which is due before the welcome too. Of pongs only the latest
    /// waits (RFC 6455 §5.5.3).
    pub(super) fn control(&mut self, sink: &impl Sink, frame: Bytes, max_bytes: usize) -> Pushed {
        if self.state == State::Held {
            // Nothing was written that is not whole. A client that does not even take this is not waited for.
            let written = sink.try_write_vectored(&[IoSlice::new(&frame)]);
            if written.is_ok_and(|written| written < frame.len()) {
                self.die();
                return Pushed::Queued;
            }
            return Pushed::Done;
        }
        let begun = usize::from(self.written > 0);
        if wire::is_pong(&frame)
            && let Some(waiting) = self.queue.iter_mut().skip(begun).find(|queued| wire::is_pong(queued))
        {
            self.queued_bytes = self.queued_bytes - cost(waiting) + cost(&frame);
            *waiting = frame;
            return Pushed::Queued;
        }
        self.push(sink, &[frame], max_bytes)
    }

    /// Whether anything waits that can be written now.
    pub(super) fn wants_write(&self) -> bool {
        !self.queue.is_empty() && matches!(self.state, State::Open | State::Closing)
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing | State::Dead)
    }

    /// Everything there was to write, the close frame included, is written or never will be.
    pub(super) fn is_finished(&self) -> bool {
        self.state == State::Dead || (self.state == State::Closing && self.queue.is_empty())
    }

    /// The welcome goes first; what was held back follows.
    pub(super) fn release(&mut self, welcome: Bytes) {
        if self.state == State::Held {
            self.queued_bytes += cost(&welcome);
            self.queue.push_front(welcome);
            self.state = State::Open;
        }
    }

    /// There is no welcome: what was held back is dropped, and the close follows right behind the frame that says why.
    pub(super) fn refuse(&mut self, why: Bytes, code: CloseCode) {
        if self.state == State::Held {
            (self.queued_bytes, self.state) = (0, State::Open);
            self.queue.clear();
            self.enqueue(&[why]);
            self.finish(code);
        }
    }

    /// Drops what waits, finishes the frame that is half written, and ends with a close frame.
    pub(super) fn close(&mut self, code: CloseCode) {
        if self.is_closing() {
            return;
        }
        let half = if self.written > 0 { self.queue.pop_front() } else { None };
        self.queue.clear();
        self.queue.extend(half);
        self.finish(code);
    }

    /// Ends with a close frame behind all that waits.
    pub(super) fn finish(&mut self, code: CloseCode) {
        self.finish_with(wire::close_frame(code));
    }

    /// Ends with this close frame behind all that waits.
    pub(super) fn finish_with(&mut self, close: Bytes) {
        if self.is_closing() {
            return;
        }
        self.queue.push_back(close);
        self.queued_bytes = self.queue.iter().map(cost).sum::<usize>() - self.written;
        self.state = State::Closing;
    }

    /// Writes what the kernel takes. True when nothing is left.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn flush(&mut self, sink: &impl Sink) -> io::Result<bool> {
        while self.wants_write() {
            let mut slices = [IoSlice::new(&[]); BATCH];
            let mut count = 0;
            for (slot, frame) in slices.iter_mut().zip(&self.queue) {
                let skip = if count == 0 { self.written } else { 0 };
                *slot = IoSlice::new(&frame[skip..]);
                count += 1;
            }
            match sink.try_write_vectored(&slices[..count]) {
                Ok(0) => return self.fail(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return self.fail(e),
            }
        }
        Ok(self.queue.is_empty())
    }

    fn fail(&mut self, error: io::Error) -> io::Result<bool> {
        self.die();
        Err(error)
    }

    pub(super) fn die(&mut self) {
        self.state = State::Dead;
        self.queue = VecDeque::new();
        self.written = 0;
        self.queued_bytes = 0;
    }

    fn write_through(&mut self, sink: &impl Sink, frames: &[Bytes]) -> Pushed {
        let result = match frames {
            [frame] => sink.try_write_vectored(&[IoSlice::new(frame)]),
            // More than a batch goes through the queue.
            _ if frames.len() > BATCH => Ok(0),
            _ => {
                let mut slices = [IoSlice::new(&[]); BATCH];
                for (slot, frame) in slices.iter_mut().zip(frames) {
                    *slot = IoSlice::new(frame);
                }
                sink.try_write_vectored(&slices[..frames.len()])
            }
        };
        let written = match result {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.die();
                return Pushed::Queued;
            }
        };
        let total: usize = frames.iter().map(Bytes::len).sum();
        if written == total {
            return Pushed::Done;
        }
        self.enqueue(frames);
        self.advance(written);
        Pushed::Queued
    }

    fn enqueue(&mut self, frames: &[Bytes]) {
        self.queue.extend(frames.iter().cloned());
        self.queued_bytes += frames.iter().map(cost).sum::<usize>();
    }

    fn advance(&mut self, mut n: usize) {
        self.queued_bytes -= n;
        n += self.written;
        while let Some(first) = self.queue.front() {
            if n < first.len() {
                break;
            }
            n -= first.len();
            self.queued_bytes -= FRAME_COST;
            self.queue.pop_front();
        }
        self.written = n;
        if self.queue.is_empty() {
            // A burst must not hold memory for the rest of the socket's life.
            self.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Takes at most `room` bytes until more room is made.
    struct Pipe {
        room: Mutex<usize>,
        got: Mutex<Vec<u8>>,
    }

    impl Pipe {
        fn with_room(room: usize) -> Self {
            Self { room: Mutex::new(room), got: Mutex::new(Vec::new()) }
        }
    }

    impl Sink for Pipe {
        fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut room = self.room.lock();
            if *room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut n = 0;
            for buf in bufs {
                let take = buf.len().min(*room);
                self.got.lock().extend_from_slice(&buf[..take]);
                *room -= take;
                n += take;
            }
            Ok(n)
        }
    }

    fn open() -> Outbox {
        let mut outbox = Outbox::new();
        outbox.release(Bytes::new());
        outbox.queue.clear();
        outbox.queued_bytes = 0;
        outbox
    }

    #[test]
    fn what_the_kernel_takes_is_not_queued() {
        let (mut outbox, pipe) = (open(), Pipe::with_room(100));
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"abc")], 10), Pushed::Done);
        assert_eq!(*pipe.got.lock(), b"abc");
    }

    #[test]
    fn order_holds_across_partial_writes() {
        let (mut outbox, pipe) = (open(), Pipe::with_room(4));
        let frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        assert_eq!(outbox.push(&pipe, &frames, 1_000), Pushed::Queued);
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"ghi")], 1_000), Pushed::Queued);
        *pipe.room.lock() = 1;
        assert!(!outbox.flush(&pipe).expect("no error"));
        *pipe.room.lock() = 100;
        assert!(outbox.flush(&pipe).expect("no error"));
        assert_eq!(*pipe.got.lock(), b"abcdefghi");
        assert_eq!(outbox.queued_bytes, 0);
    }

    #[test]
    fn one_pong_waits_and_it_is_the_latest() {
        let (mut outbox, pipe) = (open(), Pipe::with_room(1));
        let pong = |text: &'static [u8]| wire::pong_frame(text);
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"abc")], 1_000), Pushed::Queued);
        for text in [b"1", b"2", b"3"] {
            assert_eq!(outbox.control(&pipe, pong(text), 1_000), Pushed::Queued);
        }
        assert_eq!(outbox.queue.len(), 2);
        *pipe.room.lock() = 3;
        assert!(!outbox.flush(&pipe).expect("no error"), "the pong is half written");
        assert_eq!(outbox.control(&pipe, pong(b"4"), 1_000), Pushed::Queued);
        *pipe.room.lock() = 100;
        assert!(outbox.flush(&pipe).expect("no error"));
        assert_eq!(*pipe.got.lock(), [b"abc", &pong(b"3")[..], &pong(b"4")[..]].concat());
        assert_eq!(outbox.queued_bytes, 0);
    }

    #[test]
    fn control_frames_are_answered_before_the_welcome_and_cost_nothing() {
        let (mut outbox, pipe) = (Outbox::new(), Pipe::with_room(5));
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"event")], 1_000), Pushed::Done);
        let pong = wire::pong_frame(b"1");
        assert_eq!(outbox.control(&pipe, pong.clone(), 1_000), Pushed::Done);
        assert_eq!(*pipe.got.lock(), pong);
        assert_eq!(outbox.queue.len(), 1);
        // Two bytes of the next one fit: what is cut off cannot go on.
        assert_eq!(outbox.control(&pipe, pong, 1_000), Pushed::Queued);
        assert!(outbox.is_closing());
    }

    #[test]
    fn a_slow_consumer_gets_the_rest_of_its_frame_and_a_close() {
        let (mut outbox, pipe) = (open(), Pipe::with_room(1));
        let max = 2 * FRAME_COST + 7;
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"abc")], max), Pushed::Queued);
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"defgh")], max), Pushed::Queued);
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"i")], max), Pushed::TooSlow);
        *pipe.room.lock() = 1_000;
        assert!(outbox.flush(&pipe).expect("no error"));
        let close = wire::close_frame(CloseCode::SlowConsumer);
        assert_eq!(*pipe.got.lock(), [b"abc", &close[..]].concat());
        assert!(outbox.is_finished());
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"late")], 8), Pushed::Done);
    }

    #[test]
    fn nothing_precedes_the_welcome() {
        let (mut outbox, pipe) = (Outbox::new(), Pipe::with_room(100));
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"event")], 1_000), Pushed::Done);
        assert!(!outbox.wants_write());
        outbox.release(Bytes::from_static(b"welcome,"));
        assert!(outbox.flush(&pipe).expect("no error"));
        assert_eq!(*pipe.got.lock(), b"welcome,event");
    }

    #[test]
    fn who_is_not_welcomed_gets_the_reason_and_the_close_and_no_event() {
        let (mut outbox, pipe) = (Outbox::new(), Pipe::with_room(100));
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"event")], 1_000), Pushed::Done);
        outbox.refuse(Bytes::from_static(b"why"), CloseCode::TryLater);
        assert_eq!(outbox.push(&pipe, &[Bytes::from_static(b"late")], 100), Pushed::Done);
        assert!(outbox.flush(&pipe).expect("no error"));
        let close = wire::close_frame(CloseCode::TryLater);
        assert_eq!(*pipe.got.lock(), [b"why", &close[..]].concat());
        assert!(outbox.is_finished());
    }
}
