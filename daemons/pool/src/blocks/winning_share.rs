//! The share of an accepted block, which is logged though its connection could not: the disk was full, or the job stale.
//!
//! It is logged at the time of the find, or at that of the log's last record if that is later: times never go back in a log. The
//! log itself keeps a share that was found by this process from being there twice; for one of an earlier process the ledger is
//! asked, once it has all that the log held at the start.

use super::Paths;
use crate::share_log::{LogError, Record, ShareRecord};
use crate::shipper::Shipping;
use hh_ledger::LedgerError;
use hh_mining::BlockHash;

/// Why it is not in the log yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum WinningShareError {
    #[error("could not ask for the share of a block")]
    Ledger(#[from] LedgerError),
    #[error("could not log the share of a block")]
    Log(#[from] LogError),
}

/// Whether the ledger has all that the log held at the start, of which `recovered_seq` was the last record.
pub(super) fn is_ledger_ready(shipping: &Shipping, recovered_seq: u64) -> bool {
    // Before the first shipment it is what an earlier process knew; the ledger may have gone back since.
    shipping.last_shipped_at_ms.is_some() && shipping.shipped_seq >= recovered_seq
}

/// Sees to it that the log has the share, or the ledger that of an earlier process; that must be ready.
///
/// # Errors
/// It is to be tried again.
pub(super) async fn log(
    paths: Paths,
    share: ShareRecord,
    is_recovered: bool,
) -> Result<(), WinningShareError> {
    let hash = BlockHash::from_byte_array(share.hash);
    if is_recovered {
        let shares = paths.ledger.reader().shares_by_hash(hash).await?;
        if !shares.is_empty() {
            return Ok(());
        }
        tracing::info!(%hash, "the share of a block is in no log; it is logged now");
    }
    paths.log.append(vec![Record::Share(share)]).await?;
    Ok(())
}
