//! A payment out of the node's wallet, which its owner has consented to: handed over once, followed, and never sent again.

use super::{AskError, Payment, WalletHandle};
use hh_daemon::Chain;
use hh_lightning::{
    Absence, Bolt11Invoice, Dispatch, Lookup, PayError, PayRequest, Payable, Wallet, WalletError,
};
use hh_mining::Msat;
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// For how long the wallet may begin tries.
const TRIES: Duration = Duration::from_secs(60);

/// For at most so many blocks money may be locked: a week, as hh-treasury's own attempts.
const CLTV_LIMIT_BLOCKS: u32 = 1_008;

/// For so long it is asked what became of it: then nobody here knows. Whoever holds a payment up holds up none of the node's other orders.
const FOLLOW_MAX: Duration = TRIES.saturating_add(Duration::from_secs(10));

/// How often it is asked what became of it.
const POLL: Duration = Duration::from_millis(500);

/// What may be paid.
#[derive(Clone, Debug)]
pub(crate) struct Spend<'a> {
    pub(crate) invoice: &'a str,
    pub(crate) amount: Msat,
    pub(crate) max_fee: Msat,
}

/// It was paid.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    pub(crate) fee: Option<Msat>,
    /// The receipt, in hex: the owner's, and not for core.
    preimage: String,
}

/// Why it was not, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpendError {
    #[error("what is to be paid is no BOLT11 invoice: payments on the chain are made on the node")]
    NoInvoice,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    NotSent(hh_lightning::Refusal),
    #[error("it failed for good: {0}")]
    Failed(&'static str),
    /// Nobody knows.
    #[error("it may have been paid or not: look at the wallet")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<PayError> for SpendError {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Refused(refusal) => Self::NotSent(refusal),
            unknown @ PayError::Unknown { .. } => Self::Unknown(unknown.into()),
        }
    }
}

impl WalletHandle {
    /// Pays an invoice, and waits for what becomes of it; who gives up waiting knows nothing.
    ///
    /// # Errors
    /// [`SpendError::Unknown`] where it may have been paid; for the others it was certainly not.
    pub(crate) async fn spend(&self, spend: &Spend<'_>) -> Result<Spent, SpendError> {
        let invoice: Bolt11Invoice = spend
            .invoice
            .parse()
            .map_err(|_says_no_more| SpendError::NoInvoice)?;
        let wallet = self.started()?;
        let info = wallet.info().await.map_err(AskError::from)?;
        let request = PayRequest {
            invoice,
            amount: Some(spend.amount),
            max_fee: spend.max_fee,
            cltv_limit: CLTV_LIMIT_BLOCKS,
            timeout: TRIES,
        };
        let payable = request.check(&info.node_id, self.chain, SystemTime::now());
        let payable = payable.map_err(SpendError::NotSent)?;
        let channels = wallet.channels().await.map_err(AskError::from)?;
        let dispatch = Dispatch {
            wallet: info.node_id,
            hash: payable.hash,
            amount: payable.amount,
            at: SystemTime::now(),
            timeout: TRIES,
            channels: channels.iter().map(|channel| channel.id).collect(),
        };
        tracing::warn!(
            amount_msat = payable.amount.0,
            "paying from the node's wallet"
        );
        wallet.pay(&request).await?;
        let spent = in_time(FOLLOW_MAX, follow(&wallet, &dispatch)).await?;
        self.keep(payable, &spent).await;
        Ok(spent)
    }

    /// It was paid all the same where the receipt can't be written down, and the wallet has it.
    async fn keep(&self, payable: Payable, spent: &Spent) {
        let payment = Payment {
            hash: hex::encode(payable.hash.0),
            amount: payable.amount,
            fee: spent.fee,
            preimage: spent.preimage.clone(),
            paid_at_ms: Timestamp::now().as_millisecond(),
        };
        if let Err(error) = self.book.paid(payment).await {
            let error = Chain(&error).to_string();
            tracing::error!(error, "the receipt of a payment is not written down");
        }
    }
}

async fn in_time(
    limit: Duration,
    followed: impl Future<Output = Result<Spent, SpendError>>,
) -> Result<Spent, SpendError> {
    let followed = tokio::time::timeout(limit, followed).await;
    followed.unwrap_or_else(|late| Err(SpendError::Unknown(late.into())))
}

/// Until the wallet says what became of it.
async fn follow(wallet: &Wallet, dispatch: &Dispatch) -> Result<Spent, SpendError> {
    loop {
        match wallet.lookup(dispatch).await {
            Ok(Lookup::Settled { preimage, fee }) => {
                return Ok(Spent {
                    fee,
                    preimage: hex::encode(preimage.0),
                });
            }
            Ok(Lookup::Failed { code }) => return Err(SpendError::Failed(code.as_str())),
            Ok(Lookup::Absent(Absence::NeverSent)) => {
                return Err(SpendError::Failed("the wallet has never sent it"));
            }
            Ok(Lookup::InFlight { .. } | Lookup::Absent(Absence::Unclear(_))) => {}
            // It comes back, or the order's time is over.
            Err(WalletError::Down { .. } | WalletError::TimedOut { .. }) => {}
            Err(error) => return Err(SpendError::Unknown(error.into())),
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::{Backend, Refusal};

    #[test]
    fn what_a_wallet_did_not_say_that_it_took_may_have_been_paid() {
        let unknown = PayError::Unknown {
            backend: Backend::Lnd,
            source: "the connection was lost".into(),
        };
        let unknown = SpendError::from(unknown);
        assert!(matches!(unknown, SpendError::Unknown(_)));
        let refused = PayError::Refused(Refusal::OurOwn);
        let refused = SpendError::from(refused);
        assert!(matches!(refused, SpendError::NotSent(_)));
    }

    #[tokio::test]
    async fn a_payment_that_somebody_holds_is_not_waited_for_for_ever() {
        let held = std::future::pending();
        let spent = in_time(Duration::ZERO, held).await;
        assert!(matches!(spent, Err(SpendError::Unknown(_))), "{spent:?}");
    }
}
