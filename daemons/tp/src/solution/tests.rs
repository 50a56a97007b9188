use super::*;
use BlockOutcome::{Accepted, Duplicate, Inconclusive, ParentUnknown};

fn refused(reason: &str) -> BlockOutcome {
    BlockOutcome::Rejected(reason.to_owned())
}

#[test]
fn a_block_is_refused_when_every_node_has_found_it_invalid() {
    #[track_caller]
    fn check(answers: &[BlockOutcome], path_count: usize, expected: Option<&str>) {
        assert_eq!(unanimous_refusal(answers, path_count), expected);
    }
    check(&[refused("bad")], 1, Some("bad"));
    check(&[refused("bad"), refused("worse")], 2, Some("bad"));
    // The other has not answered, or the daemon stops.
    check(&[refused("bad")], 2, None);
    check(&[], 1, None);
    check(&[], 0, None);
    for other in [Accepted, Duplicate, Inconclusive, ParentUnknown] {
        check(std::slice::from_ref(&other), 1, None);
        check(&[refused("bad"), other.clone()], 2, None);
        check(&[other, refused("bad")], 2, None);
    }
}
