use super::*;

const FOUND_AT_MS: i64 = 1_700_000_000_000;
const HEIGHT: u32 = 100;

/// The block is on its way to `nodes` nodes.
fn case(nodes: usize) -> Case {
    let entry = JournalEntry {
        hash: String::new(),
        height: HEIGHT,
        account: "alice".to_owned(),
        worker: String::new(),
        node: "core".to_owned(),
        lane: "sv2".to_owned(),
        found_at_ms: FOUND_AT_MS,
        value_sat: 50,
        extranonce_prefix: "0000000000000001".to_owned(),
        share: None,
    };
    let mut case = Case::found(entry, BlockHash::from_byte_array([1; 32]), nodes);
    case.journalled = Journalled::Whole;
    case.on_submitted(Arc::from([]));
    case
}

fn answer(case: &mut Case, node: usize, outcome: BlockOutcome) {
    case.on_answer(node, &node.to_string(), outcome, FOUND_AT_MS);
}

fn refused(reason: &str) -> BlockOutcome {
    BlockOutcome::Rejected(reason.to_owned())
}

fn deep(confirmations: u32) -> Presence {
    Presence::OnBestChain { confirmations }
}

/// Whether it is over so long after the find, with everything in the ledger.
fn is_over(case: &mut Case, after_ms: i64, next_height: u32) -> bool {
    case.is_unbooked = false;
    case.is_over(FOUND_AT_MS + after_ms, next_height)
}

#[track_caller]
fn check(outcomes: &[BlockOutcome], state: BlockState, reason: Option<&str>) {
    let mut case = case(outcomes.len());
    for (node, outcome) in outcomes.iter().enumerate() {
        answer(&mut case, node, outcome.clone());
    }
    assert_eq!(
        (case.row.state, case.row.reason.as_deref()),
        (state, reason)
    );
    assert_eq!(case.row.paths.len(), outcomes.len());
}

#[test]
fn one_path_that_accepts_is_enough_in_any_order() {
    let accepted = BlockOutcome::Accepted;
    check(std::slice::from_ref(&accepted), BlockState::Accepted, None);
    check(
        &[refused("bad-txns"), accepted.clone()],
        BlockState::Accepted,
        None,
    );
    check(&[accepted, refused("bad-txns")], BlockState::Accepted, None);
}

#[test]
fn a_block_is_rejected_when_nobody_can_take_it_any_more_and_not_before() {
    let mut case = case(3);
    answer(&mut case, 0, refused("bad-txns"));
    answer(&mut case, 1, BlockOutcome::Duplicate);
    answer(&mut case, 2, refused("high-hash"));
    assert_eq!(case.row.state, BlockState::Submitted, "one has it");
    case.on_seen(1, Presence::OffBestChain, HEIGHT + 1);
    assert_eq!(case.row.state, BlockState::Submitted, "it may connect it");
    case.on_seen(1, Presence::OffBestChain, HEIGHT + 1);
    assert_eq!(case.row.state, BlockState::Rejected);
    assert_eq!(case.row.reason.as_deref(), Some("bad-txns"));
    case.on_seen(1, deep(1), HEIGHT + 1);
    assert_eq!(case.row.state, BlockState::Accepted);
}

#[test]
fn a_refusal_keeps_the_words_of_the_node() {
    check(
        &[refused("bad-txnmrklroot")],
        BlockState::Rejected,
        Some("bad-txnmrklroot"),
    );
}

#[test]
fn a_node_that_has_not_judged_a_block_decides_nothing() {
    check(&[BlockOutcome::Duplicate], BlockState::Submitted, None);
    check(&[BlockOutcome::Inconclusive], BlockState::Submitted, None);
    check(&[BlockOutcome::ParentUnknown], BlockState::Submitted, None);
}

#[test]
fn the_way_through_the_template_provider_is_among_the_paths() {
    let mut case = case(1);
    case.on_sent("10.0.0.1:34250", FOUND_AT_MS);
    assert_eq!(case.row.paths[0].path, "template-provider 10.0.0.1:34250");
    assert_eq!(case.row.paths[0].outcome, "sent");
}

#[test]
fn a_block_is_kept_until_it_is_deep_and_the_node_has_surely_written_it_down() {
    let mut case = case(1);
    answer(&mut case, 0, BlockOutcome::Accepted);
    case.on_seen(0, deep(SAFE_DEPTH - 1), HEIGHT + SAFE_DEPTH - 1);
    assert!(!is_over(&mut case, NODE_WRITES_WITHIN_MS, HEIGHT + 5));
    case.on_seen(0, deep(SAFE_DEPTH), HEIGHT + SAFE_DEPTH);
    case.is_unbooked = false;
    assert!(case.is_dispensable());
    assert!(!is_over(&mut case, NODE_WRITES_WITHIN_MS - 1, HEIGHT + 6));
    assert!(is_over(&mut case, NODE_WRITES_WITHIN_MS, HEIGHT + 6));
    case.on_away(0);
    assert!(!is_over(&mut case, NODE_WRITES_WITHIN_MS, HEIGHT + 6));
}

#[test]
fn of_too_many_blocks_those_go_that_are_deep_or_on_a_side_and_booked() {
    let mut case = case(1);
    let dispensable = |case: &mut Case| {
        case.is_unbooked = false;
        case.is_dispensable()
    };
    assert!(!dispensable(&mut case));
    case.on_seen(0, Presence::OffBestChain, HEIGHT + 1);
    assert!(dispensable(&mut case));
    case.is_unbooked = true;
    assert!(!case.is_dispensable());
    case.on_seen(0, deep(1), HEIGHT + 1);
    assert!(!dispensable(&mut case));
    case.on_seen(0, deep(SAFE_DEPTH), HEIGHT + 6);
    assert!(dispensable(&mut case));
}

#[test]
fn nothing_is_over_that_the_ledger_does_not_have() {
    let mut case = case(1);
    answer(&mut case, 0, refused("bad-txns"));
    assert!(!case.is_over(FOUND_AT_MS, HEIGHT));
    assert!(is_over(&mut case, 0, HEIGHT));
}

#[test]
fn a_block_whose_write_failed_is_written_again_though_its_entry_is_there() {
    let mut case = case(1);
    (case.journalled, case.block) = (Journalled::UnderWay, Some(Arc::from([])));
    assert!(!case.needs_journal());
    case.on_journalled(true, false);
    assert!(case.needs_journal());
    case.on_journalled(false, true);
    assert!(case.needs_journal());
    case.on_journalled(true, true);
    assert!(!case.needs_journal() && case.block.is_none());
    case.on_journalled(true, false);
    assert_eq!(case.journalled, Journalled::Whole);
}

#[test]
fn nothing_ends_while_it_is_written_to_the_journal() {
    let mut case = case(1);
    case.journalled = Journalled::WithoutBlock;
    case.on_submitted(Arc::from([]));
    answer(&mut case, 0, refused("bad-txns"));
    assert!(!is_over(&mut case, LAST_WORD_MS, HEIGHT + 9));
    case.on_seen(0, deep(SAFE_DEPTH), HEIGHT + 6);
    case.is_unbooked = false;
    assert!(!case.is_dispensable());
    case.journalled = Journalled::Whole;
    assert!(case.is_dispensable());
    assert!(is_over(&mut case, LAST_WORD_MS, HEIGHT + 9));
}

#[test]
fn a_node_that_forgot_a_block_wants_it_again_and_one_that_refused_it_does_not() {
    let mut case = case(3);
    let wanted = |case: &Case, node| case.wanted_by(node, FOUND_AT_MS);
    assert_eq!(wanted(&case, 0), Wanted::No, "it is under way");
    answer(&mut case, 0, BlockOutcome::Accepted);
    answer(&mut case, 1, refused("bad-txns"));
    assert_eq!(wanted(&case, 0), Wanted::IfUnknown);
    assert_eq!(wanted(&case, 1), Wanted::No);
    assert_eq!(wanted(&case, 2), Wanted::No, "it is retried by itself");
    assert_eq!(wanted(&case, 3), Wanted::No, "there is no such node");
}

#[test]
fn a_node_that_lacks_the_parent_is_left_alone_for_a_while() {
    let mut case = case(1);
    answer(&mut case, 0, BlockOutcome::ParentUnknown);
    let wanted = |after_ms| case.wanted_by(0, FOUND_AT_MS + after_ms);
    assert_eq!(wanted(PARENT_PAUSE_MS - 1), Wanted::No);
    assert_eq!(wanted(PARENT_PAUSE_MS), Wanted::IfUnknown);
}

#[test]
fn a_block_of_an_earlier_run_is_given_to_whoever_has_it_on_a_side_to_hear_its_verdict() {
    let Case { entry, row, .. } = case(1);
    let mut case = Case::recovered(entry, row.hash, Journalled::Whole, 1);
    case.on_seen(0, Presence::OffBestChain, HEIGHT + 1);
    assert_eq!(case.wanted_by(0, FOUND_AT_MS), Wanted::IfNotOnBestChain);
    answer(&mut case, 0, refused("bad-cb-amount"));
    assert_eq!(case.wanted_by(0, FOUND_AT_MS), Wanted::No);
    assert_eq!(case.row.reason.as_deref(), Some("bad-cb-amount"));
    case.journalled = Journalled::WithoutBlock;
    assert_eq!(
        case.wanted_by(0, FOUND_AT_MS),
        Wanted::No,
        "there is nothing to give"
    );
}

#[test]
fn a_refused_block_waits_for_the_last_node_but_not_for_ever() {
    let mut case = case(2);
    answer(&mut case, 0, refused("bad-txns"));
    assert_eq!(case.row.state, BlockState::Submitted, "one has not spoken");
    case.on_away(1);
    assert_eq!(case.row.state, BlockState::Rejected);
    assert!(!is_over(&mut case, LAST_WORD_MS - 1, HEIGHT + 9));
    assert!(is_over(&mut case, LAST_WORD_MS, HEIGHT + 9));
    answer(&mut case, 1, refused("bad-txns"));
    assert!(is_over(&mut case, 0, HEIGHT));
}

#[test]
fn a_block_that_a_reorganisation_leaves_behind_is_orphaned_and_may_come_back() {
    let mut case = case(1);
    answer(&mut case, 0, BlockOutcome::Accepted);
    case.on_seen(0, deep(1), HEIGHT + 1);
    case.on_seen(0, Presence::OffBestChain, HEIGHT + 2);
    assert_eq!(case.row.state, BlockState::Accepted, "it may be connecting");
    case.on_seen(0, Presence::OffBestChain, HEIGHT + 2);
    assert_eq!(case.row.state, BlockState::Orphaned);
    assert_eq!(case.row.reason.as_deref(), Some("not on the best chain"));
    assert!(!is_over(&mut case, LAST_WORD_MS, HEIGHT + BEYOND_RETURN));
    case.on_seen(0, deep(3), HEIGHT + 3);
    assert_eq!(
        (case.row.state, case.row.reason.clone()),
        (BlockState::Accepted, None)
    );
    for _ in 0..2 {
        case.on_seen(0, Presence::OffBestChain, HEIGHT + 4);
    }
    assert!(is_over(&mut case, 0, HEIGHT + BEYOND_RETURN + 1));
}

#[test]
fn an_open_block_is_orphaned_when_the_chain_has_gone_on_without_it() {
    let mut side = case(1);
    side.on_seen(0, Presence::OffBestChain, HEIGHT + LEFT_BEHIND);
    assert_eq!(side.row.state, BlockState::Submitted);
    side.on_seen(0, Presence::OffBestChain, HEIGHT + LEFT_BEHIND + 1);
    assert_eq!(side.row.state, BlockState::Orphaned);

    let mut nowhere = case(1);
    answer(&mut nowhere, 0, BlockOutcome::ParentUnknown);
    nowhere.on_seen(0, Presence::Unknown, HEIGHT + BEYOND_RETURN);
    assert_eq!(nowhere.row.state, BlockState::Submitted);
    nowhere.on_seen(0, Presence::Unknown, HEIGHT + BEYOND_RETURN + 1);
    assert_eq!(nowhere.row.reason.as_deref(), Some("no node has it"));
}

#[test]
fn a_block_is_nowhere_only_when_every_node_was_asked_and_given_it() {
    let far = HEIGHT + BEYOND_RETURN + 1;
    let Case { entry, row, .. } = case(2);
    let mut case = Case::recovered(entry, row.hash, Journalled::Whole, 2);
    answer(&mut case, 0, BlockOutcome::ParentUnknown);
    case.on_seen(0, Presence::Unknown, far);
    assert_eq!(case.row.state, BlockState::Found, "one was not asked");
    case.on_seen(1, Presence::Unknown, far);
    assert_eq!(case.row.state, BlockState::Found, "one was not given it");
    answer(&mut case, 1, BlockOutcome::ParentUnknown);
    case.on_away(0);
    case.on_seen(1, Presence::Unknown, far);
    assert_eq!(case.row.state, BlockState::Found, "one is away");
    case.on_seen(0, Presence::Unknown, far);
    assert_eq!(case.row.state, BlockState::Orphaned);
    assert!(is_over(&mut case, 0, far));
}

#[test]
fn an_accepted_block_that_all_nodes_forgot_is_orphaned_when_there_is_nothing_to_give_them() {
    let far = HEIGHT + BEYOND_RETURN + 1;
    let mut case = case(1);
    answer(&mut case, 0, BlockOutcome::Accepted);
    case.on_seen(0, Presence::Unknown, far);
    assert_eq!(case.row.state, BlockState::Accepted, "it gets it again");
    case.journalled = Journalled::WithoutBlock;
    case.on_seen(0, Presence::Unknown, far);
    assert_eq!(case.row.reason.as_deref(), Some("no node has it"));
}

#[test]
fn a_node_that_catches_up_orphans_no_block_that_another_has_on_its_best_chain() {
    let mut case = case(2);
    case.on_seen(1, deep(1), HEIGHT + 1);
    assert_eq!(case.row.state, BlockState::Accepted);
    for _ in 0..2 {
        case.on_seen(0, Presence::OffBestChain, HEIGHT + 1);
    }
    assert_eq!(case.row.state, BlockState::Accepted);
    for _ in 0..2 {
        case.on_seen(1, Presence::OffBestChain, HEIGHT + 1);
    }
    assert_eq!(case.row.state, BlockState::Orphaned);
    case.on_away(0);
    case.on_seen(1, deep(2), HEIGHT + 2);
    assert_eq!(case.row.state, BlockState::Accepted);
}

#[test]
fn a_node_is_not_asked_again_for_what_lies_deep_on_its_chain_until_it_may_go() {
    let mut case = case(1);
    let settled = |case: &Case, after_ms| case.is_settled_on(0, FOUND_AT_MS + after_ms);
    case.on_seen(0, deep(SAFE_DEPTH - 1), HEIGHT + 5);
    assert!(!settled(&case, 0));
    case.on_seen(0, deep(SAFE_DEPTH), HEIGHT + 6);
    assert!(settled(&case, 0));
    assert!(!settled(&case, NODE_WRITES_WITHIN_MS));
}
