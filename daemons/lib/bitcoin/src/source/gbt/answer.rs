//! An answer to `getblocktemplate`, and the templates that are made of it.
//!
//! Owns: reading the answer, and the parts of a coinbase that Bitcoin Core leaves to the caller of this method. Never: asks.

use std::time::Instant;

use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, ScriptBuf, Sequence, TxOut, Txid, Weight, WitnessMerkleNode, Wtxid,
    consensus::encode::serialize, merkle_tree,
};
use hh_mining::{Template, Tip, coinbase_merkle_path};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::source::SourceError;
use crate::template::{Reservation, TemplateBlock};

/// `MAX_BLOCK_SIGOPS_COST` of Bitcoin Core (BIP 141).
const BLOCK_SIGOPS_MAX: u64 = 80_000;
/// What Bitcoin Core puts into the coinbase's witness, and into the commitment that it gives (BIP 141 leaves it open).
const WITNESS_RESERVED_VALUE: [u8; 32] = [0; 32];
/// The start of the commitment's script: OP_RETURN, 36 bytes, the four of BIP 141.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The fields that we use, in the node's words.
#[derive(Deserialize)]
struct Raw<'a> {
    version: i32,
    previousblockhash: BlockHash,
    #[serde(borrow)]
    transactions: Vec<RawTransaction<'a>>,
    coinbasevalue: u64,
    longpollid: String,
    curtime: u32,
    bits: &'a str,
    height: u32,
    default_witness_commitment: Option<ScriptBuf>,
}

#[derive(Deserialize)]
struct RawTransaction<'a> {
    data: &'a str,
    txid: Txid,
    hash: Wtxid,
    fee: u64,
    sigops: u64,
    weight: u64,
}

/// A template for any reservation class.
pub(super) struct Answer {
    id: String,
    announced_at: Instant,
    version: u32,
    tip: Tip,
    height: u32,
    value_sats: u64,
    commitment: Option<ScriptBuf>,
    /// Serialized with their witnesses, one after the other.
    bytes: Vec<u8>,
    transactions: Vec<Entry>,
}

struct Entry {
    txid: Txid,
    wtxid: Wtxid,
    fee_sats: u64,
    sigops: u64,
    weight: u64,
    /// Where it ends in the bytes.
    end: usize,
}

/// The template of one class.
pub(super) struct Built {
    pub(super) template: Template,
    pub(super) tip: Tip,
    pub(super) height: u32,
    pub(super) coinbase_witness: Vec<u8>,
    pub(super) block: TemplateBlock,
    /// Transactions of the answer that the class has no room for.
    pub(super) dropped: usize,
}

impl Answer {
    pub(super) fn parse(text: &RawValue, announced_at: Instant) -> Result<Self, SourceError> {
        let malformed = |what| SourceError::Malformed { what };
        let raw: Raw<'_> = serde_json::from_str(text.get())
            .map_err(|_invalid| malformed("it is not what getblocktemplate answers"))?;
        let nbits = u32::from_str_radix(raw.bits, 16)
            .map_err(|_invalid| malformed("its bits are no number"))?;
        let tip = Tip::new(raw.previousblockhash.to_byte_array(), raw.curtime, nbits)
            .map_err(|_invalid| malformed("its bits are no target"))?;
        let mut bytes = Vec::with_capacity(text.get().len() / 2);
        let mut transactions = Vec::with_capacity(raw.transactions.len());
        for transaction in &raw.transactions {
            let data = Vec::from_hex(transaction.data)
                .map_err(|_invalid| malformed("it has a transaction that is not hex"))?;
            bytes.extend_from_slice(&data);
            transactions.push(Entry {
                txid: transaction.txid,
                wtxid: transaction.hash,
                fee_sats: transaction.fee,
                sigops: transaction.sigops,
                weight: transaction.weight,
                end: bytes.len(),
            });
        }
        Ok(Self {
            id: raw.longpollid,
            announced_at,
            version: u32::from_ne_bytes(raw.version.to_ne_bytes()),
            tip,
            height: raw.height,
            value_sats: raw.coinbasevalue,
            commitment: raw.default_witness_commitment,
            bytes,
            transactions,
        })
    }

    /// `longpollid`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When it was here, before it was read.
    pub(super) fn announced_at(&self) -> Instant {
        self.announced_at
    }

    pub(super) fn prev_hash(&self) -> BlockHash {
        BlockHash::from_byte_array(self.tip.prev_hash)
    }

    /// What makes work on another answer worthless. The difficulty changes on an unchanged tip on some test chains.
    pub(super) fn tip_key(&self) -> ([u8; 32], u32) {
        (self.tip.prev_hash, self.tip.nbits)
    }

    /// With as many of the transactions, from the first on, as leave the class its room.
    pub(super) fn build(&self, reservation: Reservation) -> Result<Built, SourceError> {
        let kept = self.fitting(reservation);
        let (kept, dropped) = self.transactions.split_at(kept);
        let lost: u64 = dropped.iter().map(|entry| entry.fee_sats).sum();
        let value_sats = self.value_sats.checked_sub(lost);
        let value_sats = value_sats.ok_or(SourceError::Malformed {
            what: "its fees are more than its value",
        })?;
        let txids: Vec<_> = kept
            .iter()
            .map(|entry| entry.txid.to_byte_array())
            .collect();
        let outputs = match &self.commitment {
            Some(script) if dropped.is_empty() => vec![commitment_output(script.clone())],
            Some(_) => vec![commitment_output(commitment(kept))],
            None => vec![],
        };
        let end = kept.last().map_or(0, |entry| entry.end);
        let fees_sats = kept.iter().map(|entry| entry.fee_sats).sum();
        let bytes = self.bytes[..end].to_vec();
        Ok(Built {
            template: Template {
                template_id: 0,
                version: self.version,
                // As in Bitcoin Core's own coinbase, which is final at its height only (BIP 54).
                coinbase_tx_version: 2,
                coinbase_prefix: height_prefix(self.height),
                coinbase_tx_input_sequence: Sequence::ENABLE_LOCKTIME_NO_RBF.to_consensus_u32(),
                coinbase_tx_value_remaining: value_sats,
                coinbase_tx_outputs_count: u32::from(!outputs.is_empty()),
                coinbase_tx_outputs: outputs.concat(),
                coinbase_tx_locktime: self.height.saturating_sub(1),
                merkle_path: coinbase_merkle_path(&txids),
            },
            tip: self.tip,
            height: self.height,
            coinbase_witness: match &self.commitment {
                Some(_) => WITNESS_RESERVED_VALUE.to_vec(),
                None => vec![],
            },
            block: TemplateBlock::of_transactions(bytes, kept.len(), fees_sats),
            dropped: dropped.len(),
        })
    }

    /// How many of the transactions there is room for.
    fn fitting(&self, reservation: Reservation) -> usize {
        let (mut weight, mut sigops) = (reservation.weight(), reservation.sigops());
        let fits = |entry: &&Entry| {
            weight = weight.saturating_add(entry.weight);
            sigops = sigops.saturating_add(entry.sigops);
            weight <= Weight::MAX_BLOCK.to_wu() && sigops <= BLOCK_SIGOPS_MAX
        };
        self.transactions.iter().take_while(fits).count()
    }
}

/// The height that BIP 34 puts at the start of a coinbase's scriptSig.
fn height_prefix(height: u32) -> Vec<u8> {
    Builder::new().push_int(height.into()).into_bytes()
}

fn commitment_output(script_pubkey: ScriptBuf) -> Vec<u8> {
    serialize(&TxOut {
        value: Amount::ZERO,
        script_pubkey,
    })
}

/// The witness commitment of a block with these transactions (BIP 141).
fn commitment(transactions: &[Entry]) -> ScriptBuf {
    let coinbase = std::iter::once(Wtxid::all_zeros());
    let wtxids = coinbase.chain(transactions.iter().map(|entry| entry.wtxid));
    let root = merkle_tree::calculate_root(wtxids.map(|wtxid| wtxid.to_raw_hash()))
        .expect("the coinbase is always there");
    let root = WitnessMerkleNode::from_raw_hash(root);
    let hash = Block::compute_witness_commitment(&root, &WITNESS_RESERVED_VALUE);
    let script = [COMMITMENT_PREFIX.as_slice(), hash.as_ref()].concat();
    ScriptBuf::from_bytes(script)
}

#[cfg(test)]
mod tests;
