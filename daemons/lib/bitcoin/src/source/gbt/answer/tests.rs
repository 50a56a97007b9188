use super::*;
use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::transaction::Version;
use bitcoin::{OutPoint, Transaction, TxIn, TxMerkleNode, Witness, block};
use proptest::prelude::*;
use serde_json::{Value, json};

fn transaction(n: u32) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::all_zeros(), n),
            witness: Witness::from_slice(&[n.to_le_bytes()]),
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(u64::from(n)),
            script_pubkey: ScriptBuf::new(),
        }],
    }
}

fn block(transactions: &[Transaction]) -> Block {
    let coinbase = Transaction {
        input: vec![TxIn::default()],
        ..transaction(0)
    };
    Block {
        header: block::Header {
            version: block::Version::TWO,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 1,
            bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata: [vec![coinbase], transactions.to_vec()].concat(),
    }
}

/// What BIP 141 wants for a block with these transactions.
fn commitment_of(transactions: &[Transaction]) -> Vec<u8> {
    let root = block(transactions).witness_root().unwrap();
    let hash = Block::compute_witness_commitment(&root, &WITNESS_RESERVED_VALUE);
    [COMMITMENT_PREFIX.as_slice(), hash.as_ref()].concat()
}

/// A transaction, and what the node says of it.
#[derive(Debug, Clone)]
struct Said {
    transaction: Transaction,
    fee: u64,
    sigops: u64,
    weight: u64,
}

fn answer(transactions: &[Said], height: u32) -> Value {
    let entry = |said: &Said| {
        let transaction = &said.transaction;
        json!({
            "data": serialize_hex(transaction), "txid": transaction.compute_txid(),
            "hash": transaction.compute_wtxid(), "depends": [], "fee": said.fee, "sigops": said.sigops,
            "weight": said.weight,
        })
    };
    let all = transactions_of(transactions);
    let fees: u64 = transactions.iter().map(|said| said.fee).sum();
    json!({
        "capabilities": ["proposal"], "version": 0x2000_0000, "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": BlockHash::all_zeros(),
        "transactions": transactions.iter().map(entry).collect::<Vec<_>>(),
        "coinbasevalue": 5_000_000_000 + fees, "longpollid": "id", "curtime": 1_800_000_000_u32,
        "bits": "207fffff", "height": height,
        "default_witness_commitment": ScriptBuf::from_bytes(commitment_of(&all)),
    })
}

fn transactions_of(said: &[Said]) -> Vec<Transaction> {
    said.iter().map(|said| said.transaction.clone()).collect()
}

fn parse(answer: &Value) -> Result<Answer, SourceError> {
    let text = RawValue::from_string(answer.to_string()).unwrap();
    Answer::parse(&text, Instant::now())
}

#[test]
fn the_coinbase_is_final_at_its_height_only() {
    let built = parse(&answer(&[], 840_000)).unwrap();
    let built = built.build(Reservation::default()).unwrap();
    let template = built.template;
    assert_eq!(template.coinbase_prefix, [3, 0x40, 0xd1, 0x0c]);
    assert_eq!(template.height(), Some(840_000));
    assert_eq!(template.coinbase_tx_locktime, 839_999);
    assert_eq!(template.coinbase_tx_input_sequence, 0xffff_fffe);
    assert_eq!(built.coinbase_witness, [0; 32]);
}

#[test]
fn without_a_commitment_the_coinbase_has_no_witness() {
    let mut answer = answer(&[], 1);
    answer
        .as_object_mut()
        .unwrap()
        .remove("default_witness_commitment");
    let built = parse(&answer)
        .unwrap()
        .build(Reservation::default())
        .unwrap();
    assert_eq!(built.template.coinbase_tx_outputs_count, 0);
    assert!(built.coinbase_witness.is_empty());
}

#[test]
fn what_is_no_template_is_an_error() {
    let said = Said {
        transaction: transaction(1),
        fee: 5,
        sigops: 4,
        weight: 400,
    };
    let good = answer(&[said], 1);
    assert!(parse(&good).is_ok());
    for (path, bad) in [
        ("/bits", json!("zz")),
        ("/bits", json!("00000000")),
        ("/transactions/0/data", json!("0x")),
        ("/transactions/0/fee", json!(-1)),
        ("/coinbasevalue", Value::Null),
        ("/previousblockhash", json!("00")),
    ] {
        let mut answer = good.clone();
        *answer.pointer_mut(path).unwrap() = bad;
        let error = parse(&answer).err().unwrap();
        assert!(matches!(error, SourceError::Malformed { .. }), "{path}");
    }
}

prop_compose! {
    /// Up to two blocks full.
    fn any_transactions()(
        parts in prop::collection::vec((0_u64..400_000, 0_u64..100_000, 0_u64..9_000), 0..40),
    ) -> Vec<Said> {
        let numbered = parts.into_iter().zip(1..);
        let said = numbered.map(|((weight, fee, sigops), n)| Said { transaction: transaction(n), fee, sigops, weight });
        said.collect()
    }
}

proptest! {
    #[test]
    fn a_class_has_its_room_and_pays_and_commits_to_what_is_left(
        transactions in any_transactions(),
        size in 0_u32..127_708,
        sigops in 0_u16..6_401,
    ) {
        let class = Reservation::for_coinbase_outputs(size, sigops).unwrap();
        let built = parse(&answer(&transactions, 200)).unwrap().build(class).unwrap();
        let kept = transactions.len() - built.dropped;
        let (kept, dropped) = transactions.split_at(kept);
        let weight = |of: &[Said]| of.iter().map(|said| said.weight).sum::<u64>();
        let cost = |of: &[Said]| of.iter().map(|said| said.sigops).sum::<u64>();
        prop_assert!(weight(kept) + class.weight() <= 4_000_000);
        prop_assert!(cost(kept) + class.sigops() <= 80_000);
        if let Some(next) = dropped.first() {
            let one_more = [kept, std::slice::from_ref(next)].concat();
            prop_assert!(weight(&one_more) + class.weight() > 4_000_000 || cost(&one_more) + class.sigops() > 80_000);
        }

        let fees: u64 = kept.iter().map(|said| said.fee).sum();
        prop_assert_eq!(built.template.coinbase_tx_value_remaining, 5_000_000_000 + fees);
        prop_assert_eq!(built.block.fees_sats(), fees);
        let all = transactions_of(kept);
        let serialized: Vec<_> = all.iter().map(serialize).collect();
        prop_assert_eq!(built.block.transactions().unwrap(), serialized);
        prop_assert!(built.template.coinbase_tx_outputs.ends_with(&commitment_of(&all)));

        let header = [0; 80];
        let coinbase = serialize(&block(&[]).txdata[0]);
        let assembled: Block = bitcoin::consensus::deserialize(&built.block.assemble(&header, &coinbase)).unwrap();
        let root = hh_mining::merkle_root_of(&coinbase, &[], &[], &built.template.merkle_path);
        prop_assert_eq!(assembled.compute_merkle_root().unwrap().to_byte_array(), root);
    }
}
