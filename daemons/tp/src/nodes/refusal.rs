//! Whether a node that has less work than another lags, or refuses the other's chain.
//!
//! Owns: that one question. Never: answers it for good, a node may change its mind (`reconsiderblock`, an upgrade).

use bitcoin::BlockHash;
use hh_bitcoin::rpc::CALL_DEADLINE;
use hh_bitcoin::{Rpc, RpcError};
use serde::Deserialize;

/// A node remembers every invalid block it ever saw; the ones that matter are the highest.
const INVALID_TIPS_MAX: usize = 4;

/// As `getchaintips` has it.
#[derive(Debug, Deserialize)]
struct ChainTip {
    height: u32,
    hash: BlockHash,
    status: String,
}

/// Whether a block on the best chain of `other` is invalid to `node`.
pub(super) async fn refuses(node: &Rpc, other: &Rpc) -> Result<bool, RpcError> {
    let tips: Vec<ChainTip> = node.call("getchaintips", vec![], CALL_DEADLINE).await?;
    let mut invalid: Vec<ChainTip> = tips
        .into_iter()
        .filter(|tip| tip.status == "invalid")
        .collect();
    invalid.sort_by_key(|tip| std::cmp::Reverse(tip.height));
    for tip in invalid.into_iter().take(INVALID_TIPS_MAX) {
        match other.block_hash(tip.height).await {
            Ok(hash) if hash == tip.hash => return Ok(true),
            // Another block, or none at that height.
            Ok(_) | Err(RpcError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
