//! The signed report of a block, fetched and checked.

use crate::failure::Failure;
use crate::session::{Connected, Session};
use hh_ipc::api::pool::BlockSelector;
use hh_ipc::api::treasury::{BlockReport as SignedReport, TreasuryClient};
use hh_mining::BlockReport;
use hh_trust::ReportPublicKey;

/// Blocks that are looked through for a height; hh-treasury gives no more.
const LISTED: u32 = 1_000;

/// A report with its signature, and whose key was to have signed it.
pub(in crate::command) struct Checked {
    pub(in crate::command) signed: SignedReport,
    pub(in crate::command) report: BlockReport,
    pub(in crate::command) key: ReportPublicKey,
    /// Nobody named a key: it is the treasury's own word.
    pub(in crate::command) is_own_word: bool,
}

/// The hash of a block that hh-treasury has.
pub(in crate::command) async fn hash_of(
    daemon: &Connected<TreasuryClient>,
    selector: &BlockSelector,
) -> Result<String, Failure> {
    let height = match selector {
        BlockSelector::Hash(hash) => return Ok(hash.clone()),
        BlockSelector::Height(height) => *height,
    };
    let answer = daemon.client.blocks(daemon.call(), LISTED).await;
    let blocks = daemon.granted(answer)?.blocks.into_iter();
    let mut at_height = blocks.filter(|block| block.height == height);
    // Of several at one height the one that was split is meant.
    let first = at_height.next();
    let split = first
        .iter()
        .cloned()
        .chain(at_height)
        .find(|block| block.split_at.is_some());
    let found = split.or(first).map(|block| block.hash);
    found.ok_or_else(|| Failure::no_report_at(height))
}

/// The report of a block, checked: signed by `key`, or where none is named by the treasury's, and with figures that follow from the
/// rules.
pub(in crate::command) async fn fetch(
    session: &mut Session,
    selector: &BlockSelector,
    key: Option<ReportPublicKey>,
) -> Result<Checked, Failure> {
    let daemon = session.treasury().await?;
    let hash = hash_of(&daemon, selector).await?;
    let answer = daemon.client.report(daemon.call(), hash).await;
    let signed = daemon.granted(answer)?;
    check(&daemon, signed, key).await
}

/// The same of one that is there.
pub(in crate::command) async fn check(
    daemon: &Connected<TreasuryClient>,
    signed: SignedReport,
    key: Option<ReportPublicKey>,
) -> Result<Checked, Failure> {
    let failure = |why: String| Failure::report(&signed.hash, why);
    let is_own_word = key.is_none();
    let key = match key {
        Some(key) => key,
        None => {
            let answer = daemon.client.status(daemon.call()).await;
            let own = daemon.answer(answer)?.report_public_key.parse();
            own.map_err(|error: hh_trust::ReportKeyError| failure(error.to_string()))?
        }
    };
    key.verify(signed.report.as_bytes(), &signed.signature)
        .map_err(|error| failure(error.to_string()))?;
    let report = BlockReport::parse(signed.report.as_bytes());
    let report = report.map_err(|error| failure(error.to_string()))?;
    if report.block.to_string() != signed.hash {
        return Err(failure(format!("it is that of block {}", report.block)));
    }
    Ok(Checked {
        signed,
        report,
        key,
        is_own_word,
    })
}
