//! Ports for servers of others that cannot bind port 0 and tell us which they got.
//!
//! Each is held by a lock on a file in /tmp for as long as the [`Port`] lives, so that tests of several checkouts running
//! at once never take the same one.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::Path;

/// Below Linux's ephemeral ports, so that no outgoing connection can hold one.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on loopback that no other test has.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free one.
    ///
    /// # Panics
    /// If none is free, or /tmp cannot be written.
    #[must_use]
    pub fn take() -> Self {
        let dir = Path::new("/tmp/hyperhash-test-ports");
        std::fs::create_dir_all(dir).expect("/tmp can be written");
        let offset = rand::random_range(0..RANGE.len());
        for candidate in RANGE.skip(offset).chain(RANGE.take(offset)) {
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(dir.join(candidate.to_string()))
                .expect("a file in /tmp can be opened");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", candidate)).is_ok() {
                return Self {
                    number: candidate,
                    _lock: lock,
                };
            }
        }
        panic!("no free port between {} and {}", RANGE.start, RANGE.end);
    }
}
