use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use proptest::prelude::*;

use super::*;
use crate::{
    CORE, Division, EdgeShare, EntriesHash, EntryOrigin, PartMinute, Reward, ShareId, SumTree,
    Tally, WindowEntry, WindowTotals, Work,
};

pub(crate) fn salt(account: &str) -> [u8; 32] {
    sha256::Hash::hash(account.as_bytes()).to_byte_array()
}

fn origin(account: &str, node: &str) -> EntryOrigin<'static> {
    EntryOrigin {
        account: account.to_owned().into(),
        worker: "rig1".into(),
        node: node.to_owned().into(),
        lane: "main".into(),
    }
}

/// A window in which two accounts have sums, and a third one the oldest share in part.
pub(crate) fn window(size: u128) -> WindowTotals {
    let mut tally = Tally::new(WindowSize::Pplns { score: Score(size) });
    let part = |account, node, score| {
        WindowEntry::Part(PartMinute {
            minute: 28_333_333,
            origin: origin(account, node),
            shares: 1,
            work: Work(score),
            score: Score(score),
        })
    };
    assert!(tally.take_minute(&[part("alice", "edge-1", 2), part("bob", CORE, 1)]));
    for (seq, account) in [(3, "alice"), (2, "carol")] {
        if !tally.is_full() {
            tally.take_share(EdgeShare {
                at_ms: 1_699_999_920_123,
                pool: "pool-1".into(),
                epoch: [7; 16],
                seq,
                origin: origin(account, CORE),
                score: Score(5),
                counted: Score(0),
            });
        }
    }
    tally.finish()
}

pub(crate) fn reported() -> ReportedBlock {
    ReportedBlock {
        network: Network::Bitcoin,
        hash: BlockHash::from_byte_array([0x11; 32]),
        height: 840_000,
        window: WindowSize::Pplns { score: Score(9) },
        newest: SharePosition {
            at_ms: 1_700_000_000_000,
            share: Some(ShareId {
                pool: "pool-1".to_owned(),
                epoch: [7; 16],
                seq: 9,
            }),
        },
        previous_report: Some([0x22; 32]),
    }
}

pub(crate) fn parts() -> ReportParts {
    let reward = Reward::of(322_500_000, 840_000, Network::Bitcoin).unwrap();
    let window = window(9);
    let division = Division::of(reward, &window.credits, "bob");
    ReportParts::of(&reported(), &division, &window, salt).unwrap()
}

fn text(report: &BlockReport) -> String {
    String::from_utf8(report.to_json()).unwrap()
}

#[test]
fn a_report_has_the_json_of_the_page() {
    let report = parts().report;
    let hex = |bytes: &[u8]| hex::encode(bytes);
    // 7 of 9 are alice's (2 by the node), 1 is bob's, 1 of the 5 of the last share is carol's. 309,375,000 sat are split.
    let expected = format!(
        concat!(
            r#"{{"format":"hyperhash-block-report/1","chain":"main","block":"{block}","height":840000,"#,
            r#""value_msat":"322500000000","subsidy_msat":"312500000000","fees_msat":"10000000000","pool_fee_msat":"3125000000","#,
            r#""node_half_msat":"1562500000","treasury_msat":"1562500000","miners_msat":"309375000000","residue_msat":"1","#,
            r#""window":{{"rule":"pplns","score":"9"}},"#,
            r#""newest":{{"at_ms":1700000000000,"share":{{"pool":"pool-1","epoch":"{epoch}","seq":"9"}}}},"#,
            r#""oldest":{{"kind":"share","at_ms":1699999920123,"pool":"pool-1","epoch":"{epoch}","seq":"2","score":"5","counted":"1"}},"#,
            r#""is_full":true,"score":"9","finder":"{finder}","#,
            r#""nodes":[{{"node":"edge-1","score":"2","amount_msat":"347222222"}}],"#,
            r#""node_reserve":{{"score":"7","amount_msat":"1215277777"}},"#,
            r#""tree":{{"hash":"{tree}","score":"9","amount_msat":"319375000001","leaves":3}},"#,
            r#""edge":{{"rows":2,"hash":"{edge}"}},"previous_report":"{previous}"}}"#,
        ),
        block = "11".repeat(32),
        epoch = "07".repeat(16),
        finder = hex(&report.finder),
        tree = hex(&report.tree.hash),
        edge = hex(&report.edge.hash),
        previous = "22".repeat(32),
    );
    assert_eq!(text(&report), expected);
    assert_eq!(BlockReport::parse(expected.as_bytes()).unwrap(), report);
}

#[test]
fn everybody_has_a_leaf_and_the_finder_has_his_in_any_case() {
    let parts = parts();
    let [(_, alice), (_, bob), (_, carol)] = &parts.leaves[..] else {
        panic!("{:?}", parts.leaves)
    };
    assert_eq!(alice.amount, Msat(240_625_000_000));
    assert_eq!(bob.amount, Msat(34_375_000_000 + 10_000_000_000 + 1));
    assert_eq!(carol.score, Score(1));
    let reward = Reward::of(322_500_000, 840_000, Network::Bitcoin).unwrap();
    let window = window(9);
    let division = Division::of(reward, &window.credits, "dave");
    let parts = ReportParts::of(&reported(), &division, &window, salt).unwrap();
    let (name, dave) = &parts.leaves[3];
    assert_eq!((name.as_str(), dave.score), ("dave", Score(0)));
    assert_eq!(dave.amount, division.finders());
    assert!(EntriesHash::new().are_those_of(dave));
}

#[test]
fn a_block_without_a_window_is_reported() {
    let reward = Reward::of(322_500_000, 840_000, Network::Bitcoin).unwrap();
    let window = Tally::new(reported().window).finish();
    let division = Division::of(reward, &window.credits, "bob");
    let parts = ReportParts::of(&reported(), &division, &window, salt).unwrap();
    assert_eq!(parts.report.tree.leaves, 1);
    assert_eq!(parts.report.residue_msat, reward.miners_part());
    assert_eq!(parts.report.node_reserve.amount_msat, reward.node_half());
    assert_eq!(
        BlockReport::parse(&parts.report.to_json()).unwrap(),
        parts.report
    );
}

#[test]
fn a_report_whose_sums_are_wrong_is_refused() {
    let json = text(&parts().report);
    for (from, to) in [
        ("block-report/1", "block-report/2"),
        (r#""chain":"main""#, r#""chain":"mainnet""#),
        (r#""chain":"main""#, r#""chain":"regtest""#),
        (r#""height":840000"#, r#""height":839999"#),
        (
            r#""value_msat":"322500000000""#,
            r#""value_msat":"322500000001""#,
        ),
        (
            r#""value_msat":"322500000000""#,
            r#""value_msat":"322500001000""#,
        ),
        (
            r#""subsidy_msat":"312500000000""#,
            r#""subsidy_msat":"312500000001""#,
        ),
        (
            r#""fees_msat":"10000000000""#,
            r#""fees_msat":"10000000001""#,
        ),
        (
            r#""pool_fee_msat":"3125000000""#,
            r#""pool_fee_msat":"3125000001""#,
        ),
        (
            r#""node_half_msat":"1562500000""#,
            r#""node_half_msat":"1562500001""#,
        ),
        (
            r#""treasury_msat":"1562500000""#,
            r#""treasury_msat":"1562500001""#,
        ),
        (
            r#""miners_msat":"309375000000""#,
            r#""miners_msat":"309375000001""#,
        ),
        (r#""residue_msat":"1""#, r#""residue_msat":"0""#),
        (r#""residue_msat":"1""#, r#""residue_msat":"4""#),
        (
            r#""amount_msat":"347222222""#,
            r#""amount_msat":"347222223""#,
        ),
        (
            r#""amount_msat":"1215277777""#,
            r#""amount_msat":"1215277778""#,
        ),
        (
            r#""amount_msat":"319375000001""#,
            r#""amount_msat":"319375000002""#,
        ),
        (r#""score":"2","amount"#, r#""score":"3","amount"#),
        (r#""score":"7","amount"#, r#""score":"6","amount"#),
        (r#""score":"9","amount"#, r#""score":"8","amount"#),
        (r#""score":"9","finder"#, r#""score":"8","finder"#),
        (
            r#""rule":"pplns","score":"9""#,
            r#""rule":"pplns","score":"10""#,
        ),
        (r#""is_full":true"#, r#""is_full":false"#),
        (r#""counted":"1""#, r#""counted":"0""#),
        (r#""counted":"1""#, r#""counted":"6""#),
        (r#""at_ms":1699999920123"#, r#""at_ms":1700000000001"#),
        (r#""rows":2"#, r#""rows":0"#),
        (r#""node":"edge-1""#, r#""node":"core""#),
        (
            r#"{"rule":"pplns","score":"9"}"#,
            r#"{"rule":"round","previous":null}"#,
        ),
        // Spelled in another way.
        (r#""height":840000"#, r#""height":"840000""#),
        (r#""height":840000"#, r#""height": 840000"#),
        (r#""is_full":true"#, r#""is_full":true,"more":0"#),
        (r#""rows":2"#, r#""rows":2,"more":0"#),
        (r#""residue_msat":"1""#, r#""residue_msat":"01""#),
        (r#""block":"11"#, r#""block":"1G"#),
    ] {
        let other = json.replacen(from, to, 1);
        assert_ne!(other, json, "{from}");
        assert!(BlockReport::parse(other.as_bytes()).is_err(), "{to}");
    }
    assert!(BlockReport::parse(&vec![b' '; REPORT_BYTES_MAX + 1]).is_err());
    // Nodes out of their order, and one twice.
    let node = r#"{"node":"edge-1","score":"2","amount_msat":"347222222"}"#;
    let twice = json.replacen(node, &format!("{node},{node}"), 1);
    assert!(BlockReport::parse(twice.as_bytes()).is_err());
}

#[test]
fn what_does_not_belong_together_makes_no_report() {
    let reward = Reward::of(322_500_000, 840_000, Network::Bitcoin).unwrap();
    let (ours, other) = (window(9), window(4));
    let division = Division::of(reward, &ours.credits, "bob");
    let of = |block: &ReportedBlock, window| ReportParts::of(block, &division, window, salt);
    assert!(of(&reported(), &ours).is_ok());
    assert!(of(&reported(), &other).is_err());
    let at_halving = ReportedBlock {
        height: 839_999,
        ..reported()
    };
    assert!(of(&at_halving, &ours).is_err());
    let one_salt = |_: &str| [0; 32];
    let fixed = ReportedBlock {
        newest: SharePosition {
            at_ms: 0,
            share: None,
        },
        ..reported()
    };
    assert!(of(&fixed, &ours).is_err());
    assert!(ReportParts::of(&reported(), &division, &ours, one_salt).is_ok());
}

#[test]
fn a_report_is_made_again_from_its_window_and_from_no_other() {
    let parts = parts();
    let again = parts.report.recompute(&window(9), "bob", salt).unwrap();
    assert_eq!(again, parts);
    let differs = |window: &WindowTotals, finder: &str| {
        let error = parts.report.recompute(window, finder, salt).unwrap_err();
        matches!(error, ReportError::Differs { .. })
    };
    assert!(differs(&window(9), "alice"));
    let mut moved = window(9);
    moved.minutes.insert("alice".to_owned(), [0; 32]);
    assert!(differs(&moved, "bob"));
    let mut moved = window(9);
    moved.edge[0].seq = 4;
    assert!(differs(&moved, "bob"));
    let other_salt = |account: &str| salt(&format!("{account}x"));
    assert!(
        parts
            .report
            .recompute(&window(9), "bob", other_salt)
            .is_err()
    );
}

#[test]
fn the_edge_of_a_report_is_its_shares_in_their_order() {
    let ReportParts { report, edge, .. } = parts();
    assert!(report.check_edge(&edge).is_ok());
    for row in &edge {
        assert_eq!(EdgeRow::parse(&row.to_json()).unwrap(), *row);
    }
    let mut rows = edge.clone();
    rows.reverse();
    assert!(report.check_edge(&rows).is_err());
    assert!(report.check_edge(&edge[..1]).is_err());
    assert!(report.check_edge(&[]).is_err());
    let mut rows = edge.clone();
    rows[0].account = edge[1].account;
    assert!(report.check_edge(&rows).is_err());
}

#[test]
fn a_tree_is_made_again_from_the_leaves_that_are_kept() {
    let parts = parts();
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
    let tree = SumTree::new(leaves.collect()).unwrap();
    assert_eq!(tree.root(), parts.report.root());
}

proptest! {
    /// What is neither refused nor comes out otherwise is what only the signature vouches for.
    #[test]
    fn a_changed_byte_of_a_report_is_refused_or_changes_what_was_given(
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let report = parts().report;
        let mut json = report.to_json();
        let place = at.index(json.len());
        json[place] ^= flip;
        if let Ok(mut other) = BlockReport::parse(&json)
            && other.recompute(&window(9), "bob", salt).is_ok()
        {
            prop_assert_ne!(&other, &report);
            (other.height, other.chain) = (report.height, report.chain.clone());
            (other.newest, other.previous_report) = (report.newest.clone(), report.previous_report);
            prop_assert_eq!(other, report);
        }
    }
}
