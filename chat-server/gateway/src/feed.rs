//! What keeps the hub at the ends of the logs: events from the bus, and the store where the bus has lost some. In a process
//! that holds no sockets it stands alone, for those who read history there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chat_cluster::{
    Change, Claims,
    process::{Listener, Turn},
};
use chat_domain::{
    bus::CommittedEvent,
    chat::{Chat, RecentEvents},
};
use chat_protocol::{ChannelId, Generation, Seq};
use parking_lot::Mutex;

use super::{GatewayOptions, hub::Hub};
use crate::metrics::GatewayMetrics;

/// How long the bus may take to bring an event before it is read from the store.
const TAIL_GRACE: Duration = Duration::from_secs(1);
/// When a process dies, channels with events in this time may lack some that it committed and did not publish.
const ACTIVE: Duration = Duration::from_secs(60);
/// How often channels that nobody reads any more are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// The recent events of channels, kept up to date.
pub struct Feed {
    pub(super) hub: Arc<Hub>,
    /// Logs that are said to go further than what was seen of them.
    claims: Mutex<Claims>,
    forgotten: Mutex<Instant>,
    metrics: Arc<GatewayMetrics>,
}

impl Feed {
    /// One that has seen nothing yet; `chat` reads from it while the store is away.
    #[must_use]
    pub fn new(chat: &Arc<Chat>, metrics: &Arc<GatewayMetrics>, options: &GatewayOptions) -> Arc<Self> {
        let hub = Hub::new(Arc::clone(chat), Arc::clone(metrics), options);
        let recent: Arc<dyn RecentEvents> = Arc::<Hub>::clone(&hub);
        chat.set_recent_events(Arc::downgrade(&recent));
        Arc::new(Self {
            hub,
            claims: Mutex::default(),
            forgotten: Mutex::new(Instant::now()),
            metrics: Arc::clone(metrics),
        })
    }
}

impl Listener for Feed {
    fn committed(&self, event: &Arc<CommittedEvent>) {
        self.hub.deliver(event);
    }

    fn missed(&self) {
        self.hub.repair_all();
    }

    fn begins(&self, generation: Option<Generation>) {
        self.hub.begin(generation);
        self.claims.lock().forget();
    }

    fn changed(&self, change: &Change) {
        if matches!(change, Change::Died { .. }) {
            // It may have committed what it did not come to publish.
            self.hub.repair_active(ACTIVE);
        }
    }

    fn heads(&self, heads: &[(ChannelId, Seq)]) {
        let now = Instant::now();
        for (channel, head) in heads {
            if self.hub.lacks(*channel, *head) {
                self.claims.lock().note(*channel, *head, now);
            }
        }
    }

    fn turn(&self, now: Instant) -> Turn {
        let due = self.claims.lock().due(now, TAIL_GRACE);
        for (channel, head) in due {
            if self.hub.repair_to(channel, head) {
                self.metrics.tail_repairs.inc();
            }
        }
        let mut forgotten = self.forgotten.lock();
        if now.duration_since(*forgotten) >= FORGET_EVERY {
            *forgotten = now;
            self.hub.forget_idle();
        }
        Turn::default()
    }
}
