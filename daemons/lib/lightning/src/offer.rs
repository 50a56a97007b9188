//! The invoice of an offer, fetched before it is paid, so that its hash can be written down first.

use std::time::{Duration, SystemTime};

use bitcoin::secp256k1::PublicKey;
use hh_mining::Msat;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_types::payment::PaymentHash;

use crate::payment::check_expiry;
use crate::{Payable, Refusal};

/// An invoice to fetch.
#[derive(Clone, Debug)]
pub struct FetchInvoice {
    pub offer: Offer,
    /// What is to be paid; where the offer names an amount, that.
    pub amount: Msat,
    /// For the payee to see.
    pub note: Option<String>,
}

/// An invoice of an offer, as the wallet has read it and found it to be the payee's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedInvoice {
    /// As the wallet takes it.
    pub text: String,
    pub hash: PaymentHash,
    pub amount: Msat,
    pub payee: PublicKey,
    /// Since 1970.
    pub expires_at: Duration,
}

/// A fetched invoice to pay, and what that may cost; as [`crate::PayRequest`].
#[derive(Clone, Debug)]
pub struct PayFetched {
    pub invoice: FetchedInvoice,
    pub max_fee: Msat,
    pub cltv_limit: u32,
    pub timeout: Duration,
}

impl PayFetched {
    /// Checks all that can be known without a wallet's help; `payer` is the wallet's own node.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, payer: &PublicKey, now: SystemTime) -> Result<Payable, Refusal> {
        let FetchedInvoice {
            hash,
            amount,
            payee,
            expires_at,
            ..
        } = self.invoice;
        if payee == *payer {
            return Err(Refusal::OurOwn);
        }
        if amount == Msat::ZERO {
            return Err(Refusal::Nothing);
        }
        check_expiry(expires_at, self.timeout, now)?;
        // To some wallets no blocks are no limit.
        if self.cltv_limit == 0 {
            return Err(Refusal::LocksTooLong {
                wanted: 1,
                limit: 0,
            });
        }
        Ok(Payable { hash, amount })
    }
}
