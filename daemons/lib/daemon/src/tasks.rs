//! The tasks of a daemon: each has a name, is told when to stop, and is waited for.

use crate::Failure;
use crate::session_threads::SessionThreads;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns, counts and ends tasks. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tracker: TaskTracker,
    cancelled: CancellationToken,
    running: Mutex<BTreeMap<&'static str, usize>>,
    failure: Mutex<Option<Failure>>,
    failed: CancellationToken,
    /// None in tests: connections run where everything else does.
    threads: Option<SessionThreads>,
}

/// The tasks that did not end within the grace period, with how many of each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Stuck(pub BTreeMap<&'static str, usize>);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasks did not end within the grace period:")?;
        self.0
            .iter()
            .try_for_each(|(name, count)| write!(f, " {name} x{count}"))
    }
}

impl Tasks {
    /// A set whose connections have threads of their own.
    pub(crate) fn with(threads: SessionThreads) -> Self {
        Self(Arc::new(Shared {
            threads: Some(threads),
            ..Shared::default()
        }))
    }

    /// Spawns a task that the daemon can't do without. It must end soon after [`Self::cancelled`]. If it fails or
    /// panics, the daemon stops with that error; if it ends well, nothing happens.
    pub fn spawn<E>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Into<Failure> + Send + 'static,
    {
        let running = self.count(name);
        let handle = self.0.tracker.spawn(async move {
            let _running = running;
            task.await.map_err(Into::into)
        });
        let tasks = self.clone();
        self.0.tracker.spawn(async move {
            match handle.await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => tasks.fail(name, failure),
                Err(error) => tasks.fail_join(name, error),
            }
        });
    }

    /// Spawns the work for one peer or one request. It must end soon after [`Self::cancelled`]. A panic in it is logged
    /// and ends it alone.
    pub fn spawn_session(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let running = self.count(name);
        self.0.tracker.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// As [`Self::spawn_session`], for a peer with a socket: the session runs in one of the threads that only connections
    /// have, and `session` is called there.
    pub fn spawn_connection<S>(
        &self,
        name: &'static str,
        stream: TcpStream,
        session: impl FnOnce(TcpStream) -> S + Send + 'static,
    ) where
        S: Future<Output = ()> + Send + 'static,
    {
        let Some(threads) = &self.0.threads else {
            return self.spawn_session(name, session(stream));
        };
        let running = self.count(name);
        let serve = async move {
            let _running = running;
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => session(stream).await,
                Err(error) => {
                    tracing::warn!(task = name, %error, "connection lost on its way to its thread");
                }
            }
        };
        self.0.tracker.spawn_on(serve, threads.next());
    }

    /// Cancelled when the daemon is to stop.
    pub fn token(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    /// For libraries that spawn by themselves; what they spawn has no name here.
    pub fn tracker(&self) -> &TaskTracker {
        &self.0.tracker
    }

    /// Completes when the daemon is to stop.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    /// The first failure of an essential task, once there is one.
    pub async fn failure(&self) -> Failure {
        self.0.failed.cancelled().await;
        lock(&self.0.failure)
            .take()
            .unwrap_or_else(|| Failure::other("an essential task failed"))
    }

    /// Tells all tasks to stop and waits for them.
    ///
    /// # Errors
    /// Names the tasks that still run after `grace`; they end with the runtime.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), Stuck> {
        self.0.cancelled.cancel();
        self.0.tracker.close();
        match tokio::time::timeout(grace, self.0.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => Err(Stuck(lock(&self.0.running).clone())),
        }
    }

    fn fail(&self, name: &'static str, failure: Failure) {
        tracing::error!(task = name, error = %failure, "essential task failed");
        lock(&self.0.failure).get_or_insert(failure);
        self.0.failed.cancel();
    }

    fn fail_join(&self, name: &'static str, error: JoinError) {
        if error.is_panic() {
            self.fail(name, Failure::other(format!("task {name} panicked")));
        }
    }

    fn count(&self, name: &'static str) -> Running {
        *lock(&self.0.running).entry(name).or_default() += 1;
        Running {
            name,
            shared: Arc::clone(&self.0),
        }
    }
}

/// Counts one running task, also when it ends by a panic.
struct Running {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = lock(&self.shared.running);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}

/// No panic can happen while these locks are held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn shutdown_waits_for_every_task() {
        let tasks = Tasks::default();
        let (done, was_done) = tokio::sync::oneshot::channel();
        let inner = tasks.clone();
        tasks.spawn("worker", async move {
            inner.cancelled().await;
            tokio::task::yield_now().await;
            done.send(()).ok();
            Ok::<_, io::Error>(())
        });
        assert_eq!(tasks.shutdown(GRACE).await, Ok(()));
        was_done.await.unwrap();
    }

    #[tokio::test]
    async fn shutdown_names_the_tasks_that_do_not_end() {
        let tasks = Tasks::default();
        tasks.spawn_session("deaf", std::future::pending());
        tasks.spawn_session("deaf", std::future::pending());
        let stuck = tasks.shutdown(Duration::ZERO).await.unwrap_err();
        assert_eq!(
            stuck.to_string(),
            "tasks did not end within the grace period: deaf x2"
        );
    }

    #[tokio::test]
    async fn a_failing_essential_task_is_reported_with_its_status() {
        let tasks = Tasks::default();
        tasks.spawn("node", async { Err(Failure::unavailable("node away")) });
        let failure = tasks.failure().await;
        assert_eq!(failure.to_string(), "node away");
        assert_eq!(failure.status(), crate::ExitStatus::Unavailable);
    }

    #[tokio::test]
    async fn a_panicking_essential_task_is_a_failure_and_a_session_is_not() {
        let tasks = Tasks::default();
        tasks.spawn_session("session", async { panic!("of one peer") });
        tasks.spawn("ledger", async {
            if true {
                panic!("of all");
            }
            Ok::<_, io::Error>(())
        });
        assert_eq!(tasks.failure().await.to_string(), "task ledger panicked");
        assert_eq!(tasks.shutdown(GRACE).await, Ok(()));
    }

    #[tokio::test]
    async fn connections_have_threads_of_their_own_and_are_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tasks = Tasks::with(SessionThreads::start().unwrap());
        let (names, mut told) = tokio::sync::mpsc::channel(4);
        let mut peers = Vec::new();
        for _ in 0..4 {
            let peer = TcpStream::connect(listener.local_addr().unwrap());
            peers.push(peer.await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            let (names, stop) = (names.clone(), tasks.token().clone());
            tasks.spawn_connection("miner", stream, async move |mut stream| {
                stream.write_all(b"!").await.unwrap();
                let name = std::thread::current().name().map(str::to_owned);
                names.send(name.unwrap()).await.unwrap();
                stop.cancelled().await;
            });
        }
        let mut threads = BTreeMap::<_, usize>::new();
        for mut peer in peers {
            assert_eq!(peer.read_u8().await.unwrap(), b'!');
            *threads.entry(told.recv().await.unwrap()).or_default() += 1;
        }
        assert!(threads.keys().all(|name| name.starts_with("sessions-")));
        let (fewest, most) = (threads.values().min(), threads.values().max());
        assert!(most.unwrap() - fewest.unwrap() <= 1, "{threads:?}");
        assert_eq!(tasks.shutdown(GRACE).await, Ok(()));
    }
}
