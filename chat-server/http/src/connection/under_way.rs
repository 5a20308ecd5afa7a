//! What people have under way: requests, downloads, and bytes of pages that their reader has not taken. Each person may have so much of
//! each. Downloads, which hold a descriptor, and bytes are bounded over all people too. Whoever wants more waits, as long as what
//! they have goes on.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::extract::FromRequestParts;
use chat_domain::chat::ChatError;
use chat_protocol::UserId;
use http::request::Parts;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::ConnectionMetrics;

/// Requests of one person, from the head to the last byte of the answer. Downloads that wait are not among them.
const REQUESTS: usize = 64;
/// Downloads of one person.
const DOWNLOADS: usize = 16;
/// Bytes of pages of one person, in [`UNIT`]s.
const PAGES: u32 = 8 * 1024;
/// Bytes of pages of all people, in [`UNIT`]s.
const ALL_PAGES: u32 = 128 * 1024;
/// What bytes are counted in.
const UNIT: u64 = 1024;
/// Requests of one person that wait for any of it.
const WAITING: usize = 240;
/// Whoever waits while nothing of what they have goes on for so long is refused.
const STANDSTILL: Duration = Duration::from_secs(30);
/// How long others are waited for.
const OTHERS: Duration = Duration::from_secs(10);
/// When whoever was refused may try again, in milliseconds.
const COME_AGAIN_MS: u64 = 2_000;

/// What all people have under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct UnderWay(Arc<All>);

struct All {
    people: Mutex<HashMap<Who, Weak<Person>>>,
    downloads: Arc<Semaphore>,
    downloads_each: usize,
    bytes: Arc<Semaphore>,
    metrics: Arc<ConnectionMetrics>,
}

/// Whom something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Person(UserId),
    /// Strangers of an IPv4 address or an IPv6 /64, whose requests are handed to another process.
    Network(IpAddr),
}

/// Somebody who has something under way.
struct Person {
    who: Who,
    all: Arc<All>,
    requests: Share,
    downloads: Share,
    bytes: Share,
    waiting: AtomicUsize,
}

/// What one person has of something.
struct Share {
    places: Arc<Semaphore>,
    /// When some of it was last given back, or something that has some of it last went on.
    moved: Mutex<Instant>,
}

impl UnderWay {
    /// With so many downloads in all, each of which may have a file open.
    pub(super) fn new(downloads: usize, metrics: Arc<ConnectionMetrics>) -> Self {
        Self(Arc::new(All {
            people: Mutex::default(),
            downloads: Arc::new(Semaphore::new(downloads)),
            downloads_each: DOWNLOADS.min(downloads.div_ceil(2)),
            bytes: Arc::new(Semaphore::new(ALL_PAGES as usize)),
            metrics,
        }))
    }

    fn person(&self, who: Who) -> Arc<Person> {
        let mut people = self.0.people.lock();
        if let Some(person) = people.get(&who).and_then(Weak::upgrade) {
            return person;
        }
        let person = Arc::new(Person {
            who,
            all: Arc::clone(&self.0),
            requests: Share::new(REQUESTS),
            downloads: Share::new(self.0.downloads_each),
            bytes: Share::new(PAGES as usize),
            waiting: AtomicUsize::new(0),
        });
        people.insert(who, Arc::downgrade(&person));
        person
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let mut people = self.all.people.lock();
        // Another one may have begun meanwhile.
        if people.get(&self.who).is_some_and(|person| person.strong_count() == 0) {
            people.remove(&self.who);
        }
    }
}

impl Share {
    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), moved: Mutex::new(Instant::now()) }
    }
}

/// Which share of a person's.
type Which = fn(&Person) -> &Share;

impl Person {
    /// Waits for so much of a share.
    async fn take(self: &Arc<Self>, which: Which, count: u32) -> Result<Taken, ChatError> {
        let places = &which(self).places;
        let taken = |permit, waited| Taken { permit: Some(permit), waited, which, person: Arc::clone(self) };
        if let Ok(permit) = Arc::clone(places).try_acquire_many_owned(count) {
            return Ok(taken(permit, false));
        }
        let _waiting = self.wait()?;
        let permit = Arc::clone(places).acquire_many_owned(count);
        tokio::pin!(permit);
        let began = Instant::now();
        loop {
            let until = began.max(*which(self).moved.lock()) + STANDSTILL;
            if until <= Instant::now() {
                return Err(too_many());
            }
            if let Ok(permit) = timeout_at(until, permit.as_mut()).await {
                return Ok(taken(permit.map_err(|_| too_many())?, true));
            }
        }
    }

    /// Waits for so much of what there is for all.
    async fn share(
        self: &Arc<Self>,
        all: &Arc<Semaphore>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, ChatError> {
        if let Ok(permit) = Arc::clone(all).try_acquire_many_owned(count) {
            return Ok(permit);
        }
        let _waiting = self.wait()?;
        match timeout(OTHERS, Arc::clone(all).acquire_many_owned(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ChatError::overloaded(COME_AGAIN_MS)),
        }
    }

    fn wait(self: &Arc<Self>) -> Result<Waiting, ChatError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(too_many());
        }
        self.all.metrics.waiting.inc();
        Ok(Waiting(Arc::clone(self)))
    }
}

fn too_many() -> ChatError {
    ChatError {
        message: "too many requests at once: read the answers to the earlier ones first".into(),
        ..ChatError::rate_limited(COME_AGAIN_MS)
    }
}

/// A request that waits.
struct Waiting(Arc<Person>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.all.metrics.waiting.dec();
    }
}

/// Some of a person's share, given back when it is dropped.
struct Taken {
    permit: Option<OwnedSemaphorePermit>,
    waited: bool,
    which: Which,
    person: Arc<Person>,
}

impl Taken {
    fn moved(&self) {
        *(self.which)(&self.person).moved.lock() = Instant::now();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // First the time, for whoever is woken.
        self.moved();
        self.permit = None;
    }
}

/// Something is counted while this is held.
struct Counted(Gauge, i64);

impl Counted {
    fn begin(gauge: &Gauge, count: i64) -> Self {
        gauge.inc_by(count);
        Self(gauge.clone(), count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

/// What a request holds of its person's shares, until its answer was taken. Every request has it among its extensions; clones are
/// the same. Without a public address before it, it has no bounds.
#[derive(Clone, Default)]
pub struct Shares {
    under_way: Option<UnderWay>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    person: Option<Arc<Person>>,
    request: Option<(Taken, Counted)>,
    download: Option<(Taken, Option<OwnedSemaphorePermit>, Counted)>,
    page: Option<Page>,
}

struct Page {
    of_person: Taken,
    of_all: OwnedSemaphorePermit,
    units: u32,
    counted: Counted,
}

impl Shares {
    /// Of a request that begins.
    pub(super) fn new(under_way: UnderWay) -> Self {
        Self { under_way: Some(under_way), held: Arc::default() }
    }

    /// It is this person's: waits until they may have one more.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn begin(&self, user: UserId) -> Result<(), ChatError> {
        self.begin_for(Who::Person(user)).await
    }

    /// It is that of a stranger of this network: waits until they may have one more.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn begin_unknown(&self, network: IpAddr) -> Result<(), ChatError> {
        self.begin_for(Who::Network(network)).await
    }

    async fn begin_for(&self, who: Who) -> Result<(), ChatError> {
        let Some(under_way) = &self.under_way else { return Ok(()) };
        if self.is_counted() {
            return Ok(());
        }
        let person = under_way.person(who);
        let taken = person.take(|person| &person.requests, 1).await?;
        let counted = Counted::begin(&person.all.metrics.requests, 1);
        let mut held = self.held.lock();
        (held.request, held.person) = (Some((taken, counted)), Some(person));
        Ok(())
    }

    /// It is a download, which is counted as that instead: waits until there may be one more. Whether it waited for earlier ones: what
    /// was allowed before is to be asked again.
    ///
    /// # Errors
    /// `rate_limited`; `overloaded` when others have too many.
    pub async fn download(&self) -> Result<bool, ChatError> {
        let (person, request) = {
            let mut held = self.held.lock();
            let Some(person) = held.person.clone() else { return Ok(false) };
            (person, held.request.take())
        };
        drop(request);
        let began = Instant::now();
        let of_person = person.take(|person| &person.downloads, 1).await?;
        let of_all = person.share(&person.all.downloads, 1).await?;
        let counted = Counted::begin(&person.all.metrics.downloads, 1);
        let waited = of_person.waited || began.elapsed() >= Duration::from_secs(1);
        self.held.lock().download = Some((of_person, Some(of_all), counted));
        Ok(waited)
    }

    /// Its answer is a page of at most about so many bytes: waits until there is room for them.
    ///
    /// # Errors
    /// `rate_limited`; `overloaded` when others have too many.
    pub async fn page(&self, most: usize) -> Result<(), ChatError> {
        let Some(person) = self.held.lock().person.clone() else { return Ok(()) };
        let units = units(most as u64).min(PAGES);
        let of_person = person.take(|person| &person.bytes, units).await?;
        let of_all = person.share(&person.all.bytes, units).await?;
        let counted = Counted::begin(&person.all.metrics.page_bytes, bytes(units));
        self.held.lock().page = Some(Page { of_person, of_all, units, counted });
        Ok(())
    }

    /// Whether somebody is known whom it is counted for.
    pub(super) fn is_counted(&self) -> bool {
        self.held.lock().person.is_some()
    }

    /// Its answer is there: a page has so many bytes, if that is known.
    pub fn settle(&self, size: Option<u64>) {
        let mut held = self.held.lock();
        if let (Some(page), Some(size)) = (&mut held.page, size) {
            page.settle(units(size));
        }
    }

    /// Nothing more of its answer will be sent: what it holds of the shares of all is free, and its bytes are. Its person's place is kept
    /// for what is on its way.
    pub(super) fn give_up(&self) {
        let mut held = self.held.lock();
        let (page, download) =
            (held.page.take(), held.download.as_mut().and_then(|download| download.1.take()));
        drop(held);
        drop((page, download));
    }

    /// Some of its answer was taken: whoever waits for it waits on.
    pub(super) fn moved(&self) {
        let held = self.held.lock();
        let shares = [
            held.request.as_ref().map(|(taken, _)| taken),
            held.download.as_ref().map(|(taken, ..)| taken),
            held.page.as_ref().map(|page| &page.of_person),
        ];
        for taken in shares.into_iter().flatten() {
            taken.moved();
        }
    }

    /// Its answer was taken, or is not on its way any more.
    pub(super) fn end(&self) {
        let ended = std::mem::take(&mut *self.held.lock());
        drop(ended);
    }
}

impl Page {
    /// Most pages are far smaller than they might be. One that is larger, full of characters that JSON escapes, takes what
    /// there is.
    fn settle(&mut self, units: u32) {
        let Some(permit) = &mut self.of_person.permit else { return };
        let person = &self.of_person.person;
        if units < self.units {
            let excess = (self.units - units) as usize;
            let given_back = (permit.split(excess), self.of_all.split(excess));
            *person.bytes.moved.lock() = Instant::now();
            drop(given_back);
        } else {
            let more = (units - self.units) as usize;
            for (permit, all) in [(permit, &person.bytes.places), (&mut self.of_all, &person.all.bytes)] {
                let there = u32::try_from(more.min(all.available_permits())).unwrap_or(0);
                if let Ok(more) = Arc::clone(all).try_acquire_many_owned(there) {
                    permit.merge(more);
                }
            }
        }
        self.units = units;
        self.counted = Counted::begin(&person.all.metrics.page_bytes, bytes(units));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

fn bytes(units: u32) -> i64 {
    i64::from(units) * UNIT.cast_signed()
}

impl<S: Send + Sync> FromRequestParts<S> for Shares {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use chat_protocol::ErrorCode;

    use super::*;

    async fn begun(under_way: &UnderWay, user: UserId) -> Result<Shares, ChatError> {
        let shares = Shares::new(under_way.clone());
        shares.begin(user).await?;
        Ok(shares)
    }

    async fn download(under_way: &UnderWay, user: UserId) -> Result<Shares, ChatError> {
        let shares = begun(under_way, user).await?;
        shares.download().await?;
        Ok(shares)
    }

    async fn page(under_way: &UnderWay, user: UserId, bytes: usize) -> Result<Shares, ChatError> {
        let shares = begun(under_way, user).await?;
        shares.page(bytes).await?;
        Ok(shares)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_all_their_downloads_waits_while_they_go_on() {
        let metrics = Arc::new(ConnectionMetrics::default());
        let under_way = UnderWay::new(100, Arc::clone(&metrics));
        let (ada, bob) = (UserId::new(), UserId::new());
        let mut held = Vec::new();
        for _ in 0..DOWNLOADS {
            held.push(download(&under_way, ada).await.expect("has a place"));
        }
        assert_eq!((metrics.downloads.get(), metrics.requests.get()), (16, 0));
        // Nothing ends: refused, and when to come back is known.
        let began = Instant::now();
        let refused = download(&under_way, ada).await.err().expect("is refused");
        assert_eq!((refused.code, began.elapsed()), (ErrorCode::RateLimited, STANDSTILL));
        assert!(refused.retry_after_ms.is_some());
        // Others, and what is no download, do not notice.
        assert!(download(&under_way, bob).await.is_ok() && begun(&under_way, ada).await.is_ok());
        assert_eq!(began.elapsed(), STANDSTILL);

        // One that ends each 20 s: the third in the queue waits for a minute, and is let in.
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let under_way = under_way.clone();
                tokio::spawn(async move { download(&under_way, ada).await.map(std::mem::forget) })
            })
            .collect();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            held.pop();
        }
        for one in waiting {
            assert!(one.await.expect("goes on").is_ok());
        }
        assert_eq!(metrics.waiting.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_refused_while_some_of_what_they_have_is_taken() {
        let under_way = UnderWay::new(100, Arc::default());
        let ada = UserId::new();
        let mut held = Vec::new();
        for _ in 0..DOWNLOADS {
            held.push(download(&under_way, ada).await.expect("has a place"));
        }
        let waits = {
            let under_way = under_way.clone();
            tokio::spawn(async move { download(&under_way, ada).await.map(drop) })
        };
        // They share a slow line: none of them ends for minutes.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            held[0].moved();
        }
        assert!(!waits.is_finished());
        held.pop();
        waits.await.expect("goes on").expect("has a place");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let metrics = Arc::new(ConnectionMetrics::default());
        let under_way = UnderWay::new(100, Arc::clone(&metrics));
        let ada = UserId::new();
        let mut held = Vec::new();
        for _ in 0..REQUESTS {
            held.push(begun(&under_way, ada).await.expect("has a place"));
        }
        for _ in 0..WAITING {
            let under_way = under_way.clone();
            tokio::spawn(async move { begun(&under_way, ada).await.map(drop) });
        }
        // Time goes on when nobody has anything to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(metrics.waiting.get(), 240);
        let began = Instant::now();
        assert!(begun(&under_way, ada).await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_downloads_one_person_has_half_at_most() {
        let under_way = UnderWay::new(10, Arc::default());
        let (ada, bob, eve) = (UserId::new(), UserId::new(), UserId::new());
        let mut held = Vec::new();
        for user in [ada, bob] {
            for _ in 0..5 {
                held.push(download(&under_way, user).await.expect("has a place"));
            }
        }
        let began = Instant::now();
        let refused = download(&under_way, eve).await.err().expect("is refused");
        assert_eq!((refused.code, began.elapsed()), (ErrorCode::Overloaded, OTHERS));
        held.clear();
        assert!(download(&under_way, eve).await.is_ok());
        held.push(Shares::new(under_way.clone()));
        assert!(held[0].begin_unknown([127, 0, 0, 1].into()).await.is_ok());
        assert_eq!(under_way.0.people.lock().len(), 1);
        held.clear();
        assert!(under_way.0.people.lock().is_empty(), "nobody is remembered who has nothing under way");
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_counted_by_what_they_may_have_and_then_by_what_they_have() {
        const MIB: usize = 1024 * 1024;
        let metrics = Arc::new(ConnectionMetrics::default());
        let under_way = UnderWay::new(100, Arc::clone(&metrics));
        let ada = UserId::new();
        let first = page(&under_way, ada, 4 * MIB).await.expect("has room");
        let second = page(&under_way, ada, 4 * MIB).await.expect("has room");
        assert!(page(&under_way, ada, MIB).await.is_err());
        first.settle(Some(1_500));
        assert_eq!(metrics.page_bytes.get(), 4 * 1024 * 1024 + 2 * 1024);
        // One that may be larger than all that there is gets all of it.
        assert!(page(&under_way, ada, 3 * MIB).await.is_ok());
        assert!(page(&under_way, ada, 100 * MIB).await.is_err());
        second.settle(Some(100 * 1024 * 1024));
        assert!(page(&under_way, ada, 1).await.is_err());
        first.end();
        second.end();
        // Of all people there is room for sixteen who have as much as one may.
        let mut full = Vec::new();
        for _ in 0..16 {
            full.push(page(&under_way, UserId::new(), 8 * MIB).await.expect("has room"));
        }
        let refused = page(&under_way, ada, MIB).await.err().expect("is refused");
        assert_eq!(refused.code, ErrorCode::Overloaded);
        drop(full);
        assert_eq!((metrics.page_bytes.get(), metrics.requests.get()), (0, 0));
        assert!(page(&under_way, ada, 100 * MIB).await.is_ok());
    }
}
