//! The answers about what the wallet can send, what could be done about it, and what each day has earned and cost.

use super::{Control, refusal};
use crate::advice::{Advice, Facts, can_receive, can_send};
use crate::clock::unix_ms;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{DayYield, Liquidity, LiquidityAdvice};
use hh_ledger::books::{self, DAYS_MAX};
use hh_mining::Msat;

/// Of a day.
const DAY_MS: i64 = 86_400_000;

impl Control {
    pub(super) async fn liquidity(&self) -> Result<Liquidity, ApiError> {
        let seen = self.audit.seen().await.map_err(refusal::wallet)?;
        let totals = self.stores.books.totals().await.map_err(refusal::books)?;
        let due = Msat(totals.payable.0.saturating_add(totals.open_payouts.0));
        let facts = Facts {
            channels: &seen.channels,
            due,
            on_chain: seen.balances.onchain_spendable,
            reserve: bitcoin::Amount::from_sat(self.channel_reserve_sat),
            can_rebalance: self
                .stores
                .wallet
                .wallet()
                .capabilities()
                .rebalances
                .is_ok(),
        };
        Ok(Liquidity {
            can_send_msat: can_send(&seen.channels).0,
            can_receive_msat: can_receive(&seen.channels).0,
            due_msat: due.0,
            on_chain_msat: facts.on_chain.to_sat().saturating_mul(1_000),
            advice: facts.advice().iter().map(wire_advice).collect(),
        })
    }

    pub(super) async fn day_yields(&self, days: u32) -> Result<Vec<DayYield>, ApiError> {
        let now_ms = unix_ms();
        let before = i64::from(days.clamp(1, DAYS_MAX)) - 1;
        let since_ms = now_ms.saturating_sub(before * DAY_MS);
        let days = self.stores.books.days(since_ms, now_ms).await;
        let days = days.map_err(refusal::books)?;
        Ok(days.iter().map(wire_day).collect())
    }
}

fn wire_advice(advice: &Advice) -> LiquidityAdvice {
    let said = |action: &str, amount: Msat, why: &str, command: String| LiquidityAdvice {
        action: action.to_owned(),
        amount_msat: amount.0,
        why: why.to_owned(),
        command,
    };
    match advice {
        Advice::Open { capacity_sat } => said(
            "open",
            Msat(capacity_sat.saturating_mul(1_000)),
            "less can be sent than one and a half times what is due",
            format!("hhctl ln channel open NODE_ID@HOST:PORT --capacity {capacity_sat}sat"),
        ),
        Advice::Fund { missing } => said(
            "fund",
            *missing,
            "less can be sent than one and a half times what is due, and the chain has too little for another channel",
            "hhctl treasury address".to_owned(),
        ),
        Advice::Rebalance { from, to, amount } => said(
            "rebalance",
            *amount,
            "most of one channel is the peer's, most of another is ours",
            format!(
                "hhctl ln channel rebalance --from {from} --to {to} --amount {}sat --max-fee-ppm 500 --dry-run",
                amount.0 / 1_000
            ),
        ),
        Advice::Reconnect { channel, local } => said(
            "reconnect",
            *local,
            "its peer is away, and money of ours is in the channel",
            format!("hhctl ln channel close {channel} --dry-run"),
        ),
    }
}

fn wire_day(day: &books::DayYield) -> DayYield {
    let date = jiff::Timestamp::from_millisecond(day.from_ms).unwrap_or_default();
    DayYield {
        date: date.strftime("%Y-%m-%d").to_string(),
        routing_income_msat: day.income_routing.0,
        routing_fees_msat: day.fees_routing.0,
        onchain_fees_msat: day.fees_onchain.0,
        paid_msat: day.paid.0,
        net_msat: i64::try_from(day.net_msat()).unwrap_or(i64::MIN),
    }
}
