//! Reads what a client sends, into memory that all sockets of a thread share.
//!
//! Pings and a close of the client's are answered here, through the outbox.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use chat_protocol::CloseCode;

use super::{
    conn::Conn,
    frames::{Frames, Input},
};

/// Bytes that are read at once.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A whole message.
    Text(String),
    /// A control frame, which was answered if it had to be.
    Control,
}

/// Why nothing more comes: the code to close with, or `None` when the client has gone or its close was answered.
type End = Option<CloseCode>;

/// Reads one socket.
#[derive(Debug)]
pub(super) struct Reader {
    frames: Frames,
    has_ended: bool,
}

impl Reader {
    /// Begins with what came behind the request already.
    pub(super) fn new(early: &[u8]) -> Self {
        let mut frames = Frames::default();
        frames.push(early);
        Self { frames, has_ended: false }
    }

    /// What comes next. Nothing is lost when the waiting is given up.
    ///
    /// # Errors
    /// How the socket is to be closed.
    pub(super) async fn next(&mut self, conn: &Conn) -> Result<Heard, End> {
        poll_fn(|cx| self.poll_next(cx, conn)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, conn: &Conn) -> Poll<Result<Heard, End>> {
        if self.has_ended {
            return Poll::Ready(Err(None));
        }
        let next = ready!(self.poll(cx, conn));
        self.has_ended = next.is_err();
        Poll::Ready(next)
    }

    fn poll(&mut self, cx: &mut Context<'_>, conn: &Conn) -> Poll<Result<Heard, End>> {
        loop {
            match self.frames.take()? {
                Some(Input::Text(text)) => return Poll::Ready(Ok(Heard::Text(text))),
                Some(Input::Pong) => return Poll::Ready(Ok(Heard::Control)),
                Some(Input::Ping(answer)) => {
                    conn.control(answer);
                    return Poll::Ready(Ok(Heard::Control));
                }
                Some(Input::Close(answer)) => {
                    conn.answer_close(answer);
                    return Poll::Ready(Err(None));
                }
                None => {}
            }
            if ready!(conn.poll_readable(cx)).is_err() {
                return Poll::Ready(Err(None));
            }
            let read = READ.with_borrow_mut(|scratch| {
                let read = conn.try_read(scratch)?;
                self.frames.push(&scratch[..read]);
                io::Result::Ok(read)
            });
            match read {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(None)),
            }
        }
    }
}
