//! What a wallet has on the chain, output by output, and the transactions that it took part in.

use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};

/// An output of the wallet that no block spends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletOutput {
    pub outpoint: OutPoint,
    pub amount: Amount,
    pub script: ScriptBuf,
    /// Of the block that it is in; none before that.
    pub height: Option<u32>,
    /// Of a coinbase that is not mature.
    pub is_immature: bool,
    /// Kept for a transaction that is being made.
    pub is_reserved: bool,
}

/// A transaction that the wallet took part in, as far as it has noticed. The embedded node looks for those that are in no block when the
/// next block comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletTransaction {
    pub txid: Txid,
    /// Of the block that it is in; none before that.
    pub height: Option<u32>,
}
