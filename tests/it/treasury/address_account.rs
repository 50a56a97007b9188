//! Miners whose accounts are Bitcoin addresses: each finds a block, says with a BIP 322 signature of that address where he is paid, and is
//! paid there once that has cooled off. The signatures are made here, from the text of BIP 322, and not by the crate that checks them.

use super::world::World;
use crate::operator::hhctl;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::key::{CompressedPublicKey, Keypair, Secp256k1, TapTweak};
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Builder;
use bitcoin::secp256k1::{All, Message};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Network as ChainName, OutPoint, PrivateKey, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Witness, consensus,
};
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    DestinationKind, Payout, PayoutQuery, PayoutState, SetDestinationRequest, TreasuryClient,
};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::lightning_address::{DOMAIN, LightningAddresses};
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, NodeWallet};
use hh_tests::wait::wait_for;
use hh_trust::PaymentOrder;
use jiff::Timestamp;

/// So that all of them fit into the channel at once.
const PAYOUT_MSAT: u64 = 100_000_000;

const COOLING_OFF_SECONDS: i64 = 3;

async fn config(_: &Network, wallet: &NodeWallet) -> String {
    let addresses = LightningAddresses::start(wallet.wallet.clone()).await;
    let payouts = format!(
        "[payouts]\nmax_payout_sat = {}\ncooling_off_seconds = {COOLING_OFF_SECONDS}\nretry_seconds = 1\n",
        PAYOUT_MSAT / 1_000
    );
    addresses.config() + &payouts
}

/// What kind of address an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P2wpkh,
    P2tr,
    P2shP2wpkh,
}

/// Who has the key of an address.
struct Holder {
    kind: Kind,
    key: PrivateKey,
    address: Address,
    /// Where he wants to be paid.
    destination: String,
}

impl Holder {
    fn new(kind: Kind, seed: u8) -> Self {
        let (secp, chain) = (Secp256k1::new(), ChainName::Regtest);
        let key = PrivateKey::from_slice(&[seed; 32], chain).unwrap();
        let public = CompressedPublicKey::from_private_key(&secp, &key).unwrap();
        let address = match kind {
            Kind::P2wpkh => Address::p2wpkh(&public, chain),
            Kind::P2tr => Address::p2tr(&secp, public.0.x_only_public_key().0, None, chain),
            Kind::P2shP2wpkh => Address::p2shwpkh(&public, chain),
        };
        let destination = format!("user{seed}@{DOMAIN}");
        Self {
            kind,
            key,
            address,
            destination,
        }
    }

    /// BIP 322, simple: the witness of a transaction that spends one which commits to the text and pays to the address.
    fn sign(&self, text: &str) -> String {
        let script = self.address.script_pubkey();
        let to_spend = transaction(TxIn {
            previous_output: OutPoint::new(Hash::all_zeros(), u32::MAX),
            script_sig: Builder::new()
                .push_int(0)
                .push_slice(message_hash(text))
                .into_script(),
            sequence: Sequence::ZERO,
            witness: Witness::new(),
        });
        let to_spend = Transaction {
            output: vec![TxOut {
                value: Amount::ZERO,
                script_pubkey: script,
            }],
            ..to_spend
        };
        let to_sign = transaction(TxIn {
            previous_output: OutPoint::new(to_spend.compute_txid(), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ZERO,
            witness: Witness::new(),
        });
        let witness = self.witness(&to_sign, &to_spend.output[0]);
        STANDARD.encode(consensus::serialize(&witness))
    }

    fn witness(&self, to_sign: &Transaction, spent: &TxOut) -> Witness {
        let secp: Secp256k1<All> = Secp256k1::new();
        let mut cache = SighashCache::new(to_sign);
        if self.kind == Kind::P2tr {
            let (prevouts, how) = ([spent], TapSighashType::Default);
            let prevouts = Prevouts::All(&prevouts);
            let hash = cache.taproot_key_spend_signature_hash(0, &prevouts, how);
            let pair = Keypair::from_secret_key(&secp, &self.key.inner);
            let pair = pair.tap_tweak(&secp, None).to_keypair();
            let message = Message::from_digest(hash.unwrap().to_byte_array());
            let signature = secp.sign_schnorr_no_aux_rand(&message, &pair);
            return Witness::from_slice(&[signature.serialize()]);
        }
        let public = CompressedPublicKey::from_private_key(&secp, &self.key).unwrap();
        let script = ScriptBuf::new_p2wpkh(&public.wpubkey_hash());
        let how = EcdsaSighashType::All;
        let hash = cache.p2wpkh_signature_hash(0, &script, Amount::ZERO, how);
        let message = Message::from_digest(hash.unwrap().to_byte_array());
        let signature = secp.sign_ecdsa(&message, &self.key.inner);
        let signature = bitcoin::ecdsa::Signature::sighash_all(signature);
        Witness::p2wpkh(&signature, &public.0)
    }

    fn request(&self, seq: u64, until: i64, signature: String) -> SetDestinationRequest {
        SetDestinationRequest {
            name: self.address.to_string(),
            kind: DestinationKind::LightningAddress,
            text: self.destination.clone(),
            seq,
            until,
            signature,
        }
    }

    async fn payouts(&self, client: &TreasuryClient) -> Vec<Payout> {
        let query = PayoutQuery {
            payee: Some(format!("miner:{}", self.address)),
            ..PayoutQuery::default()
        };
        let page = client.payouts(within(CALL), query).await;
        page.unwrap().unwrap().payouts
    }
}

/// As BIP 322 has both of its transactions: with nothing in them that could be spent.
fn transaction(input: TxIn) -> Transaction {
    Transaction {
        version: Version(0),
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![TxOut {
            value: Amount::ZERO,
            script_pubkey: Builder::new().push_opcode(OP_RETURN).into_script(),
        }],
    }
}

/// The tagged hash (BIP 340) of a text.
fn message_hash(text: &str) -> [u8; 32] {
    let tag = sha256::Hash::hash(b"BIP0322-signed-message");
    let mut engine = sha256::Hash::engine();
    for part in [tag.as_byte_array(), tag.as_byte_array(), text.as_bytes()] {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

fn order(chain: ChainName, holder: &Holder, seq: u64, until: i64) -> PaymentOrder {
    let account = holder.address.to_string();
    PaymentOrder::new(chain, &account, &holder.destination, seq, until).unwrap()
}

async fn set(client: &TreasuryClient, request: SetDestinationRequest) -> Result<(), ApiError> {
    let set = client.set_destination(within(CALL), request).await;
    set.unwrap().map(|_changed| ())
}

#[track_caller]
fn is_refused(set: Result<(), ApiError>, code: &str, words: &str) {
    let error = set.unwrap_err();
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.message.contains(words), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_paid_where_its_key_says_by_bip_322() {
    let world = World::start_with(Chain::Regtest, config).await;
    let client = world.treasury.client().await;
    let kinds = [Kind::P2wpkh, Kind::P2tr, Kind::P2shP2wpkh];
    let holders: Vec<Holder> = (1..)
        .zip(kinds)
        .map(|(n, kind)| Holder::new(kind, n))
        .collect();
    let identities = holders
        .iter()
        .map(|holder| format!("{}.rig", holder.address));
    let hash = world.find_blocks(&identities.collect::<Vec<_>>()).await;
    world.mature(hash).await;
    world.open_channel(&client).await;
    for holder in &holders {
        assert_eq!(holder.payouts(&client).await, [], "nobody knows where");
        what_the_key_has_not_signed_is_refused(&client, holder).await;
        assert_eq!(holder.payouts(&client).await, [], "nothing was set");
    }
    for holder in &holders {
        set_by_hhctl(&world, &client, holder).await;
    }
    for holder in &holders {
        is_paid_after_the_cooling_off(&client, holder).await;
    }
    assert_eq!(world.received(PAYOUT_MSAT), holders.len());
}

/// Another key, another kind of address, another chain, number, destination or time: each makes another text, or another signer.
async fn what_the_key_has_not_signed_is_refused(client: &TreasuryClient, holder: &Holder) {
    let until = Timestamp::now().as_second() + 3_600;
    let right = order(ChainName::Regtest, holder, 1, until);
    let signature = holder.sign(right.text());
    let signed_by = |other: &Holder| other.sign(right.text());
    let mut wrong = vec![
        signed_by(&Holder::new(holder.kind, 99)),
        holder.sign(order(ChainName::Signet, holder, 1, until).text()),
        holder.sign(order(ChainName::Bitcoin, holder, 1, until).text()),
        holder.sign(order(ChainName::Regtest, holder, 2, until).text()),
        holder.sign(order(ChainName::Regtest, holder, 1, until + 1).text()),
        String::new(),
        signature[4..].to_owned(),
    ];
    if holder.kind != Kind::P2tr {
        wrong.push(signed_by(&Holder::new(Kind::P2tr, holder.key.inner[0])));
    }
    for wrong in wrong {
        let refused = set(client, holder.request(1, until, wrong)).await;
        is_refused(refused, "HH4020", right.text());
    }
    let mut elsewhere = holder.request(1, until, signature.clone());
    elsewhere.text = format!("mallory@{DOMAIN}");
    is_refused(set(client, elsewhere).await, "HH4020", "BIP 322");
    let mut anothers = holder.request(1, until, signature);
    anothers.name = Holder::new(holder.kind, 98).address.to_string();
    is_refused(set(client, anothers).await, "HH4020", "BIP 322");
    let now = Timestamp::now().as_second();
    for (until, words) in [
        (now - 1, "ended at"),
        (now + 30 * 86_400, "more than 7 days"),
    ] {
        let text = order(ChainName::Regtest, holder, 1, until);
        let signed = holder.request(1, until, holder.sign(text.text()));
        is_refused(set(client, signed).await, "HH4020", words);
    }
}

/// The plan shows the text that is signed, as it is published; what was taken once is never taken again, nor what is older.
async fn set_by_hhctl(world: &World, client: &TreasuryClient, holder: &Holder) {
    let until = Timestamp::now().as_second() + 3_600;
    let (address, destination) = (&holder.address, &holder.destination);
    let line =
        format!("account payout-address set {address} {destination} --seq 2 --until {until}");
    let plan = hhctl(&world.network, &format!("{line} --dry-run"));
    let text = plan["item"]["signed_text"].as_str().unwrap().to_owned();
    let utc = Timestamp::from_second(until).unwrap();
    let published =
        format!("Hyper Hash Network regtest: pay {address} to {destination}, no. 2, until {utc}");
    assert_eq!(text, published);
    let signature = holder.sign(&text);
    let done = hhctl(
        &world.network,
        &format!("{line} --signature {signature} -y"),
    );
    assert_eq!(done["item"]["destination"]["text"], *destination, "{done}");
    let again = set(client, holder.request(2, until, signature)).await;
    is_refused(again, "HH4010", "no. 2");
    let older = order(ChainName::Regtest, holder, 1, until);
    let older = holder.request(1, until, holder.sign(older.text()));
    is_refused(set(client, older).await, "HH4010", "no. 1");
}

async fn is_paid_after_the_cooling_off(client: &TreasuryClient, holder: &Holder) {
    let paid = wait_for("the holder of the address is paid", DEADLINE, async || {
        let payouts = holder.payouts(client).await.into_iter();
        payouts
            .rev()
            .find(|payout| payout.state == PayoutState::Settled)
    })
    .await;
    assert_eq!(paid.amount_msat, PAYOUT_MSAT);
    assert_eq!(paid.destination, holder.destination);
    let account = client.account(within(CALL), holder.address.to_string());
    let account = account.await.unwrap().unwrap();
    let set = account.destination.expect("it has cooled off");
    let cooled_off = set.active_from.as_second() - set.set_at.as_second();
    assert_eq!(cooled_off, COOLING_OFF_SECONDS);
    assert!(paid.created_at >= set.active_from, "{paid:?} {set:?}");
}
