use super::*;
use proptest::prelude::*;

const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
const NODES: [Option<&str>; 3] = [None, Some("edge-1"), Some("edge-2")];

fn credit(account: &'static str, node: Option<&'static str>, score: u128) -> Credit<'static> {
    Credit {
        account,
        node,
        score: Score(score),
    }
}

fn accounts(credits: &Credits) -> Vec<(&str, u128)> {
    credits
        .accounts()
        .map(|(name, score)| (name, score.0))
        .collect()
}

#[test]
fn the_oldest_share_counts_in_part() {
    let mut window = Window::of(Score(10));
    window.take_share(credit("alice", None, 7));
    window.take_share(credit("bob", Some("edge-1"), 5));
    assert!(window.is_full());
    window.take_share(credit("carol", None, 1));
    let credits = window.into_credits();
    assert_eq!(accounts(&credits), [("alice", 7), ("bob", 3)]);
    assert_eq!(credits.nodes().collect::<Vec<_>>(), [("edge-1", Score(3))]);
    assert_eq!(credits.no_node(), Score(7));
    assert_eq!(credits.total(), Score(10));
}

#[test]
fn a_minute_that_does_not_go_in_changes_nothing() {
    let mut window = Window::of(Score(10));
    assert!(window.take_minute([credit("alice", None, 4)]));
    assert!(!window.take_minute([credit("alice", None, 4), credit("bob", None, 3)]));
    assert_eq!(window.room(), Score(6));
    assert!(window.take_minute([credit("alice", None, 4), credit("bob", None, 2)]));
    assert!(window.is_full());
}

#[test]
fn sums_that_would_overflow_do_not_go_in() {
    let mut window = Window::unbounded();
    assert!(window.take_minute([credit("alice", None, u128::MAX - 1)]));
    assert!(!window.take_minute([credit("bob", None, 1), credit("carol", None, u128::MAX)]));
    window.take_share(credit("bob", None, u128::MAX));
    assert_eq!(window.into_credits().total(), Score(u128::MAX));
}

fn share() -> impl Strategy<Value = Credit<'static>> {
    (0..ACCOUNTS.len(), 0..NODES.len(), 0..9_u128)
        .prop_map(|(account, node, score)| credit(ACCOUNTS[account], NODES[node], score))
}

proptest! {
    #[test]
    fn minutes_and_their_shares_fill_a_window_alike(
        minutes in prop::collection::vec(prop::collection::vec(share(), 0..6), 0..12),
        size in 1..200_u128,
    ) {
        let mut by_share = Window::of(Score(size));
        for share in minutes.iter().flatten() {
            by_share.take_share(*share);
        }
        let mut by_minute = Window::of(Score(size));
        for minute in &minutes {
            if !by_minute.take_minute(minute.iter().copied()) {
                minute.iter().for_each(|share| by_minute.take_share(*share));
            }
        }
        prop_assert_eq!(by_minute.into_credits(), by_share.into_credits());
    }

    #[test]
    fn a_window_has_its_size_or_all_there_is(
        shares in prop::collection::vec(share(), 0..60),
        size in 1..200_u128,
    ) {
        let all: u128 = shares.iter().map(|share| share.score.0).sum();
        let mut window = Window::of(Score(size));
        shares.iter().for_each(|share| window.take_share(*share));
        let credits = window.into_credits();
        prop_assert_eq!(credits.total().0, all.min(size));
        let accounts: u128 = credits.accounts().map(|(_, score)| score.0).sum();
        let nodes: u128 = credits.nodes().map(|(_, score)| score.0).sum();
        prop_assert_eq!(accounts, credits.total().0);
        prop_assert_eq!(nodes + credits.no_node().0, credits.total().0);
    }
}
