//! A full mempool: transactions that any node takes, made without a wallet from coinbases that anyone can spend.

use crate::bitcoin_core::{BitcoinCore, anyone_can_spend};
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use bitcoincore_rpc::RpcApi;

/// Outputs of one transaction that is spread: it stays below the 100,000 virtual bytes that nodes relay.
const OUTPUTS: usize = 2_000;

/// Blocks on a coinbase before it can be spent.
const MATURITY: u32 = 100;

/// Of one small transaction: far above the minimum, far below what a node takes for a mistake.
const FEE: Amount = Amount::from_sat(1_000);

/// Of one that is spread.
const SPREAD_FEE: Amount = Amount::from_sat(200_000);

/// Puts `count` transactions of one input and one output into the node's mempool. They depend on none of each other.
///
/// # Panics
/// If the node refuses one.
pub fn fill(node: &BitcoinCore, count: usize) {
    let spreads = count.div_ceil(OUTPUTS);
    let made = u32::try_from(spreads).expect("it is small");
    let coinbases = node.generate(made);
    node.generate(MATURITY);
    let client = node.rpc();
    let script = anyone_can_spend(node.chain).script_pubkey();

    let mut left = count;
    let mut outputs = Vec::with_capacity(count);
    for block in coinbases {
        let block = client.get_block(&block).expect("the node has its block");
        let coinbase = &block.txdata[0];
        let from = OutPoint::new(coinbase.compute_txid(), 0);
        let parts = left.min(OUTPUTS);
        left -= parts;
        let value = (coinbase.output[0].value - SPREAD_FEE) / parts as u64;
        let spread = spend(from, vec![value; parts], &script);
        send(&client, &spread);
        let txid = spread.compute_txid();
        let vouts = (0..parts).map(|vout| u32::try_from(vout).expect("it is small"));
        outputs.extend(vouts.map(|vout| (OutPoint::new(txid, vout), value)));
    }
    node.generate(1);
    for (from, value) in outputs {
        send(&client, &spend(from, vec![value - FEE], &script));
    }
}

fn spend(from: OutPoint, values: Vec<Amount>, script: &ScriptBuf) -> Transaction {
    let output = |value| TxOut {
        value,
        script_pubkey: script.clone(),
    };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: from,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            // The witness script OP_TRUE, which wants nothing.
            witness: Witness::from_slice(&[[0x51]]),
        }],
        output: values.into_iter().map(output).collect(),
    }
}

fn send(client: &bitcoincore_rpc::Client, transaction: &Transaction) {
    client
        .send_raw_transaction(transaction)
        .expect("the node takes the transaction");
}
