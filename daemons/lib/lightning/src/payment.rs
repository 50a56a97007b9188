//! What is to be paid, and the checks that come before any wallet is asked: what fails here has certainly not been sent.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Amount, FeeRate, Network};
use hh_mining::Msat;
use ldk_node::lightning_invoice::{Bolt11Invoice, Currency};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::{Backend, ChannelId};

/// An invoice has to be valid for this much longer than the wallet tries: clocks differ, and the last try takes its time.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);

/// A BOLT11 invoice to pay, and what that may cost.
#[derive(Clone, Debug)]
pub struct PayRequest {
    pub invoice: Bolt11Invoice,
    /// For an invoice that names no amount. Where it names one: none, or the same.
    pub amount: Option<Msat>,
    /// Most that routing may cost, in all. Zero allows free routes only.
    pub max_fee: Msat,
    /// Most blocks for which the money may be locked, if a hop or the payee holds it.
    pub cltv_limit: u32,
    /// For how long the wallet may begin new tries. The embedded node's own is 10 s, whatever is asked for.
    pub timeout: Duration,
}

/// What a [`PayRequest`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payable {
    pub hash: PaymentHash,
    pub amount: Msat,
}

/// Why a wallet was not asked to pay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the invoice is for another chain than {0}")]
    WrongChain(Network),
    #[error("the invoice names no amount, and none is given")]
    NoAmount,
    #[error("the invoice is for {named} sat, not for {given} sat")]
    OtherAmount { named: Msat, given: Msat },
    #[error("the invoice or the payment is for nothing")]
    Nothing,
    #[error(
        "the invoice ends at {ends_s} s after 1970, less than {needed_s} s from now; ask the payee for a new one"
    )]
    Expires { ends_s: u64, needed_s: u64 },
    #[error("the invoice is our own wallet's; it can't pay itself")]
    OurOwn,
    #[error("to move money from channel to channel, the invoice has to be our own wallet's")]
    NotOurOwn,
    #[error("the wallet has no channel {0}")]
    UnknownChannel(ChannelId),
    #[error("both channels are with {0}, who chooses by which of them a payment comes back")]
    SamePeer(PublicKey),
    #[error("the invoice wants {wanted} blocks for its last hop, more than the limit of {limit}")]
    LocksTooLong { wanted: u64, limit: u32 },
    #[error("the invoice needs something that is not known here: {0}")]
    Unknown(String),
    #[error("the wallet can't {what}: {why}")]
    Unsupported {
        what: &'static str,
        why: &'static str,
    },
    #[error("the wallet did not take the call: {0}")]
    NotTaken(String),
}

/// Why a payment was not handed over, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// Certainly nothing was sent, and nothing will be.
    #[error("nothing was sent")]
    Refused(#[from] Refusal),
    /// It may be on its way: only looking it up tells. Never a reason to pay again.
    #[error("{backend} did not say that it took the payment; look it up before anything else")]
    Unknown {
        backend: Backend,
        source: Box<dyn Error + Send + Sync>,
    },
}

impl PayRequest {
    /// Checks all that can be known without a wallet's help.
    ///
    /// `payer` is the wallet's own node; `network` is its chain. The signature was checked when the invoice was parsed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        payer: &PublicKey,
        network: Network,
        now: SystemTime,
    ) -> Result<Payable, Refusal> {
        if self.invoice.get_payee_pub_key() == *payer {
            return Err(Refusal::OurOwn);
        }
        self.check_but_payee(network, now)
    }

    fn check_but_payee(&self, network: Network, now: SystemTime) -> Result<Payable, Refusal> {
        let invoice = &self.invoice;
        if invoice.currency() != currency(network) {
            return Err(Refusal::WrongChain(network));
        }
        invoice
            .check_signature()
            .map_err(|error| Refusal::Unknown(error.to_string()))?;
        let amount = self.amount()?;
        self.check_time(now)?;
        let wanted = invoice.min_final_cltv_expiry_delta();
        // To some wallets no blocks are no limit.
        if wanted > u64::from(self.cltv_limit) || self.cltv_limit == 0 {
            return Err(Refusal::LocksTooLong {
                wanted,
                limit: self.cltv_limit,
            });
        }
        if let Some(features) = invoice.features()
            && features.requires_unknown_bits()
        {
            return Err(Refusal::Unknown(format!("its features are {features}")));
        }
        let hash = PaymentHash(invoice.payment_hash().to_byte_array());
        Ok(Payable { hash, amount })
    }

    fn amount(&self) -> Result<Msat, Refusal> {
        let named = self.invoice.amount_milli_satoshis().map(Msat);
        let amount = match (named, self.amount) {
            (None, None) => return Err(Refusal::NoAmount),
            (Some(named), Some(given)) if named != given => {
                return Err(Refusal::OtherAmount { named, given });
            }
            (Some(amount), _) | (None, Some(amount)) => amount,
        };
        if amount == Msat::ZERO {
            return Err(Refusal::Nothing);
        }
        Ok(amount)
    }

    fn check_time(&self, now: SystemTime) -> Result<(), Refusal> {
        // None: so far away that it does not fit.
        match self.invoice.expires_at() {
            Some(ends) => check_expiry(ends, self.timeout, now),
            None => Ok(()),
        }
    }
}

/// Whether an invoice that ends then, since 1970, can be tried for so long from now on.
pub(crate) fn check_expiry(
    ends: Duration,
    timeout: Duration,
    now: SystemTime,
) -> Result<(), Refusal> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let needed = timeout.saturating_add(EXPIRY_MARGIN);
    if ends < now.saturating_add(needed) {
        return Err(Refusal::Expires {
            ends_s: ends.as_secs(),
            needed_s: needed.as_secs(),
        });
    }
    Ok(())
}

/// Money to move from one channel of ours to another one, of another peer: a payment to ourselves, out by the one and back by the
/// other. It is written down and looked up as every payment.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// Of an invoice that the wallet has made.
    pub payment: PayRequest,
    pub from: ChannelId,
    pub into: ChannelId,
}

impl Rebalance {
    /// As [`PayRequest::check`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        payer: &PublicKey,
        network: Network,
        now: SystemTime,
    ) -> Result<Payable, Refusal> {
        if self.payment.invoice.get_payee_pub_key() != *payer {
            return Err(Refusal::NotOurOwn);
        }
        self.payment.check_but_payee(network, now)
    }
}

/// The prefix that an invoice of this chain has.
fn currency(network: Network) -> Currency {
    match network {
        Network::Bitcoin => Currency::Bitcoin,
        Network::Regtest => Currency::Regtest,
        Network::Signet => Currency::Signet,
        // Every testnet has the same. A network that is not known yet takes no invoice of value.
        _ => Currency::BitcoinTestnet,
    }
}

/// A payment on the chain.
#[derive(Clone, Debug)]
pub struct SendOnChain {
    pub address: Address,
    pub amount: Amount,
    /// None: the wallet's own estimate.
    pub fee_rate: Option<FeeRate>,
}

/// How a payment of the wallet's history stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    InFlight,
    Settled(PaymentPreimage),
    Failed,
}

/// A payment that the wallet has in its history, ours or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingPayment {
    pub hash: PaymentHash,
    /// Without the fee. None where the wallet does not tell.
    pub amount: Option<Msat>,
    /// Of routing; none before it is settled, or where the wallet does not tell.
    pub fee: Option<Msat>,
    pub state: OutgoingState,
    /// When the wallet last changed its entry or made it, whichever it tells; seconds since 1970.
    pub at_s: u64,
}

/// Some payments of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentPage {
    pub payments: Vec<OutgoingPayment>,
    /// What to ask with for the next ones; none after the last.
    pub next: Option<PageCursor>,
}

/// A place in a list of the wallet, in words of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor(pub String);

/// The preimage, if it is this hash's: the receipt of the payment.
pub(crate) fn receipt(
    hash: PaymentHash,
    preimage: Option<PaymentPreimage>,
) -> Option<PaymentPreimage> {
    preimage.filter(|preimage| PaymentHash::from(*preimage) == hash)
}

#[cfg(test)]
mod tests;
