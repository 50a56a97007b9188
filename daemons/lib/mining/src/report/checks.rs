//! What a report must fulfil by itself, whoever made it.

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};

use super::{BlockReport, REPORT_FORMAT, ReportError};
use crate::{CORE, Msat, Oldest, Reward, Score, ShareId, WindowSize};

/// What is repeated of a text that is not ours.
const SHOWN_CHARS_MAX: usize = 40;

impl BlockReport {
    /// The chain.
    pub(super) fn network(&self) -> Result<Network, ReportError> {
        let network = Network::from_core_arg(&self.chain).ok();
        network.ok_or_else(|| ReportError::Chain {
            found: shown(&self.chain),
        })
    }

    /// What the block brought, by its value alone.
    pub(super) fn reward(&self) -> Result<Reward, ReportError> {
        let network = self.network()?;
        let whole_sats = self.value_msat.0 / 1_000;
        let reward = Reward::of(whole_sats, self.height, network).ok();
        let reward = reward.filter(|reward| reward.value() == self.value_msat);
        reward.ok_or_else(|| ReportError::Sum {
            what: "value_msat",
            says: self.value_msat.0.to_string(),
            makes: "whole satoshi, and no more of them than there are".to_owned(),
        })
    }

    pub(super) fn check(&self) -> Result<(), ReportError> {
        if self.format != REPORT_FORMAT {
            let found = shown(&self.format);
            return Err(ReportError::Format { found });
        }
        self.check_amounts()?;
        self.check_nodes()?;
        self.check_sums()?;
        self.check_window()
    }

    /// Design 4, 1: what follows from V, the chain and the height.
    fn check_amounts(&self) -> Result<(), ReportError> {
        let reward = self.reward()?;
        for (what, says, makes) in [
            ("subsidy_msat", self.subsidy_msat, reward.subsidy()),
            ("fees_msat", self.fees_msat, reward.fees()),
            ("pool_fee_msat", self.pool_fee_msat, reward.pool_fee()),
            ("node_half_msat", self.node_half_msat, reward.node_half()),
            ("treasury_msat", self.treasury_msat, reward.treasury_half()),
            ("miners_msat", self.miners_msat, reward.miners_part()),
        ] {
            same(what, says, makes)?;
        }
        Ok(())
    }

    /// Design 4, 2: each node's part is its score's, and what came through none is the reserve's.
    fn check_nodes(&self) -> Result<(), ReportError> {
        let half = self.node_half_msat;
        let mut score = Some(self.node_reserve.score.0);
        let mut last = None;
        for node in &self.nodes {
            if last >= Some(&*node.node) || node.node == CORE || node.score == Score(0) {
                return Err(ReportError::Window(
                    "its nodes are not in the order of their ids, each once, with a score, and without core",
                ));
            }
            last = Some(&*node.node);
            same(
                "amount_msat of a node",
                node.amount_msat,
                part(half, node.score, self.score),
            )?;
            score = score.and_then(|sum| sum.checked_add(node.score.0));
        }
        let reserve = match self.score {
            Score(0) => half,
            all => part(half, self.node_reserve.score, all),
        };
        same(
            "amount_msat of the reserve",
            self.node_reserve.amount_msat,
            reserve,
        )?;
        if score == Some(self.score.0) && self.tree.score == self.score {
            return Ok(());
        }
        Err(ReportError::Window(
            "the score of its nodes, of its accounts and of all are not the same",
        ))
    }

    /// Design 4, 5: the parts are the whole, and no more than flooring takes is left to the finder.
    fn check_sums(&self) -> Result<(), ReportError> {
        let nodes = self.nodes.iter().map(|node| node.amount_msat);
        let others = nodes.chain([self.node_reserve.amount_msat, self.treasury_msat]);
        let given: Option<Msat> = others.chain([self.tree.amount_msat]).sum();
        same(
            "value_msat",
            self.value_msat,
            given.unwrap_or(Msat(u64::MAX)),
        )?;
        let finders = self.fees_msat.checked_add(self.residue_msat);
        let split = finders.and_then(|finders| self.tree.amount_msat.checked_sub(finders));
        let lost = split.and_then(|split| self.miners_msat.checked_sub(split));
        let leaves = u64::from(self.tree.leaves);
        let is_right = match self.score {
            Score(0) => lost == Some(self.miners_msat) && leaves == 1,
            _ => lost.is_some_and(|lost| lost.0 < leaves),
        };
        if is_right {
            return Ok(());
        }
        Err(ReportError::Sum {
            what: "residue_msat",
            says: self.residue_msat.0.to_string(),
            makes: format!("less than one msat for each of {leaves} accounts"),
        })
    }

    /// Design 4, 3: the window has the score that its rule gives it, and ends where that says.
    fn check_window(&self) -> Result<(), ReportError> {
        let wrong = |why| Err(ReportError::Window(why));
        match (self.window, &self.oldest) {
            (WindowSize::Round { previous: None }, Oldest::All) if !self.is_full => {}
            (
                WindowSize::Round {
                    previous: Some(previous),
                },
                Oldest::Block { block },
            ) if !self.is_full && *block == previous => {}
            (WindowSize::Pplns { score }, Oldest::All) if !self.is_full && self.score < score => {}
            (WindowSize::Pplns { score }, Oldest::Share { .. } | Oldest::Minute { .. })
                if self.is_full && self.score == score => {}
            _ => {
                return wrong("its rule, its score, whether it is full and where it ends don't fit");
            }
        }
        match &self.oldest {
            Oldest::Share {
                at_ms,
                pool,
                epoch,
                seq,
                score,
                counted,
            } => {
                let id = ShareId {
                    pool: pool.clone(),
                    epoch: *epoch,
                    seq: *seq,
                };
                if !self.newest.includes(*at_ms, &id) {
                    return wrong("the oldest share is newer than the winning one");
                }
                if *counted > *score || *counted == Score(0) || *counted > self.score {
                    return wrong("the oldest share counts more than it has, or nothing");
                }
            }
            Oldest::Minute { minute } if *minute > self.newest.minute() => {
                return wrong("its oldest minute is newer than the winning share");
            }
            Oldest::Minute { .. } | Oldest::Block { .. } | Oldest::All => {}
        }
        let has_edge = matches!(self.oldest, Oldest::Share { .. });
        let of_nothing = sha256::Hash::hash(&[]).to_byte_array();
        if has_edge == (self.edge.rows > 0) && (has_edge || self.edge.hash == of_nothing) {
            return Ok(());
        }
        wrong("it has shares of an edge without one, or an edge without shares")
    }
}

fn part(of: Msat, score: Score, all: Score) -> Msat {
    // More score than all has is no part; the sum of the scores tells that.
    of.part(score.0, all.0).unwrap_or_default()
}

fn same(what: &'static str, says: Msat, makes: Msat) -> Result<(), ReportError> {
    if says == makes {
        return Ok(());
    }
    let (says, makes) = (says.0.to_string(), makes.0.to_string());
    Err(ReportError::Sum { what, says, makes })
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
