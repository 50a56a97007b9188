//! The answer to `draw`: a miner's account is paid by an invoice that its owner hands in, on the word of its drawing key.
//!
//! The key is a destination: its owner has signed for it, and it counts after the cooling-off period (docs/adr/0021). So the key
//! alone decides here; freezes, holds, limits and the approval of two operators are those of every payout.

use super::account::parse_payee;
use super::{Control, refusal};
use crate::clock::{timestamp, unix_ms};
use crate::destination;
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{DrawRequest, Payout};
use hh_ledger::books::{DestinationKind, DestinationOf, NewDraw, Payee};
use hh_lightning::Bolt11Invoice;
use hh_mining::Msat;
use hh_trust::OwnerKey;
use hh_trust::payment_order::verify_draw;
use serde_json::json;
use std::time::{Duration, SystemTime};

/// An invoice has to be good for so long when it is handed in: fifteen others may be in front of it, and the peer of a channel away.
const LASTS_AT_LEAST: Duration = Duration::from_secs(600);

/// One that waits for two operators: they sleep at night.
const LASTS_FOR_APPROVAL: Duration = Duration::from_secs(12 * 3_600);

impl Control {
    pub(super) async fn draw(
        &self,
        caller: &Caller,
        request: DrawRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let payee = parse_payee(&request.name)?;
        let Payee::Miner(account) = &payee else {
            let message = "only miners' accounts are drawn from; nodes submit invoices";
            return Err(refusal::usage(message));
        };
        let invoice = destination::parse(&request.invoice);
        let invoice = invoice.map_err(|error| refusal::wrong(&error))?;
        let text = invoice.to_string();
        // One spelling, which is what was signed.
        if text != request.invoice {
            return Err(refusal::usage(format!("the invoice is written {text}")));
        }
        let key = self.drawing_key(&payee).await?;
        self.refuse_owners_key(account, &key).await?;
        let terms = (self.chain, account.as_str(), text.as_str());
        let signed = verify_draw(&key, terms, &request.signature);
        signed.map_err(|error| refusal::unproven(&error))?;
        let draw = self.checked_draw(&payee, &key, &invoice).await?;
        let arguments = json!(request);
        let open = async {
            let opened = self.stores.books.open_draw(draw, unix_ms()).await;
            let payout = opened.map_err(refusal::books)?;
            self.told(payout).await
        };
        self.change(caller, "account.draw", arguments, open).await
    }

    /// The key that may draw from an account now.
    async fn drawing_key(&self, payee: &Payee) -> Result<OwnerKey, ApiError> {
        let destination = self.stores.books.destination_of(payee.clone(), unix_ms());
        let destination = destination.await.map_err(refusal::books)?;
        match destination {
            DestinationOf::Active(active) if active.kind == DestinationKind::Bolt11Draw => {
                active.text.parse().map_err(|error| refusal::wrong(&error))
            }
            DestinationOf::CoolingOff(next) if next.kind == DestinationKind::Bolt11Draw => {
                let from = timestamp(next.active_from_ms);
                let message = format!("the drawing key of {payee} counts from {from} on");
                Err(refusal::not_now(message))
            }
            DestinationOf::Active(_)
            | DestinationOf::CoolingOff(_)
            | DestinationOf::Cancelled(_)
            | DestinationOf::None => {
                let message = format!(
                    "{payee} has no drawing key; its owner sets one with `hhctl account payout-address set`"
                );
                Err(refusal::not_now(message))
            }
        }
    }

    /// Whoever steals the owner's key would else have the money at once, and not after the cooling-off period.
    pub(super) async fn refuse_owners_key(
        &self,
        account: &str,
        key: &OwnerKey,
    ) -> Result<(), ApiError> {
        let owner = self.stores.books.owner(account.to_owned()).await;
        match owner.map_err(refusal::books)? {
            Some(owner) if owner.key == key.0 => {
                let message = "the owner's key says where an account is paid, and does not draw: set another key for that";
                Err(refusal::usage(message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// All that can be known before its turn. One that was opened before is not looked at again: its answer was lost.
    async fn checked_draw(
        &self,
        payee: &Payee,
        key: &OwnerKey,
        invoice: &Bolt11Invoice,
    ) -> Result<NewDraw, ApiError> {
        let amount = invoice.amount_milli_satoshis().map(Msat);
        let no_amount = || refusal::unpayable("the invoice names no amount".to_owned());
        let amount = amount.ok_or_else(no_amount)?;
        let payment_hash = destination::payment_hash(invoice).0;
        let draw = NewDraw {
            payee: payee.clone(),
            drawing_key: key.to_string(),
            bolt11: invoice.to_string(),
            payment_hash,
            amount,
            expires_at_ms: destination::expires_at_ms(invoice),
            approvals_needed: self.opener.approvals_for(amount),
        };
        let known = self.stores.books.payout_of_hash(payment_hash).await;
        if known.map_err(refusal::books)?.is_none() {
            self.check_terms(&draw).await?;
            self.check_wallet(amount, invoice).await?;
            self.check_dues(payee, amount).await?;
        }
        Ok(draw)
    }

    async fn check_terms(&self, draw: &NewDraw) -> Result<(), ApiError> {
        let (rules, amount) = (&self.opener.rules, draw.amount);
        if amount < rules.minimum {
            let least = rules.minimum;
            let message = format!("the invoice has to be for at least {least} sat");
            return Err(refusal::unpayable(message));
        }
        if amount > rules.max_payout {
            let most = rules.max_payout;
            let message =
                format!("the invoice is for {amount} sat; a payout has at most {most} sat");
            return Err(refusal::unpayable(message));
        }
        let (least, why) = if draw.approvals_needed > 0 {
            let above = rules.approval_above;
            let why = format!(" because more than {above} sat wait for two operators");
            (LASTS_FOR_APPROVAL, why)
        } else {
            (LASTS_AT_LEAST, String::new())
        };
        let left_ms = draw.expires_at_ms.saturating_sub(unix_ms());
        if i128::from(left_ms) < i128::try_from(least.as_millis()).unwrap_or(i128::MAX) {
            let minutes = least.as_secs() / 60;
            let message =
                format!("the invoice has to be good for another {minutes} minutes at least{why}");
            return Err(refusal::unpayable(message));
        }
        let day_left = self.opener.day_left(unix_ms()).await;
        let day_left = day_left.map_err(refusal::books)?;
        if rules.most_spent(amount) > day_left {
            let message = format!(
                "the day's limit leaves {day_left} sat for all payouts and what routing may cost; draw less, or tomorrow"
            );
            return Err(refusal::not_now(message));
        }
        Ok(())
    }

    /// What its wallet would refuse: another chain, our own invoice, locks that are too long.
    async fn check_wallet(&self, amount: Msat, invoice: &Bolt11Invoice) -> Result<(), ApiError> {
        let info = self.stores.wallet.wallet().info().await;
        let info = self.stores.wallet.noted(info).map_err(refusal::wallet)?;
        let request = self.payer.request(amount, invoice.clone());
        let checked = request.check(&info.node_id, self.chain, SystemTime::now());
        checked.map_err(|error| refusal::unpayable(error.to_string()))?;
        Ok(())
    }
}
