//! Block relay: a new block of one node's Bitcoin Core reaches those of the others, beside Bitcoin's own network and never in its place.
//!
//! It owns which blocks were heard of, and who is told. Core has no chain: it checks that a header took the work that it names, that the
//! block before it is known, and that a body is the header's own, and sends a hash on once. Whether a block is valid the Bitcoin Core of each
//! node says, of the header before it takes the body. Each replica relays between the nodes whose streams it has. See ADR 0031.

mod board;
mod budget;
mod stream;

use crate::grpc::Messages;
use crate::node::{self, NodeRow};
use crate::store::{Store, StoreError};
use board::{Board, Now};
use hh_daemon::Tasks;
use hh_ipc::agent::{RelayCoreMessage, RelayNodeMessage};
use hh_mining::Network;
use hh_trust::NodeId;
use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stream::Stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// How often it is looked whether the nodes that are here still may be: one that was revoked is out within five seconds.
const ADMIT_EVERY: Duration = Duration::from_secs(4);

/// Messages that wait for a node's connection, beside those that its stream holds back: two parts of a block.
const OUTGOING_QUEUE: usize = 2;

/// What may come of a block that was announced.
const OUTCOMES: [&str; 8] = [
    "relayed",
    "duplicate",
    "stale",
    "anchor",
    "bad_header",
    "unknown_parent",
    "bad_block",
    "no_block",
];

/// The relay of this replica. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Relay(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chain: Network,
    board: Mutex<Board>,
    tasks: Tasks,
}

impl Relay {
    pub(crate) fn new(chain: Network, tasks: Tasks) -> Self {
        describe();
        Self(Arc::new(Shared {
            chain,
            board: Mutex::new(Board::new(chain)),
            tasks,
        }))
    }

    /// A node begins a stream.
    pub(crate) fn open(
        &self,
        node: &NodeRow,
        incoming: Streaming<RelayNodeMessage>,
    ) -> Messages<RelayCoreMessage> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_QUEUE);
        let place = {
            let mut board = self.board();
            let place = board.enter(&node.id, node.epoch);
            show(&board);
            place
        };
        let stream = Stream::new(self.clone(), node.id.clone(), place, incoming, outgoing);
        self.0.tasks.spawn_session("block relay", stream.run());
        Messages(messages)
    }

    /// Looks again and again whether the nodes that are here still may be, until the daemon stops.
    pub(crate) async fn admit(self, store: Store, stop: CancellationToken) {
        loop {
            let waited = stop
                .run_until_cancelled(tokio::time::sleep(ADMIT_EVERY))
                .await;
            if waited.is_none() {
                return;
            }
            if let Err(error) = self.admit_again(&store).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "nodes that relay blocks can't be looked up"
                );
            }
        }
    }

    async fn admit_again(&self, store: &Store) -> Result<(), StoreError> {
        let here = self.board().nodes();
        if here.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = here.iter().map(|(node, _)| node.to_string()).collect();
        let limit = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let known: Result<Vec<NodeRow>, StoreError> = store
            .read(move |transaction| node::page(transaction, Some(&names), None, limit))
            .await;
        let known = known?.into_iter().filter(|node| node.revoked.is_none());
        let epochs: BTreeMap<NodeId, u64> = known.map(|node| (node.id, node.epoch)).collect();
        let board = self.board();
        for (node, epoch) in here {
            if epochs.get(&node) != Some(&epoch) {
                tracing::info!(%node, "block relay ended: revoked, or joined anew");
                board.end(&node);
            }
        }
        Ok(())
    }

    /// A stream has ended.
    fn leave(&self, node: &NodeId, serial: u64) {
        let mut board = self.board();
        board.leave(node, serial, Instant::now());
        show(&board);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing in between can panic.
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn read() -> Self {
        Self {
            at: Instant::now(),
            unix_seconds: u64::try_from(Timestamp::now().as_second()).unwrap_or_default(),
        }
    }
}

/// Counts what came of a block that was announced.
fn count(outcome: &'static str) {
    counter!("hyperhash_relay_blocks_total", "outcome" => outcome).increment(1);
}

fn show(board: &Board) {
    let count = u32::try_from(board.count()).unwrap_or(u32::MAX);
    gauge!("hyperhash_relay_nodes").set(f64::from(count));
}

fn describe() {
    describe_counter!(
        "hyperhash_relay_blocks_total",
        "Blocks that nodes announced, by what came of them"
    );
    describe_counter!(
        "hyperhash_relay_lost_total",
        "Messages of block relay that were not sent, because a node took too long to read"
    );
    describe_counter!(
        "hyperhash_relay_throttled_total",
        "Times a node was over its budget of block relay"
    );
    describe_gauge!(
        "hyperhash_relay_nodes",
        "Nodes that relay blocks at this replica"
    );
    describe_histogram!(
        "hyperhash_relay_seconds",
        Unit::Seconds,
        "From the first word of a block until it was sent to a node that asked for it"
    );
    for outcome in OUTCOMES {
        counter!("hyperhash_relay_blocks_total", "outcome" => outcome).absolute(0);
    }
}
