//! What is known of blocks, and who of the nodes has one, or waits for it. Plain data: it is told the time, and tells nodes by queues that
//! never hold it up.

use super::budget::{Budget, Over};
use bytes::Bytes;
use hh_mining::{BlockHash, HeaderError, Network, RelayedHeader};
use hh_trust::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Blocks that are remembered, each sent on once: a day of mainnet.
const SEEN_MAX: usize = 144;

/// Of these, so many with their bodies, for nodes that ask late: some 16 MB at most.
const BODIES_MAX: usize = 4;

/// Nodes that are asked for a block, one after the other.
const SOURCES_MAX: usize = 8;

/// News that wait for a node's stream, which is at its other work for milliseconds.
pub(super) const NEWS_QUEUE: usize = 64;

/// What a node's stream is told.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// Another node has a new block.
    Announce { header: RelayedHeader, height: u32 },
    /// This node is asked for a block that it has.
    Fetch(RelayedHeader),
    /// A block that this node waits for is there.
    Here(BlockHash),
}

/// What came of a header that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// New, and sent on.
    Relayed,
    /// Known already.
    Duplicate,
    /// New and not of today: it is known from now on, and not sent on.
    Stale,
    /// Its parent is not known: it is where this node stands, and is not sent on.
    Anchor,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Anchor => "anchor",
        }
    }
}

/// Why a header is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the block before it is not known here")]
    UnknownParent,
}

impl Refusal {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Header(_) => "bad_header",
            Self::UnknownParent => "unknown_parent",
        }
    }
}

/// A block that a node may be sent.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) hash: BlockHash,
    pub(super) body: Bytes,
    pub(super) first_seen: Instant,
}

/// When something happens, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) unix_seconds: u64,
}

#[derive(Debug)]
struct Seat {
    serial: u64,
    epoch: u64,
    news: mpsc::Sender<News>,
    end: CancellationToken,
    /// The last block that this node is known to have.
    tip: Option<RelayedHeader>,
}

/// A block.
#[derive(Debug)]
struct Seen {
    header: RelayedHeader,
    first_seen: Instant,
    body: Body,
    /// Nodes that have it and were not asked in vain.
    sources: VecDeque<NodeId>,
    waiting: BTreeSet<NodeId>,
    served: BTreeSet<NodeId>,
}

impl Seen {
    /// Keeps that a node has it. Where there are as many as are kept, the last one that is not being asked makes room: nodes that only say
    /// so keep nobody else from being asked.
    fn add_source(&mut self, node: &NodeId) {
        if self.sources.contains(node) {
            return;
        }
        if self.sources.len() >= SOURCES_MAX {
            let is_asked =
                |one: &NodeId| matches!(&self.body, Body::Awaited { from } if from == one);
            if let Some(last) = self.sources.iter().rposition(|one| !is_asked(one)) {
                self.sources.remove(last);
            }
        }
        self.sources.push_back(node.clone());
    }
}

#[derive(Debug)]
enum Body {
    /// Nobody is asked.
    Missing,
    Awaited {
        from: NodeId,
    },
    Here(Bytes),
    /// It made room for later ones.
    Gone,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    chain: Network,
    seats: BTreeMap<NodeId, Seat>,
    /// Of nodes that are here, or were lately.
    budgets: BTreeMap<NodeId, Budget>,
    /// The latest last.
    seen: VecDeque<Seen>,
    last_serial: u64,
}

/// A stream's place: what it is told, and when it is to end.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) serial: u64,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) end: CancellationToken,
}

impl Board {
    pub(super) fn new(chain: Network) -> Self {
        Self {
            chain,
            seats: BTreeMap::new(),
            budgets: BTreeMap::new(),
            seen: VecDeque::new(),
            last_serial: 0,
        }
    }

    /// A stream begins. One of the same node ends: it is what a connection that broke has left.
    pub(super) fn enter(&mut self, node: &NodeId, epoch: u64) -> Place {
        self.last_serial += 1;
        let (news, receiver) = mpsc::channel(NEWS_QUEUE);
        let end = CancellationToken::new();
        let seat = Seat {
            serial: self.last_serial,
            epoch,
            news,
            end: end.clone(),
            tip: None,
        };
        if let Some(before) = self.seats.insert(node.clone(), seat) {
            before.end.cancel();
            self.ask_others(node);
        }
        Place {
            serial: self.last_serial,
            news: receiver,
            end,
        }
    }

    /// A stream has ended.
    pub(super) fn leave(&mut self, node: &NodeId, serial: u64, now: Instant) {
        if self
            .seats
            .get(node)
            .is_some_and(|seat| seat.serial == serial)
        {
            self.seats.remove(node);
            self.ask_others(node);
        }
        let seats = &self.seats;
        self.budgets
            .retain(|node, budget| seats.contains_key(node) || !budget.is_full(now));
    }

    /// How many nodes are here.
    pub(super) fn count(&self) -> usize {
        self.seats.len()
    }

    /// The nodes that are here, and as of which enrolment.
    pub(super) fn nodes(&self) -> Vec<(NodeId, u64)> {
        let seats = self.seats.iter();
        seats
            .map(|(node, seat)| (node.clone(), seat.epoch))
            .collect()
    }

    /// A node may not be here any more.
    pub(super) fn end(&self, node: &NodeId) {
        if let Some(seat) = self.seats.get(node) {
            seat.end.cancel();
        }
    }

    /// Takes so many headers from the budget of a node, whatever they are.
    pub(super) fn charge(
        &mut self,
        node: &NodeId,
        headers: usize,
        now: Instant,
    ) -> Result<(), Over> {
        self.budget(node, now).headers(headers, now)
    }

    /// Takes a word about a block, that it is wanted or is there, from the budget of a node.
    pub(super) fn charge_word(&mut self, node: &NodeId, now: Instant) -> Result<(), Over> {
        self.budget(node, now).word(now)
    }

    /// Takes what a node sends of a block from its budget.
    pub(super) fn charge_bytes(
        &mut self,
        node: &NodeId,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Over> {
        self.budget(node, now).bytes_in(bytes, now)
    }

    /// A node has a header, `before` which it has named another in the same breath.
    pub(super) fn announce(
        &mut self,
        node: &NodeId,
        header: RelayedHeader,
        before: Option<&RelayedHeader>,
        (height, now): (u32, Now),
    ) -> Result<Outcome, Refusal> {
        if self.find(header.hash()).is_some() {
            self.has(node, header.hash());
            return Ok(Outcome::Duplicate);
        }
        let before = before.filter(|before| before.hash() == header.parent());
        let parent = before.copied().or_else(|| self.known(header.parent()));
        let outcome = match parent {
            Some(parent) => {
                header.follow(&parent, self.chain)?;
                match header.is_fresh(now.unix_seconds) {
                    true => Outcome::Relayed,
                    false => Outcome::Stale,
                }
            }
            None if self.known(header.hash()).is_some() => Outcome::Duplicate,
            None => {
                let anchored = self.budget(node, now.at).anchor(now.at);
                anchored.map_err(|_over| Refusal::UnknownParent)?;
                Outcome::Anchor
            }
        };
        if let Some(seat) = self.seats.get_mut(node) {
            seat.tip = Some(header);
        }
        if outcome == Outcome::Relayed {
            self.relay(node, header, (height, now.at));
        }
        Ok(outcome)
    }

    /// Tells all others of a block, and asks the node that has it for its body.
    fn relay(&mut self, node: &NodeId, header: RelayedHeader, (height, now): (u32, Instant)) {
        while self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            header,
            first_seen: now,
            body: Body::Missing,
            sources: VecDeque::from([node.clone()]),
            waiting: BTreeSet::new(),
            served: BTreeSet::new(),
        });
        let others = self.seats.iter().filter(|(other, _)| *other != node);
        for (_, seat) in others {
            tell(seat, News::Announce { header, height });
        }
        self.fetch(header.hash());
    }

    /// A node has a block: it need not be sent it, and may be asked for it.
    pub(super) fn has(&mut self, node: &NodeId, hash: BlockHash) {
        let Some(seen) = self.find(hash) else {
            return;
        };
        seen.waiting.remove(node);
        seen.add_source(node);
        let header = seen.header;
        if let Some(seat) = self.seats.get_mut(node) {
            seat.tip = Some(header);
        }
        self.fetch(hash);
    }

    /// A node asks for a block, or for one that it has waited for: none where it has to wait, or may not have it.
    pub(super) fn want(
        &mut self,
        node: &NodeId,
        hash: BlockHash,
        now: Instant,
    ) -> Result<Option<Wanted>, Over> {
        let Some(seen) = self.find(hash) else {
            return Ok(None);
        };
        if seen.served.contains(node) {
            return Ok(None);
        }
        let Body::Here(body) = &seen.body else {
            seen.waiting.insert(node.clone());
            self.fetch(hash);
            return Ok(None);
        };
        let wanted = Wanted {
            hash,
            body: body.clone(),
            first_seen: seen.first_seen,
        };
        let charged = self.budget(node, now).bytes_out(wanted.body.len(), now);
        if let Some(seen) = self.find(hash) {
            match charged {
                Ok(()) => {
                    seen.waiting.remove(node);
                    seen.served.insert(node.clone());
                }
                // Until it may go on.
                Err(_over) => {
                    seen.waiting.insert(node.clone());
                }
            }
        }
        charged?;
        Ok(Some(wanted))
    }

    /// Blocks that are here, and that a node could not be sent because it was over its budget.
    pub(super) fn held_back(&self, node: &NodeId) -> Vec<BlockHash> {
        let held = self
            .seen
            .iter()
            .filter(|seen| matches!(seen.body, Body::Here(_)) && seen.waiting.contains(node));
        held.map(|seen| seen.header.hash()).collect()
    }

    /// The body of a block is there, from a node that was asked for it, and was checked.
    pub(super) fn arrived(&mut self, node: &NodeId, hash: BlockHash, body: Bytes) {
        let Some(seen) = self.find(hash) else {
            return;
        };
        // Whoever has brought it has it.
        seen.served.insert(node.clone());
        seen.body = Body::Here(body);
        let waiting = std::mem::take(&mut seen.waiting);
        for one in &waiting {
            if let Some(seat) = self.seats.get(one) {
                tell(seat, News::Here(hash));
            }
        }
        let with_body = self.seen.iter_mut().rev();
        let with_body = with_body.filter(|seen| matches!(seen.body, Body::Here(_)));
        with_body
            .skip(BODIES_MAX)
            .for_each(|seen| seen.body = Body::Gone);
    }

    /// A node did not give what it was asked for: the next one is.
    pub(super) fn failed(&mut self, node: &NodeId, hash: BlockHash) {
        let Some(seen) = self.find(hash) else {
            return;
        };
        seen.sources.retain(|source| source != node);
        if matches!(&seen.body, Body::Awaited { from } if from == node) {
            seen.body = Body::Missing;
            self.fetch(hash);
        }
    }

    /// A node is gone, with all that it was asked for.
    fn ask_others(&mut self, node: &NodeId) {
        let awaited = self
            .seen
            .iter()
            .filter(|seen| matches!(&seen.body, Body::Awaited { from } if from == node));
        let awaited: Vec<BlockHash> = awaited.map(|seen| seen.header.hash()).collect();
        for hash in awaited {
            self.failed(node, hash);
        }
    }

    /// Asks the first of those who have a block for it, unless it is there or somebody is asked.
    fn fetch(&mut self, hash: BlockHash) {
        let seats = &self.seats;
        let seen = self.seen.iter_mut().rev();
        let mut seen = seen.filter(|seen| seen.header.hash() == hash);
        let Some(seen) = seen.next() else {
            return;
        };
        if !matches!(seen.body, Body::Missing) {
            return;
        }
        while let Some(source) = seen.sources.front() {
            let seat = seats.get(source);
            if seat.is_some_and(|seat| tell(seat, News::Fetch(seen.header))) {
                let from = source.clone();
                seen.body = Body::Awaited { from };
                return;
            }
            seen.sources.pop_front();
        }
    }

    fn find(&mut self, hash: BlockHash) -> Option<&mut Seen> {
        let mut seen = self.seen.iter_mut().rev();
        seen.find(|seen| seen.header.hash() == hash)
    }

    /// A header that was taken: of a block that was sent on, or where some node stands.
    fn known(&self, hash: BlockHash) -> Option<RelayedHeader> {
        let seen = self.seen.iter().rev().map(|seen| seen.header);
        let tips = self.seats.values().filter_map(|seat| seat.tip);
        seen.chain(tips).find(|header| header.hash() == hash)
    }

    fn budget(&mut self, node: &NodeId, now: Instant) -> &mut Budget {
        let budget = self.budgets.entry(node.clone());
        budget.or_insert_with(|| Budget::new(now))
    }
}

/// False where the node does not take it: it is slow, and loses it.
fn tell(seat: &Seat, news: News) -> bool {
    let is_told = seat.news.try_send(news).is_ok();
    if !is_told {
        metrics::counter!("hyperhash_relay_lost_total").increment(1);
    }
    is_told
}

#[cfg(test)]
mod tests;
