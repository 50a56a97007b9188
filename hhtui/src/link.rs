//! What is known of the line to one daemon, and the last that it said.
//!
//! A source never forgets its data: what was true is shown with its age until there is something newer.

use crate::figures::seconds_since;
use jiff::Timestamp;

/// After this long without an answer what is shown may be wrong: several polls were missed, also slow ones.
pub(crate) const STALE_AFTER_SECONDS: u64 = 6;

/// One daemon as this program sees it.
#[derive(Debug)]
pub(crate) struct Source<T> {
    pub(crate) data: Option<T>,
    answered_at: Option<Timestamp>,
    down: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Timestamp,
    why: String,
    retry_at: Timestamp,
}

/// The state of a line at one moment; ages in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link<'a> {
    /// Nothing has been heard yet.
    Connecting,
    Live,
    /// Connected, but the last answer is old.
    Stale {
        age: u64,
    },
    Down {
        since: u64,
        why: &'a str,
        retry_in: u64,
    },
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self {
            data: None,
            answered_at: None,
            down: None,
        }
    }
}

impl<T> Source<T> {
    pub(crate) fn answered(&mut self, data: T, at: Timestamp) {
        self.data = Some(data);
        self.answered_at = Some(at);
        self.down = None;
    }

    /// The line broke or can't be opened. The outage began with the first failure after an answer.
    pub(crate) fn failed(&mut self, why: String, retry_at: Timestamp, at: Timestamp) {
        let since = self.down.as_ref().map_or(at, |outage| outage.since);
        self.down = Some(Outage {
            since,
            why,
            retry_at,
        });
    }

    pub(crate) fn link(&self, now: Timestamp) -> Link<'_> {
        if let Some(outage) = &self.down {
            return Link::Down {
                since: seconds_since(outage.since, now),
                why: &outage.why,
                retry_in: seconds_since(now, outage.retry_at),
            };
        }
        match self.answered_at.map(|at| seconds_since(at, now)) {
            None => Link::Connecting,
            Some(age) if age > STALE_AFTER_SECONDS => Link::Stale { age },
            Some(_) => Link::Live,
        }
    }

    /// Age in seconds of data that may be no longer true; none while it is live or where there is none.
    pub(crate) fn old(&self, now: Timestamp) -> Option<u64> {
        let answered_at = self.answered_at?;
        match self.link(now) {
            Link::Connecting | Link::Live => None,
            Link::Stale { .. } | Link::Down { .. } => Some(seconds_since(answered_at, now)),
        }
    }

    /// The moment that the data is true for: now, or that of the last answer if that is old. What is counted from a time in
    /// the data, is counted to this.
    pub(crate) fn as_of(&self, now: Timestamp) -> Timestamp {
        match (self.old(now), self.answered_at) {
            (Some(_), Some(answered_at)) => answered_at,
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_line_is_live_until_answers_fail_to_come() {
        let mut source = Source::default();
        assert_eq!(source.link(at(100)), Link::Connecting);
        assert_eq!(source.old(at(100)), None);
        source.answered(1, at(101));
        assert_eq!(source.link(at(107)), Link::Live);
        assert_eq!(source.link(at(108)), Link::Stale { age: 7 });
        assert_eq!(source.old(at(108)), Some(7));
        source.answered(2, at(109));
        assert_eq!(source.link(at(109)), Link::Live);
    }

    #[test]
    fn an_outage_lasts_from_the_first_failure_and_keeps_the_data() {
        let mut source = Source::default();
        source.answered("old", at(100));
        source.failed("closed".into(), at(102), at(101));
        source.failed("refused".into(), at(108), at(104));
        let expected = Link::Down {
            since: 5,
            why: "refused",
            retry_in: 2,
        };
        assert_eq!(source.link(at(106)), expected);
        assert_eq!(source.data, Some("old"));
        assert_eq!(source.old(at(106)), Some(6));
        assert_eq!(source.as_of(at(106)), at(100));
        source.answered("new", at(110));
        assert_eq!(source.link(at(110)), Link::Live);
        assert_eq!(source.as_of(at(111)), at(111));
    }

    #[test]
    fn a_daemon_that_was_never_there_has_no_old_data() {
        let mut source = Source::<()>::default();
        source.failed("refused".into(), at(101), at(100));
        assert_eq!(source.old(at(105)), None);
        let Link::Down { retry_in, .. } = source.link(at(105)) else {
            panic!("down");
        };
        assert_eq!(retry_in, 0, "the retry is due");
    }
}
