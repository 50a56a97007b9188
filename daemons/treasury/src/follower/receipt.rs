//! What a block brought us, read from the block itself: never from a template, and never from what a pool says.

use bitcoin::script::Instruction;
use bitcoin::{Block, Script, ScriptBuf};
use hh_mining::extranonce::EXTRANONCE_SIZE;
use hh_mining::{Extranonce, Network, Reward, RewardError};

/// Of a block whose coinbase was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// What its coinbase pays our scripts.
    pub reward: Reward,
    /// The last push of its scriptSig, where that has an extranonce's length.
    pub extranonce: Option<Extranonce>,
}

/// Why a block can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiptError {
    #[error("the block has no coinbase")]
    NoCoinbase,
    #[error("the outputs of its coinbase are more than fits")]
    Overflow,
    #[error(transparent)]
    Reward(#[from] RewardError),
}

impl Receipt {
    /// Reads the block at `height`: the sum of all outputs of its coinbase to one of `scripts`.
    pub(crate) fn of(
        block: &Block,
        height: u32,
        scripts: &[ScriptBuf],
        network: Network,
    ) -> Result<Self, ReceiptError> {
        let coinbase = block.txdata.first();
        let coinbase = coinbase.filter(|tx| tx.is_coinbase());
        let coinbase = coinbase.ok_or(ReceiptError::NoCoinbase)?;
        let ours = coinbase.output.iter();
        let ours = ours.filter(|output| scripts.contains(&output.script_pubkey));
        let sats = ours.map(|output| output.value.to_sat());
        let sum = sats.into_iter().try_fold(0_u64, u64::checked_add);
        let value_sats = sum.ok_or(ReceiptError::Overflow)?;
        let script_sig = &coinbase.input[0].script_sig;
        Ok(Self {
            reward: Reward::of(value_sats, height, network)?,
            extranonce: extranonce(script_sig),
        })
    }
}

/// What hh-pool pushes last.
fn extranonce(script_sig: &Script) -> Option<Extranonce> {
    let mut last = None;
    for instruction in script_sig.instructions() {
        last = match instruction.ok()? {
            Instruction::PushBytes(bytes) => Some(bytes.as_bytes()),
            Instruction::Op(_) => None,
        };
    }
    let bytes: [u8; EXTRANONCE_SIZE] = last?.try_into().ok()?;
    Some(Extranonce::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::absolute::LockTime;
    use bitcoin::hashes::Hash;
    use bitcoin::script::Builder;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, CompactTarget, OutPoint, Sequence, Transaction, TxIn, TxOut, Witness};
    use bitcoin::{BlockHash, TxMerkleNode, block};

    fn script(byte: u8) -> ScriptBuf {
        ScriptBuf::from_bytes(vec![0x51, byte])
    }

    fn block(script_sig: ScriptBuf, outputs: &[(u64, u8)]) -> Block {
        let output = |(sats, byte): &(u64, u8)| TxOut {
            value: Amount::from_sat(*sats),
            script_pubkey: script(*byte),
        };
        let coinbase = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig,
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: outputs.iter().map(output).collect(),
        };
        Block {
            header: block::Header {
                version: block::Version::TWO,
                prev_blockhash: BlockHash::all_zeros(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: 0,
                bits: CompactTarget::from_consensus(0),
                nonce: 0,
            },
            txdata: vec![coinbase],
        }
    }

    fn script_sig(extranonce: &[u8; 16]) -> ScriptBuf {
        Builder::new()
            .push_int(1_000)
            .push_slice(b"/Hyper Hash/")
            .push_slice(extranonce)
            .into_script()
    }

    #[test]
    fn all_outputs_to_our_scripts_count_and_no_others() {
        let block = block(
            script_sig(&[7; 16]),
            &[(5_000_000_000, 1), (3, 9), (20, 2), (5, 1)],
        );
        let ours = [script(1), script(2)];
        let receipt = Receipt::of(&block, 100, &ours, Network::Signet).unwrap();
        assert_eq!(receipt.reward.value().0, 5_000_000_025_000);
        assert_eq!(receipt.reward.fees().0, 25_000);
        assert!(!receipt.reward.is_short());
        assert_eq!(receipt.extranonce, Some(Extranonce::from_bytes([7; 16])));
    }

    #[test]
    fn a_block_that_pays_somebody_else_brought_nothing_and_is_short() {
        let block = block(script_sig(&[7; 16]), &[(5_000_000_000, 1)]);
        let receipt = Receipt::of(&block, 100, &[script(2)], Network::Signet).unwrap();
        assert_eq!(receipt.reward.value().0, 0);
        assert!(receipt.reward.is_short());
    }

    #[test]
    fn a_coinbase_without_our_extranonce_tells_none() {
        let other = Builder::new()
            .push_int(1_000)
            .push_slice([1; 8])
            .into_script();
        let block = block(other, &[(1, 1)]);
        let receipt = Receipt::of(&block, 100, &[script(1)], Network::Signet).unwrap();
        assert_eq!(receipt.extranonce, None);
    }
}
