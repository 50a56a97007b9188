//! The share of an accepted block, which is logged though its connection could not: the disk was full, or the job stale.
//!
//! It is logged at the time of the find, or at that of the log's last record if that is later: times never go back in a log. The
//! log itself keeps a share that was found by this process from being there twice; for one of an earlier process the ledger is
//! asked, once it has all that the log held at the start.

use super::Paths;
use crate::share_log::{LogError, Record, ShareRecord};
use hh_ledger::LedgerError;
use hh_mining::BlockHash;

/// Why it is not in the log yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum WinningShareError {
    #[error("could not ask for the share of a block")]
    Ledger(#[from] LedgerError),
    #[error("could not log the share of a block")]
    Log(#[from] LogError),
    #[error("the shipper has ended")]
    Shipper(#[from] tokio::sync::watch::error::RecvError),
}

/// Sees to it that the log or the ledger has the share. `recovered_seq` is the last record that the log had at the start, for a
/// share of an earlier process. Waits for a ledger that is away.
///
/// # Errors
/// It is to be tried again.
pub(super) async fn log(
    paths: Paths,
    share: ShareRecord,
    recovered_seq: Option<u64>,
) -> Result<(), WinningShareError> {
    let hash = BlockHash::from_byte_array(share.hash);
    if let Some(recovered_seq) = recovered_seq {
        let mut shipping = paths.shipping;
        shipping
            .wait_for(|shipping| {
                // Before the first shipment it is what an earlier process knew; the ledger may have gone back since.
                shipping.last_shipped_at_ms.is_some() && shipping.shipped_seq >= recovered_seq
            })
            .await?;
        let shares = paths.ledger.reader().shares_by_hash(hash).await?;
        if !shares.is_empty() {
            return Ok(());
        }
        tracing::info!(%hash, "the share of a block is in no log; it is logged now");
    }
    paths.log.append(vec![Record::Share(share)]).await?;
    Ok(())
}
