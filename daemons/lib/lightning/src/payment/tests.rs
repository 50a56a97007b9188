use super::*;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use ldk_node::lightning_invoice::{InvoiceBuilder, PaymentSecret};
use proptest::prelude::*;

/// More than was ever paid at once; an invoice can't name all the money there is.
const LARGE: u64 = 1_000_000_000_000_000;

const MADE_AT: u64 = 1_700_000_000;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn id(byte: u8) -> PublicKey {
    key(byte).public_key(&Secp256k1::new())
}

/// Of the node 7, on regtest, made at [`MADE_AT`] and valid for an hour.
fn invoice(amount: Option<u64>, expiry_s: u64, final_blocks: u64) -> Bolt11Invoice {
    let mut builder = InvoiceBuilder::new(Currency::Regtest)
        .description("a test".to_owned())
        .payment_hash(Hash::from_byte_array([3; 32]))
        .payment_secret(PaymentSecret([4; 32]))
        .duration_since_epoch(Duration::from_secs(MADE_AT))
        .expiry_time(Duration::from_secs(expiry_s))
        .min_final_cltv_expiry_delta(final_blocks);
    if let Some(amount) = amount {
        builder = builder.amount_milli_satoshis(amount);
    }
    builder
        .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key(7)))
        .unwrap()
}

fn request(invoice: Bolt11Invoice) -> PayRequest {
    PayRequest {
        invoice,
        amount: None,
        max_fee: Msat(1_000),
        cltv_limit: 500,
        timeout: Duration::from_secs(25),
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(MADE_AT + seconds)
}

fn check(request: &PayRequest) -> Result<Payable, Refusal> {
    request.check(&id(9), Network::Regtest, at(0))
}

#[test]
fn a_sound_invoice_is_payable() {
    let payable = check(&request(invoice(Some(5_000), 3_600, 40))).unwrap();
    assert_eq!(payable.amount, Msat(5_000));
    assert_eq!(payable.hash, PaymentHash([3; 32]));
}

#[test]
fn an_invoice_of_another_chain_is_refused() {
    for network in [
        Network::Bitcoin,
        Network::Testnet,
        Network::Testnet4,
        Network::Signet,
    ] {
        let refused = request(invoice(Some(1), 3_600, 40)).check(&id(9), network, at(0));
        assert_eq!(refused, Err(Refusal::WrongChain(network)));
    }
}

#[test]
fn the_amount_is_the_invoices_or_ours_and_never_two() {
    let with = |named, given| {
        let mut request = request(invoice(named, 3_600, 40));
        request.amount = given;
        check(&request).map(|payable| payable.amount)
    };
    assert_eq!(with(None, None), Err(Refusal::NoAmount));
    assert_eq!(with(None, Some(Msat(7))), Ok(Msat(7)));
    assert_eq!(with(None, Some(Msat::ZERO)), Err(Refusal::Nothing));
    assert_eq!(with(Some(7), None), Ok(Msat(7)));
    assert_eq!(with(Some(7), Some(Msat(7))), Ok(Msat(7)));
    let other = Refusal::OtherAmount {
        named: Msat(7),
        given: Msat(8),
    };
    assert_eq!(with(Some(7), Some(Msat(8))), Err(other));
}

#[test]
fn an_invoice_that_ends_while_it_is_tried_is_refused() {
    let request = request(invoice(Some(1), 3_600, 40));
    let payer = id(9);
    // 25 s of tries and the margin of 60 s.
    assert!(request.check(&payer, Network::Regtest, at(3_515)).is_ok());
    let refused = request.check(&payer, Network::Regtest, at(3_516));
    assert!(matches!(refused, Err(Refusal::Expires { .. })));
    // A clock that stands before 1970 is no reason to panic.
    let long_ago = UNIX_EPOCH - Duration::from_secs(1);
    assert!(request.check(&payer, Network::Regtest, long_ago).is_ok());
}

#[test]
fn our_own_invoice_is_refused() {
    let request = request(invoice(Some(1), 3_600, 40));
    let refused = request.check(&id(7), Network::Regtest, at(0));
    assert_eq!(refused, Err(Refusal::OurOwn));
}

#[test]
fn an_invoice_that_locks_money_for_too_long_is_refused() {
    assert!(check(&request(invoice(Some(1), 3_600, 500))).is_ok());
    let refused = Refusal::LocksTooLong {
        wanted: 501,
        limit: 500,
    };
    assert_eq!(check(&request(invoice(Some(1), 3_600, 501))), Err(refused));
}

proptest! {
    #[test]
    fn what_is_payable_is_within_every_limit(
        named in proptest::option::of(0..=LARGE),
        given in proptest::option::of(0..=LARGE),
        expiry_s in 1_u64..=100_000_000,
        final_blocks in 0_u64..=2_000,
        cltv_limit in 0_u32..=2_000,
        timeout_s in 0_u64..=100_000_000,
        now_s in 0_u64..=100_000_000,
    ) {
        let mut request = request(invoice(named, expiry_s, final_blocks));
        request.amount = given.map(Msat);
        request.cltv_limit = cltv_limit;
        request.timeout = Duration::from_secs(timeout_s);
        if let Ok(payable) = request.check(&id(9), Network::Regtest, at(now_s)) {
            prop_assert!(payable.amount > Msat::ZERO);
            prop_assert!(named.is_none_or(|named| payable.amount == Msat(named)));
            prop_assert!(given.is_none_or(|given| payable.amount == Msat(given)));
            prop_assert!(now_s + timeout_s + 60 <= expiry_s);
            prop_assert!(final_blocks <= u64::from(cltv_limit));
        }
    }
}
