//! `Order`: the invoice that an attempt pays, of BOLT 11 or fetched for an offer (BOLT 12), with the limits that it is paid by.

use crate::destination;
use bitcoin::secp256k1::PublicKey;
use hh_lightning::{PayError, PayFetched, PayRequest, Payable, Refusal, Wallet};
use hh_mining::{Msat, Network};
use std::time::SystemTime;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Invoice(PayRequest),
    Fetched(PayFetched),
}

impl Order {
    /// Checks all that can be known without a wallet's help; `payer` is the wallet's own node.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(
        &self,
        payer: &PublicKey,
        chain: Network,
        now: SystemTime,
    ) -> Result<Payable, Refusal> {
        match self {
            Self::Invoice(request) => request.check(payer, chain, now),
            // The wallet that has fetched it has looked at the chain.
            Self::Fetched(request) => request.check(payer, now),
        }
    }

    /// As the wallet takes it, and the books keep it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Invoice(request) => request.invoice.to_string(),
            Self::Fetched(request) => request.invoice.text.clone(),
        }
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        match self {
            Self::Invoice(request) => destination::payment_hash(&request.invoice).0,
            Self::Fetched(request) => request.invoice.hash.0,
        }
    }

    /// Unix milliseconds; an end that does not fit is none.
    pub(crate) fn expires_at_ms(&self) -> i64 {
        match self {
            Self::Invoice(request) => destination::expires_at_ms(&request.invoice),
            Self::Fetched(request) => {
                let ends_ms = request.invoice.expires_at.as_millis();
                i64::try_from(ends_ms).unwrap_or(i64::MAX)
            }
        }
    }

    pub(crate) fn max_fee(&self) -> Msat {
        match self {
            Self::Invoice(request) => request.max_fee,
            Self::Fetched(request) => request.max_fee,
        }
    }

    pub(crate) fn cltv_limit(&self) -> u32 {
        match self {
            Self::Invoice(request) => request.cltv_limit,
            Self::Fetched(request) => request.cltv_limit,
        }
    }

    /// Hands it over; see [`Wallet::pay`].
    ///
    /// # Errors
    /// Nothing was sent, or nobody knows.
    pub(crate) async fn hand_to(&self, wallet: &Wallet) -> Result<(), PayError> {
        match self {
            Self::Invoice(request) => wallet.pay(request).await,
            Self::Fetched(request) => wallet.pay_fetched(request).await,
        }
    }
}
