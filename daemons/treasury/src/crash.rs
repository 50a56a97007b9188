//! Named points at which a test makes the process end as a power cut would: before and after each commit and each call of a
//! payout. Nothing is left of them in a release.

/// The environment variable that names a point; `NAME#3` is the third time it is passed, `NAME&FILE` ends it there once that file is
/// there, `@FILE` is a file that names one, so that a test can tell a process that runs already. Only builds for tests look at it.
#[cfg(debug_assertions)]
const VARIABLE: &str = "HH_TREASURY_CRASH_AT";

/// Ends the process here if this is the point that was named.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    static PASSED: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());
    let Some(wanted) = wanted() else {
        return;
    };
    let (wanted, file) = match wanted.split_once('&') {
        Some((wanted, file)) => (wanted, Some(file)),
        None => (wanted.as_str(), None),
    };
    let (wanted, time) = wanted.split_once('#').unwrap_or((wanted, "1"));
    if wanted != name {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.entry(name).or_default();
    *count += 1;
    if time == count.to_string() {
        while file.is_some_and(|file| !std::path::Path::new(file).exists()) {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        tracing::error!(point = name, "crash that a test asked for");
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
fn wanted() -> Option<String> {
    let text = std::env::var(VARIABLE).ok()?;
    match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).ok(),
        None => Some(text),
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn point(_name: &'static str) {}
