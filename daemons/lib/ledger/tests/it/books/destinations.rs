//! Where payees are paid, and the invoices of nodes.

use hh_ledger::books::{Destination, DestinationOf, NewDestination, NodeInvoice, Page};

use super::*;

on_both_engines!(
    a_lightning_address_is_its_own_destination,
    a_destination_is_paid_to_after_it_has_cooled_off,
    a_change_stops_payments_until_it_has_cooled_off,
    a_cancelled_change_leaves_the_old_destination,
    a_cancelled_destination_ends_what_was_before_it,
    a_number_is_used_once,
    some_payees_set_no_destination,
    a_changed_destination_stops_an_open_payout,
    an_invoice_pays_its_node_what_it_says_while_it_lasts,
    an_invoice_of_a_node_is_paid_by_one_payout,
    an_invoice_is_taken_once,
    an_invoice_that_was_not_tried_is_given_back,
);

pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) fn carol() -> Payee {
    miner("carol")
}

pub(super) fn oslo() -> Payee {
    Payee::Node("oslo".to_owned())
}

pub(super) fn destination(seq: u64, text: &str) -> NewDestination {
    NewDestination {
        payee: carol(),
        seq,
        kind: DestinationKind::LnAddress,
        text: text.to_owned(),
        proof: format!("signature {seq}"),
        cooling_off_ms: HOUR_MS,
    }
}

impl Desk {
    async fn set_at(&self, seq: u64, text: &str, now_ms: i64) -> Destination {
        let set = self.books.set_destination(destination(seq, text), now_ms);
        set.await.unwrap()
    }

    /// The number of the destination, and what is with it.
    async fn where_at(&self, now_ms: i64) -> (&'static str, u64) {
        match self.books.destination_of(carol(), now_ms).await.unwrap() {
            DestinationOf::None => ("none", 0),
            DestinationOf::Active(destination) => ("active", destination.seq),
            DestinationOf::CoolingOff(destination) => ("cooling off", destination.seq),
            DestinationOf::Cancelled(destination) => ("cancelled", destination.seq),
        }
    }

    async fn cancel_at(&self, seq: u64, now_ms: i64) -> bool {
        let cancelled = self
            .books
            .cancel_destination(carol(), seq, self.two().await, now_ms);
        cancelled.await.unwrap()
    }
}

async fn a_lightning_address_is_its_own_destination(site: Site) {
    let desk = Desk::new(site);
    let found = desk.books.destination_of(alice(), NOW_MS).await.unwrap();
    let DestinationOf::Active(own) = found else {
        panic!("{found:?}");
    };
    assert_eq!(
        (own.kind, own.text.as_str()),
        (DestinationKind::LnAddress, "alice@example.org")
    );
    let set = NewDestination {
        payee: alice(),
        ..destination(1, "mallory@example.org")
    };
    let refused = refusal(desk.books.set_destination(set, NOW_MS).await);
    assert!(
        refused.ends_with("a Lightning address is its own destination"),
        "{refused}"
    );
}

async fn a_destination_is_paid_to_after_it_has_cooled_off(site: Site) {
    let desk = Desk::new(site);
    assert_eq!(desk.where_at(NOW_MS).await, ("none", 0));
    let set = desk.set_at(1, "carol@example.org", NOW_MS).await;
    assert_eq!(
        (set.set_at_ms, set.active_from_ms),
        (NOW_MS, NOW_MS + HOUR_MS)
    );
    assert_eq!(
        desk.where_at(NOW_MS + HOUR_MS - 1).await,
        ("cooling off", 1)
    );
    assert_eq!(desk.where_at(NOW_MS + HOUR_MS).await, ("active", 1));
    assert_eq!(desk.books.destinations(carol()).await.unwrap(), [set]);
}

async fn a_change_stops_payments_until_it_has_cooled_off(site: Site) {
    let desk = Desk::new(site);
    desk.set_at(1, "carol@example.org", NOW_MS).await;
    desk.set_at(2, "carol@example.com", NOW_MS + HOUR_MS).await;
    assert_eq!(desk.where_at(NOW_MS + HOUR_MS).await, ("cooling off", 2));
    assert_eq!(desk.where_at(NOW_MS + 2 * HOUR_MS).await, ("active", 2));
}

async fn a_cancelled_change_leaves_the_old_destination(site: Site) {
    let desk = Desk::new(site);
    desk.set_at(1, "carol@example.org", NOW_MS).await;
    let start_ms = NOW_MS + HOUR_MS;
    desk.set_at(2, "mallory@example.org", start_ms).await;
    assert!(desk.cancel_at(2, start_ms + 5).await);
    assert!(!desk.cancel_at(2, start_ms + 6).await);
    assert!(!desk.cancel_at(3, start_ms + 6).await);
    assert_eq!(desk.where_at(start_ms + 6).await, ("active", 1));
    assert_eq!(desk.where_at(start_ms + 2 * HOUR_MS).await, ("active", 1));
    desk.set_at(7, "carol@example.com", start_ms + 7).await;
    assert_eq!(desk.where_at(start_ms + 7).await, ("cooling off", 7));
}

async fn a_cancelled_destination_ends_what_was_before_it(site: Site) {
    let desk = Desk::new(site);
    desk.set_at(1, "carol@example.org", NOW_MS).await;
    desk.set_at(2, "carol@example.com", NOW_MS).await;
    assert!(
        desk.cancel_at(2, NOW_MS + HOUR_MS).await,
        "it was active by then"
    );
    assert_eq!(desk.where_at(NOW_MS + HOUR_MS).await, ("cancelled", 2));
}

async fn a_number_is_used_once(site: Site) {
    let desk = Desk::new(site);
    desk.set_at(5, "carol@example.org", NOW_MS).await;
    desk.cancel_at(5, NOW_MS).await;
    for seq in [0, 4, 5, u64::MAX] {
        let set = desk
            .books
            .set_destination(destination(seq, "x@example.org"), NOW_MS)
            .await;
        assert!(
            matches!(set, Err(BooksError::DestinationSeq { last: 5, .. })),
            "{seq}: {set:?}"
        );
    }
    desk.set_at(6, "carol@example.org", NOW_MS).await;
}

async fn some_payees_set_no_destination(site: Site) {
    let desk = Desk::new(site);
    for (payee, kind) in [
        (Payee::NodeReserve, DestinationKind::LnAddress),
        (oslo(), DestinationKind::LnAddress),
        (carol(), DestinationKind::NodeInvoice),
        (miner(""), DestinationKind::LnAddress),
    ] {
        let new = NewDestination {
            payee,
            kind,
            ..destination(1, "x@example.org")
        };
        refusal(desk.books.set_destination(new, NOW_MS).await);
    }
}

/// A block that owes carol something, and her destination.
pub(super) async fn with_carol(site: Site, kind: DestinationKind) -> Desk {
    let desk = Desk::new(site);
    desk.books.track_block(new_block(1, "carol")).await.unwrap();
    desk.set(1, BookBlockState::Mature, 101).await;
    let split = split(1, &[("carol", Some("oslo"), 1)], "carol");
    desk.books.post_split(split, NOW_MS).await.unwrap();
    desk.books.mature(hash(1), NOW_MS).await.unwrap();
    let new = NewDestination {
        kind,
        cooling_off_ms: 0,
        ..destination(1, "carol@example.org")
    };
    desk.books.set_destination(new, NOW_MS).await.unwrap();
    desk
}

async fn a_changed_destination_stops_an_open_payout(site: Site) {
    let desk = with_carol(site, DestinationKind::LnAddress).await;
    let new = NewPayout {
        to: PayTo {
            kind: DestinationKind::LnAddress,
            text: "carol@example.org".to_owned(),
        },
        ..payout(carol(), Msat(5_000), "c")
    };
    let id = desk.books.open_payout(new, NOW_MS).await.unwrap();
    let prepared = desk
        .books
        .prepare_attempt(attempt(id, Msat(5_000), 1), NOW_MS);
    let prepared = prepared.await.unwrap();
    desk.set_at(2, "carol@example.com", NOW_MS).await;
    let refused = refusal(desk.dispatch(prepared).await);
    assert_eq!(
        refused,
        "miner:carol can't be paid there: its new destination is cooling off"
    );
    desk.books
        .abandoned(prepared, "its destination has changed".to_owned(), NOW_MS)
        .await
        .unwrap();
    let late = NewAttempt {
        invoice_expires_at_ms: NOW_MS + 2 * HOUR_MS,
        ..attempt(id, Msat(5_000), 2)
    };
    let refused = refusal(desk.books.prepare_attempt(late, NOW_MS + HOUR_MS).await);
    assert_eq!(
        refused,
        "miner:carol can't be paid there: its destination is another one"
    );
    desk.cancel(id).await.unwrap();
    desk.check().await;
}

pub(super) fn invoice(n: u8, amount: Msat) -> NodeInvoice {
    NodeInvoice {
        node: "oslo".to_owned(),
        bolt11: format!("lnbc{n}"),
        payment_hash: payment_hash(n),
        amount,
        expires_at_ms: NOW_MS + HOUR_MS,
    }
}

fn node_payout(n: u8, amount: Msat, key: &str) -> NewPayout {
    NewPayout {
        to: PayTo {
            kind: DestinationKind::NodeInvoice,
            text: format!("lnbc{n}"),
        },
        ..payout(oslo(), amount, key)
    }
}

async fn an_invoice_pays_its_node_what_it_says_while_it_lasts(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let amount = Msat(5_000);
    let submit = desk.books.submit_invoice(invoice(1, amount), NOW_MS);
    assert!(submit.await.unwrap());
    let theirs = NewPayout {
        payee: alice(),
        ..node_payout(1, amount, "n")
    };
    for (new, now_ms, why) in [
        (
            node_payout(2, amount, "n"),
            NOW_MS,
            "it has submitted no such invoice",
        ),
        (
            node_payout(1, Msat(5_001), "n"),
            NOW_MS,
            "over 5.000 sat, not 5.001 sat",
        ),
        (
            node_payout(1, amount, "n"),
            NOW_MS + HOUR_MS,
            "has expired: get a new one",
        ),
        (theirs, NOW_MS, "only nodes submit invoices"),
    ] {
        let refused = refusal(desk.books.open_payout(new, now_ms).await);
        assert!(refused.ends_with(why), "{refused}");
    }
    assert_eq!(desk.balance(oslo()).await.held_by_payouts, Msat::ZERO);
    desk.check().await;
}

async fn an_invoice_of_a_node_is_paid_by_one_payout(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let amount = Msat(5_000);
    let submit = desk.books.submit_invoice(invoice(1, amount), NOW_MS);
    submit.await.unwrap();
    let open = desk.books.open_invoices(NOW_MS, 10).await.unwrap();
    assert_eq!(
        (open.len(), &open[0].invoice, open[0].payout),
        (1, &invoice(1, amount), None)
    );
    let opened = desk.books.open_payout(node_payout(1, amount, "n"), NOW_MS);
    let id = opened.await.unwrap();
    assert_eq!(desk.books.open_invoices(NOW_MS, 10).await.unwrap(), []);
    let rows = desk.books.invoices("oslo".to_owned(), Page::first(10));
    assert_eq!(rows.await.unwrap()[0].payout, Some(id));
    let refused = refusal(desk.prepare(id, amount, 9).await);
    assert!(refused.ends_with("the invoice is another one"), "{refused}");
    let prepared = desk.prepare(id, amount, 1).await.unwrap();
    desk.dispatch(prepared).await.unwrap();
    desk.settle(prepared, 1, 1).await;
    let again = desk.books.open_payout(node_payout(1, amount, "m"), NOW_MS);
    let again = refusal(again.await);
    assert!(
        again.ends_with("that invoice is another payout's"),
        "{again}"
    );
    desk.check().await;
}

async fn an_invoice_is_taken_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let submit = async |invoice| desk.books.submit_invoice(invoice, NOW_MS).await;
    assert!(submit(invoice(1, Msat(5_000))).await.unwrap());
    assert!(!submit(invoice(1, Msat(5_000))).await.unwrap());
    let stolen = NodeInvoice {
        node: "lima".to_owned(),
        ..invoice(1, Msat(5_000))
    };
    let refused = submit(stolen).await;
    assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    let (_, tried) = desk.sent(Msat(5_000), 2).await;
    desk.fail(tried).await;
    let refused = submit(invoice(2, Msat(5_000))).await;
    assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    // Nor is a node's invoice paid in another's name.
    let refused = desk
        .books
        .prepare_attempt(attempt(PayoutId(1), Msat(5_000), 1), NOW_MS)
        .await;
    assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    for wrong in [
        NodeInvoice {
            expires_at_ms: NOW_MS,
            ..invoice(3, Msat(5_000))
        },
        invoice(3, Msat::ZERO),
        NodeInvoice {
            node: String::new(),
            ..invoice(3, Msat(5_000))
        },
        NodeInvoice {
            bolt11: "x".repeat(9_000),
            ..invoice(3, Msat(5_000))
        },
    ] {
        refusal(submit(wrong).await);
    }
}

async fn an_invoice_that_was_not_tried_is_given_back(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let amount = Msat(5_000);
    desk.books
        .submit_invoice(invoice(1, amount), NOW_MS)
        .await
        .unwrap();
    let first = desk
        .books
        .open_payout(node_payout(1, amount, "n"), NOW_MS)
        .await
        .unwrap();
    desk.cancel(first).await.unwrap();
    assert_eq!(desk.books.open_invoices(NOW_MS, 10).await.unwrap().len(), 1);
    let second = desk
        .books
        .open_payout(node_payout(1, amount, "m"), NOW_MS)
        .await
        .unwrap();
    let prepared = desk
        .books
        .prepare_attempt(attempt(second, amount, 1), NOW_MS)
        .await
        .unwrap();
    desk.dispatch(prepared).await.unwrap();
    desk.fail(prepared).await;
    desk.cancel(second).await.unwrap();
    assert_eq!(
        desk.books.open_invoices(NOW_MS, 10).await.unwrap(),
        [],
        "it may have been paid"
    );
    desk.check().await;
}
