//! Follows blocks of ours that are out of danger on Bitcoin Core's best chain: one that a reorganisation leaves behind is
//! orphaned, and accepted again if the chain comes back to it.

use super::InHand;
use crate::work;
use bitcoin::hashes::Hash;
use hh_bitcoin::{Presence, Rpc, presence};
use hh_ledger::{BlockRow, BlockState, Ledger};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Blocks looked at after each new tip. Deeper ones than the 100 of coinbase maturity are not looked at any more.
const DEPTH: u32 = 100;

/// At most this many of ours can lie within [`DEPTH`]; on a chain of our own all of them.
const MAX_BLOCKS: usize = 200;

/// A tip is asked about a little later than it comes: a node may still be connecting the block.
const SETTLE: Duration = Duration::from_secs(2);

/// Follows until `stop` is cancelled. Those `in_hand` are the keeper's.
pub(crate) async fn follow(
    ledger: Ledger,
    nodes: Vec<(String, Rpc)>,
    in_hand: InHand,
    mut work: work::Receiver,
    stop: CancellationToken,
) {
    let mut tip = None;
    while let Some(Ok(())) = stop.run_until_cancelled(work.changed()).await {
        let Some(new) = work
            .borrow_and_update()
            .as_ref()
            .map(|work| (work.tip.number, work.job.template.height))
        else {
            continue;
        };
        if tip == Some(new.0) {
            continue;
        }
        tip = Some(new.0);
        if stop
            .run_until_cancelled(tokio::time::sleep(SETTLE))
            .await
            .is_none()
        {
            return;
        }
        check(&ledger, &nodes, &in_hand, new.1).await;
    }
}

async fn check(ledger: &Ledger, nodes: &[(String, Rpc)], in_hand: &InHand, next_height: u32) {
    let Ok(rows) = ledger.blocks(MAX_BLOCKS).await else {
        // The shipper tells of a ledger that is away; the next tip asks again.
        return;
    };
    let recent = |row: &BlockRow| row.height.saturating_add(DEPTH) >= next_height;
    let followed =
        |row: &BlockRow| matches!(row.state, BlockState::Accepted | BlockState::Orphaned);
    for row in rows.into_iter().filter(|row| recent(row) && followed(row)) {
        if in_hand.borrow().contains(&row.hash) {
            continue;
        }
        let Some(on_best_chain) = ask(nodes, &row).await else {
            continue;
        };
        let state = if on_best_chain {
            BlockState::Accepted
        } else {
            BlockState::Orphaned
        };
        if state != row.state {
            change(ledger, row, state).await;
        }
    }
}

/// Whether a node has the block on its best chain; none where no node has it.
async fn ask(nodes: &[(String, Rpc)], row: &BlockRow) -> Option<bool> {
    let hash = bitcoin::BlockHash::from_byte_array(row.hash.to_byte_array());
    let mut found = None;
    for (_, rpc) in nodes {
        match presence::of(rpc, hash).await {
            Ok(Presence::OnBestChain { .. }) => return Some(true),
            Ok(Presence::OffBestChain) => found = Some(false),
            Ok(Presence::Unknown) | Err(_) => {}
        }
    }
    found
}

async fn change(ledger: &Ledger, mut row: BlockRow, state: BlockState) {
    let (hash, height) = (row.hash, row.height);
    row.state = state;
    if state == BlockState::Orphaned {
        row.reason = Some("not on the best chain".to_owned());
        metrics::counter!("hyperhash_blocks_total", "result" => "orphaned").increment(1);
        tracing::error!(%hash, height, "block orphaned");
    } else {
        row.reason = None;
        tracing::info!(%hash, height, "block is on the best chain again");
    }
    if let Err(error) = ledger.put_block(row).await {
        let error = hh_daemon::Chain(&error).to_string();
        tracing::warn!(%hash, error, "state of a block not written; the next tip asks again");
    }
}
