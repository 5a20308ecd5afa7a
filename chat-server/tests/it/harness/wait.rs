//! Waiting for what is to be so. Every wait that looks again and again goes through here.

use std::time::Duration;

use tokio::time::Instant;

/// Every wait in a test ends by then. It says that something never happens, not that a machine is slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_so(what, async || holds()).await;
}

/// Waits until something holds that takes a call to see.
pub async fn until_so(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until_within(DEADLINE, what, async || holds().await.then_some(())).await;
}

/// Waits until something is found, for as long as `deadline`; what it was.
pub async fn until_within<T>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        let last = Instant::now() >= end;
        match tokio::time::timeout(deadline, look()).await {
            Ok(Some(found)) => return found,
            Ok(None) if !last => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => panic!("expected within {} s: {what}", deadline.as_secs()),
        }
    }
}
