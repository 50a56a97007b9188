//! The books of hh-treasury, and its blocks.

use crate::daemons::{HASH, now, seconds_ago, up};
use hh_ipc::api::treasury::{
    Balances, DayYield, Finding, Limits, Liquidity, LiquidityAdvice, ReconcileReport, RewardBlock,
    RewardBlockState, Totals, TreasuryStatus, Unmatched, VerifyReport,
};

pub(super) fn totals() -> Totals {
    Totals {
        wallet_msat: 120_000_456_789,
        coinbase_msat: 5_000_001_234_000,
        immature_msat: 5_000_001_234_000,
        payable_msat: 4_200_456_789,
        in_payouts_msat: 1_000_000,
        node_reserve_msat: 12_500_000_000,
        treasury_msat: 25_000_000_000,
        suspense_msat: 50_000_000,
        capital_msat: 78_250_000_000,
        withdrawn_msat: 4_000_000_000,
        loss_msat: 0,
        fees_msat: 1_234,
        income_msat: 2_000,
        paid_msat: 9_876_543_210,
    }
}

pub(super) fn balances() -> Balances {
    Balances {
        on_chain_spendable_msat: 100_000_000_000,
        on_chain_unconfirmed_msat: 0,
        on_chain_immature_msat: 5_000_001_234_000,
        anchor_reserve_msat: 25_000_000,
        channels_msat: 20_000_456_789,
        closing_msat: 0,
        htlcs_outgoing_msat: 1_000_000,
    }
}

/// Of a day of which much is used.
pub(super) fn limits() -> Limits {
    Limits {
        minimum_msat: 1_000_000,
        interval_seconds: 3_600,
        max_payout_msat: 1_000_000_000,
        approval_above_msat: 200_000_000,
        max_day_msat: 50_000_000_000,
        used_day_msat: 49_500_000_000,
        left_day_msat: 500_000_000,
        day_frees_at: Some(seconds_ago(-125)),
        day_resets_at: Some(seconds_ago(-80_000)),
        max_fee_base_msat: 10_000,
        max_fee_ppm: 5_000,
        cltv_limit_blocks: 432,
        cooling_off_seconds: 172_800,
        channel_reserve_sat: 100_000,
    }
}

pub(super) fn status() -> TreasuryStatus {
    TreasuryStatus {
        chain: "signet".to_owned(),
        bitcoin_nodes: vec![up("http://127.0.0.1:38332")],
        pool_ledger: up("/var/lib/hyperhash/hh-pool/pool.db"),
        books: up("/var/lib/hyperhash/hh-treasury/treasury.db"),
        lightning: up("ldk-node"),
        backend: "ldk-node".to_owned(),
        height: Some(1203),
        totals: Some(totals()),
        balances: Some(balances()),
        freeze: None,
        last_block: blocks().into_iter().next(),
        payouts_open: 3,
        payouts_waiting_for_operator: 0,
        last_verified_at: Some(seconds_ago(3_700)),
        report_public_key: "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
            .to_owned(),
        reward_address: "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx".to_owned(),
    }
}

/// One that is on its way to maturity, and one that is lost.
pub(super) fn blocks() -> Vec<RewardBlock> {
    let maturing = RewardBlock {
        hash: HASH.to_owned(),
        height: 1203,
        state: RewardBlockState::Confirmed,
        confirmations: 1,
        blocks_to_maturity: 99,
        value_msat: 5_000_001_234_000,
        subsidy_msat: 5_000_000_000_000,
        fees_msat: 1_234_000,
        finder: Some("miner:alice".to_owned()),
        found_at: seconds_ago(95),
        split_at: Some(seconds_ago(90)),
        reason: None,
        accounts: Some(7),
    };
    let lost = RewardBlock {
        hash: crate::daemons::TIP.to_owned(),
        height: 1101,
        state: RewardBlockState::Rejected,
        confirmations: 0,
        blocks_to_maturity: 0,
        finder: None,
        found_at: seconds_ago(90_000),
        split_at: None,
        reason: Some("bad-txns-nonfinal".to_owned()),
        accounts: None,
        ..maturing.clone()
    };
    vec![maturing, lost]
}

pub(super) fn verified() -> VerifyReport {
    VerifyReport {
        at: now(),
        is_solvent: true,
        findings: vec![Finding {
            is_grave: false,
            what: "50,000 sat arrived unexplained".to_owned(),
            fix: "book it with hhctl treasury deposit if it is the operator's".to_owned(),
        }],
        totals: totals(),
        balances: Some(balances()),
        difference_msat: Some(-1_500),
        entries: 1_234,
    }
}

pub(super) fn reconciled() -> ReconcileReport {
    ReconcileReport {
        matched: 411,
        unmatched: Vec::new(),
        open_attempts: 1,
        is_required: false,
    }
}

/// After a restore, with a payment that no payout knows.
pub(crate) fn unmatched() -> ReconcileReport {
    ReconcileReport {
        matched: 410,
        unmatched: vec![Unmatched {
            payment_hash: "0707070707070707070707070707070707070707070707070707070707070707"
                .to_owned(),
            amount_msat: 1_500_250,
            state: "settled".to_owned(),
            at: Some(seconds_ago(4_000)),
            books: None,
        }],
        open_attempts: 0,
        is_required: true,
    }
}

pub(super) fn liquidity() -> Liquidity {
    Liquidity {
        can_send_msat: 3_000_000_000,
        can_receive_msat: 1_200_000_000,
        due_msat: 4_200_456_789,
        on_chain_msat: 100_000_000_000,
        advice: vec![LiquidityAdvice {
            action: "open".to_owned(),
            amount_msat: 3_300_686_000,
            why: "less can be sent than one and a half times what is due".to_owned(),
            command: "hhctl ln channel open NODE_ID@HOST:PORT --capacity 3300686sat".to_owned(),
        }],
    }
}

pub(super) fn day_yields() -> Vec<DayYield> {
    let day = |date: &str, income, onchain, net| DayYield {
        date: date.to_owned(),
        routing_income_msat: income,
        routing_fees_msat: 12_500,
        onchain_fees_msat: onchain,
        paid_msat: 900_000_123,
        net_msat: net,
    };
    vec![
        day("2026-11-02", 40_000, 0, 27_500),
        day("2026-11-01", 0, 1_540_000, -1_552_500),
    ]
}
