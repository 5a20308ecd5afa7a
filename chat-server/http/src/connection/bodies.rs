//! Bodies of requests, which must come at a minimum rate.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{Closed, Flight, Guest, StrangersBody};

/// Bytes a second that a body must bring on average, beyond [`GRACE`]. Only the time counts in which the server waits for them.
pub const MIN_BODY_RATE: u64 = 8 * 1024;
/// What is not counted.
const GRACE: Duration = Duration::from_secs(10);
/// A body that brings nothing for so long is given up, however fast it was before.
const STALL: Duration = Duration::from_secs(20);

/// A body came more slowly than is allowed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the body is too slow: at least {MIN_BODY_RATE} bytes a second are expected after the first {} s, and some in any {} s",
    GRACE.as_secs(),
    STALL.as_secs()
)]
struct TooSlow;

/// What is to be said when a body could not be read because it came too slowly.
#[must_use]
pub fn is_too_slow(error: &(dyn Error + 'static)) -> Option<String> {
    caused_by::<TooSlow>(error).then(|| TooSlow.to_string())
}

pub(super) fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<E>() || wrapped.is_some_and(|inner| inner.is::<E>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// A request's body.
pub struct Paced {
    body: Incoming,
    flight: Flight,
    guest: Guest,
    /// Held until all of it is there.
    place: Option<StrangersBody>,
    got: u64,
    /// How long was waited before.
    waited: Duration,
    /// The wait that is going on, and its end.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Paced {
    /// Of a request that is in flight.
    #[must_use]
    pub const fn new(body: Incoming, flight: Flight, guest: Guest, place: Option<StrangersBody>) -> Self {
        Self { body, flight, guest, place, got: 0, waited: Duration::ZERO, waiting: None }
    }

    fn may_wait(&self) -> Duration {
        let allowed = GRACE + Duration::from_millis(self.got.saturating_mul(1_000) / MIN_BODY_RATE);
        allowed.saturating_sub(self.waited).min(STALL)
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = self.waiting.take() {
                    self.waited += since.elapsed();
                }
                if let Some(Ok(frame)) = &frame {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    self.got += bytes as u64;
                    self.flight.activity().body(bytes);
                }
                if frame.is_none() || self.body.is_end_stream() {
                    self.guest.answering(true);
                    self.place = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                if self.waiting.is_none() {
                    self.waiting = Some((Instant::now(), Box::pin(sleep(self.may_wait()))));
                }
                let over = self.waiting.as_mut().is_some_and(|(_, end)| end.as_mut().poll(cx).is_ready());
                if over {
                    self.guest.closed(Closed::SlowBody);
                    Poll::Ready(Some(Err(TooSlow.into())))
                } else {
                    Poll::Pending
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
