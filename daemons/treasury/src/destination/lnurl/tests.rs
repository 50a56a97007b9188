use super::*;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ADDRESS: &str = "alice@pay.example";
const METADATA: &str = r#"[["text/plain","alice"]]"#;

fn offer(min: u64, max: u64) -> Vec<u8> {
    let offer = json!({
        "tag": "payRequest",
        "callback": "https://pay.example/callback?user=alice",
        "minSendable": min,
        "maxSendable": max,
        "metadata": METADATA,
        "commentAllowed": 20,
    });
    offer.to_string().into_bytes()
}

/// An invoice as a server makes it.
fn invoice(msat: Option<u64>, description: &str) -> String {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let builder = InvoiceBuilder::new(Currency::Signet)
        .description_hash(sha256::Hash::hash(description.as_bytes()))
        .payment_hash(sha256::Hash::hash(&[1]))
        .payment_secret(PaymentSecret([2; 32]))
        .duration_since_epoch(now)
        .min_final_cltv_expiry_delta(18)
        .expiry_time(Duration::from_secs(3_600));
    let builder = match msat {
        Some(msat) => builder.amount_milli_satoshis(msat),
        None => builder,
    };
    let sign = |hash: &_| Secp256k1::new().sign_ecdsa_recoverable(hash, &key);
    builder.build_signed(sign).unwrap().to_string()
}

fn answered(msat: Option<u64>, description: &str) -> Result<Bolt11Invoice, LnurlError> {
    let body = json!({ "pr": invoice(msat, description), "routes": [] }).to_string();
    let invoice = read_invoice(ADDRESS, body.as_bytes())?;
    check_invoice(ADDRESS, &invoice, Msat(5_000_000), METADATA)?;
    Ok(invoice)
}

#[test]
fn an_invoice_for_exactly_what_was_asked_is_taken() {
    let offer = read_offer(ADDRESS, &offer(1_000, 10_000_000)).unwrap();
    assert_eq!(
        offer.callback(ADDRESS, Msat(5_000_000)).unwrap(),
        "https://pay.example/callback?user=alice&amount=5000000"
    );
    answered(Some(5_000_000), METADATA).unwrap();
}

#[test]
fn a_server_that_asks_for_another_amount_gets_nothing() {
    for msat in [Some(5_000_001), Some(4_999_999), Some(50_000_000), None] {
        let error = answered(msat, METADATA).unwrap_err();
        assert!(matches!(error, LnurlError::OtherAmount { .. }), "{error}");
    }
}

#[test]
fn an_invoice_for_something_else_is_refused() {
    let error = answered(Some(5_000_000), "another's purchase").unwrap_err();
    assert!(matches!(error, LnurlError::Description { .. }), "{error}");
}

#[test]
fn amounts_that_the_server_does_not_take_are_not_asked_for() {
    let offer = read_offer(ADDRESS, &offer(6_000_000, 10_000_000)).unwrap();
    let error = offer.callback(ADDRESS, Msat(5_000_000)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("takes 6000.000 to 10000.000 sat"),
        "{error}"
    );
}

#[test]
fn a_servers_no_is_told_without_what_would_break_a_line() {
    let body = json!({ "status": "ERROR", "reason": "no such\nuser" }).to_string();
    let error = read_offer(ADDRESS, body.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "alice@pay.example: its server says: no suchuser"
    );
}

#[test]
fn another_kind_of_lnurl_pays_nobody() {
    let body = json!({
        "tag": "withdrawRequest", "callback": "https://x/", "minSendable": 1, "maxSendable": 2, "metadata": "",
    });
    let error = read_offer(ADDRESS, body.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, LnurlError::Answer { .. }), "{error}");
}

#[test]
fn an_address_is_asked_at_its_own_domain() {
    assert_eq!(
        url_of("a.b@pay.example"),
        "https://pay.example/.well-known/lnurlp/a.b"
    );
    assert_eq!(
        url_of("a+tag@pay.example"),
        "https://pay.example/.well-known/lnurlp/a%2Btag"
    );
}

proptest! {
    /// Whatever a server answers, it is an error or an invoice for the amount that was asked for.
    #[test]
    fn no_answer_is_taken_for_an_invoice_of_another_amount(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        msat in prop::option::of(1..u64::from(u32::MAX)),
    ) {
        prop_assert!(read_offer(ADDRESS, &bytes).is_err());
        prop_assert!(read_invoice(ADDRESS, &bytes).is_err());
        let is_taken = answered(msat, METADATA).is_ok();
        prop_assert_eq!(is_taken, msat == Some(5_000_000));
    }
}
