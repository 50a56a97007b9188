//! Sums rounds up: tells the ledger, again and again, to write down what lies before each block of ours once it has all of it.
//! Any pool on a ledger does so, and they come to the same; nobody waits for it.

use hh_ledger::Ledger;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often. A round can be summed up some seconds after its block, when every pool has shipped what it had then.
const INTERVAL: Duration = Duration::from_secs(2);

/// Sums up until `stop` is cancelled.
pub(crate) async fn keep(ledger: Ledger, stop: CancellationToken) {
    let pause = || tokio::time::sleep(INTERVAL);
    while stop.run_until_cancelled(pause()).await.is_some() {
        match stop.run_until_cancelled(ledger.cut_blocks()).await {
            Some(Ok(rounds)) if rounds > 0 => tracing::debug!(rounds, "rounds summed up"),
            // The shipper tells of a ledger that is away; the next time does what this one did not.
            Some(Ok(_) | Err(_)) | None => {}
        }
    }
}
