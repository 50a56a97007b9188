//! What a BOLT11 invoice says, in our types.

use bitcoin::hashes::Hash;
use hh_lightning::{Bolt11Invoice, PaymentHash};
use lightning_invoice::Bolt11InvoiceDescriptionRef;

/// What it is paid by.
pub(crate) fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash(invoice.payment_hash().to_byte_array())
}

/// Unix milliseconds; an end that does not fit is none.
pub(crate) fn expires_at_ms(invoice: &Bolt11Invoice) -> i64 {
    let ends = invoice.expires_at().map(|ends| ends.as_millis());
    ends.and_then(|ends| i64::try_from(ends).ok())
        .unwrap_or(i64::MAX)
}

/// The hash of what it is for (BOLT 11, `h`).
pub(crate) fn description_hash(invoice: &Bolt11Invoice) -> Option<[u8; 32]> {
    match invoice.description() {
        Bolt11InvoiceDescriptionRef::Hash(hash) => Some(hash.0.to_byte_array()),
        Bolt11InvoiceDescriptionRef::Direct(_) => None,
    }
}
