//! Waiting for what is to be so.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(100);
/// Longest time for one look: a request that hangs is not waited for longer.
const LOOK: Duration = Duration::from_secs(20);

/// Looks until `look` succeeds. What it fails with until then says what is missing.
///
/// # Errors
/// When it did not succeed within `deadline`: with `what` was expected and the last thing that was missing.
pub async fn until<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let began = Instant::now();
    loop {
        let seen = match tokio::time::timeout(LOOK.min(deadline), look()).await {
            Ok(seen) => seen,
            Err(late) => Err(late.into()),
        };
        match seen {
            Ok(found) => return Ok(found),
            Err(missing) if began.elapsed() >= deadline => {
                return Err(missing)
                    .with_context(|| format!("expected {what} within {:.0} s", deadline.as_secs_f64()));
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}
