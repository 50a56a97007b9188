//! One block of ours from its find until it can't be lost any more: what is known of it, and what follows from that. Pure: no
//! I/O, no clock.

use super::Key;
use super::journal::JournalEntry;
use crate::share_log::ShareRecord;
use hh_bitcoin::{BlockOutcome, Presence};
use hh_ledger::{BlockPath, BlockRow, BlockState};
use hh_mining::BlockHash;
use std::sync::Arc;

/// So deep on the best chain a block is in the node of everybody who mines: from them a node gets it back that forgot it.
pub(super) const SAFE_DEPTH: u32 = 6;

/// A block is kept so long whatever its depth. Bitcoin Core writes its block index every 50 to 70 minutes, older releases every
/// hour: a node that nobody could give the block back to, as on a chain of our own, has it on its disk by then.
pub(super) const NODE_WRITES_WITHIN_MS: i64 = 2 * 60 * 60 * 1000;

/// A chain that has gone on so far without a block does not come back to it: nobody may even spend a coinbase sooner.
const BEYOND_RETURN: u32 = 100;

/// A block this far below the tip and not on the best chain is called orphaned; it may come back.
const LEFT_BEHIND: u32 = 6;

/// So many looks in a row must find a block off the best chain before it is called orphaned: the first may come while the node
/// is still connecting it.
const LOOKS_OFF_CHAIN: u32 = 2;

/// A refused block is kept so long for a node that has not answered. One that is away for longer has the parents of the block
/// from others, with whatever came after them.
const LAST_WORD_MS: i64 = 24 * 60 * 60 * 1000;

/// A node that does not know the block before it gets that from other nodes: the block is not tried on it again sooner. While it
/// catches up each try would cost it megabytes.
const PARENT_PAUSE_MS: i64 = 30 * 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Case {
    pub entry: JournalEntry,
    /// What the ledger is to have.
    pub row: BlockRow,
    /// The ledger has not got the row as it is.
    pub is_unbooked: bool,
    /// The serialized block, while the journal has not got it.
    pub block: Option<Arc<[u8]>>,
    pub journalled: Journalled,
    /// An earlier process found it.
    pub is_recovered: bool,
    /// Whether the share log is known to have its share.
    pub is_share_logged: bool,
    /// One for each node, in the order of preference.
    views: Vec<View>,
}

/// What the journal has of a block. While that is under way the case stays: a write that ends later would leave an entry that
/// is submitted again at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journalled {
    /// Its last write failed.
    No,
    UnderWay,
    /// All that is known of it, without its transactions.
    WithoutBlock,
    Whole,
}

/// When a node is to get the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It has judged the block, or is being given it.
    No,
    /// When it does not know the block any more.
    IfUnknown,
    /// Also when it has the block on a side of the chain, to hear what it thinks of it.
    IfNotOnBestChain,
}

/// What one node has said.
#[derive(Clone, Debug, Default)]
struct View {
    /// None before the first look, and while the node is away.
    presence: Option<Presence>,
    /// Looks in a row that found the block off the best chain.
    looks_off_chain: u32,
    answer: Option<BlockOutcome>,
    /// When it was given; milliseconds since 1970.
    answered_at_ms: i64,
    /// A submission goes on until there is an answer.
    is_under_way: bool,
    /// It did not answer when it was last visited.
    is_away: bool,
}

impl Case {
    /// A block that was found now. Its journal entry is under way.
    pub(super) fn found(entry: JournalEntry, hash: BlockHash, nodes: usize) -> Self {
        Self {
            row: row(&entry, hash),
            is_share_logged: entry.share.is_none(),
            entry,
            is_unbooked: true,
            block: None,
            journalled: Journalled::UnderWay,
            is_recovered: false,
            views: vec![View::default(); nodes],
        }
    }

    /// A block that was in the journal at the start.
    pub(super) fn recovered(
        entry: JournalEntry,
        hash: BlockHash,
        journalled: Journalled,
        nodes: usize,
    ) -> Self {
        Self {
            journalled,
            is_recovered: true,
            ..Self::found(entry, hash, nodes)
        }
    }

    pub(super) fn key(&self) -> Key {
        Key {
            height: self.row.height,
            hash: self.row.hash,
        }
    }

    /// It is on its way to every node, and to the journal, if that has not got it.
    pub(super) fn on_submitted(&mut self, block: Arc<[u8]>) {
        if self.journalled != Journalled::Whole {
            self.block = Some(block);
        }
        if self.journalled == Journalled::WithoutBlock {
            // Its transactions came late: it is written anew, with them.
            self.journalled = Journalled::UnderWay;
        }
        for view in &mut self.views {
            view.is_under_way = true;
        }
        if self.row.state == BlockState::Found {
            self.set(BlockState::Submitted, None);
        }
    }

    /// The journal's answer to a write, with the block in it or without.
    pub(super) fn on_journalled(&mut self, whole: bool, written: bool) {
        if self.journalled == Journalled::Whole {
            return;
        }
        self.journalled = match (written, whole) {
            (true, true) => Journalled::Whole,
            (true, false) => Journalled::WithoutBlock,
            (false, _) => Journalled::No,
        };
        if written && whole {
            self.block = None;
        }
    }

    /// There is more to write than the journal has.
    pub(super) fn needs_journal(&self) -> bool {
        match self.journalled {
            Journalled::No => true,
            // Two writes were under way, and the one with the block failed first.
            Journalled::WithoutBlock => self.block.is_some(),
            Journalled::UnderWay | Journalled::Whole => false,
        }
    }

    /// It was sent to the template provider at `address`. SubmitSolution has no answer, so that is all there is to say.
    pub(super) fn on_sent(&mut self, address: &str, at_ms: i64) {
        self.note(&format!("template-provider {address}"), "sent", at_ms);
    }

    /// A node has answered. Accepted is accepted, whatever another says.
    pub(super) fn on_answer(&mut self, node: usize, name: &str, outcome: BlockOutcome, at_ms: i64) {
        self.note(&format!("node {name}"), &outcome.to_string(), at_ms);
        let is_accepted = outcome == BlockOutcome::Accepted;
        if let Some(view) = self.views.get_mut(node) {
            view.is_under_way = false;
            view.is_away = false;
            view.answer = Some(outcome);
            view.answered_at_ms = at_ms;
        }
        if is_accepted {
            self.set(BlockState::Accepted, None);
        }
        self.judge_refusal();
    }

    /// The work that miners have builds on it.
    pub(super) fn on_tip(&mut self) {
        self.set(BlockState::Accepted, None);
    }

    /// A node was asked for it; `next_height` is that of the block being mined.
    pub(super) fn on_seen(&mut self, node: usize, presence: Presence, next_height: u32) {
        if let Some(view) = self.views.get_mut(node) {
            view.looks_off_chain = match presence {
                Presence::OffBestChain => view.looks_off_chain.saturating_add(1),
                Presence::OnBestChain { .. } | Presence::Unknown => 0,
            };
            view.presence = Some(presence);
            view.is_away = false;
        }
        self.judge(next_height);
        self.judge_refusal();
    }

    /// A node does not answer: what it said of the chain no longer counts, and its answer is not waited for.
    pub(super) fn on_away(&mut self, node: usize) {
        if let Some(view) = self.views.get_mut(node) {
            view.presence = None;
            view.is_away = true;
        }
        self.judge_refusal();
    }

    /// When this node is to get it.
    pub(super) fn wanted_by(&self, node: usize, now_ms: i64) -> Wanted {
        match self.views.get(node) {
            Some(view) if self.has_block() && !view.is_under_way => match view.answer {
                None => Wanted::IfNotOnBestChain,
                Some(BlockOutcome::Rejected(_)) => Wanted::No,
                Some(BlockOutcome::ParentUnknown)
                    if now_ms < view.answered_at_ms.saturating_add(PARENT_PAUSE_MS) =>
                {
                    Wanted::No
                }
                Some(_) => Wanted::IfUnknown,
            },
            _ => Wanted::No,
        }
    }

    /// This node need not be asked for it while a higher block of ours is on its best chain.
    pub(super) fn is_settled_on(&self, node: usize, now_ms: i64) -> bool {
        let presence = self.views.get(node).and_then(|view| view.presence);
        is_deep(presence) && !self.is_written(now_ms)
    }

    /// The share that is to be in the share log: that of a block that is accepted. One that is not is worth what any share is,
    /// and stands for itself.
    pub(super) fn share_to_log(&self) -> Option<ShareRecord> {
        if self.is_share_logged || self.row.state != BlockState::Accepted {
            return None;
        }
        let bytes = hex::decode(self.entry.share.as_deref()?).ok()?;
        ShareRecord::from_bytes(&bytes)
    }

    /// It can't be lost any more, or is lost for good: its journal entry may go.
    pub(super) fn is_over(&self, now_ms: i64, next_height: u32) -> bool {
        let age_ms = now_ms.saturating_sub(self.row.found_at_ms);
        !self.is_unbooked
            && self.journalled != Journalled::UnderWay
            && match self.row.state {
                BlockState::Found | BlockState::Submitted => false,
                BlockState::Accepted => {
                    self.is_safe() && self.is_written(now_ms) && self.share_to_log().is_none()
                }
                BlockState::Rejected => self.is_unanimous() || age_ms >= LAST_WORD_MS,
                BlockState::Orphaned => self.is_passed_by(next_height, BEYOND_RETURN),
            }
    }

    /// The first to go where there are too many: it lies deep on the best chain, or a node has it on a side of the chain.
    pub(super) fn is_dispensable(&self) -> bool {
        let presence = self.deciding().and_then(|view| view.presence);
        let lost = presence == Some(Presence::OffBestChain);
        !self.is_unbooked
            && self.journalled != Journalled::UnderWay
            && (self.is_safe() || (lost && self.row.state != BlockState::Accepted))
    }

    /// It lies deep on the best chain.
    fn is_safe(&self) -> bool {
        self.row.state == BlockState::Accepted
            && is_deep(self.deciding().and_then(|view| view.presence))
    }

    /// The chain decides: where no node has the block on its own, it is orphaned some day.
    fn judge(&mut self, next_height: u32) {
        let deciding = self.deciding();
        let presence = deciding.and_then(|view| view.presence);
        let looks_off_chain = deciding.map_or(0, |view| view.looks_off_chain);
        let state = self.row.state;
        match presence {
            Some(Presence::OnBestChain { .. }) => self.set(BlockState::Accepted, None),
            Some(Presence::OffBestChain) => {
                let was_on_it = state == BlockState::Accepted && looks_off_chain >= LOOKS_OFF_CHAIN;
                let is_open = matches!(state, BlockState::Found | BlockState::Submitted);
                if was_on_it || (is_open && self.is_passed_by(next_height, LEFT_BEHIND)) {
                    self.set(BlockState::Orphaned, Some("not on the best chain"));
                }
            }
            Some(Presence::Unknown) | None => {
                let may_be_lost = matches!(
                    state,
                    BlockState::Found | BlockState::Submitted | BlockState::Accepted
                );
                if may_be_lost && self.is_nowhere() && self.is_passed_by(next_height, BEYOND_RETURN)
                {
                    self.set(BlockState::Orphaned, Some("no node has it"));
                }
            }
        }
    }

    /// A refusal counts when it is the last word: a block that one node refuses is not lost while another may take it.
    fn judge_refusal(&mut self) {
        let is_open = matches!(self.row.state, BlockState::Found | BlockState::Submitted);
        if !is_open || self.views.iter().any(View::may_take) {
            return;
        }
        let reason = self.views.iter().find_map(View::refusal).map(str::to_owned);
        if let Some(reason) = reason {
            self.set(BlockState::Rejected, Some(&reason));
        }
    }

    /// Every node says that it does not have the block, and that will not change by itself: none is being given it, and there is
    /// nothing to give, or each was given it and did not take it. One that is away may have it.
    fn is_nowhere(&self) -> bool {
        let can_be_given = self.has_block();
        self.views.iter().all(|view| {
            view.presence == Some(Presence::Unknown)
                && !view.is_under_way
                && (!can_be_given || view.did_not_take())
        })
    }

    fn has_block(&self) -> bool {
        self.block.is_some() || self.journalled == Journalled::Whole
    }

    /// What the first node says that has it on its best chain; where none has, the first that has it at all. A preferred node
    /// that is catching up has it on no chain yet.
    fn deciding(&self) -> Option<&View> {
        let on_it = |view: &&View| matches!(view.presence, Some(Presence::OnBestChain { .. }));
        let off_it = |view: &&View| view.presence == Some(Presence::OffBestChain);
        let views = self.views.iter();
        views
            .clone()
            .find(on_it)
            .or_else(|| views.clone().find(off_it))
    }

    fn is_unanimous(&self) -> bool {
        self.views.iter().all(|view| view.refusal().is_some())
    }

    fn is_written(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.row.found_at_ms) >= NODE_WRITES_WITHIN_MS
    }

    fn is_passed_by(&self, next_height: u32, blocks: u32) -> bool {
        next_height > self.row.height.saturating_add(blocks)
    }

    fn set(&mut self, state: BlockState, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        if (self.row.state, &self.row.reason) != (state, &reason) {
            (self.row.state, self.row.reason) = (state, reason);
            self.is_unbooked = true;
        }
    }

    fn note(&mut self, path: &str, outcome: &str, at_ms: i64) {
        self.row.paths.retain(|known| known.path != path);
        self.row.paths.push(BlockPath {
            path: path.to_owned(),
            outcome: outcome.to_owned(),
            at_ms,
        });
        self.is_unbooked = true;
    }
}

impl View {
    fn refusal(&self) -> Option<&str> {
        self.answer.as_ref().and_then(BlockOutcome::reason)
    }

    fn did_not_take(&self) -> bool {
        matches!(
            self.answer,
            Some(BlockOutcome::ParentUnknown | BlockOutcome::Rejected(_))
        )
    }

    /// It has not spoken, or has the block and may be connecting it.
    fn may_take(&self) -> bool {
        let is_judging = match self.presence {
            None => true,
            Some(Presence::OffBestChain) => self.looks_off_chain < LOOKS_OFF_CHAIN,
            Some(Presence::OnBestChain { .. } | Presence::Unknown) => false,
        };
        !self.is_away
            && match self.answer {
                None => true,
                Some(BlockOutcome::Duplicate | BlockOutcome::Inconclusive) => is_judging,
                Some(
                    BlockOutcome::Accepted
                    | BlockOutcome::ParentUnknown
                    | BlockOutcome::Rejected(_),
                ) => false,
            }
    }
}

fn is_deep(presence: Option<Presence>) -> bool {
    matches!(presence, Some(Presence::OnBestChain { confirmations }) if confirmations >= SAFE_DEPTH)
}

fn row(entry: &JournalEntry, hash: BlockHash) -> BlockRow {
    BlockRow {
        hash,
        height: entry.height,
        state: BlockState::Found,
        reason: None,
        account: entry.account.clone(),
        worker: entry.worker.clone(),
        node: entry.node.clone(),
        lane: entry.lane.clone(),
        found_at_ms: entry.found_at_ms,
        value_sat: entry.value_sat,
        extranonce_prefix: entry.extranonce_prefix.clone(),
        paths: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
