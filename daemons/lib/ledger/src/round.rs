//! Rounds: the shares between two blocks of ours that Bitcoin Core has accepted.
//!
//! A round ends with the winning share of an accepted block, and takes in all shares after the one before in the order of
//! shares, whichever pool's. A block that is rejected or orphaned ends none: its work counts for the next one that is
//! accepted. So a block that is orphaned later joins its round with the next, and one that comes back parts them again.

use hh_mining::BlockHash;

use crate::cut::{Cut, SETTLE_MS};
use crate::{BlockRow, BlockState, LedgerError, Sum};

/// The shares from one accepted block of ours to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The accepted block that ended it; none for the round that goes on.
    pub block: Option<BlockRow>,
    /// The accepted block that ended the round before; none for the first.
    pub previous: Option<BlockHash>,
    /// When the block before was found, or for the first round an account was first used; milliseconds since 1970. None
    /// where nobody has mined yet.
    pub started_at_ms: Option<i64>,
    /// When its block was found, milliseconds since 1970.
    pub ended_at_ms: Option<i64>,
    /// Its shares; none while the ledger waits for shares of a pool from before one of its ends.
    pub sum: Option<Sum>,
    /// Blocks that were found in it and ended none: rejected, orphaned, or of unknown outcome; in the order of shares.
    pub other_blocks: Vec<BlockRow>,
}

/// What an account has brought in in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundAccount {
    /// The account.
    pub account: String,
    /// Its shares.
    pub sum: Sum,
}

/// What rounds are made of.
#[derive(Debug)]
pub(crate) struct RoundParts {
    /// At least the last accepted blocks, one more than `limit` if there are so many, and all others among them.
    pub blocks: Vec<(BlockRow, Option<Cut>)>,
    /// Whether these are all blocks.
    pub from_the_first: bool,
    /// All shares; read after the blocks.
    pub total: Sum,
    /// When an account was first used.
    pub first_used_at_ms: Option<i64>,
    /// How many rounds that have ended are wanted.
    pub limit: usize,
}

/// From when on blocks are needed for rounds, of which the first ends with the one found at `edge_ms`; the order in which
/// blocks were found may differ from that of their shares by as much as these are late.
pub(crate) fn blocks_from_ms(edge_ms: Option<i64>) -> i64 {
    edge_ms.map_or(i64::MIN, |edge_ms| edge_ms.saturating_sub(SETTLE_MS))
}

impl RoundParts {
    /// The rounds, newest first, the one that goes on at their head.
    pub(crate) fn rounds(mut self) -> Result<Vec<Round>, LedgerError> {
        // By what lies before them, where that is known: blocks of one millisecond are told apart by it.
        self.blocks.sort_by_key(|(block, cut)| {
            let at_ms = cut.map_or(block.found_at_ms, |cut| cut.at_ms);
            let shares = cut.map_or(u64::MAX, |cut| cut.sum.shares);
            (at_ms, shares, block.height)
        });
        let mut rounds = Vec::new();
        let mut edge = Edge {
            block: None,
            at_ms: self.first_used_at_ms,
            sum: Some(Sum::default()),
        };
        // Where older blocks are left out, the first one given is no more than an edge.
        let mut is_edge = !self.from_the_first;
        let mut other_blocks = Vec::new();
        for (block, cut) in self.blocks {
            if block.state != BlockState::Accepted {
                other_blocks.push(block);
                continue;
            }
            let next = Edge {
                block: Some(block.hash),
                at_ms: Some(cut.map_or(block.found_at_ms, |cut| cut.at_ms)),
                sum: cut.map(|cut| cut.sum),
            };
            let before = std::mem::take(&mut other_blocks);
            if !std::mem::take(&mut is_edge) {
                let mut round = edge.round_to(next.sum)?;
                round.ended_at_ms = next.at_ms;
                (round.block, round.other_blocks) = (Some(block), before);
                rounds.push(round);
            }
            edge = next;
        }
        let mut open = edge.round_to(Some(self.total))?;
        open.other_blocks = other_blocks;
        rounds.push(open);
        rounds.reverse();
        rounds.truncate(self.limit.saturating_add(1));
        Ok(rounds)
    }
}

/// One end of a round.
struct Edge {
    block: Option<BlockHash>,
    at_ms: Option<i64>,
    sum: Option<Sum>,
}

impl Edge {
    /// The round from here on, to where all shares are these.
    fn round_to(&self, sum: Option<Sum>) -> Result<Round, LedgerError> {
        let sum = match (sum, self.sum) {
            (Some(through), Some(before)) => Some(through.minus(before)?),
            _ => None,
        };
        Ok(Round {
            block: None,
            previous: self.block,
            started_at_ms: self.at_ms,
            ended_at_ms: None,
            sum,
            other_blocks: Vec::new(),
        })
    }
}
