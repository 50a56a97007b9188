//! How long segments stay after the ledger has their records. Owns the rule and the deletion; what was not shipped is never
//! touched.
//!
//! A ledger that was restored from a backup, or whose standby took over before it had everything, asks for records that it had
//! before. So a segment is not deleted when it is shipped, but when its last record is older than what is to be kept, or
//! when more are kept than there is room for.

use std::fs;
use std::io;
use std::time::Duration;

use super::{Health, LogError, SegmentRef, ShareLog};

/// Which segments stay though the ledger has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Those with records that are younger.
    pub age: Duration,
    /// At most so many of them, the newest; what was not shipped and the segment that is written to are not counted.
    pub segments_max: u64,
}

impl Retention {
    /// A segment goes as soon as it is shipped.
    pub const NOTHING: Self = Self {
        age: Duration::ZERO,
        segments_max: 0,
    };

    /// How many of these segments, oldest first, go where the ledger has all records through `shipped_seq`. The last one is
    /// written to, and stays.
    fn surplus<'a>(
        &self,
        segments: impl Iterator<Item = &'a SegmentRef> + Clone,
        shipped_seq: u64,
        now_ms: i64,
    ) -> usize {
        let age_ms = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        let oldest_ms = now_ms.saturating_sub(age_ms);
        let segments_max = usize::try_from(self.segments_max).unwrap_or(usize::MAX);
        // What follows on a segment tells where it ends.
        let shipped = segments
            .skip(1)
            .take_while(|next| next.first_seq <= shipped_seq.saturating_add(1));
        let count = shipped.clone().count();
        let old = shipped.take_while(|next| next.last_at_ms < oldest_ms);
        old.count().max(count.saturating_sub(segments_max))
    }
}

impl ShareLog {
    /// Deletes the segments that the ledger has through the record `shipped_seq`, but for those that `retention` keeps, which is
    /// none while there is no room for the next one. Blocks for the deletion.
    ///
    /// # Errors
    /// [`LogError::Io`] if a file can't be deleted; the log stays usable and the file is tried again by the next call.
    pub fn release(
        &self,
        shipped_seq: u64,
        retention: &Retention,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let retention = match &*self.inner.health.borrow() {
            Health::Writable | Health::Closed => *retention,
            Health::LastSegment(_) | Health::Unwritable(_) => Retention::NOTHING,
        };
        let shared = &self.inner.shared;
        // Oldest first, and none after one that stays: the log must not get a hole. Files are deleted without the lock,
        // for which the writer would wait.
        let released: Vec<SegmentRef> = {
            let segments = shared.segments();
            let surplus = retention.surplus(segments.iter(), shipped_seq, now_ms);
            segments.iter().take(surplus).copied().collect()
        };
        for SegmentRef { index, .. } in released {
            let path = shared.path(index);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("delete", &path, e));
                }
                Ok(()) | Err(_) => shared.segments().retain(|segment| segment.index != index),
            }
        }
        Ok(())
    }

    /// The time before the first record that is kept, milliseconds since 1970; none if no record came before it.
    #[must_use]
    pub fn kept_from_ms(&self) -> Option<i64> {
        let segments = self.inner.shared.segments();
        let first = segments.front().map(|segment| segment.last_at_ms);
        first.filter(|at_ms| *at_ms != i64::MIN)
    }

    /// What the segments take of the disk, in bytes, with the one that is prepared. Blocks for a look at each.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let shared = &self.inner.shared;
        let indexes: Vec<u64> = shared.segments().iter().map(|s| s.index).collect();
        let kept = indexes.into_iter().map(|index| shared.path(index));
        let all = kept.chain([shared.dir.join(super::segment::PREPARED_NAME)]);
        // One that was deleted meanwhile takes nothing.
        all.filter_map(|path| fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Segments of ten records each, a second apart; the last one is written to.
    fn segments(count: u64) -> Vec<SegmentRef> {
        let segment = |index| SegmentRef {
            index,
            first_seq: index * 10 + 1,
            last_at_ms: i64::try_from(index * 1_000).unwrap(),
        };
        (0..count).map(segment).collect()
    }

    #[track_caller]
    fn check(age_s: u64, segments_max: u64, shipped_seq: u64, expected: usize) {
        let retention = Retention {
            age: Duration::from_secs(age_s),
            segments_max,
        };
        let surplus = retention.surplus(segments(6).iter(), shipped_seq, 5_000);
        assert_eq!(surplus, expected);
    }

    #[test]
    fn a_segment_goes_when_it_is_shipped_and_old_or_one_too_many() {
        check(0, 9, 0, 0);
        check(0, 9, 19, 1);
        check(0, 9, 20, 2);
        check(0, 9, u64::MAX, 4);
        check(3, 9, u64::MAX, 1);
        check(9, 9, u64::MAX, 0);
        check(9, 3, u64::MAX, 2);
        check(9, 3, 30, 0);
        check(9, 0, 30, 3);
        check(9, 0, u64::MAX, 5);
    }

    proptest! {
        #[test]
        fn what_is_not_shipped_and_what_is_written_to_stays(
            count in 0..9_u64, age_s in 0..9_u64, segments_max in 0..9_u64, shipped_seq in 0..120_u64, now_ms in -9_000..9_000_i64,
        ) {
            let retention = Retention { age: Duration::from_secs(age_s), segments_max };
            let segments = segments(count);
            let surplus = retention.surplus(segments.iter(), shipped_seq, now_ms);
            let gone = segments.iter().take(surplus).zip(segments.iter().skip(1));
            prop_assert_eq!(gone.clone().count(), surplus);
            for (_, next) in gone {
                prop_assert!(next.first_seq <= shipped_seq + 1);
            }
        }
    }
}
