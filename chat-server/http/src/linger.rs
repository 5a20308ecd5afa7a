//! Reads on for a while after a request was answered early.
//!
//! A client that is still writing when the server closes gets a reset, which throws away the answer it has not read yet
//! (RFC 9112 §9.6). So what is left of a body is read and dropped, within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// A client that writes for longer gets its reset.
const LINGER: Duration = Duration::from_secs(10);
/// More is not read.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Connections that are read on at one time; the next ones get their reset at once.
static LINGERING: Semaphore = Semaphore::const_new(64);

/// Makes the body of a request one that lingers.
pub(super) async fn linger(request: Request) -> Request {
    if request.body().is_end_stream() {
        request
    } else {
        request.map(|body| Body::new(Lingering(Some(body))))
    }
}

/// A body that is read to its end in the background when it is dropped before that.
struct Lingering(Option<Body>);

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        if let (Ok(permit), Ok(runtime)) = (LINGERING.try_acquire(), Handle::try_current()) {
            runtime.spawn(async move {
                // That it took too long is no matter: the client had its time.
                let _ = timeout(LINGER, read_on(body)).await;
                drop(permit);
            });
        }
    }
}

async fn read_on(mut body: Body) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}
