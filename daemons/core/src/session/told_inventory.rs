//! What a node is, as it tells it again and again: it is written down when it is new, and no oftener than anybody can have use of.

use hh_ipc::agent::Inventory;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many are written down within [`WITHIN`]: a node that starts knows the versions of its programs a few seconds later.
const WRITES_MAX: usize = 3;

/// Each is a transaction that other replicas wait for.
const WITHIN: Duration = Duration::from_secs(60);

/// Of one session.
#[derive(Debug, Default)]
pub(super) struct ToldInventory {
    last: Option<Inventory>,
    /// The last one is not written down.
    is_waiting: bool,
    /// When it was written down within [`WITHIN`].
    written: VecDeque<Instant>,
}

impl ToldInventory {
    /// Takes what the node tells now, if it does; gives what is to be written down now.
    pub(super) fn hear(&mut self, told: Option<Inventory>, now: Instant) -> Option<Inventory> {
        if let Some(told) = told
            && self.last.as_ref() != Some(&told)
        {
            self.last = Some(told);
            self.is_waiting = true;
        }
        let is_long_ago = |at: &Instant| now.duration_since(*at) >= WITHIN;
        while self.written.front().is_some_and(is_long_ago) {
            self.written.pop_front();
        }
        if !self.is_waiting || self.written.len() >= WRITES_MAX {
            return None;
        }
        self.is_waiting = false;
        self.written.push_back(now);
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(cpus: u32) -> Inventory {
        Inventory {
            cpus,
            ..Inventory::default()
        }
    }

    #[test]
    fn what_is_new_is_written_down_and_the_last_of_many_when_it_is_time() {
        let mut told = ToldInventory::default();
        let now = Instant::now();
        assert_eq!(told.hear(Some(inventory(1)), now), Some(inventory(1)));
        assert_eq!(told.hear(Some(inventory(1)), now), None);
        assert_eq!(told.hear(None, now), None);
        let written = (2..100).filter_map(|cpus| told.hear(Some(inventory(cpus)), now));
        assert_eq!(written.count(), WRITES_MAX - 1);
        assert_eq!(told.hear(None, now + WITHIN / 2), None);
        assert_eq!(told.hear(None, now + WITHIN), Some(inventory(99)));
        assert_eq!(told.hear(None, now + WITHIN), None);
    }
}
