//! Threads for the connections of peers, each with a runtime of its own.
//!
//! A peer that says something now and then wakes a thread each time. In a runtime of several threads that thread wakes the next
//! one to look for more, which finds nothing: twice the cost for most of what miners send. Here a connection belongs to one
//! thread, in which it is woken, read and answered, and nobody else is.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Tasks that a thread runs before it looks for those that other threads have woken. tokio's own choice is for short tasks:
/// behind 31 handshakes a miner whose channel the share log has bound waits for 10 ms, and so does each after it.
const GLOBAL_QUEUE_INTERVAL: u32 = 3;

/// The threads. They end when this is dropped, after the task that they are at.
#[derive(Debug)]
pub(crate) struct SessionThreads {
    threads: Vec<Thread>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl SessionThreads {
    /// Starts as many as the machine has cores for this process.
    ///
    /// # Errors
    /// The system has no more threads or file descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            threads: (0..count).map(Thread::start).collect::<Result<_, _>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// The runtime for the next connection: one after the other.
    pub(crate) fn next(&self) -> &Handle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        &self.threads[number % self.threads.len()].runtime
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name(format!("sessions-{number}"))
            .spawn(move || {
                // An error is the drop of the sender: the end.
                runtime.block_on(stopped).ok();
            })?;
        Ok(Self {
            runtime: handle,
            _stop: stop,
        })
    }
}
