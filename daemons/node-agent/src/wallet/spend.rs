//! A payment out of the node's wallet, which its owner has consented to: handed over once, followed, and never sent again.

use super::{AskError, WalletHandle};
use hh_lightning::{
    Absence, Bolt11Invoice, Dispatch, Lookup, PayError, PayRequest, Wallet, WalletError,
};
use hh_mining::Msat;
use std::time::{Duration, SystemTime};

/// For how long the wallet may begin tries.
const TRIES: Duration = Duration::from_secs(60);

/// For at most so many blocks money may be locked: a week, as hh-treasury's own attempts.
const CLTV_LIMIT_BLOCKS: u32 = 1_008;

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
    pub(crate) preimage: String,
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
        match wallet.pay(&request).await {
            Ok(()) => follow(&wallet, &dispatch).await,
            Err(PayError::Refused(refusal)) => Err(SpendError::NotSent(refusal)),
            Err(unknown @ PayError::Unknown { .. }) => Err(SpendError::Unknown(unknown.into())),
        }
    }
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
