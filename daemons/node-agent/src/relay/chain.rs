//! The node's Bitcoin Core: its tip as it changes, the headers up to it, and what it makes of the header of another node.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use hh_bitcoin::{ChainTip, Presence, Rpc, RpcError, presence};
use hh_daemon::{Chain, Failure};
use hh_ipc::agent::MAX_RELAY_HEADERS;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// For a call that waits for the next tip: it keeps one of bitcoin-node's `rpcthreads`, and for this long when the agent is gone.
const TIP_WAIT: Duration = Duration::from_secs(10);

/// Before bitcoin-node is asked again that did not answer.
const AWAY_PAUSE: Duration = Duration::from_secs(2);

/// Before one is asked again that had nothing new: it may be on its way down, and answer at once.
const SAME_PAUSE: Duration = Duration::from_millis(50);

/// A tip that is older is of a node that catches up: it is told when it has.
const AGE_SECONDS_MAX: i64 = 3 * 3_600;

/// What a node makes of another node's block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has the block.
    Has,
    /// The header is valid on what it has, and the block is missing.
    Wants,
    /// Its word for why the header is not.
    Refuses(String),
}

/// Tells each new tip, until the agent stops.
pub(super) async fn follow(
    rpc: Rpc,
    tip: watch::Sender<Option<ChainTip>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    stop.run_until_cancelled(tell(&rpc, &tip)).await;
    Ok(())
}

async fn tell(rpc: &Rpc, tip: &watch::Sender<Option<ChainTip>>) {
    let mut height = 0;
    let mut is_away = false;
    loop {
        match rpc.tip_from(height, TIP_WAIT).await {
            Ok(now) => {
                is_away = false;
                height = now.height.saturating_add(1);
                let is_new = tip.send_if_modified(|known| known.replace(now) != Some(now));
                if !is_new {
                    tokio::time::sleep(SAME_PAUSE).await;
                }
            }
            Err(error) => {
                if !is_away {
                    tracing::warn!(error = %Chain(&error), "Bitcoin Core does not tell its tip");
                }
                (is_away, height) = (true, 0);
                tokio::time::sleep(AWAY_PAUSE).await;
            }
        }
    }
}

/// The headers up to a tip from the first one that core has not heard of here, the oldest first; the tip's alone where it has heard of
/// none. None for a tip of yesterday, unless it is the first that core hears of.
pub(super) async fn headers(
    rpc: &Rpc,
    known: &VecDeque<BlockHash>,
    tip: BlockHash,
) -> Result<Vec<Header>, RpcError> {
    let mut headers = vec![header(rpc, tip).await?];
    let is_first = known.is_empty();
    while let Some(oldest) = headers.last() {
        let parent = oldest.prev_blockhash;
        let is_old = Timestamp::now().as_second() - i64::from(oldest.time) > AGE_SECONDS_MAX;
        if headers.len() == 1 && is_old && !is_first {
            return Ok(Vec::new());
        }
        let is_all = known.contains(&parent) || parent == BlockHash::all_zeros();
        if is_first || is_all || headers.len() >= MAX_RELAY_HEADERS {
            break;
        }
        headers.push(header(rpc, parent).await?);
    }
    headers.reverse();
    Ok(headers)
}

async fn header(rpc: &Rpc, hash: BlockHash) -> Result<Header, RpcError> {
    let bytes = rpc.raw_header(hash).await?;
    deserialize(&bytes).map_err(|source| RpcError::Answer {
        url: rpc.url().to_owned(),
        method: "getblockheader",
        source: Box::new(source),
    })
}

/// Asks a node about the header of another one's block. One that it did not have it has from then on, if it is valid.
pub(super) async fn judge(rpc: &Rpc, header: &Header) -> Result<Verdict, RpcError> {
    match presence::of(rpc, header.block_hash()).await? {
        Presence::OnBestChain { .. } | Presence::OffBestChain => Ok(Verdict::Has),
        Presence::Unknown => match rpc.submit_header(&serialize(header)).await? {
            None => Ok(Verdict::Wants),
            Some(reason) => Ok(Verdict::Refuses(reason)),
        },
    }
}
