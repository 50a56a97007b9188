//! What hh-treasury says of the same pool.

use super::{at, block, up};
use crate::feed::{TreasuryAnswer, TreasuryDetails};
use hh_ipc::api::pool::{Block, BlockState};
use hh_ipc::api::treasury::{
    Balances, Channel, ChannelState, Freeze, Htlc, LightningPayment, LightningStatus, Payout,
    PayoutState, RewardBlock, RewardBlockState, Totals, TreasuryStatus,
};

/// What it says with all details; the newest things happened some seconds before `now`.
pub(super) fn answer_at(now: i64) -> TreasuryAnswer {
    TreasuryAnswer {
        status: status(now),
        details: Some(TreasuryDetails {
            blocks: Ok(blocks()),
            payouts: Ok(payouts(now)),
            lightning: Ok(lightning()),
            channels: Ok(channels()),
            payments: Ok(payments(now)),
        }),
    }
}

pub(crate) fn treasury() -> TreasuryAnswer {
    answer_at(super::NOW)
}

/// After a look at the books that did not add up.
pub(crate) fn frozen() -> TreasuryAnswer {
    let mut answer = treasury();
    answer.status.freeze = Some(Freeze {
        reason: "the wallet has 1,500 sat less than the books".to_owned(),
        actor: "hh-treasury".to_owned(),
        since_at: at(super::NOW - 750),
    });
    answer
}

/// Before the first block, and without a channel.
pub(super) fn nothing_yet() -> TreasuryAnswer {
    let mut answer = treasury();
    answer.status.totals = None;
    answer.status.balances = None;
    answer.status.last_verified_at = None;
    answer.status.last_block = None;
    (
        answer.status.payouts_open,
        answer.status.payouts_waiting_for_operator,
    ) = (0, 0);
    answer.details = Some(TreasuryDetails {
        blocks: Ok(Vec::new()),
        payouts: Ok(Vec::new()),
        lightning: Err("ldk-node is still starting".to_owned()),
        channels: Ok(Vec::new()),
        payments: Ok(Vec::new()),
    });
    answer
}

fn status(now: i64) -> TreasuryStatus {
    TreasuryStatus {
        chain: "signet".to_owned(),
        bitcoin_nodes: vec![up("http://127.0.0.1:38332")],
        pool_ledger: up("/var/lib/hyperhash/hh-pool/pool.db"),
        books: up("/var/lib/hyperhash/hh-treasury/treasury.db"),
        lightning: up("ldk-node"),
        backend: "ldk-node".to_owned(),
        height: Some(210),
        totals: Some(Totals {
            wallet_msat: 120_000_456_789,
            coinbase_msat: 10_000_002_468_000,
            immature_msat: 9_950_002_455_661,
            payable_msat: 4_200_456_789,
            in_payouts_msat: 904_200_456,
            node_reserve_msat: 12_500_000_000,
            treasury_msat: 25_000_000_000,
            suspense_msat: 50_000_000,
            capital_msat: 78_250_000_000,
            withdrawn_msat: 0,
            paid_msat: 9_876_543_210,
            ..Totals::default()
        }),
        balances: Some(balances()),
        freeze: None,
        last_block: blocks().into_iter().next(),
        payouts_open: 3,
        payouts_waiting_for_operator: 1,
        last_verified_at: Some(at(now - 3_700)),
        report_public_key: "hhreport1".to_owned(),
        reward_address: "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx".to_owned(),
    }
}

fn balances() -> Balances {
    Balances {
        on_chain_spendable_msat: 100_000_000_000,
        on_chain_unconfirmed_msat: 0,
        on_chain_immature_msat: 10_000_002_468_000,
        anchor_reserve_msat: 25_000_000,
        channels_msat: 20_000_456_789,
        closing_msat: 0,
        htlcs_outgoing_msat: 1_000_000,
    }
}

fn reward(block: &Block, state: RewardBlockState) -> RewardBlock {
    let is_split = state != RewardBlockState::Rejected;
    RewardBlock {
        hash: block.hash.clone(),
        height: block.height,
        state,
        confirmations: 2,
        blocks_to_maturity: 98,
        value_msat: block.value_sat * 1_000,
        subsidy_msat: 5_000_000_000_000,
        fees_msat: 1_234_000,
        finder: is_split.then(|| "miner:alice".to_owned()),
        found_at: block.found_at,
        split_at: is_split.then_some(block.found_at),
        reason: None,
        accounts: is_split.then_some(7),
    }
}

/// Of the blocks of the pool all but the newest but one.
fn blocks() -> Vec<RewardBlock> {
    let orphaned = block(208, BlockState::Orphaned, 5000);
    let mut rejected = reward(
        &block(207, BlockState::Rejected, 4000),
        RewardBlockState::Rejected,
    );
    rejected.reason = Some("bad-txns-inputs-missingorspent".to_owned());
    vec![
        reward(
            &block(210, BlockState::Accepted, 7000),
            RewardBlockState::Confirmed,
        ),
        reward(&orphaned, RewardBlockState::Orphaned),
        rejected,
    ]
}

fn payout(id: u64, payee: &str, state: PayoutState, opened: i64) -> Payout {
    Payout {
        id,
        payee: payee.to_owned(),
        amount_msat: 4_200_456,
        fee_msat: None,
        state,
        reason: None,
        waiting_for: None,
        destination: "alice@wallet.example".to_owned(),
        attempts: 1,
        created_at: at(opened),
        next_try_at: None,
        settled_at: None,
        latency_seconds: None,
        payment_hash: None,
        preimage: None,
        approvals: Vec::new(),
        is_held: false,
    }
}

/// One that waits for two words, one that is tried again, one that needs a person, one whose payee is held, one that is done.
fn payouts(now: i64) -> Vec<Payout> {
    let mut large = payout(
        415,
        "node:berlin-1",
        PayoutState::WaitingForApproval,
        now - 60,
    );
    large.amount_msat = 900_000_000;
    large.approvals = vec!["alice".to_owned()];
    let mut later = payout(414, "miner:bob", PayoutState::RetryWait, now - 600);
    later.reason = Some("no route, 2 of 5".to_owned());
    later.next_try_at = Some(at(now + 125));
    let mut stuck = payout(413, "miner:carol", PayoutState::NeedsOperator, now - 4_000);
    stuck.reason = Some("outcome unknown, the wallet does not know the hash".to_owned());
    let mut held = payout(412, "miner:mallory", PayoutState::Queued, now - 5_000);
    held.is_held = true;
    let waiting = "its release, held for: disputed; `hhctl payout release miner:mallory`";
    held.waiting_for = Some(waiting.to_owned());
    let mut done = payout(411, "miner:alice", PayoutState::Settled, now - 6_000);
    done.fee_msat = Some(1_001);
    done.latency_seconds = Some(0.412);
    vec![large, later, stuck, held, done]
}

fn lightning() -> LightningStatus {
    LightningStatus {
        backend: "ldk-node".to_owned(),
        node_id: format!("02{}", "ab".repeat(32)),
        alias: Some("hyperhash-core".to_owned()),
        version: "0.7.1".to_owned(),
        block_height: 210,
        is_synced: true,
        listen_addresses: vec!["0.0.0.0:9735".to_owned()],
        capabilities: vec!["backup".to_owned()],
        balances: balances(),
        channels: 3,
        channels_usable: 1,
        fees_earned_msat: 2_000,
    }
}

fn channel(id: &str, state: ChannelState, local_msat: u64) -> Channel {
    Channel {
        id: id.to_owned(),
        peer: format!("03{}", "cd".repeat(32)),
        state,
        is_public: false,
        capacity_sat: 20_000_000,
        local_msat,
        remote_msat: 20_000_000_000 - local_msat,
        spendable_msat: local_msat.saturating_sub(200_000_000),
        receivable_msat: 0,
        htlcs: Vec::new(),
        cost_msat: None,
        force_close: None,
    }
}

/// One in use with a payment on its way, one whose peer is away and with a payment that times out soon, one that is new.
fn channels() -> Vec<Channel> {
    let htlc = |blocks| Htlc {
        payment_hash: "33".repeat(32),
        amount_msat: 1_000_000,
        is_outgoing: true,
        expires_in_blocks: Some(blocks),
    };
    let mut usable = channel("187x1x0", ChannelState::Usable, 15_000_456_789);
    usable.htlcs = vec![htlc(132)];
    let mut offline = channel("190x2x1", ChannelState::Offline, 1_000);
    offline.htlcs = vec![htlc(140), htlc(12)];
    let opening = channel("c0ffee00", ChannelState::Opening, 20_000_000_000);
    vec![usable, offline, opening]
}

fn payments(now: i64) -> Vec<LightningPayment> {
    let settled = LightningPayment {
        payment_hash: Some("11".repeat(32)),
        is_outgoing: true,
        amount_msat: Some(4_200_456),
        fee_msat: Some(1_001),
        state: "settled".to_owned(),
        at: Some(at(now - 6_000)),
    };
    let failed = LightningPayment {
        payment_hash: Some("22".repeat(32)),
        fee_msat: None,
        state: "failed".to_owned(),
        at: Some(at(now - 600)),
        ..settled.clone()
    };
    let unknown = LightningPayment {
        payment_hash: None,
        is_outgoing: false,
        amount_msat: None,
        fee_msat: None,
        state: "pending".to_owned(),
        at: None,
    };
    vec![unknown, failed, settled]
}
