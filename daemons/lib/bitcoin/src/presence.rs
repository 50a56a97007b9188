//! Whether a node still has the blocks that it was given.
//!
//! Bitcoin Core writes down which blocks it has only from time to time: one that dies in between (`kill -9`, a power cut) has
//! forgotten at its next start what it had accepted. So whoever found a block looks again, and gives it again.
//! Never: submits anything by itself, or remembers what it saw.

use bitcoin::BlockHash;

use crate::rpc::{Rpc, RpcError};

/// `RPC_INVALID_ADDRESS_OR_KEY` of Bitcoin Core: it does not know a block of this hash.
const CODE_NOT_FOUND: i32 = -5;

/// What a node has of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is on the node's best chain; 1 at its tip.
    OnBestChain { confirmations: u32 },
    /// The node has the block on a side of the chain, not judged, or found it invalid.
    OffBestChain,
    /// The node has not got it: nothing, or no more than the header.
    Unknown,
}

/// A block that a node should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    pub hash: BlockHash,
    /// It was on the best chain when it was last looked at: while a newer block of the list is there, so is this one, and the
    /// node is not asked for it.
    pub settled: bool,
}

/// What a node said.
#[derive(Debug)]
pub struct Sight {
    /// In the order of the list. What is missing was not asked for.
    pub seen: Vec<(BlockHash, Presence)>,
    /// Why the node did not say more.
    pub error: Option<RpcError>,
}

/// Asks a node for blocks, the highest first. A node that has all of them is asked for one, and for those that are not settled.
pub async fn look(rpc: &Rpc, highest_first: &[Sought]) -> Sight {
    let mut sight = Sight {
        seen: Vec::new(),
        error: None,
    };
    let mut is_covered = false;
    for sought in highest_first {
        if sought.settled && is_covered {
            continue;
        }
        match of(rpc, sought.hash).await {
            Ok(presence) => {
                is_covered |= matches!(presence, Presence::OnBestChain { .. });
                sight.seen.push((sought.hash, presence));
            }
            Err(error) => {
                sight.error = Some(error);
                break;
            }
        }
    }
    sight
}

/// Asks a node for one block.
///
/// # Errors
/// The node does not say.
pub async fn of(rpc: &Rpc, hash: BlockHash) -> Result<Presence, RpcError> {
    match rpc.block_header(hash).await {
        // A peer has sent the header, and the block may never come.
        Ok(header) if header.n_tx == 0 => Ok(Presence::Unknown),
        Ok(header) => Ok(match u32::try_from(header.confirmations) {
            Ok(confirmations) if confirmations > 0 => Presence::OnBestChain { confirmations },
            _ => Presence::OffBestChain,
        }),
        Err(RpcError::Refused {
            code: CODE_NOT_FOUND,
            ..
        }) => Ok(Presence::Unknown),
        Err(error) => Err(error),
    }
}
