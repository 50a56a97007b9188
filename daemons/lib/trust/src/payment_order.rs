//! What holders sign to be paid where they want, and how it is proved: the owner of an account orders where it is paid, who has its
//! drawing key draws by invoice, a Hyper Node hands in an invoice for its dues.
//!
//! Each text says in itself what it is for, on which chain and until when, so that no signature passes for another's. An order
//! names a number that is higher than that of the last one: an old order can't be used again. An invoice ends by itself, and is paid
//! once.

use std::fmt;

use bitcoin::{Address, Network};
use jiff::Timestamp;

use crate::key_pair;
use crate::{NodeId, NodePublicKey, NodeSecretKey};

/// An order holds for no longer: who finds an old one on somebody's disk must not be able to use it. A week, in seconds.
pub const ORDER_SECONDS_MAX: i64 = 7 * 86_400;

/// Longest destination in bytes: a BOLT12 offer with a long blinded path.
const DESTINATION_BYTES_MAX: usize = 2_000;

/// Why an order is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A line break or another control character would make one text look like another.
    #[error("the destination is empty, longer than {DESTINATION_BYTES_MAX} bytes or no plain text")]
    Destination,
    /// Its time is over.
    #[error("the order ended at {until}; sign one that ends later")]
    Ended {
        /// Its end.
        until: Timestamp,
    },
    /// It would hold for too long.
    #[error("the order would hold until {until}, more than {} days from now", ORDER_SECONDS_MAX / 86_400)]
    TooLong {
        /// Its end.
        until: Timestamp,
    },
    /// No time of this calendar.
    #[error("{0} seconds since 1970 are no time")]
    Time(i64),
    /// It was not signed by the key that it had to be signed by.
    #[error("the signature is not that of {signer} over: {text}")]
    Signature {
        /// Whose it should be.
        signer: String,
        /// The exact text that has to be signed.
        text: String,
    },
}

/// The Ed25519 key of an account's owner, or the one that he lets draw, as 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerKey(pub [u8; 32]);

/// A text that is no such key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an owner's key is an Ed25519 public key in 64 hex digits")]
pub struct OwnerKeyError;

impl std::str::FromStr for OwnerKey {
    type Err = OwnerKeyError;

    fn from_str(text: &str) -> Result<Self, OwnerKeyError> {
        let mut key = [0; 32];
        match hex::decode_to_slice(text.trim(), &mut key) {
            Ok(()) => Ok(Self(key)),
            Err(_) => Err(OwnerKeyError),
        }
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Where an account is to be paid from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentOrder {
    text: String,
    until: Timestamp,
}

impl PaymentOrder {
    /// The order number `seq` that `account` is paid to `destination`, which holds until `until`, in Unix seconds.
    ///
    /// # Errors
    /// A destination or a time that is none.
    pub fn new(
        chain: Network,
        account: &str,
        destination: &str,
        seq: u64,
        until: i64,
    ) -> Result<Self, OrderError> {
        let is_plain = destination.bytes().all(|byte| byte.is_ascii_graphic());
        if destination.is_empty() || destination.len() > DESTINATION_BYTES_MAX || !is_plain {
            return Err(OrderError::Destination);
        }
        let at = Timestamp::from_second(until).map_err(|_error| OrderError::Time(until))?;
        let chain = chain.to_core_arg();
        let text = format!(
            "Hyper Hash Network {chain}: pay {account} to {destination}, no. {seq}, until {at}"
        );
        Ok(Self { text, until: at })
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds at `now`.
    ///
    /// # Errors
    /// It does not.
    pub fn check_time(&self, now: Timestamp) -> Result<(), OrderError> {
        let until = self.until;
        if until <= now {
            return Err(OrderError::Ended { until });
        }
        if until.as_second() > now.as_second().saturating_add(ORDER_SECONDS_MAX) {
            return Err(OrderError::TooLong { until });
        }
        Ok(())
    }

    /// Checks an owner's signature, 128 hex digits.
    ///
    /// # Errors
    /// It is not his.
    pub fn verify_owner(&self, owner: &OwnerKey, signature: &str) -> Result<(), OrderError> {
        let signer = format!("the owner's key {owner}");
        if is_signed(&owner.0, &self.text, signature) {
            Ok(())
        } else {
            Err(self.unsigned(signer))
        }
    }

    /// Checks the signature of an address's owner: BIP 322, simple, in base64.
    ///
    /// # Errors
    /// It is not his.
    pub fn verify_address(&self, address: &Address, signature: &str) -> Result<(), OrderError> {
        let address = address.to_string();
        bip322::verify_simple_encoded(&address, &self.text, signature.trim())
            .map_err(|_says_no_more| self.unsigned(format!("the address {address} (BIP 322)")))
    }

    fn unsigned(&self, signer: String) -> OrderError {
        let text = self.text.clone();
        OrderError::Signature { signer, text }
    }
}

/// What the holder of an account's drawing key signs to be paid by an invoice.
#[must_use]
pub fn draw_text(chain: Network, account: &str, invoice: &str) -> String {
    let chain = chain.to_core_arg();
    format!("Hyper Hash Network {chain}: draw from {account} by invoice {invoice}")
}

/// Checks the signature of a drawing key over [`draw_text`], 128 hex digits.
///
/// # Errors
/// It is not the key's.
pub fn verify_draw(
    key: &OwnerKey,
    (chain, account, invoice): (Network, &str, &str),
    signature: &str,
) -> Result<(), OrderError> {
    let text = draw_text(chain, account, invoice);
    if is_signed(&key.0, &text, signature) {
        return Ok(());
    }
    let signer = format!("the drawing key {key}");
    Err(OrderError::Signature { signer, text })
}

/// What a node signs to hand in an invoice.
#[must_use]
pub fn invoice_text(chain: Network, node: &NodeId, invoice: &str) -> String {
    let chain = chain.to_core_arg();
    format!("Hyper Hash Network {chain}: node {node} invoice {invoice}")
}

impl NodePublicKey {
    /// Checks a node's signature over [`invoice_text`], 128 hex digits.
    ///
    /// # Errors
    /// It is not the node's.
    pub fn verify_invoice(
        &self,
        chain: Network,
        node: &NodeId,
        invoice: &str,
        signature: &str,
    ) -> Result<(), OrderError> {
        let text = invoice_text(chain, node, invoice);
        let bytes = hex::decode(signature.trim()).unwrap_or_default();
        if self.has_signed(text.as_bytes(), &bytes) {
            return Ok(());
        }
        let signer = format!("the node's key {self}");
        Err(OrderError::Signature { signer, text })
    }
}

impl NodeSecretKey {
    /// Signs [`invoice_text`], in hex.
    #[must_use]
    pub fn sign_invoice(&self, chain: Network, node: &NodeId, invoice: &str) -> String {
        hex::encode(self.sign(invoice_text(chain, node, invoice).as_bytes()))
    }
}

fn is_signed(key: &[u8; 32], text: &str, signature: &str) -> bool {
    let signature = hex::decode(signature.trim()).unwrap_or_default();
    key_pair::has_signed(key, text.as_bytes(), &signature)
}

#[cfg(test)]
mod tests;
