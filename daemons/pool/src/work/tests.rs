use super::*;
use crate::sample;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Amount, Transaction, TxOut};
use hh_mining::{Extranonce, ExtranoncePrefix};
use proptest::prelude::*;

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

#[test]
fn the_same_template_again_gives_another_coinbase_on_any_tip() {
    let mut board = board();
    let mut roots = std::collections::HashSet::new();
    let extranonce = ExtranoncePrefix::from_bytes([1; 8]).standard_extranonce();
    for (id, block) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        let template = Template {
            template_id: id,
            ..sample::template(0)
        };
        board
            .on_new_template(template, true, &sample::provider(), 0)
            .unwrap();
        board.on_set_new_prev_hash(id, sample::tip(block)).unwrap();
        let job = Arc::clone(&newest(&board).job);
        assert!(roots.insert(job.job.merkle_root(&extranonce)));
    }
}

#[test]
fn a_provider_that_names_the_block_again_ends_no_job_and_another_block_does() {
    let mut board = board();
    let mut numbers = Vec::new();
    for (id, block) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        board.on_connect();
        board
            .on_new_template(sample::template(id), true, &sample::provider(), 0)
            .unwrap();
        let tip = Tip {
            header_timestamp: sample::TIP_TIME + 1,
            ..sample::tip(block)
        };
        board.on_set_new_prev_hash(id, tip).unwrap();
        numbers.push(newest(&board).tip.number);
    }
    assert_eq!(numbers, [1, 1, 2, 3]);
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

prop_compose! {
    fn any_output()(value in 0_u64..1_000_000_000, script in prop::collection::vec(any::<u8>(), 0..80)) -> TxOut {
        TxOut { value: Amount::from_sat(value), script_pubkey: ScriptBuf::from_bytes(script) }
    }
}

/// A push of a height as BIP 34 has it.
fn height_push(height: u32) -> Vec<u8> {
    let script = bitcoin::script::Builder::new().push_int(height.into());
    script.into_script().into_bytes()
}

proptest! {
    /// What goes to miners, put together as they do it, parses to exactly the template's value, for every job of a template.
    #[test]
    fn the_coinbase_of_every_job_parses_to_exactly_the_templates_value(
        outputs in prop::collection::vec(any_output(), 0..6), value in 0_u64..2_100_000_000_000_000 - 6_000_000_000,
        height in 0_u32..i32::MAX as u32, tag in "[ -~]{0,32}", first_template in any::<u32>(),
        index in 0..VARIANTS, extranonce in any::<[u8; 16]>(),
    ) {
        let mut board = WorkBoard::new(sample::reward_script(), &tag, first_template);
        let template = Template {
            coinbase_prefix: height_push(height),
            coinbase_tx_value_remaining: value,
            coinbase_tx_outputs_count: u32::try_from(outputs.len()).unwrap(),
            coinbase_tx_outputs: outputs.iter().flat_map(serialize).collect(),
            ..sample::template(1)
        };
        let work = board.on_new_template(template, true, &sample::provider(), 0).unwrap();
        prop_assert_eq!(work.height, height);
        let job = work.variant(index).unwrap().unwrap();
        let sent = group::extended_job(1, &job, None).unwrap();
        let coinbase = [sent.coinbase_tx_prefix.as_ref(), &extranonce[..], sent.coinbase_tx_suffix.as_ref()].concat();
        let stripped: Transaction = deserialize(&coinbase).unwrap();
        let whole = job.job.coinbase_with_witness(&Extranonce::from_bytes(extranonce));
        let whole: Transaction = deserialize(&whole).unwrap();
        prop_assert_eq!(stripped.compute_txid(), whole.compute_txid());
        for tx in [stripped, whole] {
            let (reward, others) = tx.output.split_first().unwrap();
            prop_assert_eq!(reward.value.to_sat(), value);
            prop_assert_eq!(&reward.script_pubkey, &sample::reward_script());
            prop_assert_eq!(others, &outputs[..]);
            prop_assert!(tx.input[0].script_sig.len() <= 100);
        }
    }
}
