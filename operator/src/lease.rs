//! Which of several operators writes: the holder of a Lease. All of them watch.
//!
//! A lease that was renewed is its holder's for [`DURATION`], less [`SPARE`]. The holder stops writing [`RENEW_WITHIN`] after the
//! last renewal that it began and that succeeded, and a write may take [`WRITE_WITHIN`]; both together end before the spare time
//! begins, so whoever takes over writes later than anything of the last holder. Only durations are measured, each by one clock, and
//! whoever waits counts from when it saw a renewal: clocks of different machines are not compared (as `client-go` does it).
//!
//! In the spare time another one sees that the lease was not renewed, takes it, and writes for the first time. So it has written by
//! the end of the lease that the last holder renewed before it died, and not only begun to look.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// For how long a renewed lease is its holder's, as it stands in the Lease. By its end another one writes, if the holder is dead.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long before a lease's end others may take it. Every version must keep to this, since it is asked of holders of another one.
pub const SPARE: Duration = Duration::from_secs(3);
/// For how long after a renewal the holder writes.
pub const RENEW_WITHIN: Duration = Duration::from_secs(7);
/// How long one write may take.
pub const WRITE_WITHIN: Duration = Duration::from_secs(4);
/// Time from one renewal to the next.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks of one who waits, and until what failed is tried again: short, since a renewal counts from when it is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One look or renewal. Short enough for another try while the holder still may write.
const TRY_WITHIN: Duration = Duration::from_secs(2);

// A second is left for clocks that do not run equally fast.
const _: () = assert!(
    RENEW_WITHIN.as_secs() + WRITE_WITHIN.as_secs() < DURATION.as_secs() - SPARE.as_secs(),
    "the holder stops before others may begin"
);

/// Somebody else may hold the lease, so nothing may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was not renewed in time, so it is not held")]
pub struct NotLeader;

/// Whether this process may write. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// Until when; `None`: not at all.
    until: watch::Receiver<Option<Instant>>,
    /// Whether there is no election, so that this process always may.
    always: bool,
}

impl Leadership {
    /// Leadership without an election; always held.
    #[must_use]
    pub fn alone() -> Self {
        Self { until: watch::channel(None).1, always: true }
    }

    /// # Errors
    /// When this process may not write, or not for long enough for one more write.
    pub fn check(&self) -> Result<(), NotLeader> {
        let leads = self.always || self.until.borrow().is_some_and(|until| Instant::now() < until);
        if leads { Ok(()) } else { Err(NotLeader) }
    }

    /// Waits until this process may write.
    pub async fn acquired(&mut self) {
        if self.always {
            return;
        }
        // Its other end lives as long as the process.
        let _ = self.until.wait_for(Option::is_some).await;
    }

    /// Waits until this process, which may write, may not any more.
    pub async fn lost(&mut self) {
        loop {
            let until = *self.until.borrow();
            match until {
                _ if self.always => std::future::pending().await,
                Some(until) if Instant::now() < until => {
                    tokio::select! { () = tokio::time::sleep_until(until) => {}, _ = self.until.changed() => {} }
                }
                _ => return,
            }
        }
    }
}

/// Who contends for which Lease.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Names this process; unique.
    pub holder: String,
}

/// Contends for a lease, and renews it.
pub struct Elector {
    api: Api<Lease>,
    options: LeaseOptions,
    until: watch::Sender<Option<Instant>>,
    seen: Mutex<Option<Seen>>,
    /// The lease as this process wrote it last, which it renews without a look at what is there.
    written: Mutex<Option<Lease>>,
}

/// The last renewal of somebody else that was seen, and when that was.
#[derive(Debug)]
struct Seen {
    /// Its holder, and the time by the holder's clock.
    renewal: (Option<String>, Option<MicroTime>),
    at: Instant,
}

/// What is to be done about a lease.
#[derive(Debug, PartialEq)]
enum Decision {
    /// It is there to be taken, or renewed.
    Write(Box<LeaseSpec>),
    /// It is somebody else's, until then if it is not renewed.
    Wait(Instant),
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// The lease is this process's.
    Mine,
    /// It is somebody else's, until then if it is not renewed.
    Theirs(Instant),
}

impl Elector {
    /// An elector for this process.
    #[must_use]
    pub fn new(client: Client, options: LeaseOptions) -> Arc<Self> {
        let api = Api::namespaced(client, &options.namespace);
        Arc::new(Self::at(api, options))
    }

    fn at(api: Api<Lease>, options: LeaseOptions) -> Self {
        Self {
            api,
            options,
            until: watch::channel(None).0,
            seen: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// Whether this process may write.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership { until: self.until.subscribe(), always: false }
    }

    /// Contends and renews, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let began = Instant::now();
            let mut next = LOOK_EVERY;
            match timeout(TRY_WITHIN, self.once()).await {
                Ok(Ok(Held::Mine)) => {
                    let before = self.until.send_replace(Some(began + RENEW_WITHIN));
                    if before.is_none() {
                        tracing::info!(holder = self.options.holder, "leading");
                    }
                    next = RENEW_EVERY;
                }
                Ok(Ok(Held::Theirs(until))) => {
                    self.until.send_replace(None);
                    // Not a look later than it may be taken.
                    next = next.min(until.saturating_duration_since(Instant::now()));
                }
                // Somebody else wrote it since it was read: who, the next look says.
                Ok(Err(kube::Error::Api(answer))) if answer.code == 409 => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the lease was not renewed, trying again"
                    );
                }
                Err(_) => tracing::warn!("the API server does not answer, so the lease was not renewed"),
            }
            sleep(next).await;
        }
    }

    /// Gives the lease back, so that others need not wait for its end.
    pub async fn release(&self) {
        let held = self.until.send_replace(None).is_some();
        if !held {
            return;
        }
        let given_back = async {
            let mut lease = self.api.get(&self.options.name).await?;
            if let Some(spec) = lease.spec.as_mut()
                && spec.holder_identity.as_deref() == Some(&self.options.holder)
            {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.options.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if !matches!(timeout(WRITE_WITHIN, given_back).await, Ok(Ok(()))) {
            tracing::warn!("the lease was not given back; others wait for its end");
        }
    }

    /// Whose the lease is now.
    async fn once(&self) -> Result<Held, kube::Error> {
        // Taken: after a failure it is looked at again.
        let written = self.written.lock().take();
        let found = match written {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.options.name).await?,
        };
        let spec = match self.decide(found.as_ref().and_then(|lease| lease.spec.as_ref())) {
            Decision::Write(spec) => spec,
            Decision::Wait(until) => return Ok(Held::Theirs(until)),
        };
        let metadata = found.map_or_else(
            || ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata,
        );
        let is_new = metadata.resource_version.is_none();
        let lease = Lease { metadata, spec: Some(*spec) };
        let written = if is_new {
            self.api.create(&PostParams::default(), &lease).await?
        } else {
            // Refused when somebody else wrote since it was read.
            self.api.replace(&self.options.name, &PostParams::default(), &lease).await?
        };
        *self.written.lock() = Some(written);
        Ok(Held::Mine)
    }

    fn decide(&self, found: Option<&LeaseSpec>) -> Decision {
        let now = MicroTime(Timestamp::now());
        let me = &self.options.holder;
        let holder =
            found.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
        let mine = holder == Some(me.as_str());
        if let (Some(spec), Some(_), false) = (found, holder, mine) {
            let renewal = (spec.holder_identity.clone(), spec.renew_time.clone());
            let at = {
                let mut seen = self.seen.lock();
                match &*seen {
                    Some(seen) if seen.renewal == renewal => seen.at,
                    _ => seen.insert(Seen { renewal, at: Instant::now() }).at,
                }
            };
            let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let life = seconds.map_or(DURATION, Duration::from_secs);
            let until = at + life.saturating_sub(SPARE);
            if Instant::now() < until {
                return Decision::Wait(until);
            }
        }
        let transitions = found.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        Decision::Write(Box::new(LeaseSpec {
            holder_identity: Some(me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if mine {
                found.and_then(|spec| spec.acquire_time.clone())
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elector(holder: &str) -> Elector {
        // Never asked: what is tested only decides.
        let client = Client::new(
            tower::service_fn(|_: http::Request<kube::client::Body>| async {
                Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("expected no request"))
            }),
            "default",
        );
        let options =
            LeaseOptions { namespace: "default".into(), name: "lease".into(), holder: holder.to_owned() };
        let api = Api::namespaced(client, &options.namespace);
        Elector::at(api, options)
    }

    fn write(decision: Decision) -> LeaseSpec {
        match decision {
            Decision::Write(spec) => *spec,
            Decision::Wait(_) => panic!("expected it to be taken"),
        }
    }

    /// How long it is to be waited.
    fn wait(decision: &Decision) -> Duration {
        match decision {
            Decision::Write(_) => panic!("expected it to be another's"),
            Decision::Wait(until) => until.saturating_duration_since(Instant::now()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_nobody_is_taken_and_ones_own_is_renewed() {
        let ada = elector("ada");
        let taken = write(ada.decide(None));
        assert_eq!(taken.holder_identity.as_deref(), Some("ada"));
        assert_eq!(taken.lease_transitions, Some(1));
        let renewed = write(ada.decide(Some(&taken)));
        assert_eq!(renewed.lease_transitions, Some(1), "it did not change hands");
        assert_eq!(renewed.acquire_time, taken.acquire_time);
        let given_back = LeaseSpec { holder_identity: None, ..renewed };
        assert_eq!(write(elector("bob").decide(Some(&given_back))).lease_transitions, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_somebody_is_taken_only_after_its_whole_life_without_a_renewal() {
        let (ada, bob) = (elector("ada"), elector("bob"));
        let (life, second) = (DURATION - SPARE, Duration::from_secs(1));
        let mut held = write(ada.decide(None));
        assert_eq!(wait(&bob.decide(Some(&held))), life);
        tokio::time::advance(life - second).await;
        assert_eq!(wait(&bob.decide(Some(&held))), second);
        // A renewal begins it anew, whatever the clock of the holder says.
        held.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert_eq!(wait(&bob.decide(Some(&held))), life);
        tokio::time::advance(life - second).await;
        assert_eq!(wait(&bob.decide(Some(&held))), second);
        tokio::time::advance(second).await;
        assert_eq!(write(bob.decide(Some(&held))).holder_identity.as_deref(), Some("bob"));
        // Its length is what its holder wrote, who may be of another version.
        let longer = LeaseSpec { lease_duration_seconds: Some(60), ..held };
        assert_eq!(wait(&elector("eve").decide(Some(&longer))), Duration::from_secs(60) - SPARE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leads_stops_before_somebody_else_may_begin() {
        let ada = elector("ada");
        let mut leadership = Leadership { until: ada.until.subscribe(), always: false };
        assert_eq!(leadership.check(), Err(NotLeader));
        ada.until.send_replace(Some(Instant::now() + RENEW_WITHIN));
        leadership.acquired().await;
        assert_eq!(leadership.check(), Ok(()));
        let began = Instant::now();
        leadership.lost().await;
        let stopped = began.elapsed() + WRITE_WITHIN;
        assert!(began.elapsed() >= RENEW_WITHIN && stopped < DURATION - SPARE, "{stopped:?}");
        assert_eq!(leadership.check(), Err(NotLeader));
    }

    #[tokio::test(start_paused = true)]
    async fn alone_one_always_leads() {
        let mut alone = Leadership::alone();
        alone.acquired().await;
        assert_eq!(alone.check(), Ok(()));
        assert!(timeout(Duration::from_secs(3_600), alone.lost()).await.is_err());
    }
}
