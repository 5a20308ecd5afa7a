//! What the operator talks to, in memory: an API server, and engines that are well.

// Each test uses a part of it.
#![allow(dead_code)]

#[path = "api_server.rs"]
pub(crate) mod api_server;
#[path = "engines.rs"]
pub(crate) mod engines;
#[path = "store.rs"]
pub(crate) mod store;

use std::{sync::Arc, time::Duration};

use folkmoot_crds::ImageSpec;
use folkmoot_operator::{
    controller::{Controller, Options},
    lease::Leadership,
    live::{Key, Live, Scope, Watches},
    metrics::Metrics,
    queue::Queue,
};
use tokio::time::{Instant, sleep};

use self::{api_server::ApiServer, store::Place};

/// Every wait ends by then. It says that something never happens, not that a machine is slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something is so. Every wait that looks again and again goes through here.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not so in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Where an object of the tests' namespace is.
pub(crate) fn place(collection: &str, name: &str) -> Place {
    Place::new(collection, "chat", name)
}

/// An operator before an API server, which watches and has not begun to reconcile.
pub(crate) struct Started {
    pub(crate) live: Arc<Live>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) watches: Watches,
}

impl Started {
    pub(crate) fn before(server: &ApiServer, leadership: Leadership) -> Self {
        let queue = Arc::new(Queue::default());
        let live = Arc::new(Live::new(Arc::clone(&queue)));
        let controller = controller(server, Arc::clone(&live), queue, leadership);
        let watches = Watches::start(server.client(), Arc::clone(&live), Scope::of(&[]));
        Self { live, controller, watches }
    }
}

/// An operator with a default image, which reconciles what `live` knows.
pub(crate) fn controller(
    server: &ApiServer,
    live: Arc<Live>,
    queue: Arc<Queue<Key>>,
    leadership: Leadership,
) -> Arc<Controller> {
    let options = Options {
        default_image: Some(ImageSpec {
            reference: "folkmoot/chat-server:1".into(),
            pull_policy: folkmoot_crds::ImagePullPolicy::default(),
            pull_secrets: Vec::new(),
        }),
        ..Options::default()
    };
    Controller::new(server.client(), live, queue, leadership, Arc::new(Metrics::default()), options).unwrap()
}
