//! What the treasury has on the chain, and what leaves it there.

use super::money::balances;
use crate::daemons::{HASH, seconds_ago};
use hh_ipc::api::treasury::{
    CloseWithdrawalRequest, ImmatureCoinbase, OnChain, WalletOutput, WithdrawRequest, Withdrawal,
    WithdrawalLimits, WithdrawalState,
};
use hh_ipc::{ApiError, ErrorKind};

const ADDRESS: &str = "tb1q7cyrfmck2ffu2ud3rn5l5a8yv6f0chkp0zpemf";

/// All that may leave.
const FREE_SAT: u64 = 99_900_000;

const MAX_FEE_SAT: u64 = 4_200;

const LIMITS: WithdrawalLimits = WithdrawalLimits {
    own_sat: 103_250_000,
    spare_sat: 103_299_999,
    on_chain_sat: FREE_SAT,
    stays_sat: 100_000,
    approval_above_sat: 200_000,
};

pub(super) fn on_chain() -> OnChain {
    let output = |index: u8, amount_sat, height: Option<u32>| WalletOutput {
        outpoint: format!("{}:{index}", "ab".repeat(32)),
        address: Some(ADDRESS.to_owned()),
        amount_sat,
        height,
        confirmations: height.map_or(0, |height| 1_210 - height),
        is_immature: false,
        is_reserved: index == 2,
    };
    OnChain {
        outputs: vec![
            output(0, 60_000_000, Some(1_100)),
            output(1, 40_000_000, None),
            output(2, 25_000, Some(1_205)),
        ],
        no_list_because: None,
        balances: balances(),
        immature: vec![ImmatureCoinbase {
            block: HASH.to_owned(),
            height: 1_203,
            amount_sat: 5_000_001_234,
            mature_at_height: 1_303,
        }],
        free_sat: FREE_SAT,
        limits: LIMITS,
    }
}

/// What is asked for, as the fake notes it.
pub(super) fn words(request: &WithdrawRequest) -> String {
    let WithdrawRequest {
        request_id,
        address,
        amount_sat,
        fee_rate_sat_per_vb,
        ..
    } = request;
    format!("withdraw {amount_sat:?} to {address} at {fee_rate_sat_per_vb:?} as {request_id}")
}

/// It is sent at once; what is more than is free is refused, and what needs two operators waits for the second.
pub(super) fn withdraw(request: &WithdrawRequest) -> Result<Withdrawal, ApiError> {
    let amount_sat = request.amount_sat.unwrap_or(FREE_SAT - MAX_FEE_SAT);
    if amount_sat > FREE_SAT - MAX_FEE_SAT {
        let message = format!("{amount_sat} sat are more than the {FREE_SAT} sat that may leave");
        return Err(ApiError::new(ErrorKind::Failed, "HH4032", message));
    }
    let planned = Withdrawal {
        id: None,
        request_id: None,
        address: request.address.clone(),
        amount_sat,
        max_fee_sat: MAX_FEE_SAT,
        fee_rate_sat_per_kvb: Some(2_500),
        is_rate_known: Some(true),
        needs_approval: amount_sat > LIMITS.approval_above_sat,
        state: WithdrawalState::Planned,
        fee_sat: None,
        txid: None,
        block_height: None,
        opened_at: None,
        ended_at: None,
        actor: None,
        reason: None,
        limits: Some(LIMITS),
    };
    if request.dry_run {
        return Ok(planned);
    }
    if planned.needs_approval {
        let message = "alice has agreed; nothing is done until another operator asks for the same";
        return Err(ApiError::new(ErrorKind::Permission, "HH4030", message));
    }
    Ok(Withdrawal {
        id: Some(4),
        request_id: Some(request.request_id.clone()),
        fee_rate_sat_per_kvb: None,
        is_rate_known: None,
        state: WithdrawalState::Sent,
        txid: Some("cd".repeat(32)),
        opened_at: Some(seconds_ago(1)),
        actor: Some("alice".to_owned()),
        limits: None,
        ..planned
    })
}

/// One that is settled, and one that nobody has a transaction of.
pub(super) fn withdrawals() -> Vec<Withdrawal> {
    vec![lost(), settled()]
}

fn settled() -> Withdrawal {
    Withdrawal {
        id: Some(2),
        request_id: Some("w-2".to_owned()),
        address: ADDRESS.to_owned(),
        amount_sat: 4_000_000,
        max_fee_sat: MAX_FEE_SAT,
        fee_rate_sat_per_kvb: None,
        is_rate_known: None,
        needs_approval: true,
        state: WithdrawalState::Settled,
        fee_sat: Some(353),
        txid: Some("ef".repeat(32)),
        block_height: Some(1_150),
        opened_at: Some(seconds_ago(90_000)),
        ended_at: Some(seconds_ago(89_000)),
        actor: Some("alice and bob".to_owned()),
        reason: None,
        limits: None,
    }
}

fn lost() -> Withdrawal {
    Withdrawal {
        id: Some(3),
        request_id: Some("w-3".to_owned()),
        amount_sat: 150_000,
        needs_approval: false,
        state: WithdrawalState::Open,
        fee_sat: None,
        txid: None,
        block_height: None,
        opened_at: Some(seconds_ago(3_600)),
        ended_at: None,
        actor: Some("alice".to_owned()),
        reason: Some("no transaction is known that pays it".to_owned()),
        ..settled()
    }
}

pub(super) fn closed(request: &CloseWithdrawalRequest) -> Withdrawal {
    if request.dry_run {
        return lost();
    }
    Withdrawal {
        state: WithdrawalState::Failed,
        ended_at: Some(seconds_ago(0)),
        reason: Some(format!("closed by alice and bob: {}", request.reason)),
        ..lost()
    }
}
