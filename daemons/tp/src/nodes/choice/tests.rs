use super::*;
use bitcoin::hashes::Hash;
use proptest::prelude::*;

const RETURN_AFTER: Duration = Duration::from_secs(60);

fn work(blocks: u8) -> Work {
    let mut bytes = [0; 32];
    bytes[31] = blocks;
    Work::from_be_bytes(bytes)
}

fn tip(blocks: u8) -> BlockHash {
    BlockHash::from_byte_array([blocks; 32])
}

/// A node as it should be, at this many blocks.
fn good(now: Instant, blocks: u8) -> Facts {
    Facts {
        serving: Serving::Yes,
        answered_at: Some(now),
        initial_download: false,
        chain: Some((work(blocks), tip(blocks))),
        refuses: None,
        on_own_tip: true,
    }
}

fn gone() -> Facts {
    Facts {
        serving: Serving::No,
        answered_at: None,
        initial_download: false,
        chain: None,
        refuses: None,
        on_own_tip: false,
    }
}

fn not_yet() -> Facts {
    Facts {
        serving: Serving::NotYet,
        ..gone()
    }
}

/// Two nodes and a clock.
struct Pair {
    choice: Choice,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let choice = Choice::new(2, RETURN_AFTER, now);
        Self { choice, now }
    }

    /// With both nodes healthy and the preferred one active.
    fn settled() -> Self {
        let mut pair = Self::new();
        pair.check(0, [good(pair.now, 1), good(pair.now, 1)], Some(0));
        pair
    }

    /// What is chosen `later_ms` later, the facts being those.
    #[track_caller]
    fn check(&mut self, later_ms: u64, facts: [Facts; 2], expected: Option<usize>) {
        self.now += Duration::from_millis(later_ms);
        self.choice.decide(&facts, self.now);
        assert_eq!(self.choice.active, expected, "{:?}", self.choice);
    }

    fn at(&self, later_ms: u64) -> Instant {
        self.now + Duration::from_millis(later_ms)
    }
}

#[test]
fn the_preferred_node_is_waited_for_at_the_start_but_not_for_long() {
    let mut pair = Pair::new();
    pair.check(0, [not_yet(), good(pair.now, 1)], None);
    pair.check(4_999, [not_yet(), good(pair.at(4_999), 1)], None);
    pair.check(1, [not_yet(), good(pair.at(1), 1)], Some(1));
    let mut pair = Pair::new();
    pair.check(0, [gone(), good(pair.now, 1)], Some(1));
    let mut pair = Pair::new();
    pair.check(0, [good(pair.now, 1), not_yet()], Some(0));
}

#[test]
fn a_node_that_dies_is_left_at_once_and_gone_back_to_when_it_has_been_healthy_for_a_while() {
    let mut pair = Pair::settled();
    pair.check(10, [gone(), good(pair.at(10), 1)], Some(1));
    pair.check(10, [good(pair.at(10), 1), good(pair.at(10), 1)], Some(1));
    let almost = [good(pair.at(59_999), 1), good(pair.at(59_999), 1)];
    pair.check(59_999, almost, Some(1));
    pair.check(1, [good(pair.at(1), 1), good(pair.at(1), 1)], Some(0));
}

#[test]
fn a_relapse_starts_the_wait_anew_and_the_other_node_s_end_cuts_it_short() {
    let mut pair = Pair::settled();
    pair.check(10, [gone(), good(pair.at(10), 1)], Some(1));
    pair.check(10, [good(pair.at(10), 1), good(pair.at(10), 1)], Some(1));
    pair.check(30_000, [gone(), good(pair.at(30_000), 1)], Some(1));
    let both = |at| [good(at, 1), good(at, 1)];
    pair.check(1_000, both(pair.at(1_000)), Some(1));
    pair.check(59_000, both(pair.at(59_000)), Some(1));
    pair.check(10, [good(pair.at(10), 1), gone()], Some(0));
}

#[test]
fn a_node_that_stays_behind_another_is_left_and_one_that_catches_up_is_not() {
    let mut pair = Pair::settled();
    pair.check(0, [good(pair.now, 1), good(pair.now, 2)], Some(0));
    let behind = [good(pair.at(4_999), 1), good(pair.at(4_999), 2)];
    pair.check(4_999, behind, Some(0));
    let mut late = Pair {
        choice: Choice {
            standings: pair.choice.standings.clone(),
            ..pair.choice
        },
        now: pair.now,
    };
    late.check(1, [good(late.at(1), 1), good(late.at(1), 2)], Some(1));
    assert_eq!(late.choice.standings[0].condition, Condition::Lagging);

    // The mark that it had to reach was 2, whatever the other has by then.
    let mut caught_up = Pair::settled();
    let now = caught_up.now;
    caught_up.check(0, [good(now, 1), good(now, 2)], Some(0));
    let at = caught_up.at(4_999);
    caught_up.check(4_999, [good(at, 2), good(at, 3)], Some(0));
    let at = caught_up.at(4_999);
    caught_up.check(4_999, [good(at, 3), good(at, 9)], Some(0));
}

#[test]
fn a_preferred_node_is_not_gone_back_to_while_it_catches_up() {
    let mut pair = Pair::settled();
    pair.check(1, [gone(), good(pair.at(1), 2)], Some(1));
    pair.check(1, [good(pair.at(1), 2), good(pair.at(1), 2)], Some(1));
    let at = pair.at(59_999);
    pair.check(59_999, [good(at, 2), good(at, 3)], Some(1));
    let at = pair.at(1);
    pair.check(1, [good(at, 2), good(at, 3)], Some(1));
    pair.check(0, [good(at, 3), good(at, 3)], Some(0));
}

#[test]
fn a_node_that_refuses_the_chain_of_another_is_not_behind_it() {
    let refusing = |at, tip| Facts {
        refuses: Some(tip),
        ..good(at, 1)
    };
    let mut pair = Pair::settled();
    pair.check(0, [good(pair.now, 1), good(pair.now, 2)], Some(0));
    let at = pair.at(60_000);
    pair.check(60_000, [refusing(at, tip(2)), good(at, 2)], Some(0));
    assert_eq!(pair.choice.standings[0].condition, Condition::Healthy);
    // What it has refused is that chain, not what comes next.
    let at = pair.at(1);
    pair.check(1, [refusing(at, tip(2)), good(at, 3)], Some(0));
    assert!(pair.choice.is_behind(0));
    let at = pair.at(5_000);
    pair.check(5_000, [refusing(at, tip(2)), good(at, 3)], Some(1));
}

#[test]
fn a_dead_node_s_chain_is_nothing_to_be_behind_of() {
    let mut pair = Pair::settled();
    pair.check(0, [good(pair.now, 9), good(pair.now, 1)], Some(0));
    let at = pair.at(10_000);
    pair.check(10_000, [good(at, 9), good(at, 1)], Some(0));
    assert_eq!(pair.choice.standings[1].condition, Condition::Lagging);
    pair.check(1, [gone(), good(pair.at(1), 1)], Some(1));
    assert_eq!(pair.choice.standings[1].condition, Condition::Healthy);
}

#[test]
fn a_node_whose_templates_stand_still_is_left() {
    let stuck = |at| Facts {
        on_own_tip: false,
        ..good(at, 2)
    };
    let mut pair = Pair::settled();
    pair.check(0, [stuck(pair.now), good(pair.now, 2)], Some(0));
    let at = pair.at(5_000);
    pair.check(5_000, [stuck(at), good(at, 2)], Some(1));
}

#[test]
fn a_node_that_hangs_or_is_in_initial_download_is_left_for_a_healthy_one_only() {
    let mut pair = Pair::settled();
    let hung = good(pair.now, 1);
    let at = pair.at(7_999);
    pair.check(7_999, [hung.clone(), good(at, 1)], Some(0));
    pair.check(1, [hung.clone(), good(at, 1)], Some(1));
    assert_eq!(pair.choice.standings[0].condition, Condition::Silent);
    // Both hang: no reason to move.
    pair.check(30_000, [hung.clone(), good(at, 1)], Some(1));
    pair.check(0, [hung, gone()], Some(0));

    let download = |at| Facts {
        initial_download: true,
        ..good(at, 1)
    };
    let mut pair = Pair::settled();
    pair.check(1, [download(pair.at(1)), download(pair.at(1))], Some(0));
    pair.check(1, [download(pair.at(1)), good(pair.at(1), 1)], Some(1));
}

#[test]
fn with_no_node_nothing_is_chosen_and_the_first_that_is_back_is_taken() {
    let mut pair = Pair::settled();
    pair.check(1, [gone(), gone()], None);
    pair.check(1, [gone(), good(pair.at(1), 1)], Some(1));
}

fn facts(now: Instant) -> impl Strategy<Value = Facts> {
    let serving = prop_oneof![
        1 => Just(Serving::NotYet),
        2 => Just(Serving::No),
        7 => Just(Serving::Yes)
    ];
    let answered_at = prop_oneof![
        1 => Just(None),
        9 => (0..10_000_u64).prop_map(move |ago| now.checked_sub(Duration::from_millis(ago)))
    ];
    let chain = prop_oneof![1 => Just(None), 9 => (0..4_u8).prop_map(|n| Some((work(n), tip(n))))];
    let refuses = prop_oneof![9 => Just(None), 1 => (0..4_u8).prop_map(|n| Some(tip(n)))];
    let rare = || prop_oneof![9 => Just(false), 1 => Just(true)];
    (serving, answered_at, rare(), chain, refuses, rare()).prop_map(
        |(serving, answered_at, initial_download, chain, refuses, off_tip)| Facts {
            serving,
            answered_at,
            initial_download,
            chain,
            refuses,
            on_own_tip: !off_tip,
        },
    )
}

/// Moments up to 40 s apart, with what is known of three nodes at each.
fn histories() -> impl Strategy<Value = Vec<(Instant, Vec<Facts>)>> {
    let start = Instant::now() + Duration::from_secs(3600);
    prop::collection::vec(0..40_000_u64, 1..40).prop_flat_map(move |pauses| {
        let mut now = start;
        let moments: Vec<_> = (pauses.into_iter())
            .map(|pause| {
                now += Duration::from_millis(pause);
                (Just(now), prop::collection::vec(facts(now), 3))
            })
            .collect();
        moments
    })
}

proptest! {
    #[test]
    fn the_choice_is_the_best_there_is_and_never_moves_without_a_reason(history in histories()) {
        let start = history[0].0;
        let mut choice = Choice::new(3, RETURN_AFTER, start);
        for (now, facts) in history {
            let before = choice.active;
            choice.decide(&facts, now);
            let condition = |index: usize| choice.standings[index].condition;
            let healthy: Vec<usize> =
                (0..3).filter(|index| condition(*index) == Condition::Healthy).collect();
            let patient = now < start + START_PATIENCE;

            // Never a node without templates, and always a healthy one where there is one.
            if let Some(active) = choice.active {
                prop_assert_eq!(facts[active].serving, Serving::Yes);
            }
            match (choice.active, patient) {
                (None, false) => prop_assert!(facts.iter().all(|node| node.serving != Serving::Yes)),
                (Some(active), _) => {
                    prop_assert!(healthy.is_empty() || healthy.contains(&active));
                }
                (None, true) => {}
            }
            // A healthy node is left only for a preferred one that has proved itself.
            if let (Some(before), Some(active)) = (before, choice.active)
                && before != active
            {
                let proven = now.saturating_duration_since(choice.standings[active].since) >= RETURN_AFTER;
                prop_assert!(condition(before) != Condition::Healthy || (active < before && proven));
                // Else it is the most preferred of the healthy, or whatever serves.
                if condition(before) != Condition::Healthy && let Some(first) = healthy.first() {
                    prop_assert_eq!(active, *first);
                }
                // And not for one that is no better.
                prop_assert!(!healthy.is_empty() || facts[before].serving != Serving::Yes);
            }
            // Who leads the trusted nodes and gives templates of its tip is not called lagging.
            let trusted = |node: &&Facts| distrust(node, now).is_none();
            let best = facts.iter().filter(trusted).filter_map(|node| node.chain).map(|(work, _)| work).max();
            for (index, node) in facts.iter().enumerate() {
                if node.chain.map(|(work, _)| work) == best && node.on_own_tip {
                    prop_assert_ne!(condition(index), Condition::Lagging);
                }
            }
            // Looking twice changes nothing.
            let (active, standings) = (choice.active, choice.standings.clone());
            choice.decide(&facts, now);
            prop_assert_eq!(choice.active, active);
            prop_assert_eq!(&choice.standings, &standings);
        }
    }
}
