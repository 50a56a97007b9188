//! `hhctl block`.

use super::round;
use clap::Subcommand;
use hh_ipc::api::pool::{BlockSelector, RoundSelector};
use hh_trust::ReportPublicKey;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// List blocks of ours, newest first
    #[command(
        after_help = "Examples:\n  hhctl block list\n  hhctl block list --limit 5 -o json\n\nREWARD is what hh-treasury makes of it: split \
                      among the accounts, mature after 100 confirmations, then payable."
    )]
    List {
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One block of ours: its finder, what became of it, and what each way to Bitcoin Core said
    #[command(after_help = SHOW)]
    Show {
        /// Its height or its hash; of several at one height the newest is shown
        #[arg(value_parser = block)]
        block: BlockSelector,
    },
    /// The signed report of a block: what it brought, and how it was split
    #[command(
        after_help = "Examples:\n  hhctl block report 1203\n  hhctl block report 1203 --save report.json\n\nAccounts are in it under names \
                      that only their owners and the treasury can tell; `hhctl account proof` shows one's part. --save writes the bytes \
                      that are signed to FILE, the signature (JWS) to FILE.jws and the shares of the minute in which the window is full \
                      to FILE.edge.jsonl, for whoever checks them without this network."
    )]
    Report {
        /// Its height or its hash
        #[arg(value_parser = block)]
        block: BlockSelector,
        /// Write the report to FILE, its signature to FILE.jws, the shares of its edge to FILE.edge.jsonl
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Check a block's report: its signature, that its figures follow from the rules, and the shares of its edge
    #[command(
        after_help = "Examples:\n  hhctl block verify 1203\n  hhctl block verify 1203 --key hhreport1...\n  hhctl block verify 1203 --ledger\n\nWithout --key it is the key that \
                      the treasury itself names: name the one that you were given, and you trust nobody's word. EDGE is the minute in which the window is \
                      full: its shares, which stay for as long as the report, have the hash that is in it. With --ledger every account's \
                      work of the window is counted again, and the same report has to come out of it."
    )]
    Verify {
        /// Its height or its hash
        #[arg(value_parser = block)]
        block: BlockSelector,
        /// Public key of the treasury's reports
        #[arg(long, value_name = "KEY")]
        key: Option<ReportPublicKey>,
        /// Make the report again from the pool's sums and the shares of the edge, entry by entry, as the treasury serves them
        #[arg(long)]
        ledger: bool,
    },
}

const SHOW: &str = "Examples:\n  hhctl block show 1203\n  hhctl block show 000002a7d0c1b2a3...f3e4d5c6 -o json\n\n\
    STATE is found, submitted, accepted, rejected (with Bitcoin Core's reason) or orphaned (the chain went on without it). A block \
    stays in the pool's journal until it is six deep and two hours old: a node that forgets it gets it again.";

/// A height or a hash.
pub(super) fn block(text: &str) -> Result<BlockSelector, String> {
    match round(text) {
        Ok(RoundSelector::Height(height)) => Ok(BlockSelector::Height(height)),
        Ok(RoundSelector::Hash(hash)) => Ok(BlockSelector::Hash(hash)),
        Ok(RoundSelector::Open) | Err(_) => {
            Err("write the height or the hash of a block of ours".to_owned())
        }
    }
}
