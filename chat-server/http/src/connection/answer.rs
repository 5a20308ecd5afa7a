//! Answers on their way to a reader, who may take nothing of them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Closed, Flight, Guest, Shares, activity::Work, pool::Need, requests::Reset};

/// An answer over HTTP/2 of which nothing is taken for so long is given up. Longer than a connection of which nothing is taken at
/// all: many answers share what a slow line brings.
const UNTAKEN: Duration = Duration::from_secs(60);
/// One is given up earlier while somebody has to wait who has nothing, so that they are served before they are sent away: one of several
/// of its person after so long,
const UNTAKEN_OF_SEVERAL: Duration = Duration::from_secs(8);
/// the only one of its person after so long. A reader's system takes in steps of up to 128 KiB, which are 32 s apart at the lowest rate.
const UNTAKEN_OF_ONLY: Duration = Duration::from_secs(40);
/// An answer may take so long, and more by its size.
const GRACE: Duration = Duration::from_secs(60);
/// How many bytes a second must be taken of it, on average.
const MIN_RATE: u64 = 4 * 1024;
/// What is handed over at once. Of more than that a part is copied: a reader who takes one byte must not keep all of it. At the lowest rate
/// each is taken in 4 s.
const PIECE: usize = 16 * 1024;

/// An answer's body. When it is dropped, whoever is answered has to say something again.
pub struct Answer {
    open: Arc<Open>,
    flight: Flight,
    guest: Guest,
    /// The server has not got the next piece yet.
    work: Option<Work>,
}

/// An answer until the last byte of it was taken. The pieces that are on their way keep it.
pub(super) struct Open {
    contents: Mutex<Contents>,
    guest: Guest,
    shares: Shares,
    is_counted: bool,
    /// How its stream is ended, over HTTP/2.
    reset: Option<Reset>,
}

struct Contents {
    /// `None`: all of it was handed over, or it was given up.
    body: Option<Body>,
    /// Of a large piece, what was not handed over yet.
    rest: Bytes,
    is_given_up: bool,
    /// That were handed over and are not sent yet.
    pieces: usize,
    began: Instant,
    /// When some of it was last taken.
    taken: Instant,
    given: u64,
    /// Since when the server is waited for, if it is.
    waits: Option<Instant>,
}

/// It was given up, since nothing of it was taken.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the answer was taken for too long")]
struct GivenUp;

impl Answer {
    /// To a request that is in flight and holds these shares.
    #[must_use]
    pub fn new(body: Body, flight: Flight, guest: Guest, shares: Shares) -> Self {
        shares.settle(body.size_hint().exact());
        let has_body = !body.is_end_stream();
        let open = Open::new(body, guest.clone(), shares);
        if has_body {
            flight.activity().opened(&open);
        }
        Self { open, flight, guest, work: None }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.open.close();
        self.guest.answering(false);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = self.open.next(cx);
        match &polled {
            Poll::Pending => {
                if self.work.is_none() {
                    self.work = Some(self.flight.work());
                }
            }
            Poll::Ready(frame) => {
                self.work = None;
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
                self.flight.activity().answer(data.map_or(0, Bytes::len));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let contents = self.open.contents.lock();
        !contents.is_given_up
            && contents.rest.is_empty()
            && contents.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let contents = self.open.contents.lock();
        let mut hint = contents.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let rest = contents.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl Open {
    fn new(body: Body, guest: Guest, shares: Shares) -> Arc<Self> {
        let now = Instant::now();
        let contents = Contents {
            body: Some(body),
            rest: Bytes::new(),
            is_given_up: false,
            pieces: 0,
            began: now,
            taken: now,
            given: 0,
            waits: None,
        };
        let is_counted = shares.is_counted();
        Arc::new(Self {
            contents: Mutex::new(contents),
            guest,
            shares,
            is_counted,
            reset: Reset::of_current(),
        })
    }

    fn next(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut contents = self.contents.lock();
        if contents.is_given_up {
            return Poll::Ready(Some(Err(axum::Error::new(GivenUp))));
        }
        if contents.rest.is_empty() {
            let frame = match ready!(contents.poll(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => contents.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let mut piece = if self.is_counted && contents.rest.len() > PIECE {
            Bytes::copy_from_slice(&contents.rest.split_to(PIECE))
        } else {
            std::mem::take(&mut contents.rest)
        };
        contents.taken = Instant::now();
        contents.given += piece.len() as u64;
        if self.is_counted {
            contents.pieces += 1;
            piece = Bytes::from_owner(Piece { bytes: piece, open: Arc::clone(self) });
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Nobody asks for more of it.
    fn close(&self) {
        let mut contents = self.contents.lock();
        let dropped = (contents.body.take(), std::mem::take(&mut contents.rest));
        let is_taken = contents.pieces == 0;
        drop(contents);
        drop(dropped);
        if is_taken {
            self.shares.end();
        }
    }

    /// Gives it up when too little of it is taken: its file is closed, its place and its bytes are free. True when the connection has to
    /// end for it: some of it is already on its way, or it is all that the connection is for.
    pub(super) fn give_up_if_overdue(&self, is_http2: bool) -> bool {
        let now = Instant::now();
        let mut contents = self.contents.lock();
        // Whose turn it is to take something of HTTP/1 is known of the connection.
        let is_overdue = is_http2 && contents.is_overdue(now);
        if !is_overdue && !contents.is_in_the_way(now, &self.shares) {
            return false;
        }
        let body = contents.body.take();
        if body.is_some() {
            contents.rest = Bytes::new();
            contents.is_given_up = true;
            self.guest.closed(Closed::Untaken);
        }
        let is_taken = contents.pieces == 0;
        drop(contents);
        drop(body);
        self.shares.end();
        if let Some(reset) = &self.reset {
            reset.reset();
        }
        // A proxy's connection over HTTP/2 is that of others as well.
        !is_http2 || !is_taken && !self.guest.is_behind_proxy()
    }

    fn piece_is_taken(&self) {
        let mut contents = self.contents.lock();
        contents.pieces -= 1;
        contents.taken = Instant::now();
        let is_taken = contents.pieces == 0 && contents.body.is_none();
        drop(contents);
        if is_taken {
            self.shares.end();
        } else {
            self.shares.moved();
        }
    }
}

impl Contents {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if polled.is_pending() {
            self.waits.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.waits.take() {
            self.began += since.elapsed();
        }
        polled
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let by_size = self.began + GRACE + Duration::from_secs(self.given / MIN_RATE);
        self.waits.is_none() && now >= by_size.min(self.taken + UNTAKEN)
    }

    /// Whether others wait for what it has, while nothing of it is taken.
    fn is_in_the_way(&self, now: Instant, shares: &Shares) -> bool {
        let untaken = now.saturating_duration_since(self.taken);
        if self.waits.is_some() || untaken < UNTAKEN_OF_SEVERAL {
            return false;
        }
        match shares.need() {
            Need::None => false,
            Need::OfOnly => untaken >= UNTAKEN_OF_ONLY,
            Need::OfSeveral => true,
        }
    }
}

/// A part of an answer, kept until it was sent.
struct Piece {
    bytes: Bytes,
    open: Arc<Open>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.open.piece_is_taken();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use chat_protocol::UserId;
    use futures_util::future::poll_fn;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{
        TrustedProxies,
        connection::{Activity, Admission, AdmissionLimits, ConnectionMetrics},
    };

    const SIZE: usize = 1_000_000;
    /// In whole KiB.
    const SIZE_COUNTED: i64 = 977 * 1024;

    struct Scene {
        metrics: Arc<ConnectionMetrics>,
        activity: Arc<Activity>,
        connection: Guest,
        person: UserId,
        answer: Answer,
    }

    /// An answer of [`SIZE`] bytes to a person, over HTTP/2, through a proxy or not.
    async fn answering(proxies: &str) -> Scene {
        answering_over(proxies, true).await
    }

    async fn answering_over(proxies: &str, is_http2: bool) -> Scene {
        let metrics = Arc::new(ConnectionMetrics::default());
        let limits = AdmissionLimits::public(1_024, 100, 100);
        let proxies = TrustedProxies::new(proxies.parse());
        let admission = Admission::new(limits, proxies, Arc::clone(&metrics));
        let permit = admission.ready().await.expect("is open");
        let connection = admission.enter(SocketAddr::from(([10, 0, 0, 1], 1)), permit);
        let activity = Activity::begin();
        let flight = activity.request(is_http2);
        let (guest, person) = (connection.of_request(&http::HeaderMap::new()), UserId::new());
        let shares = page_of(&guest, person, 2 * SIZE).await;
        let answer = Answer::new(Body::from(vec![1; SIZE]), flight, guest, shares);
        Scene { metrics, activity, connection, person, answer }
    }

    async fn page_of(guest: &Guest, person: UserId, bytes: usize) -> Shares {
        let shares = guest.shares();
        shares.begin(person).await.expect("has a place");
        shares.page(bytes).await.expect("has room");
        shares
    }

    /// Others have all the rest.
    async fn all_the_rest(connection: &Guest) -> Vec<Shares> {
        let mut held = Vec::new();
        for mib in [8; 15].into_iter().chain([7]) {
            held.push(page_of(connection, UserId::new(), mib * 1024 * 1024).await);
        }
        held
    }

    async fn next(answer: &mut Answer) -> Option<Result<Bytes, axum::Error>> {
        let frame = poll_fn(|cx| hyper::body::Body::poll_frame(Pin::new(answer), cx)).await?;
        Some(frame.map(|frame| frame.into_data().expect("is data")))
    }

    /// Something else is asked for on the connection and taken, all the time.
    async fn used(activity: &Activity) {
        loop {
            activity.answer(1_000_000);
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// When and why the connection ends, if it does within five minutes.
    async fn ended(activity: &Activity) -> Option<(u64, Closed)> {
        let began = Instant::now();
        let reason = tokio::select! {
            reason = timeout(Duration::from_secs(300), activity.overdue(|| false)) => reason.ok(),
            () = used(activity) => None,
        };
        reason.map(|reason| (began.elapsed().as_secs(), reason))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_with_its_connection() {
        let Scene { metrics, activity, mut answer, .. } = answering("").await;
        // What hyper asks for before it knows whether there is room for it.
        let piece = next(&mut answer).await.expect("comes").expect("is good");
        let (seconds, reason) = ended(&activity).await.expect("ends");
        assert!((60..=70).contains(&seconds) && reason == Closed::SlowReader, "{seconds} {reason:?}");
        drop(answer);
        assert_eq!(metrics.requests.get(), 0);
        drop(piece);
    }

    #[tokio::test(start_paused = true)]
    async fn others_go_on_using_the_connection_of_a_proxy() {
        let Scene { metrics, activity, mut answer, .. } = answering("10.0.0.0/8").await;
        let piece = next(&mut answer).await.expect("comes").expect("is good");
        let look = async {
            sleep(Duration::from_secs(59)).await;
            assert_eq!(metrics.page_bytes.get(), SIZE_COUNTED, "it has a minute");
            sleep(Duration::from_secs(12)).await;
            let held = (metrics.page_bytes.get(), metrics.requests.get());
            assert_eq!(held, (0, 0), "its bytes and its place are free");
        };
        let (ended, ()) = tokio::join!(ended(&activity), look);
        assert_eq!(ended, None);
        drop(piece);
        assert!(next(&mut answer).await.expect("says so").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_given_up_for_whoever_has_nothing() {
        for is_http2 in [true, false] {
            let Scene { activity, connection, person, mut answer, .. } = answering_over("", is_http2).await;
            let _piece = next(&mut answer).await.expect("comes").expect("is good");
            let second = page_of(&connection, person, 1_000).await;
            let held = all_the_rest(&connection).await;
            let began = Instant::now();
            let newcomer = async {
                drop(page_of(&connection, UserId::new(), SIZE).await);
                began.elapsed().as_secs()
            };
            let (served, ended) = tokio::join!(newcomer, ended(&activity));
            assert!(served < 10, "{served}");
            let (seconds, reason) = ended.expect("ends");
            assert!((8..=9).contains(&seconds) && reason == Closed::SlowReader, "{seconds} {reason:?}");
            drop((held, second));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_on_taking_keeps_it_and_so_does_whoever_has_one_only() {
        let Scene { activity, connection, person, mut answer, .. } = answering("").await;
        let second = page_of(&connection, person, 1_000).await;
        let held = all_the_rest(&connection).await;
        let newcomers = async {
            loop {
                let shares = connection.shares();
                shares.begin(UserId::new()).await.expect("has a place");
                assert!(shares.page(SIZE).await.is_err());
            }
        };
        let read = async {
            for _ in 0..20 {
                drop(next(&mut answer).await.expect("comes").expect("is good"));
                sleep(Duration::from_secs(4)).await;
            }
            drop(second);
            for _ in 0..2 {
                for _ in 0..8 {
                    drop(next(&mut answer).await.expect("comes").expect("is good"));
                }
                sleep(Duration::from_secs(32)).await;
            }
        };
        tokio::select! {
            () = read => {},
            () = newcomers => {},
            ended = ended(&activity) => panic!("{ended:?}"),
        }
        // In the end nothing is taken of it.
        let _piece = next(&mut answer).await.expect("comes").expect("is good");
        let newcomer = async {
            sleep(Duration::from_secs(5)).await;
            let shares = connection.shares();
            shares.begin(UserId::new()).await.expect("has a place");
            for _ in 0..3 {
                assert!(shares.page(SIZE).await.is_err(), "it has some time");
            }
            shares.page(SIZE).await
        };
        let (served, ended) = tokio::join!(newcomer, ended(&activity));
        assert!(served.is_ok() && matches!(ended, Some((40..=41, Closed::SlowReader))), "{ended:?}");
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_handed_over_to_its_end_is_not_taken_yet() {
        let Scene { metrics, activity, mut answer, .. } = answering("").await;
        let mut pieces = Vec::new();
        while let Some(piece) = next(&mut answer).await {
            pieces.push(piece.expect("is good"));
        }
        drop(answer);
        assert_eq!((metrics.page_bytes.get(), metrics.requests.get()), (SIZE_COUNTED, 1));
        assert_eq!(ended(&activity).await.map(|(_, reason)| reason), Some(Closed::SlowReader));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_comes_to_its_end() {
        let Scene { metrics, activity, mut answer, .. } = answering("").await;
        let read = async {
            let mut bytes = 0;
            while let Some(piece) = next(&mut answer).await {
                let piece = piece.expect("is good");
                assert!(piece.len() <= PIECE);
                bytes += piece.len();
                let left = hyper::body::Body::size_hint(&answer).exact();
                assert_eq!(left, Some((SIZE - bytes) as u64));
                sleep(Duration::from_secs(3)).await;
            }
            bytes
        };
        let bytes = tokio::select! {
            bytes = read => bytes,
            ended = ended(&activity) => panic!("{ended:?}"),
        };
        assert_eq!(bytes, SIZE);
        assert!(hyper::body::Body::is_end_stream(&answer));
        drop(answer);
        assert_eq!(metrics.requests.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_the_server_is_late_with_is_waited_for() {
        let Scene { metrics, activity, answer, .. } = answering("").await;
        drop(answer);
        let (body, flight) = (
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>()),
            activity.request(true),
        );
        let permit = Admission::default().ready().await.expect("is open");
        let guest = Admission::default().enter(SocketAddr::from(([10, 0, 0, 1], 1)), permit);
        let mut late = Answer::new(body, flight, guest, Shares::default());
        assert!(timeout(Duration::from_secs(1), next(&mut late)).await.is_err());
        assert_eq!(ended(&activity).await, None);
        assert!(timeout(Duration::from_secs(1), next(&mut late)).await.is_err(), "it was not given up");
        assert_eq!(metrics.requests.get(), 0);
    }
}
