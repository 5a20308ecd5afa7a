//! Tokens that must not be believed any more, though they have not expired: of sessions that were revoked, and from before
//! their person's role changed.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use chat_domain::{
    bus::{Bus, BusError, BusMessage, Signal, Subscription},
    chat::{AuthVersions, ChatError, now_ms},
    store::Store,
};
use chat_protocol::{Millis, SessionId};
use parking_lot::{Mutex, RwLock};

use super::{MAX_TOKEN_LIFE, tokens::LEEWAY};

/// How often the store is asked although the bus said nothing: the bus may lose a signal, the store does not.
const REPAIR_INTERVAL: Duration = Duration::from_secs(5);
/// How far back is read what was read before: clocks differ, and a write may be seen after a later one.
const OVERLAP: Duration = Duration::from_secs(120);

/// Revoked sessions and raised versions, kept until the last token that they concern has expired.
pub struct Revocations {
    store: Arc<dyn Store>,
    /// With the time at which it was learnt, which is never before it was revoked.
    revoked: RwLock<HashMap<SessionId, Millis>>,
    versions: Arc<AuthVersions>,
    /// Until when the store was read.
    read_until: Mutex<Millis>,
}

impl Revocations {
    /// Those that the store knows; then follows the bus for as long as the result lives.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn load(
        store: Arc<dyn Store>,
        bus: &Arc<dyn Bus>,
        versions: Arc<AuthVersions>,
    ) -> Result<Arc<Self>, ChatError> {
        // First subscribe, then read: what is revoked in between is in both rather than in none.
        let subscription = bus.subscribe();
        let revocations =
            Arc::new(Self { store, revoked: RwLock::default(), versions, read_until: Mutex::new(0) });
        revocations.repair().await?;
        tokio::spawn(follow(Arc::downgrade(&revocations), subscription));
        Ok(revocations)
    }

    /// The lowest version that is accepted of each person.
    #[must_use]
    pub fn versions(&self) -> &AuthVersions {
        &self.versions
    }

    /// Whether this session was revoked.
    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.revoked.read().contains_key(&session)
    }

    /// Believes its tokens no more.
    pub fn insert(&self, session: SessionId) {
        self.revoked.write().entry(session).or_insert_with(now_ms);
    }

    /// Reads what was revoked lately and forgets what has expired.
    async fn repair(&self) -> Result<(), ChatError> {
        let now = now_ms();
        let kept = now.saturating_sub(millis(MAX_TOKEN_LIFE + LEEWAY));
        let since = self.read_until.lock().saturating_sub(millis(OVERLAP)).max(kept);
        let found = self.store.revoked_since(since).await?;
        for (user, version) in self.store.auth_versions_since(since).await? {
            self.versions.raise(user, version);
        }
        self.versions.forget_before(kept);
        *self.read_until.lock() = now;
        let mut revoked = self.revoked.write();
        revoked.retain(|_, at| *at >= kept);
        for session in found {
            revoked.entry(session).or_insert(now);
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

async fn follow(revocations: Weak<Revocations>, mut subscription: Box<dyn Subscription>) {
    let mut repairs = tokio::time::interval(REPAIR_INTERVAL);
    repairs.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let received = tokio::select! {
            received = subscription.next() => Some(received),
            _ = repairs.tick() => None,
        };
        let Some(revocations) = revocations.upgrade() else { return };
        match received {
            Some(Ok(BusMessage::Signal(Signal::SessionRevoked { session }))) => revocations.insert(session),
            Some(Ok(BusMessage::Signal(Signal::AuthVersion { user, version }))) => {
                revocations.versions.raise(user, version);
            }
            Some(Ok(_)) => {}
            Some(Err(BusError::Closed)) => return,
            Some(Err(BusError::Missed(_))) | None => {
                if let Err(error) = revocations.repair().await {
                    tracing::warn!(%error, "revocations not read, trying again in 5 s");
                }
            }
        }
    }
}
