//! The answers to `reconcile`, `adopt` and `adopt_foreign`: the wallet's payments beside the attempts of the books.

use super::account::parse_payee;
use super::{Control, refusal};
use crate::clock::unix_ms;
use bitcoin::hashes::{Hash, sha256};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    AdoptForeignRequest, AdoptRequest, Payout, ReconcileReport, Unmatched,
};
use hh_ledger::books::{
    self, AdoptedPayment, Attempt, AttemptState, ForeignPayment, PayTo, Rebalance, RebalanceState,
};
use hh_lightning::{OutgoingPayment, OutgoingState, PageCursor};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Unmatched payments that are answered; more are too many for a person. So many are taken as foreign at once.
const UNMATCHED_MAX: usize = 500;

/// A payment of the wallet with what the books have of it.
struct Beside {
    payment: OutgoingPayment,
    attempt: Option<Attempt>,
    /// It is of the wallet to itself.
    rebalance: Option<Rebalance>,
    is_foreign: bool,
}

impl Beside {
    /// Whether the books say of it what the wallet says, or will once the engine has looked it up.
    fn is_matched(&self) -> bool {
        if self.payment.state == OutgoingState::Failed {
            // Nothing went anywhere.
            return true;
        }
        if let Some(rebalance) = &self.rebalance {
            return rebalance.state != RebalanceState::Failed;
        }
        match (&self.payment.state, &self.attempt) {
            (OutgoingState::Failed, _) => true,
            (_, None) => self.is_foreign,
            (OutgoingState::InFlight | OutgoingState::Settled(_), Some(attempt)) => {
                agrees(attempt.state)
            }
        }
    }

    fn wire(&self) -> Unmatched {
        Unmatched {
            payment_hash: hex::encode(self.payment.hash.0),
            amount_msat: self.payment.amount.unwrap_or_default().0,
            state: super::money::payment_state(&self.payment.state).to_owned(),
            at: super::money::at(self.payment.at_s),
            books: self.books(),
        }
    }

    /// What the books have of it.
    fn books(&self) -> Option<String> {
        if let Some(Rebalance { id, state, .. }) = &self.rebalance {
            return Some(format!("rebalance {id} is {state}"));
        }
        let attempt = self.attempt.as_ref()?;
        let Attempt {
            id, payout, state, ..
        } = attempt;
        Some(format!("attempt {id} of payout {payout} is {state}"))
    }

    fn is_known(&self) -> bool {
        self.attempt.is_some() || self.rebalance.is_some() || self.is_foreign
    }
}

/// Whether an attempt in this state may be one that the wallet has sent: those that may not be are paid again, or were given back.
fn agrees(attempt: AttemptState) -> bool {
    match attempt {
        AttemptState::Dispatched
        | AttemptState::InFlight
        | AttemptState::Unknown
        | AttemptState::Settled
        | AttemptState::SettledLate => true,
        AttemptState::Prepared | AttemptState::FailedFinal | AttemptState::Abandoned => false,
    }
}

impl Control {
    /// A page of the wallet's history.
    async fn history(
        &self,
        cursor: Option<&PageCursor>,
    ) -> Result<(Vec<Beside>, Option<PageCursor>), ApiError> {
        let wallet = self.stores.wallet.wallet();
        let page = wallet.outgoing_payments(cursor).await;
        let page = self.stores.wallet.noted(page).map_err(refusal::wallet)?;
        // After the wallet: what it has sent was written down before.
        let hashes: Vec<[u8; 32]> = page.payments.iter().map(|paid| paid.hash.0).collect();
        let attempts = self.stores.books.attempts_by_hash(hashes.clone()).await;
        let attempts = attempts.map_err(refusal::books)?.into_iter();
        let mut attempts: BTreeMap<_, _> = attempts
            .map(|attempt| (attempt.payment_hash, attempt))
            .collect();
        let rebalances = self.stores.books.rebalances_by_hash(hashes.clone()).await;
        let rebalances = rebalances.map_err(refusal::books)?.into_iter();
        let mut rebalances: BTreeMap<_, _> = rebalances
            .map(|rebalance| (rebalance.payment_hash, rebalance))
            .collect();
        let foreign = self.stores.books.foreign_of(hashes).await;
        let foreign: BTreeSet<[u8; 32]> = foreign.map_err(refusal::books)?.into_iter().collect();
        let beside = page.payments.into_iter().map(|payment| Beside {
            attempt: attempts.remove(&payment.hash.0),
            rebalance: rebalances.remove(&payment.hash.0),
            is_foreign: foreign.contains(&payment.hash.0),
            payment,
        });
        Ok((beside.collect(), page.next))
    }

    pub(super) async fn reconcile(&self) -> Result<ReconcileReport, ApiError> {
        let mut report = ReconcileReport {
            matched: 0,
            unmatched: Vec::new(),
            open_attempts: 0,
            is_required: false,
        };
        let mut known = BTreeSet::new();
        let mut cursor = None;
        loop {
            let (page, next) = self.history(cursor.as_ref()).await?;
            for beside in &page {
                known.extend(beside.attempt.as_ref().map(|attempt| attempt.payment_hash));
                if !beside.is_matched() {
                    if report.unmatched.len() < UNMATCHED_MAX {
                        report.unmatched.push(beside.wire());
                    }
                } else if beside.is_known() {
                    report.matched += 1;
                }
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let open = self.stores.books.open_attempts().await;
        let open = open.map_err(refusal::books)?;
        let is_lost = |hash: &[u8; 32]| !known.contains(hash);
        let lost = open.iter().filter(|attempt| is_lost(&attempt.payment_hash));
        report.open_attempts = lost.count() as u64;
        let freezes = self.stores.books.freezes().await.map_err(refusal::books)?;
        let is_restored = |reason: &str| reason.starts_with("restored");
        report.is_required = freezes.iter().any(|freeze| is_restored(&freeze.reason));
        Ok(report)
    }

    pub(super) async fn adopt(
        &self,
        caller: &Caller,
        request: AdoptRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let payee = parse_payee(&request.payee)?;
        let hash = parse_hash(&request.payment_hash)?;
        let paid = self.unmatched([hash].into()).await?.remove(0).payment;
        let OutgoingState::Settled(preimage) = paid.state else {
            let message = "the wallet has no preimage of it: only what was paid is somebody's";
            return Err(refusal::not_now(message.to_owned()));
        };
        let amount = paid.amount.ok_or_else(|| {
            refusal::not_now("the wallet does not tell how much it was".to_owned())
        })?;
        let info = self.stores.wallet.wallet().info().await;
        let info = self.stores.wallet.noted(info).map_err(refusal::wallet)?;
        let adopt = async {
            let hash = hex::encode(hash);
            let subject = format!("adopt:{hash}");
            let terms = format!("payment {hash} was to {payee}");
            let actors = self.two_actors(caller, &subject, terms).await?;
            let payment = AdoptedPayment {
                payee,
                payment_hash: paid.hash.0,
                preimage: preimage.0,
                amount,
                fee: paid.fee.unwrap_or_default(),
                to: PayTo {
                    kind: books::DestinationKind::NodeInvoice,
                    text: "adopted".to_owned(),
                },
                wallet_node: info.node_id.to_string(),
                evidence: request.evidence,
            };
            let adopted = self.stores.books.adopt_payment(payment, actors, unix_ms());
            let id = adopted.await.map_err(refusal::books)?;
            tracing::warn!(hash, "a payment of the wallet was adopted by two operators");
            self.told(id).await
        };
        self.change(caller, "treasury.adopt", arguments, adopt)
            .await
    }

    pub(super) async fn adopt_foreign(
        &self,
        caller: &Caller,
        request: AdoptForeignRequest,
    ) -> Result<(), ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let hashes = request.payment_hashes.iter().map(|hash| parse_hash(hash));
        let hashes = hashes.collect::<Result<BTreeSet<_>, _>>()?;
        if !(1..=UNMATCHED_MAX).contains(&hashes.len()) {
            let message = format!("1 to {UNMATCHED_MAX} payments are taken at once");
            return Err(refusal::usage(message));
        }
        // Longer lists than terms may be: their hash stands for them.
        let list: Vec<u8> = hashes.iter().flatten().copied().collect();
        let list = sha256::Hash::hash(&list);
        let terms = format!("{} payments were to no payee: {list}", hashes.len());
        let found = self.unmatched(hashes).await?;
        let foreign = found.iter().map(foreign).collect::<Result<Vec<_>, _>>()?;
        let adopt = async {
            let actors = self.two_actors(caller, "adopt_foreign", terms).await?;
            let (why, now_ms) = (request.evidence, unix_ms());
            let adopted = self
                .stores
                .books
                .adopt_foreign(foreign, why, actors, now_ms);
            adopted.await.map_err(refusal::books)?;
            let payments = found.len();
            tracing::warn!(payments, "payments were taken as foreign by two operators");
            Ok(())
        };
        self.change(caller, "treasury.adopt_foreign", arguments, adopt)
            .await
    }

    /// Payments of the wallet's history that the books don't know as the wallet does.
    async fn unmatched(&self, mut wanted: BTreeSet<[u8; 32]>) -> Result<Vec<Beside>, ApiError> {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let (page, next) = self.history(cursor.as_ref()).await?;
            for beside in page {
                if !wanted.remove(&beside.payment.hash.0) {
                    continue;
                }
                if beside.is_matched() {
                    let hash = hex::encode(beside.payment.hash.0);
                    let message = format!("payment {hash} agrees with the books");
                    return Err(refusal::not_now(message));
                }
                found.push(beside);
            }
            cursor = next;
            let Some(missing) = wanted.first() else {
                return Ok(found);
            };
            if cursor.is_none() {
                let hash = hex::encode(missing);
                let message = format!("the wallet has no payment with the hash {hash}");
                return Err(refusal::not_found(message));
            }
        }
    }
}

/// What the books keep of a payment that was to no payee.
fn foreign(beside: &Beside) -> Result<ForeignPayment, ApiError> {
    let hash = hex::encode(beside.payment.hash.0);
    if let Some(books) = beside.books() {
        let message = format!("payment {hash} is in the books: {books}");
        return Err(refusal::not_now(message));
    }
    if beside.payment.state == OutgoingState::InFlight {
        let message = format!("payment {hash} is in flight: wait until it has ended");
        return Err(refusal::not_now(message));
    }
    Ok(ForeignPayment {
        payment_hash: beside.payment.hash.0,
        amount: beside.payment.amount,
    })
}

fn parse_hash(hash: &str) -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    let decoded = hex::decode_to_slice(hash.trim(), &mut bytes);
    decoded.map_err(|_error| refusal::usage(format!("{hash:?} is no payment hash")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ledger::books::{AttemptId, PayoutId};
    use hh_lightning::{PaymentHash, PaymentPreimage};
    use hh_mining::Msat;

    fn attempt(state: AttemptState) -> Attempt {
        Attempt {
            id: AttemptId(3),
            payee: books::Payee::Treasury,
            payout: PayoutId(9),
            payment_hash: [1; 32],
            invoice: String::new(),
            amount: Msat(5),
            max_fee: Msat(1),
            cltv_limit: 144,
            wallet_node: String::new(),
            invoice_expires_at_ms: 0,
            state,
            prepared_at_ms: 0,
            dispatched_at_ms: None,
            dispatch_height: None,
            channels: Vec::new(),
            ended_at_ms: None,
            preimage: None,
            fee: None,
            failure: None,
            evidence: None,
        }
    }

    fn beside(state: OutgoingState, attempt: Option<Attempt>) -> Beside {
        let payment = OutgoingPayment {
            hash: PaymentHash([1; 32]),
            state,
            amount: Some(Msat(5)),
            fee: None,
            at_s: 0,
        };
        Beside {
            payment,
            attempt,
            rebalance: None,
            is_foreign: false,
        }
    }

    fn moved(state: RebalanceState) -> Rebalance {
        Rebalance {
            id: 4,
            key: String::new(),
            payment_hash: [1; 32],
            from: String::new(),
            into: String::new(),
            amount: Msat(5),
            max_fee: Msat(1),
            cltv_limit: 144,
            wallet_node: String::new(),
            height: 0,
            channels: Vec::new(),
            actor: String::new(),
            state,
            opened_at_ms: 0,
            ended_at_ms: None,
            fee: None,
            failure: None,
        }
    }

    #[test]
    fn a_payment_to_oneself_is_known_and_nobodys() {
        let settled = || OutgoingState::Settled(PaymentPreimage([2; 32]));
        for (state, agreed) in [
            (RebalanceState::Open, true),
            (RebalanceState::Settled, true),
            (RebalanceState::Failed, false),
        ] {
            let mut own = beside(settled(), None);
            own.rebalance = Some(moved(state));
            assert_eq!(own.is_matched(), agreed, "{state}");
            assert!(own.is_known() && foreign(&own).is_err(), "{state}");
        }
    }

    #[test]
    fn what_was_sent_beside_an_attempt_that_was_not_is_no_match() {
        let settled = || OutgoingState::Settled(PaymentPreimage([2; 32]));
        for state in AttemptState::ALL {
            let agreed = !matches!(
                state,
                AttemptState::Prepared | AttemptState::FailedFinal | AttemptState::Abandoned
            );
            for sent in [settled(), OutgoingState::InFlight] {
                let beside = beside(sent, Some(attempt(*state)));
                assert_eq!(beside.is_matched(), agreed, "{state}");
            }
            let failed = beside(OutgoingState::Failed, Some(attempt(*state)));
            assert!(failed.is_matched(), "{state}");
        }
        let abandoned = beside(settled(), Some(attempt(AttemptState::Abandoned)));
        let books = abandoned.wire().books;
        assert_eq!(books.as_deref(), Some("attempt 3 of payout 9 is abandoned"));
        assert!(foreign(&abandoned).is_err(), "it is a payee's");
    }

    #[test]
    fn a_payment_that_is_in_no_books_is_unmatched_until_it_is_foreign() {
        let settled = OutgoingState::Settled(PaymentPreimage([2; 32]));
        let mut stray = beside(settled, None);
        assert!(!stray.is_matched());
        assert_eq!(stray.wire().books, None);
        assert!(foreign(&stray).is_ok());
        stray.is_foreign = true;
        assert!(stray.is_matched());
        assert!(foreign(&beside(OutgoingState::InFlight, None)).is_err());
    }
}
