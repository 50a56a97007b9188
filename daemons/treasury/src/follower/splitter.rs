//! Splits a block's reward: the window from the pool's ledger, the division by the rules, the report with the treasury's signature.

use super::alarm;
use super::receipt::{Receipt, ReceiptError};
use crate::chain::View;
use crate::clock::unix_ms;
use crate::config::WindowConfig;
use bitcoin::ScriptBuf;
use bitcoin::hashes::{Hash, sha256};
use hh_bitcoin::RpcError;
use hh_ledger::books::{
    AccountLeaf, BookBlock, BookBlockState, Books, BooksError, SignedReport, Split,
};
use hh_ledger::{BlockRow, LedgerError, LedgerReader, WindowRead, books};
use hh_mining::{
    BlockHash, BlockReport, Division, Network, Oldest, ReportError, ReportParts, ReportedBlock,
    WindowSize,
};
use hh_trust::{ReportKey, SaltSecret};
use std::sync::Arc;

/// Why a block is not split.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// Of a pool that has not shipped them yet.
    #[error("it waits for shares from before it")]
    Waits,
    #[error("the pool's ledger can't be read")]
    Ledger(#[from] LedgerError),
    #[error("the books refuse")]
    Books(#[from] BooksError),
    #[error("Bitcoin Core does not give the block")]
    Rpc(#[from] RpcError),
    #[error("its coinbase makes no sense")]
    Receipt(#[from] ReceiptError),
    #[error("no extranonce of ours is in its coinbase")]
    NoExtranonce,
    #[error(
        "the extranonce prefix {prefix} in its coinbase was bound to {}, and the pool names {named:?}",
        accounts.join(" and ")
    )]
    BoundToOthers {
        prefix: String,
        accounts: Vec<String>,
        named: String,
    },
    #[error(
        "the extranonce prefix in its coinbase is {chain}, and its winning share was logged with {log}"
    )]
    AnotherPrefix { chain: String, log: String },
    #[error("no report can be made of it")]
    Report(#[from] ReportError),
}

/// What a block is split by. Clones share the keys.
#[derive(Clone, Debug)]
pub(crate) struct Splitter {
    pub books: Books,
    pub ledger: LedgerReader,
    pub window: WindowConfig,
    pub network: Network,
    /// Whose outputs are ours.
    pub scripts: Vec<ScriptBuf>,
    pub key: Arc<ReportKey>,
    pub salts: Arc<SaltSecret>,
}

impl Splitter {
    /// What a block that the node has brought.
    ///
    /// # Errors
    /// The node does not give it, or it makes no sense.
    pub(crate) async fn receipt(
        &self,
        view: &View,
        hash: BlockHash,
    ) -> Result<Receipt, SplitError> {
        let block = view.block(hash).await?;
        let height = view.height_of(hash).await?;
        Ok(Receipt::of(&block, height, &self.scripts, self.network)?)
    }

    /// Splits a block on the best chain. `blocks` are all of ours, `row` is what the pool says of it.
    ///
    /// # Errors
    /// It can't be split yet, or somebody has to look.
    pub(crate) async fn split(
        &self,
        view: &View,
        block: &BookBlock,
        blocks: &[BookBlock],
        row: Option<&BlockRow>,
    ) -> Result<(), SplitError> {
        let size = self.size(block, blocks);
        let window = self.ledger.window(block.hash, size).await?;
        let window = window.ok_or(SplitError::Waits)?;
        let receipt = self.receipt(view, block.hash).await?;
        let finder = self.finder(block, &window, &receipt, row).await?;
        let division = Division::of(receipt.reward, &window.totals.credits, finder);
        if division.is_without_window() {
            tracing::error!(hash = %block.hash, height = block.height, "no shares in the window of a block");
            alarm("no_window");
        }
        let reported = ReportedBlock {
            network: self.network,
            hash: block.hash,
            height: block.height,
            window: size,
            newest: window.bounds.newest.clone(),
            previous_report: self.previous_report().await?,
        };
        let salt = |account: &str| self.salts.salt_of(account);
        let parts = ReportParts::of(&reported, &division, &window.totals, salt)?;
        let json = parts.report.to_json();
        let jws = self.key.sign(&json);
        let leaves = parts.leaves.into_iter();
        let leaves = leaves.map(|(account, leaf)| AccountLeaf { account, leaf });
        let (value_msat, accounts) = (receipt.reward.value().0, parts.report.tree.leaves);
        let split = Split {
            hash: block.hash,
            division,
            window: self.bounds(&window),
            report: SignedReport { json, jws },
            leaves: leaves.collect(),
            edge: window.totals.edge,
        };
        if self.books.post_split(split, unix_ms()).await? {
            let (hash, height) = (block.hash, block.height);
            tracing::info!(%hash, height, value_msat, accounts, "block split");
        }
        Ok(())
    }

    /// Whether the split that stands is over the round that the block has now. One by another rule, from before the configuration
    /// changed, is let be.
    ///
    /// # Errors
    /// The books can't be read.
    pub(crate) async fn is_of_its_round(
        &self,
        block: &BookBlock,
        blocks: &[BookBlock],
    ) -> Result<bool, BooksError> {
        let size = self.size(block, blocks);
        if !matches!(size, WindowSize::Round { .. }) {
            return Ok(true);
        }
        let report = self.books.report(block.hash).await?;
        let report = report.and_then(|report| BlockReport::parse(&report.json).ok());
        Ok(report.is_some_and(|report| match report.window {
            WindowSize::Pplns { .. } => true,
            made @ WindowSize::Round { .. } => made == size,
        }))
    }

    fn size(&self, block: &BookBlock, blocks: &[BookBlock]) -> WindowSize {
        match self.window.score() {
            Some(score) => WindowSize::Pplns { score },
            None => {
                let before = blocks.iter().filter(|other| {
                    other.height < block.height
                        && matches!(
                            other.state,
                            BookBlockState::Accepted
                                | BookBlockState::Confirmed
                                | BookBlockState::Mature
                                | BookBlockState::Payable
                        )
                });
                let previous = before.max_by_key(|other| other.height);
                WindowSize::Round {
                    previous: previous.map(|previous| previous.hash),
                }
            }
        }
    }

    /// To whom the extranonce prefix in the coinbase is bound, in the log of the winning share: nobody's word for it but the
    /// block's and the log's.
    async fn finder(
        &self,
        block: &BookBlock,
        window: &WindowRead,
        receipt: &Receipt,
        row: Option<&BlockRow>,
    ) -> Result<String, SplitError> {
        let extranonce = receipt.extranonce.ok_or(SplitError::NoExtranonce)?;
        let prefix = extranonce.prefix();
        let bound = match &window.bounds.newest.share {
            Some(share) => {
                let won = self.ledger.shares(share.epoch, share.seq, 1).await?;
                let won = won.into_iter().find(|won| won.hash == block.hash);
                if let Some(won) = &won
                    && won.extranonce_prefix != prefix.to_bytes()
                {
                    return Err(SplitError::AnotherPrefix {
                        chain: prefix.to_string(),
                        log: hex::encode(won.extranonce_prefix),
                    });
                }
                self.ledger.binding(share.epoch, prefix.to_bytes()).await?
            }
            None => None,
        };
        let finder = match bound {
            Some(origin) => origin.account().to_owned(),
            None => {
                self.finder_of_any_log(block, prefix.to_bytes(), row)
                    .await?
            }
        };
        if finder != block.finder {
            let (hash, said) = (block.hash, &block.finder);
            tracing::error!(%hash, finder, said, "the pool names another finder than the block");
            alarm("another_finder");
        }
        Ok(finder)
    }

    /// Where the winning share's row is gone: whoever the prefix is bound to in all logs, or of several the one that the pool names.
    /// Where the log with the binding is lost as well, nobody's word is left but the pool's.
    async fn finder_of_any_log(
        &self,
        block: &BookBlock,
        prefix: [u8; 8],
        row: Option<&BlockRow>,
    ) -> Result<String, SplitError> {
        let mut accounts = Vec::new();
        for log in self.ledger.logs().await? {
            if let Some(origin) = self.ledger.binding(log.epoch, prefix).await? {
                accounts.push(origin.account().to_owned());
            }
        }
        accounts.sort();
        accounts.dedup();
        let named = row.map_or(&block.finder, |row| &row.account);
        let prefix = hex::encode(prefix);
        match &accounts[..] {
            [only] => Ok(only.clone()),
            [] => {
                let hash = block.hash;
                tracing::error!(%hash, prefix, named, "no log says whose block it is; the pool's word stands");
                alarm("unbound_finder");
                Ok(named.clone())
            }
            [_, ..] if accounts.contains(named) => Ok(named.clone()),
            [_, ..] => Err(SplitError::BoundToOthers {
                prefix,
                named: named.clone(),
                accounts,
            }),
        }
    }

    /// The hash of the report that was made last.
    async fn previous_report(&self) -> Result<Option<[u8; 32]>, SplitError> {
        let report = self.books.newest_report().await?;
        let hash_of = |report: SignedReport| sha256::Hash::hash(&report.json).to_byte_array();
        Ok(report.map(hash_of))
    }

    fn bounds(&self, window: &WindowRead) -> books::WindowBounds {
        let first_ms = match &window.totals.oldest {
            Oldest::Share { at_ms, .. } => Some(*at_ms),
            Oldest::Minute { minute } => Some(minute.saturating_mul(60_000)),
            Oldest::Block { .. } | Oldest::All => None,
        };
        books::WindowBounds {
            rule: match self.window {
                WindowConfig::Pplns(blocks) => format!("pplns {blocks}"),
                WindowConfig::Round => "round".to_owned(),
            },
            first_ms,
            last_ms: window.bounds.newest.at_ms,
            score: window.totals.credits.total(),
        }
    }
}
