//! The answers to `blocks`, `report` and `report_names`.

use super::{Control, refusal};
use crate::clock::timestamp;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    BlockReport, NamesPage, NamesQuery, ReportName, RewardBlock, RewardBlockPage, RewardBlockState,
};
use hh_ledger::books::{BookBlock, BookBlockState};
use hh_mining::BlockHash;

/// Longest list of blocks.
const BLOCKS_MAX: u32 = 1_000;

/// Confirmations with which a coinbase may be spent.
const MATURE_CONFIRMATIONS: u32 = 100;

/// Accounts that are named at once: with names of 255 bytes they are a third of a frame.
const NAMES_MAX: usize = 1_000;

impl Control {
    pub(super) async fn blocks(&self, limit: u32) -> Result<RewardBlockPage, ApiError> {
        let limit = match limit {
            0 => BLOCKS_MAX,
            limit => limit.min(BLOCKS_MAX),
        };
        let all = self
            .stores
            .books
            .blocks(u32::MAX)
            .await
            .map_err(refusal::books)?;
        let total = all.len() as u64;
        let mut blocks = Vec::new();
        for block in all.into_iter().take(limit as usize) {
            blocks.push(self.block(block).await?);
        }
        Ok(RewardBlockPage { blocks, total })
    }

    async fn block(&self, block: BookBlock) -> Result<RewardBlock, ApiError> {
        let accounts = match block.split_at_ms {
            None => None,
            Some(_) => {
                let report = self.stores.books.report(block.hash).await;
                let report = report.map_err(refusal::books)?;
                let parse = |json: &[u8]| hh_mining::BlockReport::parse(json).ok();
                let report = report.and_then(|report| parse(&report.json));
                report.map(|report| report.tree.leaves)
            }
        };
        let msat = |amount: Option<hh_mining::Msat>| amount.unwrap_or_default().0;
        let waits = || "waits for shares from before it".to_owned();
        let is_waiting = block.split_at_ms.is_none() && block.value.is_some();
        Ok(RewardBlock {
            hash: block.hash.to_string(),
            height: block.height,
            state: wire_state(block.state),
            confirmations: block.confirmations,
            blocks_to_maturity: MATURE_CONFIRMATIONS
                .saturating_add(1)
                .saturating_sub(block.confirmations),
            value_msat: msat(block.value),
            subsidy_msat: msat(block.subsidy),
            fees_msat: msat(block.fees),
            finder: block.split_at_ms.map(|_| block.finder.clone()),
            found_at: timestamp(block.found_at_ms),
            split_at: block.split_at_ms.map(timestamp),
            reason: block.reason.or_else(|| is_waiting.then(waits)),
            accounts,
        })
    }

    pub(super) async fn report(&self, hash: &str) -> Result<BlockReport, ApiError> {
        let hash = parse_hash(hash)?;
        let report = self
            .stores
            .books
            .report(hash)
            .await
            .map_err(refusal::books)?;
        let report = report.ok_or_else(|| no_report(hash))?;
        Ok(BlockReport {
            hash: hash.to_string(),
            report: String::from_utf8_lossy(&report.json).into_owned(),
            signature: report.jws,
        })
    }
}

impl Control {
    pub(super) async fn report_names(&self, query: NamesQuery) -> Result<NamesPage, ApiError> {
        let hash = parse_hash(&query.hash)?;
        let books = &self.stores.books;
        let block = books.block(hash).await.map_err(refusal::books)?;
        let block = block.filter(|block| block.has_report);
        let block = block.ok_or_else(|| no_report(hash))?;
        let leaves = books.leaves(hash).await.map_err(refusal::books)?;
        let mut accounts: Vec<String> = leaves.into_iter().map(|leaf| leaf.account).collect();
        accounts.sort();
        let mut accounts = accounts
            .into_iter()
            .filter(|account| query.after.as_ref().is_none_or(|after| account > after));
        let named = accounts.by_ref().take(NAMES_MAX);
        let names: Vec<ReportName> = named
            .map(|account| ReportName {
                salt: hex::encode(self.salts.salt_of(&account)),
                account,
            })
            .collect();
        let next = accounts.next().and(names.last());
        Ok(NamesPage {
            finder: block.finder,
            next: next.map(|name| name.account.clone()),
            names,
        })
    }
}

/// As it is shown: the bytes the other way round.
pub(super) fn parse_hash(text: &str) -> Result<BlockHash, ApiError> {
    let parsed: Result<bitcoin::BlockHash, _> = text.trim().parse();
    let parsed =
        parsed.map_err(|_error| refusal::usage(format!("{text:?} is no hash of a block")))?;
    let bytes: [u8; 32] = *AsRef::<[u8; 32]>::as_ref(&parsed);
    Ok(BlockHash::from_byte_array(bytes))
}

pub(super) fn no_report(hash: BlockHash) -> ApiError {
    refusal::not_found(format!(
        "there is no report of a block {hash}: it is not ours, or not split"
    ))
}

fn wire_state(state: BookBlockState) -> RewardBlockState {
    match state {
        BookBlockState::Tracked => RewardBlockState::Tracked,
        BookBlockState::Accepted => RewardBlockState::Accepted,
        BookBlockState::Confirmed => RewardBlockState::Confirmed,
        BookBlockState::Mature => RewardBlockState::Mature,
        BookBlockState::Payable => RewardBlockState::Payable,
        BookBlockState::Rejected => RewardBlockState::Rejected,
        BookBlockState::Orphaned => RewardBlockState::Orphaned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_shown() {
        let shown = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        assert_eq!(parse_hash(shown).unwrap().to_string(), shown);
        assert!(parse_hash("00").is_err());
    }
}
