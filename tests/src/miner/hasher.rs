//! Hashing: one thread that tries nonces, at most so many a second.
//!
//! It knows no protocol. What it is given it works on until it gets something else; what it finds it sends on, and drops
//! where nobody takes it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use hh_mining::{BlockHash, Header, Target};
use tokio::sync::mpsc;

/// How long a throttled hasher rests between its batches.
const TICK: Duration = Duration::from_millis(10);
/// Ticks in a second.
const TICKS_A_SECOND: u64 = 100;
/// Hashes between looks at what there is to do: some 10 ms.
const BATCH_MAX: u64 = 32_768;
/// What a hasher that was held up makes good of lost time.
const CATCH_UP: Duration = Duration::from_millis(100);
/// [`CATCH_UP`]s in a second.
const CATCH_UPS_A_SECOND: u64 = 10;

/// A header to work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The miner's session that it belongs to.
    pub session: u64,
    pub job_id: String,
    /// The part of the extranonce that the miner chose.
    pub extranonce: Vec<u8>,
    /// Where to begin.
    pub header: Header,
    /// What a share must meet.
    pub target: Target,
    /// What a block must meet.
    pub network_target: Target,
}

/// A header that meets its target, or that a test wants to submit all the same.
#[derive(Debug, Clone)]
pub struct Found {
    pub assignment: Arc<Assignment>,
    pub header: Header,
    pub hash: BlockHash,
}

impl Found {
    /// Whether it is a block.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.assignment.network_target.is_met_by(&self.hash)
    }
}

/// Tries headers from `header` on, taking each off `tries`, until one is a hit or none is left. On a hit `header` is it; else it
/// is the next one to try.
pub fn search(header: &mut Header, target: &Target, tries: &mut u64) -> Option<BlockHash> {
    let (first, mut last) = split(header);
    // The first 64 bytes are the same for every nonce: they are hashed once.
    let mut midstate = sha256::Hash::engine();
    midstate.input(&first);
    while *tries > 0 {
        *tries -= 1;
        last[4..8].copy_from_slice(&header.ntime.to_le_bytes());
        last[12..].copy_from_slice(&header.nonce.to_le_bytes());
        let mut engine = midstate.clone();
        engine.input(&last);
        let inner = sha256::Hash::from_engine(engine);
        let hash =
            BlockHash::from_byte_array(sha256::Hash::hash(inner.as_byte_array()).to_byte_array());
        if target.is_met_by(&hash) {
            return Some(hash);
        }
        advance(header);
    }
    None
}

/// Searches from `header` until there is a hit; on its own thread, because it may take long.
#[must_use]
pub fn solve(mut header: Header, target: &Target) -> (Header, BlockHash) {
    loop {
        let mut tries = BATCH_MAX;
        if let Some(hash) = search(&mut header, target, &mut tries) {
            return (header, hash);
        }
    }
}

/// The next header to try: when all nonces are used up, a second later.
pub fn advance(header: &mut Header) {
    let (nonce, is_used_up) = header.nonce.overflowing_add(1);
    header.nonce = nonce;
    header.ntime += u32::from(is_used_up);
}

fn split(header: &Header) -> ([u8; 64], [u8; 16]) {
    let bytes = header.to_bytes();
    let first = bytes.first_chunk().expect("a header has 80 bytes");
    let last = bytes.last_chunk().expect("a header has 80 bytes");
    (*first, *last)
}

/// A hashing thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Hasher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// All that were made.
    hashes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    assignment: Option<Arc<Assignment>>,
    is_stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hasher {
    /// Starts a thread that makes at most `hashes_per_second`.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn start(hashes_per_second: u64, found: mpsc::Sender<Found>) -> Self {
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            shared: Arc::clone(&shared),
            hashes_per_second,
            found,
            since: Instant::now(),
            done: 0,
        };
        let thread = std::thread::Builder::new()
            .name("hasher".to_owned())
            .spawn(move || worker.run())
            .expect("the system gives a thread");
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// How many hashes it has made, now and later.
    #[must_use]
    pub fn hashes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.hashes)
    }

    /// Works on `assignment` from now on, or rests.
    pub fn assign(&self, assignment: Option<Arc<Assignment>>) {
        self.shared.lock().assignment = assignment;
        self.shared.changed.notify_one();
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics on our own mistakes only, and has then printed why.
            drop(thread.join());
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    hashes_per_second: u64,
    found: mpsc::Sender<Found>,
    /// Since when [`Self::done`] is counted.
    since: Instant,
    done: u64,
}

impl Worker {
    fn run(mut self) {
        let mut header = None;
        let mut current: Option<Arc<Assignment>> = None;
        while let Some((assignment, tries)) = self.next() {
            let is_same = current
                .as_ref()
                .is_some_and(|c| Arc::ptr_eq(c, &assignment));
            let mut at = match header {
                Some(header) if is_same => header,
                _ => assignment.header,
            };
            let mut left = tries;
            while let Some(hash) = search(&mut at, &assignment.target, &mut left) {
                let found = Found {
                    assignment: Arc::clone(&assignment),
                    header: at,
                    hash,
                };
                // A miner that cannot send its shares loses them.
                drop(self.found.try_send(found));
                advance(&mut at);
            }
            self.done += tries;
            self.shared.hashes.fetch_add(tries, Ordering::Relaxed);
            header = Some(at);
            current = Some(assignment);
        }
    }

    /// What to work on and how many hashes are due, waiting for both. `None` when the hasher is dropped.
    fn next(&mut self) -> Option<(Arc<Assignment>, u64)> {
        let batch_min = (self.hashes_per_second / TICKS_A_SECOND).clamp(1, BATCH_MAX);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            let due = self.due();
            match &state.assignment {
                Some(assignment) if self.hashes_per_second > 0 => {
                    if due >= batch_min {
                        return Some((Arc::clone(assignment), due.min(BATCH_MAX)));
                    }
                    state = shared
                        .changed
                        .wait_timeout(state, TICK)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                _ => {
                    state = shared
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Hashes that are allowed by now. Time that was not used is forgotten.
    fn due(&mut self) -> u64 {
        let elapsed = self.since.elapsed();
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let allowed = self.hashes_per_second.saturating_mul(micros) / 1_000_000;
        let due = allowed.saturating_sub(self.done);
        let catch_up = self.hashes_per_second / CATCH_UPS_A_SECOND;
        if due > catch_up.max(1) {
            self.since = Instant::now() - CATCH_UP.min(elapsed);
            self.done = 0;
            return catch_up.max(1);
        }
        due
    }
}
