//! Proof of work for blocks of signet: on every core, and without hashing the first half of a header anew for each nonce.

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use hh_mining::{BlockHash, Header, Target};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Tries between two looks at whether another thread has found one.
const STRETCH: u32 = 4_096;

/// The bytes of a header before its nonce that are the same for all nonces and fill whole blocks of SHA-256.
const MIDSTATE_BYTES: usize = 64;

/// The header with the first nonce found that meets the target; none if there is none among all of them.
#[must_use]
pub fn grind(header: &Header, target: Target) -> Option<Header> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let step = u32::try_from(threads).unwrap_or(1);
    let found = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..step)
            .map(|first| {
                let found = &found;
                scope.spawn(move || search(header, target, first, step, found))
            })
            .collect();
        let mut found = threads.into_iter().map(thread::ScopedJoinHandle::join);
        found.find_map(|found| found.expect("hashing does not panic"))
    })
}

fn search(
    header: &Header,
    target: Target,
    first: u32,
    step: u32,
    found: &AtomicBool,
) -> Option<Header> {
    let mut bytes = header.to_bytes();
    let mut midstate = sha256::HashEngine::default();
    midstate.input(&bytes[..MIDSTATE_BYTES]);
    let mut nonce = first;
    loop {
        for _ in 0..STRETCH {
            bytes[76..].copy_from_slice(&nonce.to_le_bytes());
            let mut engine = midstate.clone();
            engine.input(&bytes[MIDSTATE_BYTES..]);
            let hash = sha256d::Hash::from_engine(engine).to_byte_array();
            if target.is_met_by(&BlockHash::from_byte_array(hash)) {
                found.store(true, Ordering::Relaxed);
                return Some(Header { nonce, ..*header });
            }
            nonce = nonce.checked_add(step)?;
        }
        if found.load(Ordering::Relaxed) {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_meets_the_target_and_what_can_not_be_found_is_not() {
        let header = Header {
            version: 0x2000_0000,
            prev_hash: [7; 32],
            merkle_root: [8; 32],
            ntime: 1_700_000_000,
            nbits: 0x1e03_77ae,
            nonce: 0,
        };
        let target = Target::from_difficulty(1e-6);
        let found = grind(&header, target).unwrap();
        assert!(target.is_met_by(&found.hash()));
        let nonce = 0;
        assert_eq!(Header { nonce, ..found }, header);
    }
}
