use super::*;
use crate::sample;
use hh_mining::ExtranoncePrefix;

fn board() -> WorkBoard {
    WorkBoard::new(sample::reward_script(), "/test/", 7)
}

/// Publishes template 1 on a tip and gives the newest work.
fn first_work(board: &mut WorkBoard) -> Arc<Work> {
    board
        .on_new_template(sample::template(1), true, &sample::provider(), 0)
        .unwrap();
    board.on_set_new_prev_hash(1, sample::tip(1)).unwrap();
    newest(board)
}

#[track_caller]
fn newest(board: &WorkBoard) -> Arc<Work> {
    board
        .subscribe()
        .borrow()
        .clone()
        .expect("work was published")
}

#[test]
fn a_future_template_becomes_work_with_its_tip_only() {
    let mut board = board();
    let work = board.subscribe();
    board
        .on_new_template(sample::template(1), true, &sample::provider(), 0)
        .unwrap();
    assert!(work.borrow().is_none());
    board.on_set_new_prev_hash(1, sample::tip(1)).unwrap();
    let first = newest(&board);
    assert_eq!(first.job.template.template.template_id, 1);
    assert_eq!(first.job.template.height, sample::HEIGHT);
    assert_eq!(first.tip.number, 1);
}

#[test]
fn a_new_template_on_the_same_tip_is_published_at_once() {
    let mut board = board();
    let first = first_work(&mut board);
    board
        .on_new_template(sample::template(2), false, &sample::provider(), 0)
        .unwrap();
    let second = newest(&board);
    assert_eq!(second.tip.number, first.tip.number);
    assert!(second.job.id > first.job.id);
}

#[test]
fn a_tip_for_a_template_that_never_came_changes_nothing() {
    let mut board = board();
    let first = first_work(&mut board);
    let error = board.on_set_new_prev_hash(99, sample::tip(2)).unwrap_err();
    assert!(matches!(
        error,
        WorkError::UnknownTemplate { template_id: 99 }
    ));
    assert_eq!(newest(&board).job.id, first.job.id);
}

#[test]
fn what_another_provider_announced_is_void_after_a_connect() {
    let mut board = board();
    board
        .on_new_template(sample::template(5), true, &sample::provider(), 0)
        .unwrap();
    board.on_connect();
    board.on_set_new_prev_hash(5, sample::tip(1)).unwrap_err();
}

#[test]
fn a_template_without_a_height_is_refused_and_the_last_work_stays() {
    let mut board = board();
    let first = first_work(&mut board);
    let mut template = sample::template(2);
    template.coinbase_prefix.clear();
    let error = board
        .on_new_template(template, false, &sample::provider(), 0)
        .unwrap_err();
    assert!(matches!(error, WorkError::Height { template_id: 2 }));
    assert_eq!(newest(&board).job.id, first.job.id);
}

#[test]
fn the_variants_of_a_template_differ_in_id_and_in_merkle_root() {
    let mut board = board();
    let template = Arc::clone(&first_work(&mut board).job.template);
    let extranonce = ExtranoncePrefix::from_bytes([1; 8]).standard_extranonce();
    let mut ids = std::collections::HashSet::new();
    let mut roots = std::collections::HashSet::new();
    for index in 0..VARIANTS {
        let job = template.variant(index).unwrap().expect("below the limit");
        assert_eq!(job.variant_index(), index);
        assert!(ids.insert(job.id));
        assert!(roots.insert(job.job.merkle_root(&extranonce)));
    }
    assert!(template.variant(VARIANTS).unwrap().is_none());
    let again = template.variant(3).unwrap().unwrap();
    assert!(!ids.insert(again.id), "a variant is made once");
}

#[tokio::test]
async fn transactions_can_be_awaited() {
    let mut board = board();
    let template = Arc::clone(&first_work(&mut board).job.template);
    assert!(template.transactions().is_none());
    let waiting = template.wait_for_transactions();
    template.set_transactions(vec![vec![1, 2]]);
    assert_eq!(*waiting.await, [vec![1, 2]]);
}
