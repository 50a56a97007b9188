//! Invoices that the wallet makes.

use std::time::Duration;

use hh_mining::Msat;
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description, Sha256};

/// What the payer is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvoiceDetails {
    /// At most 639 bytes (BOLT 11, `d`).
    Text(String),
    /// Of a longer text that the payer has got another way.
    Hash([u8; 32]),
}

/// An invoice to make.
#[derive(Clone, Debug)]
pub struct InvoiceRequest {
    /// None: the payer chooses.
    pub amount: Option<Msat>,
    pub details: InvoiceDetails,
    /// For how long it can be paid.
    pub expiry: Duration,
}

/// An offer to make.
#[derive(Clone, Debug)]
pub struct OfferRequest {
    /// None: the payer chooses.
    pub amount: Option<Msat>,
    /// What the payer is to see.
    pub description: String,
}

impl InvoiceRequest {
    /// In the words of the embedded node; the error is what is wrong with it.
    pub(crate) fn description(&self) -> Result<Bolt11InvoiceDescription, &'static str> {
        match &self.details {
            InvoiceDetails::Text(text) => Description::new(text.clone())
                .map(Bolt11InvoiceDescription::Direct)
                .map_err(|_too_long| "the description of an invoice has at most 639 bytes"),
            InvoiceDetails::Hash(hash) => Ok(Bolt11InvoiceDescription::Hash(Sha256(
                bitcoin::hashes::Hash::from_byte_array(*hash),
            ))),
        }
    }

    /// In whole seconds; an error where it has no sense.
    pub(crate) fn expiry_seconds(&self) -> Result<u32, &'static str> {
        u32::try_from(self.expiry.as_secs())
            .ok()
            .filter(|seconds| *seconds > 0)
            .ok_or("an invoice can be paid for one second at least, and for 136 years at most")
    }
}
