//! Which template provider miners get their work from. A pure rule: it is told the time.

/// How long a provider may be behind another one before it is left: a new block reaches their nodes seconds apart.
pub(super) const LAG_GRACE_MS: u64 = 5_000;

/// What is known of a provider that has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Since when it has had work without a break.
    pub ready_since_ms: u64,
    /// Height of the block that its work is for.
    pub height: u32,
    /// Since when another one's work is for a higher block.
    pub behind_since_ms: Option<u64>,
}

/// The provider to use, by its place in the order of preference; none where none has work.
///
/// One that works stays in use until a preferred one has had work for `return_after_ms`; one that lags is left where another
/// does not.
pub(super) fn choose(
    active: Option<usize>,
    standings: &[Option<Standing>],
    now_ms: u64,
    return_after_ms: u64,
) -> Option<usize> {
    let lags = |standing: &Standing| {
        let behind = standing.behind_since_ms;
        behind.is_some_and(|since| now_ms.saturating_sub(since) >= LAG_GRACE_MS)
    };
    let is_steady =
        |standing: &Standing| now_ms.saturating_sub(standing.ready_since_ms) >= return_after_ms;
    let of = |index: usize| standings.get(index).copied().flatten();
    let current = active.filter(|index| of(*index).is_some_and(|standing| !lags(&standing)));
    let mut best = None;
    for (index, standing) in standings.iter().enumerate() {
        let Some(standing) = standing.filter(|standing| !lags(standing)) else {
            continue;
        };
        match current {
            Some(current) if index >= current => return Some(current),
            Some(_) if !is_steady(&standing) => {}
            _ => {
                best = Some(index);
                break;
            }
        }
    }
    // The highest never lags: there is a best one where any has work.
    best.or(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RETURN_AFTER_MS: u64 = 10_000;
    const NOW: u64 = 1_000_000;

    fn ready(since_ms: u64) -> Option<Standing> {
        Some(Standing {
            ready_since_ms: since_ms,
            height: 100,
            behind_since_ms: None,
        })
    }

    fn behind(since_ms: u64) -> Option<Standing> {
        Some(Standing {
            ready_since_ms: 0,
            height: 99,
            behind_since_ms: Some(since_ms),
        })
    }

    #[track_caller]
    fn check(active: Option<usize>, standings: &[Option<Standing>], expected: Option<usize>) {
        assert_eq!(choose(active, standings, NOW, RETURN_AFTER_MS), expected);
    }

    #[test]
    fn the_first_that_has_work_is_used_at_once() {
        check(None, &[], None);
        check(None, &[None, None], None);
        check(None, &[ready(NOW), ready(0)], Some(0));
        check(None, &[None, ready(NOW)], Some(1));
    }

    #[test]
    fn one_without_work_is_left_at_once_and_gone_back_to_when_it_is_steady() {
        check(Some(0), &[None, ready(NOW)], Some(1));
        check(Some(0), &[None, None], None);
        check(Some(1), &[ready(NOW - 9_999), ready(0)], Some(1));
        check(Some(1), &[ready(NOW - 10_000), ready(0)], Some(0));
        check(Some(2), &[ready(NOW), ready(0), ready(0)], Some(1));
        check(Some(0), &[ready(NOW), ready(0)], Some(0));
    }

    #[test]
    fn one_that_lags_is_left_after_its_grace_and_not_gone_back_to() {
        check(Some(0), &[behind(NOW - 4_999), ready(0)], Some(0));
        check(Some(0), &[behind(NOW - 5_000), ready(NOW)], Some(1));
        check(Some(1), &[behind(NOW - 5_000), ready(0)], Some(1));
        check(None, &[behind(0), behind(0), ready(NOW)], Some(2));
    }

    proptest! {
        #[test]
        fn there_is_work_where_any_provider_has_some(
            providers in prop::collection::vec(prop::option::of((0_u64..=NOW, 0_u64..=NOW)), 1..5),
            ahead in any::<prop::sample::Index>(),
            active in prop::option::of(0_usize..5),
        ) {
            // As the board has it: who is at the top is not behind.
            let mut standings: Vec<Option<Standing>> = providers
                .into_iter()
                .map(|given| given.map(|(ready_since_ms, behind_since_ms)| Standing {
                    ready_since_ms,
                    height: 99,
                    behind_since_ms: Some(behind_since_ms),
                }))
                .collect();
            let ready_ones: Vec<usize> = (0..standings.len()).filter(|i| standings[*i].is_some()).collect();
            if !ready_ones.is_empty() {
                let top = ready_ones[ahead.index(ready_ones.len())];
                standings[top] = ready(0);
            }
            let chosen = choose(active, &standings, NOW, RETURN_AFTER_MS);
            prop_assert_eq!(chosen.is_some(), !ready_ones.is_empty());
            if let Some(chosen) = chosen {
                prop_assert!(standings[chosen].is_some());
                // Asked again at the same moment it says the same.
                prop_assert_eq!(choose(Some(chosen), &standings, NOW, RETURN_AFTER_MS), Some(chosen));
            }
        }
    }
}
