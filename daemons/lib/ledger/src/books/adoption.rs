//! `AdoptedPayment`: a payment that the wallet has made and the books don't know, as after the ledger was restored from a copy, or
//! think to have ended.
//! Two persons say whose it was, so that nobody is paid again for the same.

use bitcoin::hashes::{Hash, sha256};
use hh_mining::Msat;

use super::attempt::{self, AttemptState, NewAttempt};
use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::history::{self, HistoryLine};
use super::opening::{self, NewPayout};
use super::payout;
use super::session::{CallError, Session};
use super::value::{Hex, msat};
use super::{
    AttemptId, BookAccount, Books, BooksError, KEY_BYTES_MAX, PayTo, Payee, PayoutId, PayoutState,
    TEXT_BYTES_MAX, TwoActors, foreign, outcome, rebalance,
};

/// A payment of the wallet's history that no attempt has the payment hash of, or one that has not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedPayment {
    /// Whom it paid.
    pub payee: Payee,
    /// Its payment hash.
    pub payment_hash: [u8; 32],
    /// What proves it: a wallet has that of every payment it made.
    pub preimage: [u8; 32],
    /// How much the payee got.
    pub amount: Msat,
    /// What routing has cost.
    pub fee: Msat,
    /// Where it went.
    pub to: PayTo,
    /// The id of the wallet's node.
    pub wallet_node: String,
    /// How that is known.
    pub evidence: String,
}

/// The payout that a payment pays: the payee's open one over the same amount that nothing is on its way for, or else a new one
/// from the payee's balance, with what that lacks as a loss.
async fn payout_for(
    session: &mut Session,
    payment: &AdoptedPayment,
    now_ms: i64,
) -> Result<PayoutId, CallError> {
    if let Some(open) = payout::open_of(session, &payment.payee).await?
        && open.amount == payment.amount
        && attempt::live(session, open.id).await?.is_none()
    {
        return Ok(open.id);
    }
    let new = NewPayout {
        payee: payment.payee.clone(),
        amount: payment.amount,
        to: payment.to.clone(),
        key: format!("adopted:{}", Hex(&payment.payment_hash)),
        rule: "adopted".to_owned(),
        approvals_needed: 0,
    };
    let id = opening::insert(session, &new, PayoutState::Settled, now_ms).await?;
    let balance = BookAccount::Balance(payment.payee.clone());
    let has = entry::owed(session, &balance).await?;
    let taken = has.min(payment.amount);
    let mut draft = Draft::new(EntryKind::PayoutOpen, now_ms, "adopted");
    draft.payout = Some(id);
    draft.debit(balance, taken);
    draft.debit(BookAccount::Loss, Msat(payment.amount.0 - taken.0));
    draft.credit(BookAccount::Payout(id), payment.amount);
    entry::post(session, draft).await?;
    Ok(id)
}

/// The wallet has paid by an attempt that the books know, whatever they think of it.
async fn settle(
    session: &mut Session,
    id: AttemptId,
    payment: &AdoptedPayment,
    actors: &str,
    now_ms: i64,
) -> Result<PayoutId, CallError> {
    let attempt = attempt::get(session, id).await?;
    let payout = payout::get(session, attempt.payout).await?;
    if matches!(
        attempt.state,
        AttemptState::Settled | AttemptState::SettledLate
    ) {
        return Err(BooksError::HashTaken.into());
    }
    if payout.payee != payment.payee {
        let (payout, payee) = (payout.id, payout.payee);
        return Err(BooksError::AnotherPayee { payout, payee }.into());
    }
    note(session, (payout.id, id), payment, actors, now_ms).await?;
    outcome::settled(session, id, payment.preimage, payment.fee, now_ms).await?;
    Ok(payout.id)
}

/// Says by whom and on what evidence.
async fn note(
    session: &mut Session,
    (payout, attempt): (PayoutId, AttemptId),
    payment: &AdoptedPayment,
    actors: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: Some(attempt),
        state: AttemptState::Settled.to_string(),
        what: format!("adopted from the wallet: {}", payment.evidence),
        actor: Some(actors.to_owned()),
    };
    history::add(session, payout, line).await
}

async fn adopt(
    session: &mut Session,
    payment: AdoptedPayment,
    actors: &TwoActors,
    now_ms: i64,
) -> Result<PayoutId, CallError> {
    actors.take(session, now_ms).await?;
    let actors = actors.named();
    if msat(payment.amount)? == 0 {
        return Err(BooksError::NoAmount.into());
    }
    let payee = payment.payee.clone().checked()?;
    if payee == Payee::NodeReserve {
        return Err(BooksError::NotPayable { payee }.into());
    }
    rebalance::refuse_known(session, payment.payment_hash).await?;
    foreign::forget(session, payment.payment_hash).await?;
    if let Some(attempt) = attempt::with_hash(session, payment.payment_hash).await? {
        return settle(session, attempt, &payment, &actors, now_ms).await;
    }
    let payout = payout_for(session, &payment, now_ms).await?;
    let new = NewAttempt {
        payout,
        payment_hash: payment.payment_hash,
        invoice: payment.to.text.clone(),
        amount: payment.amount,
        max_fee: payment.fee,
        cltv_limit: 0,
        wallet_node: payment.wallet_node.clone(),
        invoice_expires_at_ms: now_ms,
        day_limit: None,
    };
    let id = attempt::insert(session, &new, now_ms).await?;
    if sha256::Hash::hash(&payment.preimage).to_byte_array() != payment.payment_hash {
        return Err(BooksError::Preimage { attempt: id }.into());
    }
    let attempt = attempt::get(session, id).await?;
    let receipt = (&payment.preimage, payment.fee);
    outcome::put_receipt(session, &attempt, AttemptState::Settled, receipt, now_ms).await?;
    let (kind, from) = (EntryKind::PayoutSettled, BookAccount::Payout(payout));
    outcome::post_paid(session, kind, from, &attempt, payment.fee, now_ms).await?;
    note(session, (payout, id), &payment, &actors, now_ms).await?;
    let what = "paid by a payment that the books did not know";
    let to = payout::Step {
        actor: Some(&actors),
        ..payout::Step::to(PayoutState::Settled, what)
    };
    payout::step(session, payout, to, now_ms).await?;
    Ok(payout)
}

impl Books {
    /// Takes a payment of the wallet's history into the books. It settles the payee's open payout over the same amount, where
    /// nothing is on its way for that; else it is taken from the payee's balance, and what that lacks is a loss. An attempt that
    /// has its payment hash settles, as by [`Books::settled`].
    ///
    /// # Errors
    /// [`BooksError::HashTaken`] if such an attempt has settled, or it is a rebalance's; [`BooksError::AnotherPayee`]; [`BooksError::Preimage`];
    /// [`BooksError::NotAgreed`].
    pub async fn adopt_payment(
        &self,
        payment: AdoptedPayment,
        actors: TwoActors,
        now_ms: i64,
    ) -> Result<PayoutId, BooksError> {
        bounded("evidence", payment.evidence.clone(), TEXT_BYTES_MAX)?;
        bounded("a destination", payment.to.text.clone(), TEXT_BYTES_MAX)?;
        bounded("a wallet's id", payment.wallet_node.clone(), KEY_BYTES_MAX)?;
        self.write("adopt a payment", async move |session| {
            adopt(session, payment, &actors, now_ms).await
        })
        .await
    }
}
