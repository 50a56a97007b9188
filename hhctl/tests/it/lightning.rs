//! The treasury's Lightning node.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hhctl::Exit;
use insta::assert_snapshot;

/// Of the test vectors of BOLT 11: for a coffee, a minute long, made in 2017.
pub(crate) const INVOICE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

/// Another: the hash of what it is for.
const HASHED: &str = "lnbc20m1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqhp58yjmdan79s6qqdhdzgynm4zwqd5d7xmw5fk98klysy043l2ahrqs9qrsgq7ea976txfraylvgzuxs8kgcw23ezlrszfnh8r6qtfpr6cxga50aj6txm9rxrydzd06dfeawfk6swupvz4erwnyutnjq7x39ymw6j38gp7ynn44";

#[tokio::test]
async fn the_node_its_channels_and_its_payments_are_shown() {
    check("ln_status", "hhctl ln status").await;
    check("ln_channel_list", "hhctl ln channel list").await;
    check("ln_payment_list", "hhctl ln payment list").await;
    check("ln_channel_show", "hhctl ln channel show 1187x1x0").await;
    let unknown = "hhctl ln channel show 9x9x9";
    let devnet = Devnet::start(Answers::good());
    let unknown = Operator::at(&devnet).types(unknown).await;
    assert_eq!(unknown.exit, Exit::NotFound, "{unknown:?}");
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl ln invoice --amount 50ksat --description test";
    let invoice = Operator::at(&devnet).types(line).await;
    assert_eq!(invoice.stdout, "lntbs500u1pj9hsw2pp5qqqsyqcyq5rqwzqf\n");
    assert_eq!(devnet.changes(), ["invoice Some(50000000)"]);
}

#[tokio::test]
async fn a_channel_is_opened_after_a_question_that_names_its_cost() {
    let devnet = Devnet::start(Answers::good());
    let peer = format!("03{}@203.0.113.9:9735", "cd".repeat(32));
    let line = format!("hhctl ln channel open {peer} --capacity 0.05btc");
    let asked = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    assert_snapshot!("ln_channel_open_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let operator = Operator::at(&devnet);
    let opened = operator.types(&format!("{line} -y")).await;
    assert_snapshot!("ln_channel_open", opened.transcript());
    assert_eq!(devnet.changes(), [format!("open {peer} 5000000")]);
    for (peer, capacity) in [
        (peer.as_str(), "1500msat"),
        (peer.as_str(), "5000000"),
        ("03abcd@203.0.113.9:9735", "1btc"),
        (&peer[..66], "1btc"),
    ] {
        let line = format!("hhctl ln channel open {peer} --capacity {capacity} -y");
        assert_eq!(operator.types(&line).await.exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn a_channel_is_closed_by_force_only_with_the_name_of_the_context() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl ln channel close 1187x1x0";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    check_not_confirmed(&devnet, &asked);
    let together = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_eq!(together.exit, Exit::Done, "{together:?}");
    assert_eq!(devnet.changes(), ["close 1187x1x0 forced false"]);

    let line = format!("{line} --force");
    let yes = Operator::at(&devnet).who_answers("y\n").types(&line).await;
    assert_snapshot!("ln_channel_force_refused", yes.transcript());
    check_not_confirmed(&devnet, &yes);
    let dry = format!("{line} --dry-run -o json");
    let dry = Operator::at(&devnet).types(&dry).await;
    assert_snapshot!("ln_channel_force_dry_run", dry.stdout);
    let named = format!("{line} --confirm devnet");
    let named = Operator::at(&devnet).types(&named).await;
    assert_eq!(named.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["close 1187x1x0 forced true"]);
    let unknown = "hhctl ln channel close 9x9x9 --dry-run";
    assert_eq!(
        Operator::at(&devnet).types(unknown).await.exit,
        Exit::NotFound
    );
}

#[tokio::test]
async fn balance_is_moved_for_a_fee_that_is_named_first() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl ln channel rebalance --from 1187x1x0 --to 1190x2x1 --amount 500ksat --max-fee-ppm 200";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("ln_rebalance_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let line = format!("{line} --request-id r-1");
    let moved = Operator::at(&devnet)
        .types(&format!("{line} -y -o json"))
        .await;
    assert_snapshot!("ln_rebalance_json", moved.stdout);
    assert_eq!(
        devnet.changes(),
        ["rebalance 1187x1x0 1190x2x1 500000000 as r-1"]
    );
    let failed = line.replace("500ksat", "501ksat -y");
    let failed = Operator::at(&devnet).types(&failed).await;
    assert_snapshot!("ln_rebalance_failed", failed.transcript());
    assert_eq!(failed.exit, Exit::Failed);
}

#[tokio::test]
async fn peers_are_connected_at_once_and_disconnected_after_a_question() {
    check("ln_peer_list", "hhctl ln peer list").await;
    let devnet = Devnet::start(Answers::good());
    let id = format!("03{}", "cd".repeat(32));
    let line = format!("hhctl ln peer connect {id}@203.0.113.9:9735");
    let connected = Operator::at(&devnet).types(&line).await;
    assert_eq!(connected.exit, Exit::Done, "{connected:?}");
    assert_eq!(devnet.changes(), [format!("connect {id}@203.0.113.9:9735")]);
    let line = format!("hhctl ln peer disconnect {id}");
    let asked = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    assert_snapshot!("ln_peer_disconnect_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let done = Operator::at(&devnet).types(&format!("{line} -y")).await;
    assert_eq!(done.exit, Exit::Done, "{done:?}");
    assert_eq!(devnet.changes(), [format!("disconnect {id}")]);
    let wrong = "hhctl ln peer disconnect 03cd -y";
    assert_eq!(Operator::at(&devnet).types(wrong).await.exit, Exit::Usage);
}

#[tokio::test]
async fn advice_says_what_could_be_done_and_how() {
    check("ln_advice", "hhctl ln advice").await;
}

#[tokio::test]
async fn yield_shows_what_days_have_earned_and_cost() {
    check("ln_yield", "hhctl ln yield").await;
    let devnet = Devnet::start(Answers::good());
    let one = "hhctl ln yield --days 1 --no-headers";
    let one = Operator::at(&devnet).types(one).await;
    assert_eq!(one.stdout.lines().count(), 1, "{}", one.stdout);
}

#[tokio::test]
async fn an_invoice_is_read_without_a_daemon() {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet);
    let read = operator
        .types(&format!("hhctl ln invoice decode {INVOICE}"))
        .await;
    assert_snapshot!("ln_invoice_decode", read.transcript());
    let link = format!(
        "hhctl ln invoice decode lightning:{} -o json",
        HASHED.to_uppercase()
    );
    assert_snapshot!("ln_invoice_decode_json", operator.types(&link).await.stdout);
    // A letter that is mistyped is seen.
    let mistyped = format!(
        "hhctl ln invoice decode {}",
        INVOICE.replace("fna3rh", "fna3rq")
    );
    assert_eq!(operator.types(&mistyped).await.exit, Exit::Usage);
    let unnamed = operator.types("hhctl ln invoice --amount 1sat").await;
    assert_eq!(unnamed.exit, Exit::Usage, "what it is for has to be said");
}

#[tokio::test]
async fn a_payment_is_followed_by_its_hash() {
    let hash = "11".repeat(32);
    check(
        "ln_payment_track",
        &format!("hhctl ln payment track {hash}"),
    )
    .await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let unknown = "77".repeat(32);
    let nobodys = operator
        .types(&format!("hhctl ln payment track {unknown}"))
        .await;
    assert_eq!(nobodys.exit, Exit::NotFound, "{nobodys:?}");
    assert!(nobodys.stdout.contains("has never sent it"), "{nobodys:?}");
    assert_eq!(
        operator.types("hhctl ln payment track 77").await.exit,
        Exit::Usage
    );
}

#[tokio::test]
async fn what_a_channel_takes_for_routing_is_set_after_a_question() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl ln channel fees 1187x1x0 --base 1sat --ppm 200";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("ln_channel_fees_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let set = Operator::at(&devnet).types(&format!("{line} -y")).await;
    assert_snapshot!("ln_channel_fees", set.transcript());
    assert_eq!(devnet.changes(), ["fees of 1187x1x0: 1000 200"]);
    for wrong in [
        "--base 1 --ppm 200",
        "--base 1sat --ppm 2000000",
        "--ppm 1",
        "--base 1btc --ppm 1",
    ] {
        let line = format!("hhctl ln channel fees 1187x1x0 {wrong} -y");
        assert_eq!(
            Operator::at(&devnet).types(&line).await.exit,
            Exit::Usage,
            "{wrong}"
        );
    }
}
