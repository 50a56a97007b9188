//! What the rules do about draws: nothing, until an invoice has ended. What a day has taken of its limit.

use super::*;
use crate::clock::unix_ms;
use crate::payouts::sample::{books, carol, config};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use hh_ledger::books::NewDraw;
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const KEY: &str = "abababababababababababababababababababababababababababababababab";

const HOUR_MS: i64 = 3_600_000;

const AMOUNT: Msat = Msat(5_000_000);

/// Good for an hour.
fn draw() -> NewDraw {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let hash = sha256::Hash::hash(&[1]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let invoice = InvoiceBuilder::new(Currency::Signet)
        .description("a draw".to_owned())
        .payment_hash(hash)
        .payment_secret(PaymentSecret([2; 32]))
        .duration_since_epoch(now)
        .min_final_cltv_expiry_delta(18)
        .expiry_time(Duration::from_secs(3_600))
        .amount_milli_satoshis(AMOUNT.0)
        .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
        .unwrap();
    NewDraw {
        payee: carol(),
        drawing_key: KEY.to_owned(),
        bolt11: invoice.to_string(),
        payment_hash: hash.to_byte_array(),
        amount: AMOUNT,
        expires_at_ms: crate::destination::expires_at_ms(&invoice),
        // So that nobody sends it.
        approvals_needed: APPROVALS,
    }
}

async fn opener() -> (Opener, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let opener = Opener {
        books: books(dir.path(), DestinationKind::Bolt11Draw, KEY).await,
        rules: config(dir.path()).payouts.rules(),
        chain: Network::Signet,
    };
    (opener, dir)
}

async fn payable(opener: &Opener) -> Msat {
    opener.books.balance(carol()).await.unwrap().payable
}

#[tokio::test]
async fn who_draws_is_paid_by_no_rule_and_an_invoice_that_ends_gives_its_amount_back() {
    let (opener, _dir) = opener().await;
    let (now_ms, all) = (unix_ms(), payable(&opener).await);
    assert_eq!(opener.open_due(now_ms).await.unwrap(), 0);
    let drawn = opener.books.open_draw(draw(), now_ms).await.unwrap();
    let state = async || {
        let last = opener.last_payout(&carol()).await.unwrap().unwrap();
        assert_eq!(last.id, drawn, "no other is opened");
        last.state
    };
    opener.open_due(now_ms + HOUR_MS / 2).await.unwrap();
    assert_eq!(state().await, PayoutState::Queued);
    assert_eq!(payable(&opener).await.0, all.0 - AMOUNT.0);

    // An operator holds it: it stays as it is.
    let (held, who) = (Held::Payout(drawn), "ann".to_owned());
    let late_ms = now_ms + 2 * HOUR_MS;
    let hold = opener
        .books
        .hold(held.clone(), "disputed".to_owned(), who.clone(), late_ms);
    hold.await.unwrap();
    opener.open_due(late_ms).await.unwrap();
    assert_eq!(state().await, PayoutState::Queued);

    opener.books.release(held, who, late_ms).await.unwrap();
    opener.open_due(late_ms).await.unwrap();
    assert_eq!(state().await, PayoutState::Cancelled);
    assert_eq!(payable(&opener).await, all);
}

#[test]
fn a_day_frees_what_it_took_in_the_order_it_was_taken() {
    let mut day = DayUse::default();
    assert_eq!(day.ends_ms, None);
    day.take(Msat(5), 2_000);
    day.take(Msat(7), 1_000);
    assert_eq!(day.used, Msat(12));
    assert_eq!(day.ends_ms, Some((DAY_MS + 1_000, DAY_MS + 2_000)));
}
