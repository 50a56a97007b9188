//! How much a connection may ask for beside submitting shares. A pure rule: it is told the time.
//!
//! Each open costs the upstream a write to its disk, and each change a job. Shares are bounded by what waits for the upstream, and
//! those that are refused by [`hh_mining::FloodWatch`].

/// What is counted together.
const WINDOW_MS: u64 = 60_000;

/// For each channel that a connection may have: its open, its close, and a change of its hashrate.
const A_CHANNEL: usize = 3;

/// For the connection itself: one with a single channel that is opened again and again, or with a vardiff of its own.
const A_CONNECTION: usize = 100;

/// What is left of a minute's messages.
#[derive(Debug)]
pub(super) struct MessageQuota {
    max: usize,
    started_ms: u64,
    count: usize,
}

impl MessageQuota {
    /// For a connection that may have `max_channels`.
    pub(super) fn new(max_channels: usize) -> Self {
        Self {
            max: max_channels
                .saturating_mul(A_CHANNEL)
                .saturating_add(A_CONNECTION),
            started_ms: 0,
            count: 0,
        }
    }

    /// Counts a message, and says whether it is not one too many.
    pub(super) fn takes(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.started_ms) >= WINDOW_MS {
            self.started_ms = now_ms;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_channels_may_be_opened_changed_and_closed_within_a_minute_and_not_for_ever() {
        let mut quota = MessageQuota::new(10);
        assert!((0..130).all(|_| quota.takes(1_000)));
        assert!(!quota.takes(WINDOW_MS - 1));
        assert!((0..130).all(|_| quota.takes(WINDOW_MS)));
        assert!(!quota.takes(2 * WINDOW_MS - 1));
    }
}
