use super::*;
use crate::sample;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Amount, ScriptBuf, Transaction, TxOut};
use hh_mining::{Extranonce, ExtranoncePrefix};
use proptest::prelude::*;
use std::time::Duration;

/// How long the preferred provider must have had work before it is gone back to.
const RETURN_AFTER_MS: u64 = 10_000;

fn board() -> WorkBoard {
    sample::board(7)
}

/// A board for two providers, and what each is given to submit.
fn two_providers() -> (WorkBoard, [mpsc::Receiver<SubmitSolution>; 2]) {
    let return_after = Duration::from_millis(RETURN_AFTER_MS);
    let mut board = WorkBoard::new(sample::reward_script(), "/test/", 7, 2, return_after);
    let receivers = [0, 1].map(|index| up(&mut board, index));
    (board, receivers)
}

/// A new connection to a provider.
fn up(board: &mut WorkBoard, index: usize) -> mpsc::Receiver<SubmitSolution> {
    let (solutions, receiver) = mpsc::channel(4);
    let address = format!("provider:{index}").into();
    board.on_up(index, Provider { address, solutions });
    receiver
}

/// A provider announces a template on a tip that is new to it.
fn announce(board: &mut WorkBoard, index: usize, template: Template, tip: u8, now_ms: u64) {
    let id = template.template_id;
    board
        .on_new_template(index, template, true, now_ms)
        .unwrap();
    board
        .on_set_new_prev_hash(index, id, sample::tip(tip), now_ms)
        .unwrap();
}

/// The same contents under another id.
fn under_id(template: Template, template_id: u64) -> Template {
    Template {
        template_id,
        ..template
    }
}

/// Submits a block of the template, and gives to whom that went.
fn solved(work: &Work) -> Vec<String> {
    let sent = work.job.template.submit(|template_id| SubmitSolution {
        template_id,
        version: 0,
        header_timestamp: 0,
        header_nonce: 0,
        coinbase_tx: vec![0].try_into().unwrap(),
    });
    sent.iter().map(ToString::to_string).collect()
}

/// Publishes template 1 on a tip and gives the newest work.
fn first_work(board: &mut WorkBoard) -> Arc<Work> {
    announce(board, 0, sample::template(1), 1, 0);
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
        .on_new_template(0, sample::template(1), true, 0)
        .unwrap();
    assert!(work.borrow().is_none());
    assert_eq!(board.future_templates().borrow().len(), 1);
    board.on_set_new_prev_hash(0, 1, sample::tip(1), 0).unwrap();
    let first = newest(&board);
    assert_eq!(first.job.template.template.template_id, 1);
    assert_eq!(first.job.template.height, sample::HEIGHT);
    assert_eq!(first.tip.number, 1);
    assert!(board.future_templates().borrow().is_empty());
}

#[test]
fn a_new_template_on_the_same_tip_is_published_at_once() {
    let mut board = board();
    let first = first_work(&mut board);
    board
        .on_new_template(0, sample::template(2), false, 0)
        .unwrap();
    let second = newest(&board);
    assert_eq!(second.tip.number, first.tip.number);
    assert!(second.job.id > first.job.id);
}

#[test]
fn a_tip_for_a_template_that_never_came_changes_nothing() {
    let mut board = board();
    let first = first_work(&mut board);
    let error = board
        .on_set_new_prev_hash(0, 99, sample::tip(2), 0)
        .unwrap_err();
    assert!(matches!(
        error,
        WorkError::UnknownTemplate { template_id: 99 }
    ));
    assert_eq!(newest(&board).job.id, first.job.id);
}

#[test]
fn what_was_announced_on_an_earlier_connection_is_void() {
    let mut board = board();
    board
        .on_new_template(0, sample::template(5), true, 0)
        .unwrap();
    board.on_up(0, sample::provider());
    board
        .on_set_new_prev_hash(0, 5, sample::tip(1), 0)
        .unwrap_err();
}

#[test]
fn a_template_without_a_height_is_refused_and_the_last_work_stays() {
    let mut board = board();
    let first = first_work(&mut board);
    let mut template = sample::template(2);
    template.coinbase_prefix.clear();
    let error = board.on_new_template(0, template, false, 0).unwrap_err();
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
fn the_same_template_again_is_the_same_job_or_has_another_coinbase() {
    let mut board = board();
    let mut ids = std::collections::HashSet::new();
    let mut roots = std::collections::HashSet::new();
    let extranonce = ExtranoncePrefix::from_bytes([1; 8]).standard_extranonce();
    for (id, block) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        let template = Template {
            template_id: id,
            ..sample::template(0)
        };
        announce(&mut board, 0, template, block, 0);
        let job = Arc::clone(&newest(&board).job);
        let is_new = ids.insert(job.id);
        assert_eq!(is_new, id != 2, "on one tip it is the same job");
        assert_eq!(roots.insert(job.job.merkle_root(&extranonce)), is_new);
    }
}

#[test]
fn a_provider_that_names_the_block_again_ends_no_job_and_another_block_does() {
    let mut board = board();
    let mut numbers = Vec::new();
    for (id, block) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        board.on_up(0, sample::provider());
        let template = sample::template(id);
        board.on_new_template(0, template, true, 0).unwrap();
        let tip = Tip {
            header_timestamp: sample::TIP_TIME + 1,
            ..sample::tip(block)
        };
        board.on_set_new_prev_hash(0, id, tip, 0).unwrap();
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

#[test]
fn another_provider_takes_over_on_the_same_tip_and_no_job_becomes_stale() {
    let (mut board, _receivers) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    announce(&mut board, 1, sample::template(2), 1, 0);
    let first = newest(&board);
    assert_eq!(
        (board.active(), first.job.template.template.template_id),
        (Some(0), 1)
    );
    board.on_down(0, 1).unwrap();
    let second = newest(&board);
    assert_eq!(
        (board.active(), second.job.template.template.template_id),
        (Some(1), 2)
    );
    assert_eq!(second.tip.number, first.tip.number);
    assert!(second.job.id > first.job.id);
    // Nothing changes while nobody has work, and the next tip is a new one.
    board.on_down(1, 2).unwrap();
    assert_eq!(board.active(), None);
    assert_eq!(newest(&board).job.id, second.job.id);
    up(&mut board, 1);
    announce(&mut board, 1, sample::template(3), 2, 3);
    assert_eq!(newest(&board).tip.number, first.tip.number + 1);
}

#[test]
fn the_preferred_provider_is_gone_back_to_when_it_has_been_well() {
    let (mut board, _receivers) = two_providers();
    announce(&mut board, 1, sample::template(2), 1, 0);
    assert_eq!(board.active(), Some(1));
    announce(&mut board, 0, sample::template(1), 1, 5);
    board.look(5 + RETURN_AFTER_MS - 1).unwrap();
    assert_eq!(board.active(), Some(1));
    let before = newest(&board);
    board.look(5 + RETURN_AFTER_MS).unwrap();
    assert_eq!(board.active(), Some(0));
    let after = newest(&board);
    assert_eq!(after.job.template.template.template_id, 1);
    assert_eq!(after.tip.number, before.tip.number);
}

#[test]
fn a_provider_that_lags_behind_another_is_left() {
    let (mut board, _receivers) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    let mut higher = sample::template(2);
    higher.coinbase_prefix[1] += 1;
    announce(&mut board, 1, higher, 2, 0);
    board.look(4_999).unwrap();
    assert_eq!(board.active(), Some(0));
    board.look(5_000).unwrap();
    assert_eq!(board.active(), Some(1));
    assert_eq!(newest(&board).tip.number, 2);

    // It has caught up, and has to do well for a while before it is gone back to.
    let mut same = sample::template(3);
    same.coinbase_prefix[1] += 1;
    announce(&mut board, 0, same, 2, 6_000);
    board.look(6_000 + RETURN_AFTER_MS - 1).unwrap();
    assert_eq!(board.active(), Some(1));
    board.look(6_000 + RETURN_AFTER_MS).unwrap();
    assert_eq!(board.active(), Some(0));
}

#[test]
fn what_two_providers_announce_alike_is_one_piece_of_work_and_its_block_goes_to_both() {
    let (mut board, [mut first, mut second]) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    let same = under_id(sample::template(1), 70);
    announce(&mut board, 1, same, 1, 0);
    let work = newest(&board);
    assert_eq!(solved(&work), ["provider:0", "provider:1"]);
    assert_eq!(first.try_recv().unwrap().template_id, 1);
    assert_eq!(second.try_recv().unwrap().template_id, 70);
    // One goes: miners keep their job, and the other still knows the template.
    drop(first);
    board.on_down(0, 1).unwrap();
    assert_eq!(newest(&board).job.id, work.job.id);
    assert_eq!(solved(&work), ["provider:1"]);
}

#[test]
fn a_block_goes_to_a_provider_once_under_the_id_that_it_gave_last() {
    let (mut board, [mut first, _second]) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    announce(&mut board, 0, under_id(sample::template(1), 70), 1, 0);
    assert_eq!(solved(&newest(&board)), ["provider:0"]);
    assert_eq!(first.try_recv().unwrap().template_id, 70);
    assert!(first.try_recv().is_err());
}

#[tokio::test]
async fn transactions_from_any_provider_serve_a_template_that_both_have() {
    let (mut board, _receivers) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    let template = Arc::clone(&newest(&board).job.template);
    announce(&mut board, 1, under_id(sample::template(1), 70), 1, 0);
    board.on_down(0, 1).unwrap();
    board.on_transactions(1, 70, vec![vec![1, 2]]);
    assert_eq!(*template.wait_for_transactions().await, [vec![1, 2]]);
}

#[test]
fn a_connection_that_is_made_again_changes_no_job_and_takes_solutions() {
    let (mut board, receivers) = two_providers();
    announce(&mut board, 0, sample::template(1), 1, 0);
    let work = newest(&board);
    drop(receivers);
    board.on_down(0, 1).unwrap();
    assert!(solved(&work).is_empty());
    let _receiver = up(&mut board, 0);
    announce(&mut board, 0, sample::template(1), 1, 2);
    assert_eq!(board.active(), Some(0));
    assert_eq!(newest(&board).job.id, work.job.id);
    assert_eq!(solved(&work), ["provider:0"]);
}

#[test]
fn no_job_searches_what_an_earlier_one_of_its_tip_has_searched() {
    let (mut board, _receivers) = two_providers();
    let extranonce = ExtranoncePrefix::from_bytes([1; 8]).standard_extranonce();
    let mut seen = std::collections::HashMap::new();
    let mut check = |board: &WorkBoard| {
        let work = newest(board);
        let root = work.job.job.merkle_root(&extranonce);
        let id = *seen.entry(root).or_insert(work.job.id);
        assert_eq!(id, work.job.id, "one coinbase under two job ids");
        work.job.id
    };
    announce(&mut board, 0, sample::template(1), 1, 0);
    let first = check(&board);
    board
        .on_new_template(0, sample::template(2), false, 0)
        .unwrap();
    check(&board);
    // The other one is a template behind, takes over, and gives back: miners never have a job twice.
    announce(&mut board, 1, under_id(sample::template(1), 70), 1, 0);
    board.on_down(0, 1).unwrap();
    assert_ne!(check(&board), first);
    up(&mut board, 0);
    announce(&mut board, 0, sample::template(2), 1, 2);
    board.look(2 + RETURN_AFTER_MS).unwrap();
    assert_eq!(board.active(), Some(0));
    check(&board);
    // And to and fro, though nobody announces anything.
    for round in 0..5 {
        board.on_down(0, 20_000).unwrap();
        check(&board);
        up(&mut board, 0);
        announce(&mut board, 0, sample::template(2), 1, 20_000);
        board.look(40_000 + round).unwrap();
        assert_eq!(board.active(), Some(0));
        check(&board);
    }
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
        let script = sample::reward_script();
        let mut board = WorkBoard::new(script, &tag, first_template, 1, Duration::ZERO);
        let template = Template {
            coinbase_prefix: height_push(height),
            coinbase_tx_value_remaining: value,
            coinbase_tx_outputs_count: u32::try_from(outputs.len()).unwrap(),
            coinbase_tx_outputs: outputs.iter().flat_map(serialize).collect(),
            ..sample::template(1)
        };
        announce(&mut board, 0, template, 1, 0);
        let work = Arc::clone(&newest(&board).job.template);
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
