//! Whether this process's clock is near the store's. The lists that make consumers complete are kept by the hour, so a
//! process whose clock is far off must not write much.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat_domain::{clock::now_ms, store::StoreError};
use chat_protocol::Millis;

/// Further off, a process is not ready. Well below the hour that a list stays open for clocks that differ.
pub const MOST_APART: Duration = Duration::from_secs(10 * 60);

/// Whether the clock was right when it was last compared; a store without a clock of its own says nothing against it.
#[derive(Debug, Clone)]
pub struct ClockIsRight(Arc<AtomicBool>);

impl Default for ClockIsRight {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl ClockIsRight {
    /// As of the last comparison.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Compares once. `read` gives the store's clock; when it cannot be read, nothing changes.
    pub async fn compare(&self, read: impl Future<Output = Result<Option<Millis>, StoreError>>) {
        let before = now_ms();
        let theirs = match read.await {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "the store's clock was not read");
                return;
            }
        };
        // It was read at some time between.
        let after = now_ms();
        let apart = theirs.saturating_sub(after).max(before.saturating_sub(theirs));
        let right = u128::from(apart) <= MOST_APART.as_millis();
        if self.0.swap(right, Ordering::AcqRel) != right {
            if right {
                tracing::info!("this process's clock is near the store's again");
            } else {
                tracing::error!(
                    seconds = apart / 1_000,
                    "this process's clock is too far from the store's: not ready"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_is_right_up_to_ten_minutes_either_way() {
        let clock = ClockIsRight::default();
        let minutes = |minutes: u64| minutes * 60_000;
        for (theirs, right) in [
            (Ok(Some(now_ms() + minutes(11))), false),
            (Err(StoreError::Unavailable(None)), false),
            (Ok(None), false),
            (Ok(Some(now_ms() + minutes(9))), true),
            (Ok(Some(now_ms() - minutes(11))), false),
            (Ok(Some(now_ms() - minutes(9))), true),
            (Err(StoreError::Unavailable(None)), true),
        ] {
            clock.compare(std::future::ready(theirs)).await;
            assert_eq!(clock.get(), right);
        }
    }
}
