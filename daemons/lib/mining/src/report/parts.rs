//! How a report is made of a block, its window and its division; the same, whoever makes it.

use bitcoin::Network;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Serialize};

use super::{BlockReport, EdgeDigest, NodePart, REPORT_FORMAT, ReportError, ReservePart, TreeRoot};
use crate::canonical::{CanonicalError, decimal, from_json, hex_text, to_json};
use crate::sum_tree::{Pseudonym, pseudonym};
use crate::window_entry::put_text;
use crate::{
    BlockHash, Division, EdgeShare, Leaf, Msat, Oldest, Score, ShareId, SharePosition, SumTree,
    SumTreeError, WindowSize, WindowTotals,
};

/// Longest row of an edge in JSON: a name of 255 bytes, each written as `\u0000`, and a margin.
const ROW_BYTES_MAX: usize = 4 * 1024;

/// A block that is reported, beside its division and its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedBlock {
    /// Its chain.
    pub network: Network,
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Which shares it is split over.
    pub window: WindowSize,
    /// The winning share's place.
    pub newest: SharePosition,
    /// SHA-256 of the JSON of the report before this one.
    pub previous_report: Option<[u8; 32]>,
}

/// A share of the edge, as it may be shown to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeRow {
    /// When it was accepted, milliseconds since 1970.
    pub at_ms: i64,
    /// The pool that logged it.
    pub pool: String,
    /// The random id of its log.
    #[serde(with = "hex_text")]
    pub epoch: [u8; 16],
    /// Its place in that log.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// Whose it is.
    #[serde(with = "hex_text")]
    pub account: Pseudonym,
    /// What it is worth.
    pub score: Score,
    /// How much of that counts.
    pub counted: Score,
}

/// A report, and what whoever makes it keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportParts {
    /// The report.
    pub report: BlockReport,
    /// The leaves of its tree by account, in the order of names; [`SumTree::new`] makes the tree again.
    pub leaves: Vec<(String, Leaf)>,
    /// The shares of its edge, newest first.
    pub edge: Vec<EdgeRow>,
}

impl EdgeRow {
    /// Of a share whose account has this pseudonym.
    #[must_use]
    pub fn of(share: &EdgeShare<'_>, account: Pseudonym) -> Self {
        Self {
            at_ms: share.at_ms,
            pool: share.pool.to_string(),
            epoch: share.epoch,
            seq: share.seq,
            account,
            score: share.score,
            counted: share.counted,
        }
    }

    /// Its JSON, without a line break.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads the JSON of one.
    ///
    /// # Errors
    /// It is none, or is not written in the one way.
    pub fn parse(json: &[u8]) -> Result<Self, CanonicalError> {
        from_json(json, ROW_BYTES_MAX)
    }

    fn id(&self) -> ShareId {
        ShareId {
            pool: self.pool.clone(),
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}

impl ReportParts {
    /// The report of a block that was divided so over this window. `salt` gives an account's salt.
    ///
    /// # Errors
    /// What was given doesn't fit together: the division is not of this window, or not of this block.
    pub fn of(
        block: &ReportedBlock,
        division: &Division,
        window: &WindowTotals,
        salt: impl Fn(&str) -> [u8; 32],
    ) -> Result<Self, ReportError> {
        if *division != Division::of(division.reward, &window.credits, &*division.finder) {
            return Err(ReportError::AnotherDivision);
        }
        let name = |account: &str| pseudonym(&salt(account), block.hash, account);
        let leaves = leaves(division, window, &name)?;
        let tree = SumTree::new(leaves.iter().map(|(_, leaf)| *leaf).collect())?;
        let row = |share: &EdgeShare<'_>| EdgeRow::of(share, name(&share.origin.account));
        let edge: Vec<EdgeRow> = window.edge.iter().map(row).collect();
        let nodes = division.nodes.iter().map(|part| NodePart {
            node: part.name.clone(),
            score: part.score,
            amount_msat: part.amount,
        });
        let (reward, root) = (division.reward, tree.root());
        let report = BlockReport {
            format: REPORT_FORMAT.to_owned(),
            chain: block.network.to_core_arg().to_owned(),
            block: block.hash,
            height: block.height,
            value_msat: reward.value(),
            subsidy_msat: reward.subsidy(),
            fees_msat: reward.fees(),
            pool_fee_msat: reward.pool_fee(),
            node_half_msat: reward.node_half(),
            treasury_msat: division.treasury,
            miners_msat: reward.miners_part(),
            residue_msat: division.residue,
            window: block.window,
            newest: block.newest.clone(),
            oldest: window.oldest.clone(),
            is_full: window.is_full,
            score: division.score,
            finder: name(&division.finder),
            nodes: nodes.collect(),
            node_reserve: ReservePart {
                score: division.node_reserve.score,
                amount_msat: division.node_reserve.amount,
            },
            tree: TreeRoot {
                hash: root.hash,
                score: root.score,
                amount_msat: root.amount,
                leaves: count(leaves.len())?,
            },
            edge: EdgeDigest {
                rows: count(edge.len())?,
                hash: edge_hash(&edge),
            },
            previous_report: block.previous_report,
        };
        report.check()?;
        Ok(Self {
            report,
            leaves,
            edge,
        })
    }
}

impl BlockReport {
    /// Makes the report again from the window's data, the finder's name and the accounts' salts, by the rules alone, and compares
    /// every figure. Gives what belongs to it.
    ///
    /// # Errors
    /// It comes out another.
    pub fn recompute(
        &self,
        window: &WindowTotals,
        finder: &str,
        salt: impl Fn(&str) -> [u8; 32],
    ) -> Result<ReportParts, ReportError> {
        let division = Division::of(self.reward()?, &window.credits, finder);
        let block = ReportedBlock {
            network: self.network()?,
            hash: self.block,
            height: self.height,
            window: self.window,
            newest: self.newest.clone(),
            previous_report: self.previous_report,
        };
        let again = ReportParts::of(&block, &division, window, salt)?;
        match self.first_difference(&again.report) {
            Some(what) => Err(ReportError::Differs { what }),
            None => Ok(again),
        }
    }

    /// Checks that these are the shares of the edge, newest first: anybody may have them.
    ///
    /// # Errors
    /// They are not.
    pub fn check_edge(&self, rows: &[EdgeRow]) -> Result<(), ReportError> {
        let in_order = rows
            .windows(2)
            .all(|pair| (pair[1].at_ms, pair[1].id()) < (pair[0].at_ms, pair[0].id()));
        let ends_well = match (&self.oldest, rows.split_last()) {
            (
                Oldest::Share {
                    at_ms,
                    pool,
                    epoch,
                    seq,
                    score,
                    counted,
                },
                Some((last, newer)),
            ) => {
                let is_last =
                    (last.at_ms, &last.pool, last.epoch, last.seq) == (*at_ms, pool, *epoch, *seq);
                is_last
                    && (last.score, last.counted) == (*score, *counted)
                    && newer.iter().all(|row| row.counted == row.score)
            }
            (_, None) => true,
            _ => false,
        };
        let is_all = count(rows.len()).is_ok_and(|rows| rows == self.edge.rows);
        if is_all && in_order && ends_well && edge_hash(rows) == self.edge.hash {
            return Ok(());
        }
        Err(ReportError::AnotherEdge {
            expected: self.edge.rows,
        })
    }

    fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let figures = [
            ("score", self.score == other.score),
            ("finder", self.finder == other.finder),
            ("oldest end of the window", self.oldest == other.oldest),
            ("nodes' parts", self.nodes == other.nodes),
            ("node reserve", self.node_reserve == other.node_reserve),
            ("residue", self.residue_msat == other.residue_msat),
            ("edge", self.edge == other.edge),
            ("sum tree", self.tree == other.tree),
            ("rest", self == other),
        ];
        let first = figures.into_iter().find(|(_, is_same)| !is_same);
        first.map(|(what, _)| what)
    }
}

/// A leaf for everyone who gets a part, and for the finder in any case.
fn leaves(
    division: &Division,
    window: &WindowTotals,
    name: &impl Fn(&str) -> Pseudonym,
) -> Result<Vec<(String, Leaf)>, ReportError> {
    let of_nothing = sha256::Hash::hash(&[]).to_byte_array();
    let leaf = |account: &str, score: Score, amount: Msat| {
        let minutes = window.minutes.get(account).copied();
        let leaf = Leaf {
            pseudonym: name(account),
            score,
            amount,
            minutes: minutes.unwrap_or(of_nothing),
        };
        (account.to_owned(), leaf)
    };
    let parts = division.miners.iter();
    let mut leaves: Vec<_> = parts
        .map(|part| leaf(&part.name, part.score, part.amount))
        .collect();
    let finders = division.finders();
    match leaves.binary_search_by(|(account, _)| account.as_str().cmp(&division.finder)) {
        Ok(found) => {
            let amount = &mut leaves[found].1.amount;
            *amount = amount.checked_add(finders).ok_or(SumTreeError::Overflow)?;
        }
        Err(place) => leaves.insert(place, leaf(&division.finder, Score(0), finders)),
    }
    Ok(leaves)
}

/// SHA-256 over the rows one after the other.
fn edge_hash(rows: &[EdgeRow]) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    for row in rows {
        engine.input(&row.at_ms.to_be_bytes());
        put_text(&mut engine, &row.pool);
        engine.input(&row.epoch);
        engine.input(&row.seq.to_be_bytes());
        engine.input(&row.account);
        engine.input(&row.score.0.to_be_bytes());
        engine.input(&row.counted.0.to_be_bytes());
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

fn count(number: usize) -> Result<u32, ReportError> {
    u32::try_from(number).ok().ok_or(ReportError::TooMany)
}
