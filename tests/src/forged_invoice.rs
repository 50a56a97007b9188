//! BOLT11 invoices that no wallet makes: with anything in them, signed with a Lightning node's own key.
//!
//! An operator of a node has its key, so hh-treasury may be sent any of these.

use bitcoin::Network;
use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use hh_daemon::Secret;
use hh_lightning::ldk::Seed;
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the embedded node's own invoices have, nearly.
const LAST_HOP_BLOCKS: u64 = 144;

/// Long enough for any test.
const EXPIRY: Duration = Duration::from_secs(3_600);

/// The seed of an embedded node whose key a test needs.
#[derive(Clone, Debug)]
pub struct NodeSeed([u8; 64]);

impl NodeSeed {
    #[must_use]
    pub fn random() -> Self {
        let mut seed = [0; 64];
        rand::fill(&mut seed[..]);
        Self(seed)
    }

    /// As it stands in a file.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// For a wallet.
    ///
    /// # Panics
    /// Never: it is as long as seeds are.
    #[must_use]
    pub fn seed(&self) -> Seed {
        Seed::parse(&Secret::new(self.to_hex())).expect("it is as long as seeds are")
    }

    /// The key of the node that has this seed, as ldk-node derives it for `network` and LDK from that.
    ///
    /// # Panics
    /// Never: no random seed gives an invalid key.
    #[must_use]
    pub fn node_key(&self, network: Network) -> SecretKey {
        let never = "a key is invalid once in 2^127";
        let node = Xpriv::new_master(network, &self.0).expect(never);
        // The network is in no key that is derived.
        let ldk = Xpriv::new_master(Network::Testnet, &node.private_key.secret_bytes());
        let first = ChildNumber::Hardened { index: 0 };
        let key = ldk.expect(never).derive_priv(&Secp256k1::new(), &[first]);
        key.expect(never).private_key
    }
}

/// An invoice to be signed.
#[derive(Clone, Debug)]
pub struct Forgery {
    pub chain: Currency,
    /// None where the payer is to choose.
    pub amount_msat: Option<u64>,
    /// What it commits to being for.
    pub purpose: String,
    pub payment_hash: [u8; 32],
    /// How long ago it was made.
    pub age: Duration,
    /// From when it was made.
    pub expiry: Duration,
    /// For the last hop.
    pub blocks: u64,
}

impl Forgery {
    /// One on regtest that looks as it should, with a payment hash of which nobody has the preimage: its payee refuses the payment.
    #[must_use]
    pub fn of(amount_msat: u64) -> Self {
        Self {
            chain: Currency::Regtest,
            amount_msat: Some(amount_msat),
            purpose: "dues".to_owned(),
            payment_hash: rand::random(),
            age: Duration::ZERO,
            expiry: EXPIRY,
            blocks: LAST_HOP_BLOCKS,
        }
    }

    /// As the node with this key would make it.
    ///
    /// # Panics
    /// If the amount is more than all the money there is.
    #[must_use]
    pub fn signed(&self, key: &SecretKey) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let made = now.expect("it is after 1970").saturating_sub(self.age);
        // Invoices count whole seconds.
        let made = Duration::from_secs(made.as_secs());
        let builder = InvoiceBuilder::new(self.chain.clone())
            .description_hash(sha256::Hash::hash(self.purpose.as_bytes()))
            .payment_hash(sha256::Hash::from_byte_array(self.payment_hash))
            .payment_secret(PaymentSecret(rand::random()))
            .duration_since_epoch(made)
            .min_final_cltv_expiry_delta(self.blocks)
            .expiry_time(self.expiry)
            .basic_mpp();
        let builder = match self.amount_msat {
            Some(msat) => builder.amount_milli_satoshis(msat),
            None => builder,
        };
        let sign = |hash: &_| Secp256k1::new().sign_ecdsa_recoverable(hash, key);
        let invoice = builder.build_signed(sign);
        invoice.expect("all that it needs is given").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::Bolt11Invoice;

    #[test]
    fn a_forged_invoice_is_its_signers() {
        let key = NodeSeed::random().node_key(Network::Regtest);
        let invoice: Bolt11Invoice = Forgery::of(5_000).signed(&key).parse().unwrap();
        assert_eq!(
            invoice.recover_payee_pub_key(),
            key.public_key(&Secp256k1::new())
        );
        assert_eq!(invoice.amount_milli_satoshis(), Some(5_000));
    }
}
