use super::*;
use crate::store::tests::{Base, on_both_engines};
use hh_ipc::agent::payout_state;

on_both_engines!(
    an_invoice_is_kept_once_and_goes_when_the_treasury_names_it,
    the_newest_invoices_of_a_node_stay_and_no_node_is_in_anothers_way,
    an_invoice_that_is_refused_for_its_signature_comes_again_under_another,
    what_is_new_of_a_node_wakes_it_and_what_is_not_does_not,
    a_report_that_makes_no_sense_changes_nothing,
);

fn berlin() -> NodeId {
    "berlin".parse().unwrap()
}

fn invoice(text: &str) -> NodeInvoice {
    NodeInvoice {
        invoice: text.to_owned(),
        signature: "0".repeat(SIGNATURE_BYTES),
    }
}

async fn put(store: &Store, node: &str, text: &str, now_ms: i64) {
    let (node, invoice): (NodeId, _) = (node.parse().unwrap(), invoice(text));
    let put = move |transaction: &Transaction<'_>| hand_in(transaction, &node, &invoice, now_ms);
    let put: Result<(), StoreError> = store.rows(put).await;
    put.unwrap();
}

/// A report of these nodes, of which each has these payouts.
fn report(nodes: &[&str], payouts: &[NodePayout]) -> TreasuryReport {
    let account = |node: &&str| NodeAccount {
        node: (*node).to_owned(),
        payable_msat: 5,
        payouts: payouts.to_vec(),
        ..NodeAccount::default()
    };
    TreasuryReport {
        accounts: nodes.iter().map(account).collect(),
    }
}

async fn texts(inbox: &PayoutInbox, report: TreasuryReport) -> Vec<String> {
    let answered = inbox.exchange(report).await.unwrap();
    let texts = answered.invoices.into_iter().map(|one| one.invoice);
    texts.collect()
}

async fn an_invoice_is_kept_once_and_goes_when_the_treasury_names_it(base: Base) {
    let inbox = PayoutInbox::new(base.store.clone());
    let now_ms = Timestamp::now().as_millisecond();
    put(&base.store, "berlin", "lnbc1", now_ms).await;
    put(&base.store, "berlin", "lnbc1", now_ms + 1).await;
    assert_eq!(texts(&inbox, report(&["berlin"], &[])).await, ["lnbc1"]);
    assert!(texts(&inbox, report(&["rome"], &[])).await.is_empty());
    let named = NodePayout {
        invoice_id: id("lnbc1"),
        state: payout_state::WAITING.to_owned(),
        ..NodePayout::default()
    };
    let named = report(&["berlin"], &[named]);
    assert!(texts(&inbox, named.clone()).await.is_empty());
    // Its node may not have heard yet.
    put(&base.store, "berlin", "lnbc1", now_ms + 2).await;
    assert!(texts(&inbox, named.clone()).await.is_empty());
    let said = inbox.account(&berlin()).await.unwrap();
    assert_eq!(said.as_ref(), named.accounts.first());
    assert_eq!(
        inbox
            .account(&"rome".parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .payouts,
        []
    );
}

async fn the_newest_invoices_of_a_node_stay_and_no_node_is_in_anothers_way(base: Base) {
    let inbox = PayoutInbox::new(base.store.clone());
    let now_ms = Timestamp::now().as_millisecond();
    put(&base.store, "rome", "lnbc-rome", now_ms).await;
    for number in 0..10 {
        put(
            &base.store,
            "berlin",
            &format!("lnbc{number}"),
            now_ms + number,
        )
        .await;
    }
    let both = texts(&inbox, report(&["berlin", "rome"], &[])).await;
    assert_eq!(both, ["lnbc9", "lnbc-rome"]);
    let count: Result<u32, StoreError> = base
        .store
        .read(|transaction| {
            let count = "SELECT count(*) FROM node_invoices";
            transaction.one(count, &[])?.get(0)
        })
        .await;
    assert_eq!(count.unwrap(), INVOICES_OF_NODE_MAX + 1);
    // What its node has long given up.
    put(&base.store, "paris", "lnbc-old", now_ms - KEEP_MS - 1).await;
    assert!(texts(&inbox, report(&["paris"], &[])).await.is_empty());
}

async fn an_invoice_that_is_refused_for_its_signature_comes_again_under_another(base: Base) {
    let inbox = PayoutInbox::new(base.store.clone());
    let now_ms = Timestamp::now().as_millisecond();
    put(&base.store, "berlin", "lnbc1", now_ms).await;
    let handed = format!("lnbc1\n{}", "0".repeat(SIGNATURE_BYTES));
    let refused = NodePayout {
        invoice_id: id(&handed),
        state: payout_state::REFUSED.to_owned(),
        ..NodePayout::default()
    };
    let refused = report(&["berlin"], &[refused]);
    assert!(texts(&inbox, refused.clone()).await.is_empty());
    // The node's own, by the side of a false one that was there first.
    put(&base.store, "berlin", "lnbc1", now_ms).await;
    let signed = NodeInvoice {
        signature: "1".repeat(SIGNATURE_BYTES),
        ..invoice("lnbc1")
    };
    let put =
        move |transaction: &Transaction<'_>| hand_in(transaction, &berlin(), &signed, now_ms + 1);
    let put: Result<(), StoreError> = base.store.rows(put).await;
    put.unwrap();
    assert_eq!(texts(&inbox, refused).await, ["lnbc1"]);
}

async fn what_is_new_of_a_node_wakes_it_and_what_is_not_does_not(base: Base) {
    let inbox = PayoutInbox::new(base.store.clone());
    let mut notices = base.store.notices();
    inbox.exchange(report(&["berlin"], &[])).await.unwrap();
    assert_eq!(notices.recv().await.unwrap(), Notice::Node(berlin()));
    inbox.exchange(report(&["berlin"], &[])).await.unwrap();
    assert!(notices.try_recv().is_err());
}

async fn a_report_that_makes_no_sense_changes_nothing(base: Base) {
    let inbox = PayoutInbox::new(base.store.clone());
    let long = NodePayout {
        reason: "x".repeat(MAX_REASON_BYTES + 1),
        ..NodePayout::default()
    };
    for wrong in [
        report(&["berlin", "core"], &[]),
        report(&["berlin", "a/b"], &[]),
        report(&["berlin"; MAX_ACCOUNTS + 1], &[]),
        report(&["berlin"], &[long]),
        report(&["berlin"], &vec![NodePayout::default(); MAX_PAYOUTS + 1]),
    ] {
        inbox.exchange(wrong).await.unwrap_err();
    }
    assert_eq!(inbox.account(&berlin()).await.unwrap(), None);
}

#[test]
fn what_can_be_no_signed_invoice_is_not_kept() {
    assert_eq!(check(&invoice("lnbc1")), Ok(()));
    for text in ["", "lnbc 1", "lnbc\n", &"x".repeat(MAX_INVOICE_BYTES + 1)] {
        assert_eq!(check(&invoice(text)), Err(NoInvoice), "{text:?}");
    }
    for signature in ["", "00", &"g".repeat(SIGNATURE_BYTES)] {
        let unsigned = NodeInvoice {
            signature: signature.to_owned(),
            ..invoice("lnbc1")
        };
        assert_eq!(check(&unsigned), Err(NoInvoice));
    }
}
