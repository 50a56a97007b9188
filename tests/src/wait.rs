//! Waiting for a condition by asking for it, with a deadline: the one place of the tests that may sleep.

use std::time::{Duration, Instant};

/// How often a condition is asked for: often enough not to add to a test's time, seldom enough to leave the cores alone.
const POLL: Duration = Duration::from_millis(50);

/// Asks `probe` until it gives a value, and returns that value.
///
/// # Panics
/// With `what` when `deadline` has passed.
pub async fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {} s in vain for: {what}",
            deadline.as_secs()
        );
        tokio::time::sleep(POLL).await;
    }
}

/// As [`wait_for`], for a plain yes or no.
///
/// # Panics
/// With `what` when `deadline` has passed.
pub async fn wait_until(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> bool) {
    wait_for(what, deadline, async || probe().await.then_some(())).await;
}

/// As [`wait_for`], for threads without a runtime.
///
/// # Panics
/// With `what` when `deadline` has passed.
#[track_caller]
pub fn wait_blocking<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {} s in vain for: {what}",
            deadline.as_secs()
        );
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one sleep behind every wait of the tests"
)]
fn pause() {
    std::thread::sleep(POLL);
}
