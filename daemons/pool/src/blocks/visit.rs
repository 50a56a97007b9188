//! A visit to one node: which of the kept blocks it has, and again to it those that it lacks.

use super::Key;
use super::case::Wanted;
use super::journal::Journal;
use bitcoin::hashes::Hash;
use hh_bitcoin::{BlockOutcome, Presence, Rpc, RpcError, Sought, presence, submit_once};
use hh_mining::BlockHash;
use std::sync::Arc;

/// A block that a node is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub key: Key,
    pub settled: bool,
    pub wanted: Wanted,
    /// Where it is not in the journal.
    pub block: Option<Arc<[u8]>>,
}

/// What came of a visit.
#[derive(Debug)]
pub(super) struct Report {
    pub seen: Vec<(Key, Presence)>,
    /// The answers to what was given again.
    pub answers: Vec<(Key, BlockOutcome)>,
    /// Why the node did not answer to the end.
    pub error: Option<RpcError>,
}

/// Asks a node for blocks, the highest first, and gives it again what it lacks, the lowest first: each needs the one before.
/// One at a time, so that there is one in memory.
pub(super) async fn visit(rpc: &Rpc, journal: &Journal, asked: Vec<Asked>) -> Report {
    let sought = asked.iter().map(|asked| Sought {
        hash: bitcoin::BlockHash::from_byte_array(asked.key.hash.to_byte_array()),
        settled: asked.settled,
    });
    let sight = presence::look(rpc, &sought.collect::<Vec<_>>()).await;
    let mut report = Report {
        seen: Vec::with_capacity(sight.seen.len()),
        answers: Vec::new(),
        error: sight.error,
    };
    let mut lacking = Vec::new();
    let mut asked = asked.into_iter();
    for (hash, presence) in sight.seen {
        let hash = BlockHash::from_byte_array(hash.to_byte_array());
        // The answers are in the order of the questions, of which some were left out.
        let Some(asked) = asked.find(|asked| asked.key.hash == hash) else {
            break;
        };
        report.seen.push((asked.key, presence));
        if lacks(presence, asked.wanted) {
            lacking.push((asked, presence));
        }
    }
    for (asked, presence) in lacking.into_iter().rev() {
        if report.error.is_some() {
            break;
        }
        let Some(block) = read(journal, &asked).await else {
            continue;
        };
        let (hash, height) = (asked.key.hash, asked.key.height);
        if presence == Presence::Unknown {
            tracing::warn!(%hash, height, node = rpc.url(), "node does not have a block of ours; it gets it again");
            metrics::counter!("hyperhash_block_resubmissions_total").increment(1);
        }
        match submit_once(rpc, &block).await {
            Ok(outcome) => report.answers.push((asked.key, outcome)),
            Err(error) => report.error = Some(error),
        }
    }
    report
}

fn lacks(presence: Presence, wanted: Wanted) -> bool {
    match (presence, wanted) {
        (Presence::OnBestChain { .. }, _) | (_, Wanted::No) => false,
        (Presence::OffBestChain, wanted) => wanted == Wanted::IfNotOnBestChain,
        (Presence::Unknown, Wanted::IfUnknown | Wanted::IfNotOnBestChain) => true,
    }
}

async fn read(journal: &Journal, asked: &Asked) -> Option<Arc<[u8]>> {
    if let Some(block) = &asked.block {
        return Some(Arc::clone(block));
    }
    let (journal, key) = (journal.clone(), asked.key);
    let reading = tokio::task::spawn_blocking(move || journal.read_block(key)).await;
    match reading {
        Ok(Ok(block)) => block.map(Arc::from),
        Ok(Err(error)) => {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::error!(hash = %asked.key.hash, error, "a block of ours can't be read from the journal");
            None
        }
        // The daemon ends.
        Err(_) => None,
    }
}
