//! Lines that are no JSON-RPC, and how many of them a miner may send.

use super::SessionEnd;
use std::time::Duration;
use tokio::time::Instant;

/// So many within [`WINDOW`], and the peer is taken for something else.
pub(super) const LINES_MAX: u32 = 8;

/// Firmware that garbles a line now and then is let be, for as long as it mines. What is no miner sends nothing else.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct MalformedLines {
    /// Since this one came.
    first_at: Option<Instant>,
    count: u32,
}

impl MalformedLines {
    /// Another one has come `now`.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn add(&mut self, now: Instant) -> Result<(), SessionEnd> {
        let first_at = self.first_at.filter(|first_at| now < *first_at + WINDOW);
        if first_at.is_none() {
            self.count = 0;
        }
        self.first_at = first_at.or(Some(now));
        self.count += 1;
        if self.count < LINES_MAX {
            Ok(())
        } else {
            Err(SessionEnd::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_line_now_and_then_is_let_be_and_many_at_once_are_not() {
        let (mut lines, mut now) = (MalformedLines::default(), Instant::now());
        for _ in 0..100 {
            now += 10 * WINDOW;
            lines.add(now).unwrap();
        }
        for _ in 2..LINES_MAX {
            lines.add(now).unwrap();
        }
        lines.add(now + WINDOW / 2).unwrap_err();
    }

    #[test]
    fn whoever_sends_as_many_as_he_may_is_counted_anew_after_the_window() {
        let (mut lines, mut now) = (MalformedLines::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..LINES_MAX {
                lines.add(now).unwrap();
            }
            now += WINDOW;
        }
    }
}
