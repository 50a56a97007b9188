//! Blocks of signet from the node's own templates: its `generatetoaddress` hashes each header anew, takes minutes for a hundred, and on
//! a loaded machine longer for one than a call may take.

use crate::miner::hasher::solve;
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header as BlockHeader, Version};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness, transaction,
};
use bitcoincore_rpc::{Client, RpcApi};
use hh_mining::{Header, Target};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is used of getblocktemplate (BIP 22, BIP 145).
#[derive(Deserialize)]
struct Template {
    version: i32,
    previousblockhash: BlockHash,
    transactions: Vec<TemplateTransaction>,
    coinbasevalue: u64,
    bits: String,
    height: i64,
    curtime: u32,
    default_witness_commitment: String,
}

#[derive(Deserialize)]
struct TemplateTransaction {
    data: String,
}

/// Makes the next block, with what is in the mempool, and gives the node. It pays to `script`.
///
/// # Panics
/// If the node gives no template, or refuses the block.
#[must_use]
pub(crate) fn make_block(client: &Client, script: &ScriptBuf) -> BlockHash {
    loop {
        let (hash, refusal) = try_block(client, script);
        // A miner of the test has found one on the same block meanwhile.
        if refusal != "inconclusive" {
            assert_eq!(refusal, Value::Null, "the node refuses a block of ours");
            return hash;
        }
    }
}

/// A block, and what the node says to it: nothing where it is the new tip.
fn try_block(client: &Client, script: &ScriptBuf) -> (BlockHash, Value) {
    let rules = json!({ "rules": ["segwit", "signet"] });
    let template: Template = client
        .call("getblocktemplate", &[rules])
        .expect("the node gives a template");
    let mut block = block_of(&template, script);
    let header = Header {
        version: u32::from_ne_bytes(template.version.to_ne_bytes()),
        prev_hash: block.header.prev_blockhash.to_byte_array(),
        merkle_root: block.header.merkle_root.to_byte_array(),
        ntime: template.curtime,
        nbits: block.header.bits.to_consensus(),
        nonce: 0,
    };
    let target = Target::from_compact(header.nbits).expect("a chain's nBits are a target");
    let (found, _) = solve(header, &target);
    block.header.time = found.ntime;
    block.header.nonce = found.nonce;
    let refusal = client
        .call("submitblock", &[serialize_hex(&block).into()])
        .expect("the node answers");
    (block.block_hash(), refusal)
}

fn block_of(template: &Template, script: &ScriptBuf) -> Block {
    let transactions = template.transactions.iter();
    let transactions = transactions.map(|transaction| {
        deserialize_hex::<Transaction>(&transaction.data).expect("the node's are transactions")
    });
    let mut txdata = vec![coinbase(template, script)];
    txdata.extend(transactions);
    let bits = u32::from_str_radix(&template.bits, 16).expect("nBits are eight hex digits");
    let mut block = Block {
        header: BlockHeader {
            version: Version::from_consensus(template.version),
            prev_blockhash: template.previousblockhash,
            merkle_root: TxMerkleNode::all_zeros(),
            time: template.curtime,
            bits: CompactTarget::from_consensus(bits),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block
        .compute_merkle_root()
        .expect("there is a coinbase at least");
    block
}

fn coinbase(template: &Template, script: &ScriptBuf) -> Transaction {
    // Its height (BIP 34), and a byte: a script of a coinbase has two at least.
    let script_sig = Builder::new().push_int(template.height).push_int(0);
    let commitment = ScriptBuf::from_hex(&template.default_witness_commitment);
    let output = |value, script_pubkey| TxOut {
        value,
        script_pubkey,
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: script_sig.into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![
            output(Amount::from_sat(template.coinbasevalue), script.clone()),
            output(Amount::ZERO, commitment.expect("the node's is a script")),
        ],
    }
}
