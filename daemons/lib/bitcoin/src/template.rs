//! A block template as it comes from a node, whole enough to build its block.
//!
//! Owns: the reservation classes, and putting a solved block together. Never: numbers a template (who serves it does), and
//! never talks to the node itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::{self, Decodable, VarInt};
use bitcoin::{Transaction, Weight};
use hh_mining::{Template, Tip};
use tokio::sync::watch;

use crate::source::TemplateHandle;

/// Weight of what is in a block beside its coinbase outputs: header, transaction count and the rest of a segwit coinbase
/// (SV2 specification, 07 Template Distribution Protocol, 7.1 CoinbaseOutputConstraints).
const RESERVED_WEIGHT_BASE: u64 = 1168;
/// Bitcoin Core refuses less (`MINIMUM_BLOCK_RESERVED_WEIGHT`).
const RESERVED_WEIGHT_MIN: u64 = 2000;
/// An eighth of a block for coinbase outputs, some 4,000 of them: more is a mistake, or an attempt to empty our blocks.
const RESERVED_WEIGHT_MAX: u64 = 512_000;
/// What Bitcoin Core reserves by default; a class of its own would differ in nothing.
const SIGOPS_MIN: u64 = 400;
/// A third of a block's 80,000, for the same reason.
const SIGOPS_MAX: u64 = 25_600;
/// A legacy signature operation counts as so many.
const LEGACY_SIGOP_COST: u64 = 4;

/// How much of a block is kept free for the coinbase. Requests are rounded up to few classes, so that clients with about
/// the same needs share their templates: a class costs the node a template each time the fees are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reservation {
    weight: u64,
    sigops: u64,
}

/// A client wants more room than a block of ours will ever give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a coinbase output reservation of {size} bytes and {sigops} signature operations is refused, the limits are {size_max} and {sigops_max}",
    size_max = (RESERVED_WEIGHT_MAX - RESERVED_WEIGHT_BASE) / 4,
    sigops_max = SIGOPS_MAX / LEGACY_SIGOP_COST
)]
pub struct ReservationTooLarge {
    pub size: u32,
    pub sigops: u16,
}

impl Reservation {
    /// The smallest class that has room for `size` bytes of serialized outputs with `sigops` legacy signature operations:
    /// 1168 + 4 x size weight units, at least Core's 2000, doubled until it fits.
    pub fn for_coinbase_outputs(size: u32, sigops: u16) -> Result<Self, ReservationTooLarge> {
        let wanted = RESERVED_WEIGHT_BASE + 4 * u64::from(size);
        let mut weight = RESERVED_WEIGHT_MIN;
        while weight < wanted {
            weight *= 2;
        }
        let mut cost = SIGOPS_MIN;
        while cost < LEGACY_SIGOP_COST * u64::from(sigops) {
            cost *= 4;
        }
        if weight > RESERVED_WEIGHT_MAX || cost > SIGOPS_MAX {
            return Err(ReservationTooLarge { size, sigops });
        }
        Ok(Self {
            weight,
            sigops: cost,
        })
    }

    /// `block_reserved_weight` of `createNewBlock`, in weight units.
    pub fn weight(self) -> u64 {
        self.weight
    }

    /// `coinbase_output_max_additional_sigops` of `createNewBlock`.
    pub fn sigops(self) -> u64 {
        self.sigops
    }
}

/// The class of a client that needs nothing special (208 bytes of outputs and less).
impl Default for Reservation {
    fn default() -> Self {
        Self {
            weight: RESERVED_WEIGHT_MIN,
            sigops: SIGOPS_MIN,
        }
    }
}

/// What made a node give out a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The first of its class on this connection.
    Start,
    /// The tip, or the difficulty that holds on it, changed.
    NewBlock,
    /// The same, and this template has nothing but a coinbase: the one with transactions follows as [`Self::Transactions`].
    CoinbaseOnly,
    /// The template with transactions that follows a coinbase-only one on the same tip.
    Transactions,
    /// The fees rose by the configured step.
    Mempool,
}

impl Trigger {
    /// The value of the metric label `trigger`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::NewBlock => "new_block",
            Self::CoinbaseOnly => "coinbase_only",
            Self::Transactions => "transactions",
            Self::Mempool => "mempool",
        }
    }
}

/// A template, and the handle by which its block is submitted. While a clone of the handle lives, the node keeps it.
#[derive(Debug, Clone)]
pub struct NodeTemplate {
    pub reservation: Reservation,
    pub trigger: Trigger,
    /// Its `template_id` is 0: who serves it gives the id.
    pub template: Template,
    pub tip: Tip,
    /// Of the block to be mined.
    pub height: u32,
    /// The witness of the coinbase input (BIP 141 reserved value); empty in a block without witnesses.
    pub coinbase_witness: Vec<u8>,
    /// When the node announced it.
    pub announced_at: Instant,
    /// From then until its coinbase, header and merkle path were here.
    pub fetch_time: Duration,
    /// The transactions come after the template, so that nobody waits for them.
    pub block: BlockSlot,
    pub handle: TemplateHandle,
}

/// The transactions of a template, from the moment they have arrived.
#[derive(Debug, Clone)]
pub struct BlockSlot(watch::Receiver<Option<Arc<TemplateBlock>>>);

impl BlockSlot {
    pub(crate) fn new() -> (watch::Sender<Option<Arc<TemplateBlock>>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    pub(crate) fn filled(block: Arc<TemplateBlock>) -> Self {
        Self(watch::channel(Some(block)).1)
    }

    pub fn now(&self) -> Option<Arc<TemplateBlock>> {
        self.0.borrow().clone()
    }

    /// Waits for them; `None` if they will never come because the connection to the node was lost.
    pub async fn arrived(&mut self) -> Option<Arc<TemplateBlock>> {
        self.0
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|block| block.clone())
    }
}

/// A template's block with a placeholder for its coinbase.
#[derive(Debug)]
pub struct TemplateBlock {
    /// Serialized, with witnesses; what is before the transactions does not count.
    bytes: Vec<u8>,
    /// Where the first transaction that is no coinbase starts.
    transactions_at: usize,
    transaction_count: usize,
    fees_sats: u64,
}

const HEADER_LEN: usize = 80;

impl TemplateBlock {
    /// `bytes` is a block as `getBlock` serializes it; `fees_sats` the sum of its fees.
    pub fn parse(bytes: Vec<u8>, fees_sats: u64) -> Result<Self, encode::Error> {
        let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        let count = VarInt::consensus_decode(&mut rest)?;
        let _placeholder = Transaction::consensus_decode(&mut rest)?;
        let transactions_at = bytes.len() - rest.len();
        let with_coinbase = usize::try_from(count.0)
            .map_err(|_too_many| encode::Error::ParseFailed("transaction count"))?;
        let transaction_count = with_coinbase
            .checked_sub(1)
            .ok_or(encode::Error::ParseFailed("a block without a coinbase"))?;
        Ok(Self {
            bytes,
            transactions_at,
            transaction_count,
            fees_sats,
        })
    }

    /// `transactions` are those of the block without its coinbase, serialized with their witnesses in block order.
    pub(crate) fn of_transactions(
        transactions: Vec<u8>,
        transaction_count: usize,
        fees_sats: u64,
    ) -> Self {
        Self {
            bytes: transactions,
            transactions_at: 0,
            transaction_count,
            fees_sats,
        }
    }

    /// Without the coinbase.
    pub fn transaction_count(&self) -> usize {
        self.transaction_count
    }

    pub fn fees_sats(&self) -> u64 {
        self.fees_sats
    }

    /// The transactions in block order without the coinbase, each serialized with its witness.
    pub fn transactions(&self) -> Result<Vec<&[u8]>, encode::Error> {
        let mut rest = &self.bytes[self.transactions_at..];
        let mut transactions = Vec::with_capacity(self.transaction_count);
        for _ in 0..self.transaction_count {
            let start = rest;
            Transaction::consensus_decode(&mut rest)?;
            transactions.push(&start[..start.len() - rest.len()]);
        }
        Ok(transactions)
    }

    /// Weight of the transactions without the coinbase.
    pub fn weight(&self) -> Result<Weight, encode::Error> {
        let mut rest = &self.bytes[self.transactions_at..];
        let mut weight = Weight::ZERO;
        for _ in 0..self.transaction_count {
            weight += Transaction::consensus_decode(&mut rest)?.weight();
        }
        Ok(weight)
    }

    /// The serialized block with this header, and this coinbase (with its witness) in place of the placeholder.
    pub fn assemble(&self, header: &[u8; HEADER_LEN], coinbase: &[u8]) -> Vec<u8> {
        let count = VarInt::from(self.transaction_count + 1);
        let transactions = &self.bytes[self.transactions_at..];
        let mut block =
            Vec::with_capacity(HEADER_LEN + count.size() + coinbase.len() + transactions.len());
        block.extend_from_slice(header);
        block.extend_from_slice(&encode::serialize(&count));
        block.extend_from_slice(coinbase);
        block.extend_from_slice(transactions);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::absolute::LockTime;
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::{
        Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, TxIn, TxMerkleNode, TxOut,
        Witness, block,
    };

    #[track_caller]
    fn check_weight(size: u32, expected: u64) {
        let reservation = Reservation::for_coinbase_outputs(size, 0).unwrap();
        assert_eq!(reservation.weight(), expected, "size {size}");
        assert!(reservation.weight() >= 1168 + 4 * u64::from(size));
    }

    #[test]
    fn reservation_covers_the_outputs_and_the_rest_of_the_coinbase() {
        check_weight(0, 2000);
        check_weight(208, 2000);
        check_weight(209, 4000);
        check_weight(708, 4000);
        check_weight(709, 8000);
        check_weight(100_000, 512_000);
        assert!(Reservation::for_coinbase_outputs(127_709, 0).is_err());
        assert!(Reservation::for_coinbase_outputs(u32::MAX, u16::MAX).is_err());
    }

    #[test]
    fn reservation_covers_the_sigops() {
        let sigops = |n| Reservation::for_coinbase_outputs(100, n).unwrap().sigops();
        assert_eq!((sigops(0), sigops(100), sigops(101)), (400, 400, 1600));
        assert_eq!(sigops(6_400), 25_600);
        let refused = Reservation::for_coinbase_outputs(100, 6_401).unwrap_err();
        assert!(refused.to_string().contains("6401"), "{refused}");
    }

    #[test]
    fn clients_with_small_needs_share_the_default_class() {
        assert_eq!(
            Reservation::for_coinbase_outputs(100, 10).unwrap(),
            Reservation::default()
        );
    }

    fn transaction(seed: u8, witness: bool) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(vec![seed; 7]),
                witness: if witness {
                    Witness::from_slice(&[vec![seed; 32]])
                } else {
                    Witness::new()
                },
                ..TxIn::default()
            }],
            output: vec![TxOut {
                value: Amount::from_sat(1),
                script_pubkey: ScriptBuf::new(),
            }],
        }
    }

    fn block(transactions: Vec<Transaction>) -> Block {
        Block {
            header: block::Header {
                version: block::Version::TWO,
                prev_blockhash: BlockHash::all_zeros(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: 1,
                bits: CompactTarget::from_consensus(0x207f_ffff),
                nonce: 2,
            },
            txdata: transactions,
        }
    }

    #[test]
    fn assembled_block_is_the_template_with_our_header_and_coinbase() {
        let template = block(
            (0..300_u16)
                .map(|n| transaction(n.to_le_bytes()[0], n % 2 == 0))
                .collect(),
        );
        let parsed = TemplateBlock::parse(encode::serialize(&template), 5).unwrap();
        assert_eq!(parsed.transaction_count(), 299);

        let mut expected = template.clone();
        expected.header.nonce = 77;
        expected.txdata[0] = transaction(99, true);
        let header = encode::serialize(&expected.header).try_into().unwrap();
        let assembled = parsed.assemble(&header, &encode::serialize(&expected.txdata[0]));
        assert_eq!(assembled, encode::serialize(&expected));

        let transactions = parsed.transactions().unwrap();
        let wanted: Vec<_> = template.txdata[1..].iter().map(encode::serialize).collect();
        assert_eq!(transactions, wanted);
        let weight = template.txdata[1..]
            .iter()
            .map(Transaction::weight)
            .sum::<Weight>();
        assert_eq!(parsed.weight().unwrap(), weight);
    }

    #[test]
    fn a_truncated_block_is_an_error() {
        let bytes = encode::serialize(&block(vec![transaction(1, true), transaction(2, true)]));
        assert!(TemplateBlock::parse(bytes[..40].to_vec(), 0).is_err());
        assert!(TemplateBlock::parse(bytes[..100].to_vec(), 0).is_err());
        let cut = TemplateBlock::parse(bytes[..bytes.len() - 1].to_vec(), 0).unwrap();
        assert!(cut.transactions().is_err());
    }
}
