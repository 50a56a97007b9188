//! The answer to `status`, and the sums that others show too.

use super::{Control, refusal, signed};
use crate::clock::timestamp;
use crate::solvency::Seen;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{Balances, Freeze, Totals, TreasuryStatus};
use hh_ledger::books::{self, Page, PayoutFilter, PayoutState};
use std::time::Duration;

/// What the status waits for books and wallet: it is asked for when something is wrong.
const GRACE: Duration = Duration::from_secs(2);

/// Open payouts that are counted; one payee has one.
const OPEN_MAX: u32 = 10_000;

impl Control {
    pub(super) async fn status(&self) -> TreasuryStatus {
        let books = tokio::time::timeout(GRACE, self.of_books());
        let seen = tokio::time::timeout(GRACE, self.audit.seen());
        let (books, seen) = tokio::join!(books, seen);
        let books = books.ok().and_then(Result::ok);
        let seen = seen.ok().and_then(Result::ok);
        let (totals, freeze, open, last_block) = books.map_or_else(
            || (None, None, Vec::new(), None),
            |(totals, freeze, open, block)| (Some(totals), freeze, open, block),
        );
        let waiting = open
            .iter()
            .filter(|payout| payout.state == PayoutState::NeedsOperator);
        TreasuryStatus {
            chain: self.chain.to_core_arg().to_owned(),
            bitcoin_nodes: self.nodes.links().map(|link| link.status()).collect(),
            pool_ledger: self.stores.ledger_link.status(),
            books: self.stores.books_link.status(),
            lightning: self.stores.wallet.link.status(),
            backend: self.stores.wallet.backend.to_owned(),
            height: self.tip.borrow().as_ref().map(|tip| tip.height),
            totals: totals.as_ref().map(wire_totals),
            balances: seen.as_ref().map(wire_balances),
            freeze: freeze.map(wire_freeze),
            last_block,
            payouts_waiting_for_operator: waiting.count() as u64,
            payouts_open: open.len() as u64,
            last_verified_at: self.audit.last().map(|report| timestamp(report.at_ms)),
            report_public_key: self.report_key.to_string(),
            reward_address: self.reward_address.to_string(),
        }
    }

    async fn of_books(
        &self,
    ) -> Result<
        (
            books::Totals,
            Option<books::Freeze>,
            Vec<books::Payout>,
            Option<hh_ipc::api::treasury::RewardBlock>,
        ),
        ApiError,
    > {
        let totals = self.stores.books.totals().await.map_err(refusal::books)?;
        let freeze = self.stores.books.frozen().await.map_err(refusal::books)?;
        let open = PayoutFilter {
            payee: None,
            states: crate::payouts::OPEN_STATES.to_vec(),
        };
        let page = Page {
            before: None,
            limit: OPEN_MAX,
        };
        let open = self.stores.books.payouts(open, page).await;
        let open = open.map_err(refusal::books)?;
        let last_block = self.blocks(1).await?.blocks.pop();
        Ok((totals, freeze, open, last_block))
    }
}

pub(super) fn wire_totals(totals: &books::Totals) -> Totals {
    Totals {
        wallet_msat: totals.wallet_msat,
        coinbase_msat: signed(totals.coinbase),
        immature_msat: signed(totals.immature),
        payable_msat: signed(totals.payable),
        in_payouts_msat: signed(totals.open_payouts),
        node_reserve_msat: signed(totals.reserves),
        treasury_msat: signed(totals.treasury_balance),
        suspense_msat: totals.suspense_msat,
        capital_msat: signed(totals.capital),
        withdrawn_msat: signed(totals.drawn),
        loss_msat: signed(totals.loss),
        fees_msat: signed(totals.fees()),
        income_msat: signed(totals.income_routing),
        paid_msat: signed(totals.paid),
    }
}

pub(super) fn wire_balances(seen: &Seen) -> Balances {
    let msat = |amount: bitcoin::Amount| amount.to_sat().saturating_mul(1_000);
    let balances = &seen.balances;
    let spendable = msat(balances.onchain_spendable);
    let reserve = msat(balances.anchor_reserve);
    let immature = msat(balances.onchain_immature);
    let other = msat(balances.onchain_total)
        .saturating_sub(spendable)
        .saturating_sub(reserve)
        .saturating_sub(immature);
    let closing = balances.closing.iter();
    let htlcs = seen
        .channels
        .iter()
        .flat_map(|channel| &channel.pending_htlcs);
    let outgoing = htlcs.filter(|htlc| htlc.is_outgoing);
    Balances {
        on_chain_spendable_msat: spendable,
        on_chain_unconfirmed_msat: other,
        // The embedded node does not tell what of the rest is immature: the books do.
        on_chain_immature_msat: immature,
        anchor_reserve_msat: reserve,
        channels_msat: balances.in_channels_free.0,
        closing_msat: closing.map(|closing| msat(closing.amount)).sum(),
        htlcs_outgoing_msat: outgoing.map(|htlc| htlc.amount.0).sum(),
    }
}

pub(super) fn wire_freeze(freeze: books::Freeze) -> Freeze {
    Freeze {
        reason: freeze.reason,
        actor: freeze.actor,
        since_at: timestamp(freeze.at_ms),
    }
}
