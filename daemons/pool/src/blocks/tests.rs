use super::*;

/// The row of a block that was sent to `template_provider`.
fn found(template_provider: Option<&str>) -> BlockRow {
    let entry = JournalEntry {
        hash: String::new(),
        height: 5,
        account: "alice".to_owned(),
        worker: String::new(),
        node: "core".to_owned(),
        lane: "sv2".to_owned(),
        found_at_ms: 1,
        value_sat: 50,
        extranonce_prefix: "0000000000000001".to_owned(),
        template_provider: template_provider.map(str::to_owned),
        block: None,
    };
    row(&entry, BlockHash::from_byte_array([1; 32]))
}

fn says(path: &str, outcome: BlockOutcome) -> PathOutcome {
    PathOutcome {
        path: path.to_owned(),
        outcome,
        attempts: 1,
        elapsed: Duration::ZERO,
    }
}

#[track_caller]
fn check(outcomes: &[BlockOutcome], state: BlockState, reason: Option<&str>) {
    let mut row = found(None);
    for (index, outcome) in outcomes.iter().enumerate() {
        on_outcome(&mut row, says(&index.to_string(), outcome.clone()));
    }
    assert_eq!((row.state, row.reason.as_deref()), (state, reason));
    assert_eq!(row.paths.len(), outcomes.len());
}

#[test]
fn one_path_that_accepts_is_enough_in_any_order() {
    let refused = || BlockOutcome::Rejected("prev-blk-not-found".to_owned());
    check(&[BlockOutcome::Accepted], BlockState::Accepted, None);
    check(
        &[refused(), BlockOutcome::Accepted],
        BlockState::Accepted,
        None,
    );
    check(
        &[BlockOutcome::Accepted, refused()],
        BlockState::Accepted,
        None,
    );
}

#[test]
fn a_refusal_keeps_the_words_of_the_node() {
    let refused = BlockOutcome::Rejected("bad-txnmrklroot".to_owned());
    check(&[refused], BlockState::Rejected, Some("bad-txnmrklroot"));
}

#[test]
fn a_node_that_has_merely_heard_of_a_block_decides_nothing() {
    check(&[BlockOutcome::Duplicate], BlockState::Found, None);
    check(&[BlockOutcome::Inconclusive], BlockState::Found, None);
}

#[test]
fn the_way_through_the_template_provider_is_among_the_paths() {
    let row = found(Some("10.0.0.1:34250"));
    assert_eq!(row.paths[0].path, "template-provider 10.0.0.1:34250");
    assert_eq!(row.paths[0].outcome, "sent");
}
