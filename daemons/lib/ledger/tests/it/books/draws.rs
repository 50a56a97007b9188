//! Draws by invoice: a payment hash draws once, with the drawing key that counts then.

use hh_ledger::books::{NewDestination, NewDraw};

use super::destinations::{HOUR_MS, carol, destination, invoice, oslo, with_carol};
use super::*;

on_both_engines!(
    a_draw_pays_the_invoice_it_was_opened_with,
    a_draw_that_comes_again_is_the_payout_that_it_opened,
    a_draw_is_refused_that_is_not_the_drawing_keys_or_not_payable,
    a_payment_hash_is_drawn_paid_or_submitted_once,
    a_new_drawing_key_stops_what_the_last_one_drew,
);

/// The text of the destination that `with_carol` sets.
const KEY: &str = "carol@example.org";

const AMOUNT: Msat = Msat(5_000);

fn draw(n: u8) -> NewDraw {
    NewDraw {
        payee: carol(),
        drawing_key: KEY.to_owned(),
        bolt11: format!("lnbc{n}"),
        payment_hash: payment_hash(n),
        amount: AMOUNT,
        expires_at_ms: NOW_MS + HOUR_MS,
        approvals_needed: 0,
    }
}

async fn drawing(site: Site) -> Desk {
    with_carol(site, DestinationKind::Bolt11Draw).await
}

impl Desk {
    async fn draw(&self, draw: NewDraw) -> Result<PayoutId, BooksError> {
        self.books.open_draw(draw, NOW_MS).await
    }
}

async fn a_draw_pays_the_invoice_it_was_opened_with(site: Site) {
    let desk = drawing(site).await;
    let address = payout(carol(), AMOUNT, "c");
    refusal(desk.books.open_payout(address, NOW_MS).await);
    let id = desk.draw(draw(1)).await.unwrap();
    let refused = refusal(desk.prepare(id, AMOUNT, 2).await);
    assert!(refused.ends_with("the invoice is another one"), "{refused}");
    let prepared = desk.prepare(id, AMOUNT, 1).await.unwrap();
    desk.dispatch(prepared).await.unwrap();
    desk.settle(prepared, 1, 1).await;
    desk.check().await;
}

async fn a_draw_that_comes_again_is_the_payout_that_it_opened(site: Site) {
    let desk = drawing(site).await;
    let before = desk.balance(carol()).await.payable;
    let id = desk.draw(draw(1)).await.unwrap();
    assert_eq!(desk.draw(draw(1)).await.unwrap(), id);
    assert_eq!(desk.balance(carol()).await.held_by_payouts, AMOUNT);
    let prepared = desk.prepare(id, AMOUNT, 1).await.unwrap();
    desk.dispatch(prepared).await.unwrap();
    desk.settle(prepared, 1, 1).await;
    assert_eq!(desk.draw(draw(1)).await.unwrap(), id, "after it was paid");
    let found = desk.books.payout_of_hash(payment_hash(1)).await.unwrap();
    assert_eq!(found, Some(id));
    let second = desk.draw(draw(2)).await.unwrap();
    desk.cancel(second).await.unwrap();
    assert_eq!(
        desk.draw(draw(2)).await.unwrap(),
        second,
        "after it was cancelled: a new one takes a new invoice"
    );
    assert_eq!(desk.state(second).await, PayoutState::Cancelled);
    let left = desk.balance(carol()).await.payable;
    assert_eq!(before.0 - left.0, AMOUNT.0);
    desk.check().await;
}

async fn a_draw_is_refused_that_is_not_the_drawing_keys_or_not_payable(site: Site) {
    let desk = drawing(site).await;
    let all = desk.balance(carol()).await.payable;
    for (wrong, why) in [
        (
            NewDraw {
                drawing_key: "other".to_owned(),
                ..draw(1)
            },
            "that is not its drawing key now",
        ),
        (
            NewDraw {
                payee: bob(),
                ..draw(1)
            },
            "that is not its drawing key now",
        ),
        (
            NewDraw {
                expires_at_ms: NOW_MS,
                ..draw(1)
            },
            "the invoice has expired: get a new one",
        ),
        (
            NewDraw {
                amount: Msat(all.0 + 1),
                ..draw(1)
            },
            "",
        ),
        (
            NewDraw {
                amount: Msat::ZERO,
                ..draw(1)
            },
            "give more than 0 msat",
        ),
    ] {
        let refused = refusal(desk.draw(wrong).await);
        assert!(refused.ends_with(why), "{refused}");
    }
    desk.freeze().await;
    let frozen = desk.draw(draw(1)).await;
    assert!(
        matches!(frozen, Err(BooksError::Frozen { .. })),
        "{frozen:?}"
    );
    desk.unfreeze().await;
    let held = hh_ledger::books::Held::Payee(carol());
    let hold = desk
        .books
        .hold(held, "look".to_owned(), "ann".to_owned(), NOW_MS);
    hold.await.unwrap();
    let refused = desk.draw(draw(1)).await;
    assert!(
        matches!(refused, Err(BooksError::Held { .. })),
        "{refused:?}"
    );
    assert_eq!(desk.balance(carol()).await.payable, all);
    desk.check().await;
}

async fn a_payment_hash_is_drawn_paid_or_submitted_once(site: Site) {
    let desk = drawing(site).await;
    // A node's, which waits to be paid.
    desk.books
        .submit_invoice(invoice(1, AMOUNT), NOW_MS)
        .await
        .unwrap();
    let taken = |refused: Result<PayoutId, BooksError>| {
        assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    };
    taken(desk.draw(draw(1)).await);
    // Drawn before, for another amount or under another name.
    desk.draw(draw(2)).await.unwrap();
    taken(
        desk.draw(NewDraw {
            amount: Msat(6_000),
            ..draw(2)
        })
        .await,
    );
    taken(
        desk.draw(NewDraw {
            payee: oslo(),
            ..draw(2)
        })
        .await,
    );
    taken(
        desk.draw(NewDraw {
            bolt11: "lnbc9".to_owned(),
            ..draw(2)
        })
        .await,
    );
    let submitted = desk.books.submit_invoice(invoice(2, AMOUNT), NOW_MS);
    let submitted = submitted.await;
    assert!(
        matches!(submitted, Err(BooksError::HashTaken)),
        "{submitted:?}"
    );
    // One at a time.
    let second = desk.draw(draw(3)).await;
    assert!(
        matches!(second, Err(BooksError::OpenPayout { .. })),
        "{second:?}"
    );
    desk.check().await;
}

/// Who has stolen a drawing key gets nothing more once the owner has set another one, though two operators were slow to approve.
async fn a_new_drawing_key_stops_what_the_last_one_drew(site: Site) {
    let desk = drawing(site).await;
    let id = desk.draw(draw(1)).await.unwrap();
    let next = NewDestination {
        kind: DestinationKind::Bolt11Draw,
        ..destination(2, "the next key")
    };
    desk.books.set_destination(next, NOW_MS + 1).await.unwrap();
    let refused = refusal(desk.prepare(id, AMOUNT, 1).await);
    assert!(refused.ends_with("is cooling off"), "{refused}");
    let late = NewAttempt {
        invoice_expires_at_ms: NOW_MS + 3 * HOUR_MS,
        ..attempt(id, AMOUNT, 1)
    };
    let late = desk.books.prepare_attempt(late, NOW_MS + 2 * HOUR_MS);
    let refused = refusal(late.await);
    assert!(
        refused.ends_with("its drawing key is another one by now"),
        "{refused}"
    );
    desk.cancel(id).await.unwrap();
    let with_next = NewDraw {
        drawing_key: "the next key".to_owned(),
        expires_at_ms: NOW_MS + 3 * HOUR_MS,
        ..draw(2)
    };
    let opened = desk.books.open_draw(with_next, NOW_MS + 2 * HOUR_MS);
    opened.await.unwrap();
    desk.check().await;
}
