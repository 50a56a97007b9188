//! Keys, invoices and payments for tests of wallets behind sockets.

use crate::{ChannelId, Dispatch, PayRequest};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use hh_mining::Msat;
use ldk_node::lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use std::time::{Duration, SystemTime};

pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn node(byte: u8) -> PublicKey {
    key(byte).public_key(&Secp256k1::new())
}

pub(crate) fn preimage() -> PaymentPreimage {
    PaymentPreimage([5; 32])
}

pub(crate) fn hash() -> PaymentHash {
    PaymentHash::from(preimage())
}

/// Of node `payee`, for [`hash`].
pub(crate) fn invoice(payee: u8, amount: Option<u64>) -> Bolt11Invoice {
    let mut builder = InvoiceBuilder::new(Currency::Regtest)
        .description("a test".to_owned())
        .payment_hash(bitcoin::hashes::Hash::from_byte_array(hash().0))
        .payment_secret(PaymentSecret([4; 32]))
        .current_timestamp()
        .min_final_cltv_expiry_delta(40);
    if let Some(amount) = amount {
        builder = builder.amount_milli_satoshis(amount);
    }
    builder
        .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key(payee)))
        .unwrap()
}

pub(crate) fn request(invoice: Bolt11Invoice) -> PayRequest {
    PayRequest {
        invoice,
        amount: None,
        max_fee: Msat(3_000),
        cltv_limit: 432,
        timeout: Duration::from_secs(25),
    }
}

/// To [`node`] 9, over this channel.
pub(crate) fn dispatch(seconds_ago: u64, channel: ChannelId) -> Dispatch {
    Dispatch {
        wallet: node(9),
        hash: hash(),
        amount: Msat(5_000),
        at: SystemTime::now() - Duration::from_secs(seconds_ago),
        timeout: Duration::from_secs(25),
        channels: vec![channel],
    }
}
