//! Waiting for what a peer makes true, with a limit. The only place that sleeps.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something, at most for `limit`; `what` completes "… did not happen".
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().with_context(|| format!("while waiting until {what}"))? {
            return Ok(found);
        }
        if start.elapsed() >= limit {
            bail!("it did not happen within {limit:?} that {what}");
        }
        sleep(PAUSE);
    }
}
