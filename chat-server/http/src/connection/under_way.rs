//! What people have under way: requests, downloads, and bytes of pages that their reader has not taken. Each person may have so much of
//! each. Downloads, which hold a descriptor, and bytes are bounded over all people too. Whoever wants more waits, as long as what
//! they have goes on.

use std::{collections::HashMap, convert::Infallible, net::IpAddr, sync::Arc};

use axum::extract::FromRequestParts;
use chat_domain::chat::ChatError;
use chat_protocol::UserId;
use http::request::Parts;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::{
    ConnectionMetrics,
    pool::{Asked, Need, Pool, Refused, Taken, Who},
};

/// Requests of one person, from the head to the last byte of the answer. Downloads that wait are not among them.
const REQUESTS: u32 = 64;
/// Downloads of one person.
const DOWNLOADS: u32 = 16;
/// Bytes of pages of one person, in [`UNIT`]s.
const PAGES: u32 = 8 * 1024;
/// Bytes of pages of all people, in [`UNIT`]s.
const ALL_PAGES: u32 = 128 * 1024;
/// What bytes are counted in.
const UNIT: u64 = 1024;
/// Requests of one person that wait for any of it.
const WAITING: usize = 240;
/// When whoever was refused may try again, in milliseconds.
const COME_AGAIN_MS: u64 = 2_000;

/// What all people have under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct UnderWay(Arc<All>);

struct All {
    requests: Pool,
    downloads: Pool,
    bytes: Pool,
    /// How many requests of each person wait.
    waiting: Mutex<HashMap<Who, usize>>,
    metrics: Arc<ConnectionMetrics>,
}

impl UnderWay {
    /// With so many downloads in all, each of which may have a file open.
    pub(super) fn new(downloads: usize, metrics: Arc<ConnectionMetrics>) -> Self {
        Self(Arc::new(All {
            requests: Pool::new(u32::MAX, REQUESTS),
            downloads: Pool::new(u32::try_from(downloads).unwrap_or(u32::MAX), DOWNLOADS),
            bytes: Pool::new(ALL_PAGES, PAGES),
            waiting: Mutex::default(),
            metrics,
        }))
    }

    /// Waits for so much of a pool.
    async fn take(&self, pool: &Pool, who: Who, count: u32) -> Result<(Taken, Waited), ChatError> {
        let wait = match pool.ask(who, count) {
            Asked::Now(taken) => return Ok((taken, Waited(false))),
            Asked::Wait(wait) => wait,
        };
        let _waiting = self.wait(who)?;
        match wait.turn().await {
            Ok(taken) => Ok((taken, Waited(true))),
            Err(Refused::Own) => Err(too_many()),
            Err(Refused::Others) => Err(ChatError::overloaded(COME_AGAIN_MS)),
        }
    }

    fn wait(&self, who: Who) -> Result<Waiting, ChatError> {
        let mut waiting = self.0.waiting.lock();
        let count = waiting.entry(who).or_default();
        if *count >= WAITING {
            return Err(too_many());
        }
        *count += 1;
        self.0.metrics.waiting.inc();
        Ok(Waiting { under_way: self.clone(), who })
    }
}

struct Waited(bool);

fn too_many() -> ChatError {
    ChatError {
        message: "too many requests at once: read the answers to the earlier ones first".into(),
        ..ChatError::rate_limited(COME_AGAIN_MS)
    }
}

/// A request that waits.
struct Waiting {
    under_way: UnderWay,
    who: Who,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let All { waiting, metrics, .. } = &*self.under_way.0;
        metrics.waiting.dec();
        let mut waiting = waiting.lock();
        if let Some(count) = waiting.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.who);
            }
        }
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
    person: Option<(UnderWay, Who)>,
    request: Option<(Taken, Counted)>,
    download: Option<(Taken, Counted)>,
    page: Option<(Taken, Counted)>,
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
        let (taken, _) = under_way.take(&under_way.0.requests, who, 1).await?;
        let counted = Counted::begin(&under_way.0.metrics.requests, 1);
        let mut held = self.held.lock();
        (held.request, held.person) = (Some((taken, counted)), Some((under_way.clone(), who)));
        Ok(())
    }

    /// It is a download, which is counted as that instead: waits until there may be one more. Whether it waited for earlier ones: what
    /// was allowed before is to be asked again.
    ///
    /// # Errors
    /// `rate_limited`; `overloaded` when others have too many.
    pub async fn download(&self) -> Result<bool, ChatError> {
        let ((under_way, who), request) = {
            let mut held = self.held.lock();
            let Some(person) = held.person.clone() else { return Ok(false) };
            (person, held.request.take())
        };
        drop(request);
        let (taken, Waited(waited)) = under_way.take(&under_way.0.downloads, who, 1).await?;
        let counted = Counted::begin(&under_way.0.metrics.downloads, 1);
        self.held.lock().download = Some((taken, counted));
        Ok(waited)
    }

    /// Its answer is a page of at most about so many bytes: waits until there is room for them.
    ///
    /// # Errors
    /// `rate_limited`; `overloaded` when others have too many.
    pub async fn page(&self, most: usize) -> Result<(), ChatError> {
        let Some((under_way, who)) = self.held.lock().person.clone() else { return Ok(()) };
        let units = units(most as u64).min(PAGES);
        let (taken, _) = under_way.take(&under_way.0.bytes, who, units).await?;
        let counted = Counted::begin(&under_way.0.metrics.page_bytes, bytes(units));
        self.held.lock().page = Some((taken, counted));
        Ok(())
    }

    /// Whether somebody is known whom it is counted for.
    pub(super) fn is_counted(&self) -> bool {
        self.held.lock().person.is_some()
    }

    /// Its answer is there: a page has so many bytes, if that is known. Most pages are far smaller than they might be. One that is larger,
    /// full of characters that JSON escapes, takes what there is.
    pub fn settle(&self, size: Option<u64>) {
        let mut held = self.held.lock();
        let Held { person: Some((under_way, _)), page: Some((taken, counted)), .. } = &mut *held else {
            return;
        };
        if let Some(size) = size {
            taken.resize(units(size));
            *counted = Counted::begin(&under_way.0.metrics.page_bytes, bytes(units(size)));
        }
    }

    /// How much others need what it holds.
    pub(super) fn need(&self) -> Need {
        let held = self.held.lock();
        let taken = held.download.as_ref().or(held.page.as_ref());
        taken.map_or(Need::None, |(taken, _)| taken.need())
    }

    /// Some of its answer was taken: whoever waits for it waits on.
    pub(super) fn moved(&self) {
        let held = self.held.lock();
        for (taken, _) in [&held.request, &held.download, &held.page].into_iter().flatten() {
            taken.moved();
        }
    }

    /// Its answer was taken, or is not on its way any more.
    pub(super) fn end(&self) {
        let ended = std::mem::take(&mut *self.held.lock());
        drop(ended);
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
    use std::time::Duration;

    use chat_protocol::ErrorCode;
    use tokio::time::Instant;

    use super::{
        super::pool::{OTHERS, STANDSTILL},
        *,
    };

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
    async fn a_persons_part_shrinks_with_what_is_free() {
        let metrics = Arc::new(ConnectionMetrics::default());
        let under_way = UnderWay::new(241, Arc::clone(&metrics));
        // As many as they may have, of 16 people who take nothing.
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let user = UserId::new();
            for _ in 0..16 {
                let under_way = under_way.clone();
                asking.spawn(async move {
                    let _held = download(&under_way, user).await;
                    std::future::pending::<()>().await;
                });
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let taken = metrics.downloads.get();
        assert!((200..=230).contains(&taken), "{taken} of 241");
        let began = Instant::now();
        for _ in 0..10 {
            std::mem::forget(download(&under_way, UserId::new()).await.expect("has a place"));
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn of_few_downloads_everybody_may_have_one() {
        let under_way = UnderWay::new(3, Arc::default());
        let (ada, bob, eve) = (UserId::new(), UserId::new(), UserId::new());
        let mut held = Vec::new();
        for user in [ada, bob, eve] {
            held.push(download(&under_way, user).await.expect("has a place"));
        }
        let began = Instant::now();
        let refused = download(&under_way, UserId::new()).await.err().expect("is refused");
        assert_eq!((refused.code, began.elapsed()), (ErrorCode::Overloaded, OTHERS));
        // Whoever has something waits for that.
        let refused = download(&under_way, ada).await.err().expect("is refused");
        assert_eq!((refused.code, began.elapsed()), (ErrorCode::RateLimited, OTHERS + STANDSTILL));
        held.clear();
        assert!(download(&under_way, eve).await.is_ok());
        held.push(Shares::new(under_way.clone()));
        assert!(held[0].begin_unknown([127, 0, 0, 1].into()).await.is_ok());
        assert_eq!(under_way.0.requests.people(), 1);
        held.clear();
        let All { requests, downloads, bytes, waiting, .. } = &*under_way.0;
        let remembered = [requests, downloads, bytes].map(Pool::people).iter().sum::<usize>();
        assert_eq!(
            (remembered, waiting.lock().len()),
            (0, 0),
            "nobody is remembered who has nothing under way"
        );
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
