use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Builder;
use bitcoin::{Block, Txid, WPubkeyHash, merkle_tree};
use proptest::prelude::*;

use super::*;
use crate::{ExtranoncePrefix, Header, assemble_block, coinbase_merkle_path};

fn p2wpkh(byte: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([byte; 20]))
}

fn recipe() -> CoinbaseRecipe {
    CoinbaseRecipe {
        reward_script: p2wpkh(1),
        tag: b"/Hyper Hash/".to_vec(),
    }
}

fn witness_commitment(root: [u8; 32]) -> TxOut {
    let mut bytes = WITNESS_COMMITMENT.to_vec();
    bytes.extend(root);
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(bytes),
    }
}

fn template_of(outputs: &[TxOut]) -> Template {
    Template {
        template_id: 42,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        // height 840,000
        coinbase_prefix: vec![0x03, 0x40, 0xd1, 0x0c],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: u32::try_from(outputs.len()).unwrap(),
        coinbase_tx_outputs: outputs.iter().flat_map(serialize).collect(),
        coinbase_tx_locktime: 839_999,
        merkle_path: vec![[5; 32], [6; 32]],
    }
}

fn template() -> Template {
    template_of(&[witness_commitment([9; 32])])
}

fn extranonce() -> Extranonce {
    ExtranoncePrefix::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]).extranonce([9; 8])
}

#[track_caller]
fn check_refused(template: &Template, recipe: &CoinbaseRecipe, expected: &str) {
    let error = Job::build(template, recipe)
        .expect_err(expected)
        .to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_coinbase_is_the_one_of_the_recipe() {
    let job = Job::build(&template(), &recipe()).unwrap();
    let tx: Transaction = deserialize(&job.coinbase_with_witness(&extranonce())).unwrap();
    let expected = Builder::new()
        .push_slice([0x40, 0xd1, 0x0c])
        .push_slice(b"/Hyper Hash/")
        .push_slice(extranonce().as_bytes())
        .into_script();
    assert_eq!(tx.input[0].script_sig, expected);
    assert_eq!(tx.input[0].witness.to_vec(), vec![vec![0; 32]]);
    assert_eq!(tx.output[0].script_pubkey, p2wpkh(1));
    assert_eq!(tx.output[0].value, Amount::from_sat(312_500_000));
    assert_eq!(tx.output[1], witness_commitment([9; 32]));
    assert_eq!(tx.output.len(), 2);
    assert_eq!((job.template_id(), job.version()), (42, 0x2000_0000));
    assert_eq!(job.reward(), Amount::from_sat(312_500_000));
}

#[test]
fn prefix_extranonce_and_suffix_are_the_coinbase_without_witness() {
    let job = Job::build(&template(), &recipe()).unwrap();
    let bytes = [
        job.coinbase_tx_prefix(),
        extranonce().as_bytes(),
        job.coinbase_tx_suffix(),
    ]
    .concat();
    let stripped: Transaction = deserialize(&bytes).unwrap();
    let full: Transaction = deserialize(&job.coinbase_with_witness(&extranonce())).unwrap();
    assert!(stripped.input[0].witness.is_empty());
    assert_eq!(stripped.compute_txid(), full.compute_txid());
    assert_ne!(stripped.compute_wtxid(), full.compute_wtxid());
}

#[test]
fn without_a_witness_commitment_the_coinbase_has_no_witness() {
    // Consensus refuses a witness that nothing commits to ("unexpected-witness").
    let job = Job::build(&template_of(&[]), &recipe()).unwrap();
    let tx: Transaction = deserialize(&job.coinbase_with_witness(&extranonce())).unwrap();
    assert!(tx.input[0].witness.is_empty());
    assert_eq!(tx.output.len(), 1);
}

#[test]
fn an_empty_tag_is_not_pushed() {
    let job = Job::build(
        &template(),
        &CoinbaseRecipe {
            tag: vec![],
            ..recipe()
        },
    )
    .unwrap();
    assert!(
        job.coinbase_tx_prefix()
            .ends_with(&[9, 21, 0x03, 0x40, 0xd1, 0x0c, 16][2..])
    );
}

#[test]
fn a_script_sig_of_100_bytes_is_the_longest() {
    let with_tag = |size| CoinbaseRecipe {
        tag: vec![b'x'; size],
        ..recipe()
    };
    let mut template = template();
    template.coinbase_prefix = vec![1; 8];
    // 8 + 1 + 74 + 1 + 16
    assert!(Job::build(&template, &with_tag(74)).is_ok());
    check_refused(&template, &with_tag(75), "101 bytes, consensus allows 100");
    check_refused(&template, &with_tag(76), "tag has 76 bytes");
    template.coinbase_prefix = vec![1; 300];
    check_refused(&template, &with_tag(0), "317 bytes, consensus allows 100");
}

#[test]
fn a_reward_that_nobody_could_spend_is_refused() {
    let to = |reward_script| CoinbaseRecipe {
        reward_script,
        ..recipe()
    };
    check_refused(&template(), &to(ScriptBuf::new()), "empty or unspendable");
    let op_return = Builder::new().push_opcode(OP_RETURN).into_script();
    check_refused(&template(), &to(op_return), "empty or unspendable");
}

#[test]
fn template_outputs_that_are_not_as_many_as_said_are_refused() {
    let mut template = template();
    template.coinbase_tx_outputs_count = 0;
    check_refused(&template, &recipe(), "bytes left over");
    template.coinbase_tx_outputs_count = 2;
    check_refused(&template, &recipe(), "not 2 outputs");
    template.coinbase_tx_outputs_count = u32::MAX;
    check_refused(&template, &recipe(), "not 4294967295 outputs");
}

#[test]
fn more_money_than_there_is_is_refused() {
    let mut template = template();
    template.coinbase_tx_value_remaining = Amount::MAX_MONEY.to_sat();
    assert!(Job::build(&template, &recipe()).is_ok());
    template.coinbase_tx_value_remaining += 1;
    check_refused(&template, &recipe(), "21 million");
    template.coinbase_tx_value_remaining = u64::MAX;
    check_refused(&template, &recipe(), "21 million");
    let output = TxOut {
        value: Amount::MAX_MONEY,
        script_pubkey: p2wpkh(3),
    };
    check_refused(&template_of(&[output]), &recipe(), "21 million");
}

/// Cuts the coinbase of a real block anywhere and finds the root of its header.
#[track_caller]
fn check_merkle_root(block_hex: &str) {
    let block: Block = deserialize(&hex::decode(block_hex.trim()).unwrap()).unwrap();
    let mut coinbase = block.txdata[0].clone();
    coinbase.input[0].witness.clear();
    let coinbase = serialize(&coinbase);
    let others = block.txdata[1..].iter();
    let others: Vec<_> = others.map(|tx| tx.compute_txid().to_byte_array()).collect();
    let path = coinbase_merkle_path(&others);
    for (from, to) in [(42, 50), (0, 0), (10, coinbase.len())] {
        let root = merkle_root_of(
            &coinbase[..from],
            &coinbase[from..to],
            &coinbase[to..],
            &path,
        );
        assert_eq!(root, block.header.merkle_root.to_byte_array());
    }
}

#[test]
fn the_merkle_root_is_that_of_a_real_block() {
    check_merkle_root(include_str!("../block/testnet_180480.hex"));
    check_merkle_root(include_str!("../block/testnet_1263442.hex"));
}

#[test]
fn a_block_assembled_from_a_job_is_consistent() {
    let tx = {
        let mut tx: Transaction = deserialize(
            &Job::build(&template(), &recipe())
                .unwrap()
                .coinbase_with_witness(&extranonce()),
        )
        .unwrap();
        tx.input[0].previous_output.vout = 0;
        tx.input[0].previous_output.txid = Txid::all_zeros();
        tx
    };
    let wtxids = [[0; 32], tx.compute_wtxid().to_byte_array()].map(sha256d::Hash::from_byte_array);
    let root = merkle_tree::calculate_root(wtxids.into_iter()).unwrap();
    let commitment = sha256d::Hash::hash(&[root.to_byte_array(), [0; 32]].concat());
    let mut template = template_of(&[witness_commitment(commitment.to_byte_array())]);
    template.merkle_path = vec![tx.compute_txid().to_byte_array()];

    let job = Job::build(&template, &recipe()).unwrap();
    let header = Header {
        version: job.version(),
        prev_hash: [1; 32],
        merkle_root: job.merkle_root(&extranonce()),
        ntime: 1_700_000_000,
        nbits: 0x207f_ffff,
        nonce: 7,
    };
    let coinbase = job.coinbase_with_witness(&extranonce());
    let block: Block = deserialize(&assemble_block(&header, &coinbase, &[serialize(&tx)])).unwrap();
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
    assert_eq!(
        block.block_hash().to_byte_array(),
        header.hash().to_byte_array()
    );
}

prop_compose! {
    fn any_output()(value in 0_u64..1_000_000_000, script in prop::collection::vec(any::<u8>(), 0..300)) -> TxOut {
        TxOut { value: Amount::from_sat(value), script_pubkey: ScriptBuf::from_bytes(script) }
    }
}

/// From 253 on the count of a coinbase's outputs has three bytes.
fn any_outputs() -> impl Strategy<Value = Vec<TxOut>> {
    prop_oneof![
        12 => prop::collection::vec(any_output(), 0..5),
        1 => prop::collection::vec(any_output(), 250..256),
    ]
}

prop_compose! {
    fn any_template()(
        outputs in any_outputs(),
        commitment in proptest::option::of(any::<[u8; 32]>()),
        prefix in prop::collection::vec(any::<u8>(), 0..9),
        (version, tx_version) in any::<(u32, u32)>(),
        (sequence, locktime) in any::<(u32, u32)>(),
        value in 0..Amount::MAX_MONEY.to_sat() - 5_000_000_000,
        merkle_path in prop::collection::vec(any::<[u8; 32]>(), 0..14),
    ) -> (Template, Vec<TxOut>) {
        let mut outputs = outputs;
        outputs.extend(commitment.map(witness_commitment));
        let template = Template {
            version,
            coinbase_tx_version: tx_version,
            coinbase_prefix: prefix,
            coinbase_tx_input_sequence: sequence,
            coinbase_tx_value_remaining: value,
            coinbase_tx_locktime: locktime,
            merkle_path,
            ..template_of(&outputs)
        };
        (template, outputs)
    }
}

proptest! {
    #[test]
    fn the_coinbase_parses_to_exactly_the_templates_value(
        (template, outputs) in any_template(), tag in prop::collection::vec(any::<u8>(), 0..60),
        extranonce in any::<[u8; 16]>(), script in 1_u8..,
    ) {
        let recipe = CoinbaseRecipe { reward_script: p2wpkh(script), tag };
        let extranonce = Extranonce::from_bytes(extranonce);
        let job = Job::build(&template, &recipe).unwrap();
        let tx: Transaction = deserialize(&job.coinbase_with_witness(&extranonce)).unwrap();

        let sum: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        let of_template: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
        prop_assert_eq!(sum, template.coinbase_tx_value_remaining + of_template);
        prop_assert_eq!(tx.output[0].value.to_sat(), template.coinbase_tx_value_remaining);
        prop_assert_eq!(&tx.output[0].script_pubkey, &recipe.reward_script);
        prop_assert_eq!(&tx.output[1..], &outputs[..]);
        let script_sig = tx.input[0].script_sig.as_bytes();
        prop_assert!((2..=100).contains(&script_sig.len()));
        prop_assert!(script_sig.starts_with(&template.coinbase_prefix));
        prop_assert!(script_sig.ends_with(extranonce.as_bytes()));
        prop_assert_eq!(tx.version.0.to_le_bytes(), template.coinbase_tx_version.to_le_bytes());
        prop_assert_eq!(tx.lock_time.to_consensus_u32(), template.coinbase_tx_locktime);
        prop_assert_eq!(tx.input[0].sequence.0, template.coinbase_tx_input_sequence);
    }

    #[test]
    fn the_merkle_root_is_that_of_rust_bitcoin(
        (mut template, _) in any_template(), txids in prop::collection::vec(any::<[u8; 32]>(), 0..40),
        extranonce in any::<[u8; 16]>(),
    ) {
        // The coinbase's own hash is no part of its path, so any stands for it.
        let hashes = |coinbase: [u8; 32]| [vec![coinbase], txids.clone()].concat();
        template.merkle_path = coinbase_merkle_path(&txids);
        let extranonce = Extranonce::from_bytes(extranonce);
        let job = Job::build(&template, &recipe()).unwrap();
        let tx: Transaction = deserialize(&job.coinbase_with_witness(&extranonce)).unwrap();
        let txids = hashes(tx.compute_txid().to_byte_array()).into_iter().map(Txid::from_byte_array);
        let root = merkle_tree::calculate_root(txids).unwrap();
        prop_assert_eq!(job.merkle_root(&extranonce), root.to_byte_array());
    }

    /// Whatever a provider sends: no panic, and where a job comes of it, its coinbase pays exactly what the template says.
    #[test]
    fn a_template_makes_the_coinbase_that_it_says_or_none(
        outputs in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any_output(), 0..4).prop_map(|outputs| outputs.iter().flat_map(serialize).collect()),
        ],
        count in 0_u32..4,
        value in prop_oneof![any::<u64>(), 0..=Amount::MAX_MONEY.to_sat() + 1],
        prefix in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let template = Template {
            coinbase_prefix: prefix,
            coinbase_tx_value_remaining: value,
            coinbase_tx_outputs_count: count,
            coinbase_tx_outputs: outputs,
            ..template()
        };
        if let Ok(job) = Job::build(&template, &recipe()) {
            let tx: Transaction = deserialize(&job.coinbase_with_witness(&extranonce())).unwrap();
            let (reward, others) = tx.output.split_first().unwrap();
            prop_assert_eq!(reward.value.to_sat(), value);
            let others: Vec<u8> = others.iter().flat_map(serialize).collect();
            prop_assert_eq!(others, template.coinbase_tx_outputs);
            let sum = tx.output.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.value));
            prop_assert!(sum <= Some(Amount::MAX_MONEY) && sum.is_some());
        }
    }
}
