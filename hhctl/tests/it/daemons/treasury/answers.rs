//! What hh-treasury answers where a test changes nothing.

use super::{accounts, lightning, money, onchain, payouts};
use crate::daemons::{chained, intent, outcome};
use hh_ipc::api::treasury::{
    Account, BlockReport, Channel, LightningPayment, LightningStatus, OnChain, PayoutDetail,
    PayoutPlan, ReconcileReport, ReportName, RewardBlock, TreasuryStatus, VerifyReport,
};

/// What hh-treasury answers; a test changes what it is about.
#[derive(Clone, Debug)]
pub(crate) struct TreasuryAnswers {
    pub(crate) status: TreasuryStatus,
    pub(crate) verified: VerifyReport,
    pub(crate) reconciled: ReconcileReport,
    pub(crate) blocks: Vec<RewardBlock>,
    pub(crate) payouts: Vec<PayoutDetail>,
    pub(crate) plan: PayoutPlan,
    pub(crate) accounts: Vec<Account>,
    pub(crate) lightning: LightningStatus,
    pub(crate) channels: Vec<Channel>,
    pub(crate) on_chain: OnChain,
    pub(crate) payments: Vec<LightningPayment>,
    pub(crate) journal: Vec<String>,
    /// By block.
    pub(crate) reports: Vec<BlockReport>,
    /// Canonical JSON, by account and block.
    pub(crate) proofs: Vec<(String, String, String)>,
    /// Of each block, its lines.
    pub(crate) windows: Vec<(String, Vec<String>)>,
    /// Of each block whose edge is kept, its lines.
    pub(crate) edges: Vec<(String, Vec<String>)>,
    /// Of each block, its finder and who is in its report.
    pub(crate) names: Vec<(String, String, Vec<ReportName>)>,
}

impl TreasuryAnswers {
    pub(crate) fn good() -> Self {
        Self {
            status: money::status(),
            verified: money::verified(),
            reconciled: money::reconciled(),
            blocks: money::blocks(),
            payouts: payouts::payouts(),
            plan: payouts::plan(),
            accounts: accounts::accounts(),
            lightning: lightning::status(),
            channels: lightning::channels(),
            on_chain: onchain::on_chain(),
            payments: lightning::payments(),
            journal: journal(),
            reports: Vec::new(),
            proofs: Vec::new(),
            windows: Vec::new(),
            edges: Vec::new(),
            names: Vec::new(),
        }
    }
}

/// A payee that was held.
fn journal() -> Vec<String> {
    let hold =
        serde_json::json!({"target": "miner:mallory", "is_held": true, "reason": "disputed"});
    let events = [
        intent(3_000, (1000, Some("alice")), "payout.hold", hold),
        outcome(3_000, 1, None),
    ];
    chained("hh-treasury", events)
}
