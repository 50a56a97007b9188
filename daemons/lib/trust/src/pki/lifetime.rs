//! When a certificate is renewed, and whether one that has run out may be had again without an operator.

/// Share of a certificate's life around its half within which it is renewed: a tenth of it, so that nodes that were enrolled
/// together do not come together for ever.
const JITTER_TENTHS: i64 = 1;

/// For so long after its end a node gets a new certificate by its own key: a site that was off for a month comes back alone.
pub const RECOVERY_DAYS_MAX: i64 = 30;

/// So often in a row, without an ordinary renewal in between: a node that can only recover has a fault that a person should see,
/// and a copy of its key is used up.
pub const RECOVERIES_MAX: u32 = 5;

/// From when to when a certificate holds, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: i64,
    /// It holds no more.
    pub not_after: i64,
}

/// Why a node must be enrolled anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// It still has a certificate.
    #[error("its certificate holds for {seconds} s more: renew it")]
    NotExpired {
        /// Until it ends.
        seconds: i64,
    },
    /// It was away for too long.
    #[error(
        "its certificate ended {days} days ago, more than {RECOVERY_DAYS_MAX}: enrol it with a new token"
    )]
    TooLate {
        /// Since it ended.
        days: i64,
    },
    /// It has come back too often.
    #[error(
        "it has recovered {RECOVERIES_MAX} times in a row without a renewal: enrol it with a new token"
    )]
    TooOften,
}

impl Validity {
    /// When to renew it: at half of its life, give or take a tenth by `jitter`, which is any number that is even over its range.
    #[must_use]
    pub fn renew_at(&self, jitter: u16) -> i64 {
        let life = self.not_after.saturating_sub(self.not_before).max(0);
        let range = life / 10 * JITTER_TENTHS * 2;
        let offset = i128::from(range) * i128::from(jitter) / i128::from(u16::MAX);
        let offset = i64::try_from(offset).unwrap_or(range);
        self.not_before
            .saturating_add(life / 2)
            .saturating_sub(range / 2)
            .saturating_add(offset)
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub const fn holds_at(&self, now: i64) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// Whether a node whose last certificate ended at `not_after` may have one by its own key at `now`, after `recoveries` in a row.
///
/// # Errors
/// It may not, and what to do.
pub fn may_recover(not_after: i64, now: i64, recoveries: u32) -> Result<(), RecoveryError> {
    let since = now.saturating_sub(not_after);
    if since < 0 {
        let seconds = since.saturating_neg();
        return Err(RecoveryError::NotExpired { seconds });
    }
    let days = since / 86_400;
    if days >= RECOVERY_DAYS_MAX {
        return Err(RecoveryError::TooLate { days });
    }
    if recoveries >= RECOVERIES_MAX {
        return Err(RecoveryError::TooOften);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_renewed_about_the_half_of_its_life(begin in 0..4_000_000_000_i64, life in 20..10_000_000_i64, jitter: u16) {
            let validity = Validity { not_before: begin, not_after: begin + life };
            let share = validity.renew_at(jitter) - begin;
            prop_assert!(share >= life * 4 / 10 && share <= life * 6 / 10 + 1, "{} of {}", share, life);
        }

        #[test]
        fn a_renewal_has_no_overflow(not_before: i64, not_after: i64, jitter: u16) {
            let validity = Validity { not_before, not_after };
            prop_assert!(validity.renew_at(jitter) >= not_before.min(not_after));
        }
    }

    #[test]
    fn the_jitter_goes_from_one_end_to_the_other() {
        let day = Validity {
            not_before: 0,
            not_after: 86_400,
        };
        assert_eq!(day.renew_at(0), 34_560);
        assert_eq!(day.renew_at(u16::MAX), 51_840);
    }

    #[test]
    fn a_node_that_was_off_for_a_month_comes_back_and_not_for_ever() {
        assert_eq!(may_recover(1_000, 1_000, 0), Ok(()));
        assert_eq!(may_recover(0, 30 * 86_400 - 1, RECOVERIES_MAX - 1), Ok(()));
        let late = may_recover(0, 30 * 86_400, 0);
        assert_eq!(late, Err(RecoveryError::TooLate { days: 30 }));
        let early = may_recover(1_000, 999, 0);
        assert_eq!(early, Err(RecoveryError::NotExpired { seconds: 1 }));
        let often = may_recover(0, 1, RECOVERIES_MAX);
        assert_eq!(often, Err(RecoveryError::TooOften));
    }
}
