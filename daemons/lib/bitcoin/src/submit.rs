//! A found block to every configured node at once.
//!
//! Owns: `submitblock` on each path, retried until the node gives a verdict. Never: waits for one path before another, and
//! never decides what the verdicts mean together: the caller gets each as it comes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize_partial;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::rpc::{Rpc, RpcError};

/// A block is worth the most in its first second, so the first retry comes soon.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// A node that is restarted is asked again within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A node that lags has the block before ours in seconds; one that has not by then is on another chain, or cut off.
const PARENT_WITHIN: Duration = Duration::from_secs(600);
/// What Bitcoin Core says of a block whose parent it does not know: no verdict on the block.
const PARENT_UNKNOWN: &str = "prev-blk-not-found";

/// A node's verdict on a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockOutcome {
    /// Valid, and new to the node.
    Accepted,
    /// Valid, and the node had it already: another path was faster.
    Duplicate,
    /// Stored, not judged: the node's tip has at least as much work. Ask for its confirmations later.
    Inconclusive,
    /// Not judged, and not stored: the node does not know the block before it.
    ParentUnknown,
    /// Refused for good, with the node's own word for it (BIP 22).
    Rejected(String),
}

impl BlockOutcome {
    /// From the answer to `submitblock`. `duplicate` is no verdict yet: while the node judges the copy that came by another path
    /// it says the same of a block that it then refuses.
    pub fn from_bip22(answer: Option<String>) -> Self {
        match answer.as_deref() {
            None => Self::Accepted,
            Some("duplicate") => Self::Duplicate,
            Some("inconclusive" | "duplicate-inconclusive") => Self::Inconclusive,
            Some(PARENT_UNKNOWN) => Self::ParentUnknown,
            Some(reason) => Self::Rejected(reason.to_owned()),
        }
    }

    /// The value of the label `result` and of the field in logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Inconclusive => "inconclusive",
            Self::ParentUnknown => PARENT_UNKNOWN,
            Self::Rejected(_) => "rejected",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Rejected(reason) => Some(reason),
            Self::Accepted | Self::Duplicate | Self::Inconclusive | Self::ParentUnknown => None,
        }
    }
}

impl fmt::Display for BlockOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
            Self::Accepted | Self::Duplicate | Self::Inconclusive | Self::ParentUnknown => {
                f.write_str(self.as_str())
            }
        }
    }
}

/// What one path came to.
#[derive(Debug, Clone)]
pub struct PathOutcome {
    /// The name of the node.
    pub path: String,
    pub outcome: BlockOutcome,
    /// Calls made, the one that was answered included.
    pub attempts: u32,
    /// From the submission to the verdict.
    pub elapsed: Duration,
}

/// Submits blocks to every configured node.
#[derive(Debug, Clone)]
pub struct BlockSubmitter {
    nodes: Arc<[(String, Rpc)]>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl BlockSubmitter {
    /// `nodes` are named clients. Its tasks run on the caller's runtime, are tracked in `tasks` and end with `stop`.
    pub fn new(nodes: Vec<(String, Rpc)>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            nodes: nodes.into(),
            tasks,
            stop,
        }
    }

    /// The number of paths, so of outcomes a submission ends with.
    pub fn path_count(&self) -> usize {
        self.nodes.len()
    }

    /// Submits a serialized block by every path at once; returns at once. The channel yields one outcome a path, in the order
    /// they come, and then ends; it ends early only when the daemon stops. Dropping it stops nothing.
    pub fn submit(&self, hash: BlockHash, block: Arc<[u8]>) -> mpsc::Receiver<PathOutcome> {
        let (outcomes, receiver) = mpsc::channel(self.nodes.len().max(1));
        for (path, rpc) in self.nodes.iter().cloned() {
            let submission = Submission {
                path,
                rpc,
                hash,
                block: Arc::clone(&block),
            };
            let outcomes = outcomes.clone();
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                if let Some(outcome) = stop.run_until_cancelled(submission.run()).await {
                    // The caller may have heard enough.
                    drop(outcomes.try_send(outcome));
                }
            });
        }
        receiver
    }
}

/// One block on one path.
struct Submission {
    path: String,
    rpc: Rpc,
    hash: BlockHash,
    block: Arc<[u8]>,
}

impl Submission {
    /// Ends with the node's verdict; until then it tries again and again.
    async fn run(self) -> PathOutcome {
        let started = Instant::now();
        let mut pause = RETRY_FIRST;
        let mut attempts = 1;
        loop {
            match submit_once(&self.rpc, &self.block).await {
                Ok(BlockOutcome::ParentUnknown) if started.elapsed() < PARENT_WITHIN => {
                    warn!(
                        path = self.path, hash = %self.hash, attempts,
                        "the node does not know the block before this one yet, submission will be retried"
                    );
                }
                Ok(outcome) => return self.finished(outcome, attempts, started),
                Err(error) => warn!(
                    path = self.path, hash = %self.hash, attempts,
                    error = &error as &dyn std::error::Error,
                    "block submission failed, will be retried"
                ),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            attempts = attempts.saturating_add(1);
        }
    }

    fn finished(self, outcome: BlockOutcome, attempts: u32, started: Instant) -> PathOutcome {
        let elapsed = started.elapsed();
        info!(
            path = self.path, hash = %self.hash, attempts, outcome = outcome.as_str(),
            reason = outcome.reason(), elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "block submission answered"
        );
        PathOutcome {
            path: self.path,
            outcome,
            attempts,
            elapsed,
        }
    }
}

/// `submitblock`, once, and the node's verdict where its answer is none.
///
/// # Errors
/// The node did not answer; the block may be given to it again.
pub async fn submit_once(rpc: &Rpc, block: &[u8]) -> Result<BlockOutcome, RpcError> {
    match rpc.submit_block(block).await {
        Ok(answer) if answer.as_deref().is_some_and(is_of_a_known_block) => {
            verdict(rpc, block).await
        }
        Ok(answer) => Ok(BlockOutcome::from_bip22(answer)),
        // The node has read the block and won't have it: the same bytes get the same answer.
        Err(RpcError::Refused {
            code: CODE_DESERIALIZATION,
            message,
            ..
        }) => Ok(BlockOutcome::Rejected(message)),
        Err(error) => Err(error),
    }
}

/// What the node makes of a block that it was given before, on whatever path, with the reason where it refuses it.
pub(crate) async fn verdict(rpc: &Rpc, block: &[u8]) -> Result<BlockOutcome, RpcError> {
    for _ in 0..JUDGING_LOOKS {
        match rpc.propose_block(block).await?.as_deref() {
            Some("duplicate") => return Ok(BlockOutcome::Duplicate),
            // It is not judged yet, or it is on a side of the chain and won't be.
            Some("duplicate-inconclusive") => tokio::time::sleep(JUDGING_PAUSE).await,
            Some("duplicate-invalid") => {
                let reason = propose_again(rpc, block).await?;
                let reason = reason.filter(|reason| reason != NOT_ON_THE_TIP);
                let reason = reason.unwrap_or_else(|| "duplicate-invalid".to_owned());
                return Ok(BlockOutcome::Rejected(reason));
            }
            Some(NOT_ON_THE_TIP) => return Ok(BlockOutcome::Inconclusive),
            // It keeps nothing of a block without work, so it does not know it.
            _ if !has_work(block) => return Ok(BlockOutcome::Rejected("high-hash".to_owned())),
            Some(reason) => return Ok(BlockOutcome::Rejected(reason.to_owned())),
            None => return Ok(BlockOutcome::Inconclusive),
        }
    }
    Ok(BlockOutcome::Inconclusive)
}

fn is_of_a_known_block(word: &str) -> bool {
    word.starts_with("duplicate")
}

/// Whether the hash of the block's header meets the target that it names.
fn has_work(block: &[u8]) -> bool {
    let header = deserialize_partial::<Header>(block);
    header.is_ok_and(|(header, _)| header.target().is_met_by(header.block_hash()))
}

/// Of a block that it knows, the node does not say what is wrong with it. It judges the same block with another nonce, which it
/// does not know, and keeps nothing of it.
async fn propose_again(rpc: &Rpc, block: &[u8]) -> Result<Option<String>, RpcError> {
    let mut again = block.to_vec();
    for byte in again.iter_mut().take(HEADER_LEN).skip(NONCE_AT) {
        *byte = !*byte;
    }
    rpc.propose_block(&again).await
}

/// `RPC_DESERIALIZATION_ERROR` of Bitcoin Core.
const CODE_DESERIALIZATION: i32 = -22;
/// The node's word for a proposal that does not build on its tip.
const NOT_ON_THE_TIP: &str = "inconclusive-not-best-prevblk";
/// A block that another path brought is judged within a second, except by a node in trouble.
const JUDGING_LOOKS: u32 = 10;
const JUDGING_PAUSE: Duration = Duration::from_millis(100);
const HEADER_LEN: usize = 80;
const NONCE_AT: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::RpcAuth;
    use bitcoin::hashes::Hash;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    #[test]
    fn bip22_answers_have_one_meaning_each() {
        let outcome = |word: &str| BlockOutcome::from_bip22(Some(word.to_owned()));
        assert_eq!(BlockOutcome::from_bip22(None), BlockOutcome::Accepted);
        assert_eq!(outcome("duplicate"), BlockOutcome::Duplicate);
        assert_eq!(outcome("inconclusive"), BlockOutcome::Inconclusive);
        assert_eq!(
            outcome("duplicate-invalid").reason(),
            Some("duplicate-invalid")
        );
        assert_eq!(outcome("high-hash").to_string(), "rejected: high-hash");
    }

    /// Answers each request with the next of these results; an empty one is a connection closed without an answer.
    fn node(listener: TcpListener, results: Vec<&'static str>) {
        std::thread::spawn(move || {
            for result in results {
                let (mut stream, _) = listener.accept().unwrap();
                if result.is_empty() {
                    continue;
                }
                let mut request = vec![0; 65536];
                let read = stream.read(&mut request).unwrap();
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                let id = text.split("\"id\":").nth(1).unwrap();
                let id = id.split([',', '}']).next().unwrap();
                let body = format!(r#"{{"result":{result},"error":null,"id":{id}}}"#);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
    }

    fn rpc(address: SocketAddr) -> Rpc {
        let auth = RpcAuth::CookieFile("/dev/null".into());
        Rpc::new(&format!("http://{address}"), auth).unwrap()
    }

    #[tokio::test]
    async fn every_path_gives_its_own_outcome_and_a_failing_one_is_retried() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = TcpListener::bind("127.0.0.1:0").unwrap();
        let late = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&good, &bad, &late].map(|listener| listener.local_addr().unwrap());
        node(good, vec!["null"]);
        node(bad, vec!["\"bad-txns\""]);
        // Three, because the transport itself tries a second connection.
        // It is judged while we look.
        let duplicate = [
            "\"duplicate\"",
            "\"duplicate-inconclusive\"",
            "\"duplicate\"",
        ];
        node(late, [vec!["", "", ""], duplicate.to_vec()].concat());
        let names = ["good", "bad", "late"];
        let nodes = names
            .iter()
            .zip(addresses)
            .map(|(name, at)| ((*name).to_owned(), rpc(at)))
            .collect();
        let stop = CancellationToken::new();
        let submitter = BlockSubmitter::new(nodes, TaskTracker::new(), stop);

        let mut outcomes = submitter.submit(BlockHash::all_zeros(), Arc::from([0; 80].as_slice()));
        let mut all = [
            outcomes.recv().await.unwrap(),
            outcomes.recv().await.unwrap(),
            outcomes.recv().await.unwrap(),
        ];
        all.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(
            all[0].outcome,
            BlockOutcome::Rejected("bad-txns".to_owned())
        );
        assert_eq!(all[1].outcome, BlockOutcome::Accepted);
        assert_eq!(all[2].outcome, BlockOutcome::Duplicate);
        assert!(all[2].attempts > 1);
        assert!(outcomes.recv().await.is_none());
    }

    #[tokio::test]
    async fn stopping_ends_the_retries() {
        let unused = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let submitter = BlockSubmitter::new(
            vec![("dead".to_owned(), rpc(unused))],
            tasks.clone(),
            stop.clone(),
        );
        let mut outcomes = submitter.submit(BlockHash::all_zeros(), Arc::from([0; 80].as_slice()));
        stop.cancel();
        assert!(outcomes.recv().await.is_none());
        tasks.close();
        tasks.wait().await;
    }
}
