//! Bodies on their way, and the deadline on them: as long as something moves, in either direction, it goes on.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::Place;

/// Pieces of an answer that were read and not taken by the client yet; about 16 KiB each.
const AHEAD: usize = 4;

/// When something of a request or its answer moved last.
#[derive(Clone)]
pub(super) struct Activity {
    last: Arc<Mutex<Instant>>,
    /// How long nothing may move.
    limit: Duration,
}

impl Activity {
    pub(super) fn new(limit: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), limit }
    }

    fn touch(&self) {
        *self.last.lock() = Instant::now();
    }

    /// Returns when nothing has moved for too long.
    pub(super) async fn ceased(&self) {
        loop {
            let until = *self.last.lock() + self.limit;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// The body of a request, each piece of which counts.
    pub(super) fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() { body } else { Body::new(Watched { body, activity: self.clone() }) }
    }
}

struct Watched {
    body: Body,
    activity: Activity,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.activity.touch();
        // Trailers come last, and are not passed on.
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

enum Piece {
    Data(Bytes),
    End,
}

/// The body of an answer. It is read by a task of its own: a client that does not take it any more must not keep its
/// `place`, and nobody looks at a deadline in a body that is not asked for more.
pub(super) fn pumped(body: Incoming, activity: Activity, place: Place) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    let (pieces, mut taken) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        // What is not whole ends without an end, which the client is shown as a broken connection.
        let _ = pump(body, &activity, &pieces).await;
        drop(place);
    });
    let mut ended = false;
    Body::from_stream(stream::poll_fn(move |cx| {
        if ended {
            return Poll::Ready(None);
        }
        let piece = ready!(taken.poll_recv(cx));
        ended = !matches!(piece, Some(Piece::Data(_)));
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => Some(Ok(data)),
            Some(Piece::End) => None,
            None => Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted))),
        })
    }))
}

/// Why an answer is not whole.
struct Cut;

async fn pump(mut body: Incoming, activity: &Activity, pieces: &mpsc::Sender<Piece>) -> Result<(), Cut> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = activity.ceased() => return Err(Cut),
            // The client has gone.
            () = pieces.closed() => return Err(Cut),
        };
        activity.touch();
        let piece = match frame {
            None => Piece::End,
            Some(Err(error)) => {
                tracing::debug!(%error, "the answer was cut off");
                return Err(Cut);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                // Trailers; they are not passed on.
                Err(_) => continue,
            },
        };
        let end = matches!(piece, Piece::End);
        match timeout(activity.limit, pieces.send(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(Cut),
        }
        activity.touch();
        if end {
            return Ok(());
        }
    }
}
