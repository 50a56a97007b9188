use super::*;
use crate::{Credit, Window};
use proptest::prelude::*;

fn credits(shares: &[(&str, Option<&str>, u128)]) -> Credits {
    let mut window = Window::unbounded();
    for (account, node, score) in shares {
        window.take_share(Credit {
            account,
            node: *node,
            score: Score(*score),
        });
    }
    window.into_credits()
}

fn mainnet(value_sats: u64, height: u32) -> Reward {
    Reward::of(value_sats, height, Network::Bitcoin).unwrap()
}

fn amounts(parts: &[Part]) -> Vec<(&str, u64)> {
    parts
        .iter()
        .map(|part| (&*part.name, part.amount.0))
        .collect()
}

#[test]
fn the_subsidy_is_bitcoin_cores() {
    for (height, network, expected) in [
        (0, Network::Bitcoin, 5_000_000_000),
        (209_999, Network::Bitcoin, 5_000_000_000),
        (210_000, Network::Bitcoin, 2_500_000_000),
        (840_000, Network::Signet, 312_500_000),
        (149, Network::Regtest, 5_000_000_000),
        (150, Network::Regtest, 2_500_000_000),
        (210_000 * 32, Network::Bitcoin, 1),
        (210_000 * 33, Network::Bitcoin, 0),
        (210_000 * 64, Network::Bitcoin, 0),
        (u32::MAX, Network::Regtest, 0),
    ] {
        assert_eq!(
            subsidy_sats(height, network),
            expected,
            "at {height} of {network}"
        );
    }
}

#[test]
fn a_block_of_two_miners_and_a_node_by_hand() {
    // Subsidy 3.125 BTC, fees 0.1 BTC.
    let reward = mainnet(322_500_000, 840_000);
    let credits = credits(&[("alice", Some("edge-1"), 2), ("bob", None, 1)]);
    let division = Division::of(reward, &credits, "bob");
    // 1% of the subsidy is 3,125,000 sat, its halves 1,562,500 sat.
    assert_eq!(division.treasury, Msat(1_562_500_000));
    assert_eq!(amounts(&division.nodes), [("edge-1", 1_041_666_666)]);
    assert_eq!(division.node_reserve.amount, Msat(520_833_333));
    // 309,375,000 sat are divisible by three.
    assert_eq!(
        amounts(&division.miners),
        [("alice", 206_250_000_000), ("bob", 103_125_000_000)]
    );
    assert_eq!(division.residue, Msat(1));
    assert_eq!(division.finders(), Msat(10_000_000_001));
}

#[test]
fn a_coinbase_below_the_subsidy_has_no_fees_and_is_told() {
    let reward = mainnet(300_000_000, 840_000);
    assert!(reward.is_short());
    assert_eq!(
        (reward.subsidy(), reward.fees()),
        (Msat(300_000_000_000), Msat::ZERO)
    );
    assert!(!mainnet(312_500_000, 840_000).is_short());
}

#[test]
fn a_block_without_a_window_is_the_finders_and_the_reserves() {
    let division = Division::of(mainnet(312_500_001, 840_000), &Credits::default(), "carol");
    assert!(division.is_without_window());
    assert_eq!(division.node_reserve.amount, Msat(1_562_500_000));
    assert_eq!(division.finders(), Msat(309_375_001_000));
    assert_eq!(division.sum(), Some(division.reward.value()));
}

#[test]
fn a_coinbase_of_more_than_there_is_is_refused() {
    let value_sats = 2_100_000_000_000_001;
    assert_eq!(
        Reward::of(value_sats, 1, Network::Bitcoin),
        Err(RewardError::MoreThanThereIs { value_sats })
    );
}

fn any_reward() -> impl Strategy<Value = Reward> {
    (0..=2_100_000_000_000_000_u64, 0..15_000_000_u32)
        .prop_map(|(value_sats, height)| mainnet(value_sats, height))
}

/// Shares of up to four accounts by up to three nodes, of any size that a window may have.
fn any_shares() -> impl Strategy<Value = Vec<(u8, u8, u128)>> {
    prop::collection::vec((0..4_u8, 0..4_u8, 0..Score::WINDOW.0), 0..40)
}

fn named(shares: &[(u8, u8, u128)]) -> Credits {
    let mut window = Window::of(Score::WINDOW);
    for (account, node, score) in shares {
        window.take_share(Credit {
            account: &format!("account-{account}"),
            node: (*node > 0).then_some(&*format!("node-{node}")),
            score: Score(*score),
        });
    }
    window.into_credits()
}

proptest! {
    #[test]
    fn the_parts_are_the_whole_to_the_msat(reward in any_reward(), shares in any_shares()) {
        let division = Division::of(reward, &named(&shares), "finder");
        prop_assert_eq!(division.sum(), Some(reward.value()));
        let parts = division.miners.len() + division.nodes.len() + 1;
        if !division.is_without_window() {
            prop_assert!(division.residue.0 < parts as u64, "{} of {} parts", division.residue, parts);
        }
        prop_assert_eq!(division.treasury.0 + reward.node_half().0, reward.subsidy().0 / 100);
    }

    #[test]
    fn who_splits_his_work_over_names_gains_less_than_an_msat_for_each(
        reward in any_reward(),
        others in any_shares(),
        mine in prop::collection::vec(1..Score::BLOCK.0 >> 8, 1..20),
    ) {
        let division_of = |name: &dyn Fn(usize) -> String| {
            let mut window = Window::unbounded();
            for (number, score) in mine.iter().enumerate() {
                window.take_share(Credit { account: &name(number), node: None, score: Score(*score) });
            }
            for (account, _, score) in &others {
                let account = format!("account-{account}");
                window.take_share(Credit { account: &account, node: None, score: Score(*score >> 8) });
            }
            // Even where he is the finder and gets the residue.
            Division::of(reward, &window.into_credits(), name(0))
        };
        let mine_of = |division: &Division| {
            let parts = division.miners.iter().filter(|part| part.name.starts_with("me"));
            parts.map(|part| part.amount.0).sum::<u64>() + division.finders().0
        };
        let one = mine_of(&division_of(&|_| "me".to_owned()));
        let many = mine_of(&division_of(&|number| format!("me-{number}")));
        prop_assert!(many < one + mine.len() as u64, "{many} for {} names, {one} for one", mine.len());
    }

    /// What counts is the part of a block that a share is worth when it is found: whoever mines the same parts gets the same,
    /// before and after the network's difficulty changes.
    #[test]
    fn a_retarget_inside_the_window_favours_nobody(
        reward in any_reward(),
        shares in prop::collection::vec((0..4_u8, 1..1_000_u128), 1..40),
        at in 0..40_usize,
        exponents in (0x15_u32..=0x19, 0x15_u32..=0x19),
        mantissa in 0x8000_u32..=0x7f_ffff,
    ) {
        let (before, after) = (exponents.0 << 24 | mantissa, exponents.1 << 24 | mantissa);
        let division_of = |nbits: &dyn Fn(usize) -> u32| {
            let mut window = Window::of(Score::WINDOW);
            for (number, (account, thousandths)) in shares.iter().enumerate() {
                let nbits = nbits(number);
                let network = crate::Target::from_compact(nbits).unwrap().work();
                let work = crate::Work(network.0 * thousandths / 1_000);
                let account = format!("account-{account}");
                let score = Score::of(work, nbits).unwrap();
                window.take_share(Credit { account: &account, node: None, score });
            }
            Division::of(reward, &window.into_credits(), "finder")
        };
        let steady = division_of(&|_| before);
        let moved = division_of(&|number| if number < at { before } else { after });
        // Work is whole hashes: each share may be less by one of at least 2^40.
        let most = (reward.miners_part().0 >> 32) + 1;
        for (one, other) in steady.miners.iter().zip(&moved.miners) {
            prop_assert_eq!(&one.name, &other.name);
            prop_assert!(one.amount.0.abs_diff(other.amount.0) <= most, "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn more_score_is_never_less_money(reward in any_reward(), shares in any_shares()) {
        let division = Division::of(reward, &named(&shares), "finder");
        for parts in [&division.miners, &division.nodes] {
            for pair in parts.windows(2) {
                let ((a, b), (x, y)) = ((pair[0].score, pair[1].score), (pair[0].amount, pair[1].amount));
                prop_assert!(a.cmp(&b) == x.cmp(&y) || x == y);
            }
        }
    }
}
