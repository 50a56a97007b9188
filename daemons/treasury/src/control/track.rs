//! The answer to `payment`: what has become of a payment hash, by the books and by the wallet that is recorded there.

use super::payout::wire_detail;
use super::{Control, refusal};
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{PaymentTrack, WalletSight, WalletSightState};
use hh_ledger::books::Attempt;
use hh_lightning::{Absence, Lookup, OutgoingPayment, OutgoingState};
use hh_mining::Msat;

impl Control {
    pub(super) async fn payment(&self, hash: &str) -> Result<PaymentTrack, ApiError> {
        let hash = parse_hash(hash)?;
        let payout = self.stores.books.payout_of_hash(hash).await;
        let story = match payout.map_err(refusal::books)? {
            Some(payout) => Some(self.story(payout).await?),
            None => None,
        };
        let mut attempts = story.iter().flat_map(|story| &story.attempts);
        let wallet = match attempts.find(|attempt| attempt.payment_hash == hash) {
            Some(attempt) => self.sight(attempt).await,
            None => self.found(hash).await,
        };
        Ok(PaymentTrack {
            payment_hash: hex::encode(hash),
            payout: match &story {
                Some(story) => Some(wire_detail(story, &self.waiting().await?)),
                None => None,
            },
            wallet,
        })
    }

    /// What the wallet that was to pay an attempt says of it.
    async fn sight(&self, attempt: &Attempt) -> WalletSight {
        match self.payer.look(attempt).await {
            Ok(lookup) => sight(lookup),
            Err(why) => no_answer(why),
        }
    }

    /// What the wallet's history has under a hash that no attempt has.
    async fn found(&self, hash: [u8; 32]) -> WalletSight {
        let mut cursor = None;
        loop {
            let wallet = self.stores.wallet.wallet();
            let page = wallet.outgoing_payments(cursor.as_ref()).await;
            let page = match self.stores.wallet.noted(page) {
                Ok(page) => page,
                Err(why) => return no_answer(why),
            };
            if let Some(payment) = page.payments.iter().find(|known| known.hash.0 == hash) {
                return sight_of(payment);
            }
            cursor = page.next;
            if cursor.is_none() {
                return state(WalletSightState::Absent, None, None);
            }
        }
    }
}

fn parse_hash(text: &str) -> Result<[u8; 32], ApiError> {
    let mut hash = [0; 32];
    let decoded = hex::decode_to_slice(text.trim(), &mut hash);
    decoded.map_err(|_error| refusal::usage("a payment hash is 64 hex digits"))?;
    Ok(hash)
}

fn state(state: WalletSightState, fee: Option<Msat>, note: Option<String>) -> WalletSight {
    WalletSight {
        state,
        fee_msat: fee.map(|fee| fee.0),
        note,
    }
}

fn no_answer(why: String) -> WalletSight {
    state(WalletSightState::NoAnswer, None, Some(why))
}

fn sight(lookup: Lookup) -> WalletSight {
    match lookup {
        Lookup::Settled { fee, .. } => state(WalletSightState::Settled, fee, None),
        Lookup::InFlight { htlc_seen } => {
            let unseen = (!htlc_seen).then(|| "no channel has it now".to_owned());
            state(WalletSightState::InFlight, None, unseen)
        }
        Lookup::Failed { code } => {
            let code = code.as_str().to_owned();
            state(WalletSightState::Failed, None, Some(code))
        }
        Lookup::Absent(Absence::NeverSent) => state(WalletSightState::Absent, None, None),
        Lookup::Absent(Absence::Unclear(doubt)) => {
            state(WalletSightState::Unclear, None, Some(doubt.to_string()))
        }
    }
}

fn sight_of(payment: &OutgoingPayment) -> WalletSight {
    let found = match payment.state {
        OutgoingState::Settled(_) => WalletSightState::Settled,
        OutgoingState::InFlight => WalletSightState::InFlight,
        OutgoingState::Failed => WalletSightState::Failed,
    };
    state(found, payment.fee, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::{Doubt, FailureCode, PaymentPreimage};

    #[track_caller]
    fn check(lookup: Lookup, expected: WalletSightState, note: Option<&str>) {
        let sight = sight(lookup);
        assert_eq!((sight.state, sight.note.as_deref()), (expected, note));
    }

    #[test]
    fn what_the_wallet_does_not_know_for_sure_is_never_called_failed() {
        let doubt = Lookup::Absent(Absence::Unclear(Doubt::NotSynced));
        let words = "the wallet is not in step with the chain";
        check(doubt, WalletSightState::Unclear, Some(words));
        let never = Lookup::Absent(Absence::NeverSent);
        check(never, WalletSightState::Absent, None);
        let unseen = Lookup::InFlight { htlc_seen: false };
        let words = "no channel has it now";
        check(unseen, WalletSightState::InFlight, Some(words));
        let code = FailureCode::NoRoute;
        check(
            Lookup::Failed { code },
            WalletSightState::Failed,
            Some("no_route"),
        );
        let paid = Lookup::Settled {
            preimage: PaymentPreimage([7; 32]),
            fee: Some(Msat(5)),
        };
        assert_eq!(sight(paid).fee_msat, Some(5));
        assert!(parse_hash("0707").is_err());
    }
}
