//! Which way messages go: by a stream, or, where those are cut again and again, by polls for a while.

use std::time::Duration;
use tokio::time::Instant;

/// A stream that ended sooner was cut: two heartbeats were not answered in it.
const QUICK: Duration = Duration::from_secs(10);

/// So many in a row are a network that lets no stream live, and no core that was restarted.
const CUT_MAX: u32 = 3;

/// For so long core is polled before a stream is tried again: a network that was changed is noticed within minutes, and one that was not
/// costs a stream each time.
const POLL_FOR: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// Streams in a row that were cut.
    cut: u32,
    polls_until: Option<Instant>,
}

impl Way {
    /// Until when core is to be polled; none where a stream is to be tried.
    pub(super) fn polls_until(&mut self, now: Instant) -> Option<Instant> {
        self.polls_until = self.polls_until.filter(|until| now < *until);
        self.polls_until
    }

    /// A stream has ended by itself after so long, or could not be opened.
    pub(super) fn cut(&mut self, after: Duration, now: Instant) {
        if after >= QUICK {
            self.held();
            return;
        }
        self.cut = self.cut.saturating_add(1);
        if self.cut >= CUT_MAX {
            // One more is enough when the polls are over.
            self.cut = CUT_MAX - 1;
            self.polls_until = Some(now + POLL_FOR);
            let minutes = POLL_FOR.as_secs() / 60;
            tracing::warn!(
                minutes,
                "streams to core are cut; core is polled, and a stream tried again later"
            );
        }
    }

    /// A stream was good, or core has ended it.
    pub(super) fn held(&mut self) {
        self.cut = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn core_is_polled_after_some_streams_were_cut_and_a_stream_is_tried_again_later() {
        let (mut way, now) = (Way::default(), Instant::now());
        for _ in 0..2 {
            way.cut(SOON, now);
            assert_eq!(way.polls_until(now), None);
        }
        way.cut(SOON, now);
        let until = way.polls_until(now).unwrap();
        assert_eq!(until, now + POLL_FOR);
        assert_eq!(way.polls_until(until), None);
        // It is cut again.
        way.cut(SOON, until);
        assert_eq!(way.polls_until(until), Some(until + POLL_FOR));
    }

    #[tokio::test]
    async fn a_stream_that_lasted_or_that_core_has_ended_begins_the_count_anew() {
        let (mut way, now) = (Way::default(), Instant::now());
        for _ in 0..10 {
            way.cut(SOON, now);
            way.cut(SOON, now);
            way.cut(QUICK, now);
            way.cut(SOON, now);
            way.cut(SOON, now);
            way.held();
            assert_eq!(way.polls_until(now), None);
        }
    }
}
