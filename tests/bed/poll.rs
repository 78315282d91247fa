//! Waiting for a condition, never for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// What the table calls "settle".
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// Short against everything that is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// Tries until `attempt` returns `Ok`.
///
/// # Panics
/// After `limit`, with what the last attempt saw.
pub(crate) async fn eventually<T, F>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(saw) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; last saw: {saw}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
