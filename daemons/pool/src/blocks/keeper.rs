//! The task that has every block of ours that is in danger: it starts their deliveries, hears what becomes of them, visits
//! the nodes, books, and clears the journal.

use super::case::{Case, Journalled};
use super::delivery::{self, Delivery};
use super::journal::Left;
use super::visit::{Asked, Report, visit};
use super::winning_share::{self, WinningShareError};
use super::{Blocks, Found, InHand, Key, Paths, QUEUE};
use crate::directory::unix_ms;
use hh_bitcoin::{BlockOutcome, PathOutcome};
use hh_daemon::Tasks;
use hh_ledger::{BlockRow, BlockState, LedgerError};
use hh_mining::BlockHash;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often each node is asked whether it still has the blocks, besides when miners get work on a lower tip. A call costs it a
/// millisecond.
const VISIT_INTERVAL: Duration = Duration::from_secs(2);

/// Pause before the ledger is tried again with a block, or the share log with its share.
const RETRY: Duration = Duration::from_secs(2);

/// Connections end within that when the daemon stops; a share that one has read is checked before.
const STOP_GRACE: Duration = Duration::from_millis(250);

/// Most blocks that are kept though they lie deep on the best chain, or on a side of it. Two hours of a chain of our own have more,
/// of a few hundred bytes each; at 4 MB each they would be more than a disk should hold.
const KEPT_MAX: usize = 1_000;

/// Events of deliveries and visits that wait: a few of each block.
const EVENTS: usize = 1_024;

/// News of blocks.
#[derive(Debug)]
pub(super) enum Event {
    /// The journal's answer to a write, with the block in it or without.
    Journalled {
        key: Key,
        whole: bool,
        written: bool,
    },
    /// It went to the template provider.
    Sent { key: Key, address: Arc<str> },
    /// It went to every node.
    Submitted { key: Key, block: Arc<[u8]> },
    /// A node has answered a submission.
    Answered { key: Key, outcome: PathOutcome },
    /// A node was visited.
    Visited { node: usize, report: Report },
    /// The share log has the share of a block, or has not yet.
    ShareLogged {
        key: Key,
        result: Result<(), WinningShareError>,
    },
    /// The ledger has a row, or has not.
    Booked {
        row: BlockRow,
        result: Result<(), LedgerError>,
    },
}

/// Whether a node is being visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    None,
    UnderWay,
    /// It may have looked too early: another one follows.
    Outdated,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BlockKeeper {
    receiver: mpsc::Receiver<Found>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    paths: Paths,
    tasks: Tasks,
    cases: BTreeMap<Key, Case>,
    in_hand: watch::Sender<Arc<HashSet<BlockHash>>>,
    /// One for each node.
    visits: Vec<Visit>,
    visit_interval: Duration,
    is_booking: bool,
    book_from: Instant,
    is_logging: bool,
    log_from: Instant,
    /// The last record that the share log had at the start.
    recovered_seq: u64,
}

impl BlockKeeper {
    /// The keeper, which takes up what an earlier process has left, and the handle to it.
    pub(crate) fn new(paths: Paths, left: Vec<Left>, tasks: Tasks) -> (Blocks, Self) {
        let (found, receiver) = mpsc::channel(QUEUE);
        let (sender, events) = mpsc::channel(EVENTS);
        let recovered_seq = *paths.log.durable().borrow();
        let mut keeper = Self {
            receiver,
            sender,
            events,
            visits: vec![Visit::None; paths.nodes.len()],
            visit_interval: VISIT_INTERVAL,
            paths,
            tasks,
            cases: BTreeMap::new(),
            in_hand: watch::Sender::default(),
            is_booking: false,
            book_from: Instant::now(),
            is_logging: false,
            log_from: Instant::now(),
            recovered_seq,
        };
        keeper.take_up(left);
        (Blocks::new(found), keeper)
    }

    /// The blocks that it has.
    pub(crate) fn in_hand(&self) -> InHand {
        self.in_hand.subscribe()
    }

    /// Looks after what there is and what is found, until the daemon stops.
    pub(crate) async fn run(mut self) {
        let stop = self.tasks.token().clone();
        let mut ticks = tokio::time::interval(self.visit_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = self.paths.work.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(found) = self.receiver.recv() => self.on_found(found),
                Some(event) = self.events.recv() => self.on_event(event),
                Ok(()) = work.changed() => self.on_tip(),
                _ = ticks.tick() => self.on_tick(),
            }
            self.book_next();
            self.log_next();
        }
        // What connections find while they end: at least the journal gets it.
        while let Ok(Some(found)) = tokio::time::timeout(STOP_GRACE, self.receiver.recv()).await {
            self.on_found(found);
        }
    }

    fn take_up(&mut self, left: Vec<Left>) {
        for Left {
            key,
            entry,
            has_block,
        } in left
        {
            let Key { height, hash } = key;
            tracing::info!(%hash, height, "block of an earlier run is looked after");
            let journalled = if has_block {
                Journalled::Whole
            } else {
                Journalled::WithoutBlock
            };
            let case = Case::recovered(entry, hash, journalled, self.visits.len());
            self.cases.insert(key, case);
        }
        self.publish();
    }

    fn on_found(&mut self, found: Found) {
        let entry = delivery::entry(&found);
        let case = Case::found(entry.clone(), found.candidate.hash, self.visits.len());
        let key = case.key();
        if self.cases.contains_key(&key) {
            // A miner that sends a share twice.
            return;
        }
        let delivery = Delivery {
            key,
            entry,
            candidate: found.candidate,
            paths: self.paths.clone(),
            events: self.sender.clone(),
            stop: self.tasks.token().clone(),
        };
        self.tasks.spawn_session("block", delivery.run());
        self.cases.insert(key, case);
        self.publish();
    }

    fn on_event(&mut self, event: Event) {
        let now_ms = unix_ms();
        match event {
            Event::Journalled {
                key,
                whole,
                written,
            } => self.change(key, |case| case.on_journalled(whole, written)),
            Event::Sent { key, address } => {
                self.change(key, |case| case.on_sent(&address, now_ms));
            }
            Event::Submitted { key, block } => self.change(key, |case| case.on_submitted(block)),
            Event::Answered { key, outcome } => {
                let PathOutcome { path, outcome, .. } = outcome;
                let named = |(name, _): &(String, _)| *name == path;
                if let Some(node) = self.paths.nodes.iter().position(named) {
                    self.on_answer(key, node, outcome);
                }
            }
            Event::Visited { node, report } => self.on_visited(node, report),
            Event::ShareLogged { key, result } => self.on_share_logged(key, result),
            Event::Booked { row, result } => self.on_booked(&row, result),
        }
    }

    fn on_answer(&mut self, key: Key, node: usize, outcome: BlockOutcome) {
        let name = self.paths.nodes[node].0.clone();
        self.change(key, |case| {
            case.on_answer(node, &name, outcome, unix_ms());
        });
    }

    /// The work that miners have builds on another block. If that is lower than one of ours then a node may have come back without
    /// it: until it is given again, what miners find competes with it.
    fn on_tip(&mut self) {
        let tip = self.paths.work.borrow().as_ref().map(|work| Key {
            height: work.job.template.height.saturating_sub(1),
            hash: BlockHash::from_byte_array(work.tip.tip.prev_hash),
        });
        if let Some(tip) = tip {
            self.change(tip, Case::on_tip);
            let highest_first = self.cases.iter().rev();
            let mut above = highest_first.take_while(|(key, _)| key.height > tip.height);
            if above.any(|(_, case)| case.row.state == BlockState::Accepted) {
                self.look_again();
            }
        }
    }

    fn on_visited(&mut self, node: usize, report: Report) {
        let visit = std::mem::replace(&mut self.visits[node], Visit::None);
        let next_height = self.paths.next_height();
        if report.error.is_some() {
            let keys: Vec<Key> = self.cases.keys().copied().collect();
            for key in keys {
                self.change(key, |case| case.on_away(node));
            }
        } else {
            for (key, presence) in report.seen {
                self.change(key, |case| case.on_seen(node, presence, next_height));
            }
        }
        for (key, outcome) in report.answers {
            self.on_answer(key, node, outcome);
        }
        if visit == Visit::Outdated {
            self.visit_nodes();
        }
    }

    fn on_tick(&mut self) {
        self.clear();
        self.visit_nodes();
        for case in self.cases.values_mut() {
            if case.needs_journal() {
                case.journalled = Journalled::UnderWay;
                let (key, block) = (case.key(), case.block.clone());
                let journal = self.paths.journal.clone();
                let writing = delivery::write(journal, key, case.entry.clone(), block.clone());
                let events = self.sender.clone();
                self.tasks.spawn_session("block journal", async move {
                    let (whole, written) = (block.is_some(), writing.await.unwrap_or(false));
                    let event = Event::Journalled {
                        key,
                        whole,
                        written,
                    };
                    events.send(event).await.ok();
                });
            }
        }
    }

    /// A visit that is under way may have seen what was before.
    fn look_again(&mut self) {
        for visit in &mut self.visits {
            if *visit == Visit::UnderWay {
                *visit = Visit::Outdated;
            }
        }
        self.visit_nodes();
    }

    /// All that are not being visited.
    fn visit_nodes(&mut self) {
        let now_ms = unix_ms();
        for node in 0..self.visits.len() {
            if self.visits[node] == Visit::None && !self.cases.is_empty() {
                self.visit(node, now_ms);
            }
        }
    }

    fn visit(&mut self, node: usize, now_ms: i64) {
        let asked = self.cases.values().rev().map(|case| Asked {
            key: case.key(),
            settled: case.is_settled_on(node, now_ms),
            wanted: case.wanted_by(node, now_ms),
            block: case.block.clone(),
        });
        let asked: Vec<Asked> = asked.collect();
        let (rpc, journal) = (self.paths.nodes[node].1.clone(), self.paths.journal.clone());
        let (events, stop) = (self.sender.clone(), self.tasks.token().clone());
        self.visits[node] = Visit::UnderWay;
        self.tasks.spawn_session("block visit", async move {
            let visit = visit(&rpc, &journal, asked);
            if let Some(report) = stop.run_until_cancelled(visit).await {
                events.send(Event::Visited { node, report }).await.ok();
            }
        });
    }

    /// Lets go of what is over, and of what can best be done without where there is too much.
    fn clear(&mut self) {
        let (now_ms, next_height) = (unix_ms(), self.paths.next_height());
        let mut surplus = self.cases.len().saturating_sub(KEPT_MAX);
        let mut over = Vec::new();
        for (key, case) in &self.cases {
            let is_surplus = surplus > 0 && case.is_dispensable();
            if is_surplus || case.is_over(now_ms, next_height) {
                surplus = surplus.saturating_sub(1);
                over.push(*key);
            }
        }
        if over.is_empty() {
            return;
        }
        for key in &over {
            self.cases.remove(key);
        }
        self.publish();
        let journal = self.paths.journal.clone();
        // What stays in spite of it is looked after once more at the next start.
        tokio::task::spawn_blocking(move || {
            for key in over {
                if let Err(error) = journal.remove(key) {
                    let error = hh_daemon::Chain(&error).to_string();
                    tracing::warn!(hash = %key.hash, error, "journal entry stays");
                }
            }
        });
    }

    /// Gives the ledger one row that it has not got. It may be away for hours: rows wait in their cases.
    fn book_next(&mut self) {
        if self.is_booking || Instant::now() < self.book_from {
            return;
        }
        let Some(case) = self.cases.values().find(|case| case.is_unbooked) else {
            return;
        };
        self.is_booking = true;
        let row = case.row.clone();
        let (ledger, events) = (self.paths.ledger.clone(), self.sender.clone());
        let stop = self.tasks.token().clone();
        self.tasks.spawn_session("block booking", async move {
            let booking = ledger.put_block(row.clone());
            if let Some(result) = stop.run_until_cancelled(booking).await {
                events.send(Event::Booked { row, result }).await.ok();
            }
        });
    }

    fn on_booked(&mut self, row: &BlockRow, result: Result<(), LedgerError>) {
        self.is_booking = false;
        let key = Key {
            height: row.height,
            hash: row.hash,
        };
        match (result, self.cases.get_mut(&key)) {
            (Ok(()), Some(case)) => case.is_unbooked = case.row != *row,
            (Ok(()), None) => {}
            (Err(error), _) => {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(hash = %row.hash, error, "block not in the ledger yet; trying again");
                self.book_from = Instant::now() + RETRY;
            }
        }
    }

    /// Has the share log take the share of one accepted block, which it may have. Those of an earlier process come last, and when
    /// the ledger can be asked for them: it may be away for hours, and holds up no others.
    fn log_next(&mut self) {
        if self.is_logging || Instant::now() < self.log_from {
            return;
        }
        let ready =
            winning_share::is_ledger_ready(&self.paths.shipping.borrow(), self.recovered_seq);
        let due = |is_recovered: bool| {
            let mut cases = self.cases.values();
            cases.find_map(|case| {
                let share = (case.is_recovered == is_recovered).then(|| case.share_to_log())?;
                Some((case.key(), share?, is_recovered))
            })
        };
        let next = due(false).or_else(|| due(true).filter(|_| ready));
        let Some((key, share, is_recovered)) = next else {
            return;
        };
        self.is_logging = true;
        let paths = self.paths.clone();
        let (events, stop) = (self.sender.clone(), self.tasks.token().clone());
        self.tasks.spawn_session("winning share", async move {
            let logging = winning_share::log(paths, share, is_recovered);
            if let Some(result) = stop.run_until_cancelled(logging).await {
                events.send(Event::ShareLogged { key, result }).await.ok();
            }
        });
    }

    fn on_share_logged(&mut self, key: Key, result: Result<(), WinningShareError>) {
        self.is_logging = false;
        match (result, self.cases.get_mut(&key)) {
            (Ok(()), Some(case)) => case.is_share_logged = true,
            (Ok(()), None) => {}
            (Err(error), _) => {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(hash = %key.hash, error, "share of a block not logged yet; trying again");
                self.log_from = Instant::now() + RETRY;
            }
        }
    }

    /// Does something to a case, if it is there, and tells what that has changed.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Case)) {
        let Some(case) = self.cases.get_mut(&key) else {
            return;
        };
        let before = case.row.state;
        change(case);
        if case.row.state != before {
            tell(&case.row, case.is_recovered);
        }
    }

    fn publish(&self) {
        let hashes = self.cases.keys().map(|key| key.hash).collect();
        self.in_hand.send_replace(Arc::new(hashes));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("hyperhash_blocks_kept").set(self.cases.len() as f64);
    }
}

/// A block's state has changed. What an earlier process found was counted by it.
fn tell(row: &BlockRow, is_recovered: bool) {
    let (hash, height, reason) = (row.hash, row.height, row.reason.as_deref());
    let result = match row.state {
        BlockState::Found | BlockState::Submitted => return,
        BlockState::Rejected => {
            tracing::error!(%hash, height, reason, "block rejected");
            "rejected"
        }
        BlockState::Orphaned => {
            tracing::error!(%hash, height, reason, "block orphaned");
            "orphaned"
        }
        BlockState::Accepted => {
            tracing::info!(%hash, height, "block accepted");
            "accepted"
        }
    };
    if !is_recovered {
        metrics::counter!("hyperhash_blocks_total", "result" => result).increment(1);
    }
}

#[cfg(test)]
mod tests;
