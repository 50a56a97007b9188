//! What a daemon's `start` is given.

use crate::{PassingMetrics, Settings, Tasks};
use hh_ipc::api::Hello;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// The daemon's surroundings. Clones are cheap and share everything.
#[derive(Clone, Debug)]
pub struct Context {
    /// Program name, such as `hh-pool`.
    pub name: &'static str,
    /// Package version.
    pub version: &'static str,
    /// What is spawned here is stopped and waited for at the end.
    pub tasks: Tasks,
    pub settings: Arc<Settings>,
    /// Of what comes and goes, served beside what is recorded.
    pub passing_metrics: PassingMetrics,
    started: Instant,
    started_at: jiff::Timestamp,
    ready: Arc<AtomicBool>,
}

impl Context {
    /// The surroundings of a daemon that starts now. [`crate::run`] makes the one of a process; tests make their own.
    pub fn new(name: &'static str, version: &'static str, settings: Settings) -> Self {
        Self {
            name,
            version,
            tasks: Tasks::default(),
            settings: Arc::new(settings),
            passing_metrics: PassingMetrics::default(),
            started: Instant::now(),
            started_at: jiff::Timestamp::now(),
            ready: Arc::default(),
        }
    }

    /// When to give up waiting for what the daemon can't work without: fail with [`crate::Failure::unavailable`].
    pub fn start_deadline(&self) -> Instant {
        self.started + self.settings.start_timeout()
    }

    /// When the daemon started.
    pub fn started_at(&self) -> jiff::Timestamp {
        self.started_at
    }

    /// Whether the daemon does its work now. The first time, the service manager is told that the start is over.
    pub fn set_ready(&self, ready: bool) {
        let was_ready = self.ready.swap(ready, Ordering::Relaxed);
        if was_ready == ready {
            return;
        }
        metrics::gauge!("hyperhash_ready", "daemon" => self.name).set(f64::from(u8::from(ready)));
        tracing::info!(ready, "readiness changed");
        if ready {
            crate::notify::notify("READY=1");
        }
    }

    /// Whether the daemon does its work now.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The answer to the first call on a control socket.
    pub fn hello(&self, read_only: bool) -> Hello {
        Hello {
            protocol: hh_ipc::PROTOCOL,
            daemon: self.name.to_owned(),
            version: self.version.to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            read_only,
        }
    }
}
