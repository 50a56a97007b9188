//! Payouts: lists, plans, runs, and what an operator does about one.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::treasury::MALLORY;
use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hhctl::Exit;
use insta::assert_snapshot;

#[tokio::test]
async fn payouts_are_listed_and_shown_with_their_receipt() {
    check("payout_list", "hhctl payout list").await;
    check("payout_show", "hhctl payout show 412").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    for (line, expected) in [
        ("list --payee miner:alice --no-headers", "412"),
        ("list --state settled --no-headers", "412"),
        (
            "list --state settled --state paying --payee miner:bob",
            "no such payout of miner:bob",
        ),
        ("list --open --limit 2", "there are more"),
    ] {
        let outcome = operator.types(&format!("hhctl payout {line}")).await;
        assert!(outcome.stdout.contains(expected), "{line}: {outcome:?}");
    }
    let none = operator.types("hhctl payout show 7").await;
    assert_eq!(none.exit, Exit::NotFound);
    assert!(none.stderr.starts_with("error[HH4004]: "), "{none:?}");
    let wrong = operator.types("hhctl payout list --state lost").await;
    assert_eq!(wrong.exit, Exit::Usage);
}

#[tokio::test]
async fn a_plan_shows_who_is_paid_and_who_not_and_changes_nothing() {
    check("payout_plan", "hhctl payout plan").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let one = operator.types("hhctl payout plan miner:alice").await;
    assert!(one.stdout.contains("4,200.456 sat"), "{one:?}");
    assert!(devnet.changes().is_empty());
    let everybody = operator.types("hhctl payout plan --below-minimum").await;
    assert_eq!(
        everybody.exit,
        Exit::Usage,
        "below the minimum only by name"
    );
    let mut answers = Answers::good();
    answers.treasury.plan.day_limit_left_msat = Some(1_000);
    answers.treasury.plan.planned[0].max_fee_msat = None;
    let devnet = Devnet::start(answers);
    let beyond = Operator::at(&devnet).types("hhctl payout plan").await;
    assert!(
        beyond.stdout.contains("1 sat may be paid today"),
        "{beyond:?}"
    );
    assert!(
        beyond.stdout.contains("hh-treasury.toml allows"),
        "{beyond:?}"
    );
}

#[tokio::test]
async fn a_run_pays_what_was_shown_once_the_context_is_named() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl payout run --request-id november-1";
    let asked = Operator::at(&devnet).who_answers("yes\n").types(line).await;
    assert_snapshot!("payout_run_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let dry = Operator::at(&devnet)
        .types(&format!("{line} --dry-run"))
        .await;
    assert_eq!(dry.exit, Exit::Done);
    assert!(devnet.changes().is_empty());
    let run = Operator::at(&devnet)
        .types(&format!("{line} --confirm devnet"))
        .await;
    assert_snapshot!("payout_run", run.transcript());
    let json = "hhctl payout run miner:alice --request-id r-2 --confirm devnet -o json";
    let json = Operator::at(&devnet).types(json).await;
    assert_snapshot!("payout_run_json", json.stdout);
    assert_eq!(
        devnet.changes(),
        [
            "run november-1 miner:alice node:berlin-1 at most 904200456",
            "run r-2 miner:alice at most 4200456"
        ]
    );
}

#[tokio::test]
async fn a_run_has_an_id_that_is_told_before_it_is_sent() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let line = "hhctl payout run --confirm devnet -o json";
    let mut ids = Vec::new();
    for _ in 0..2 {
        let run = operator.types(line).await;
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let id = json["item"]["request_id"].as_str().unwrap().to_owned();
        assert!(
            run.stderr.contains(&format!("--request-id {id}")),
            "{run:?}"
        );
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
    // Also where the answer never comes.
    let devnet = Devnet::start(Answers::good());
    std::fs::remove_file(devnet.path().join("hh-treasury/control.sock")).unwrap();
    let lost = Operator::at(&devnet).types(line).await;
    assert!(lost.stderr.contains("request id "), "{lost:?}");
    for id in ["", "a/b", "x;y", &"x".repeat(65)] {
        let line = format!("hhctl payout run --request-id={id} --confirm devnet");
        assert_eq!(operator.types(&line).await.exit, Exit::Usage, "{id}");
    }
}

#[tokio::test]
async fn a_run_without_anybody_to_pay_sends_nothing() {
    let mut answers = Answers::good();
    answers.treasury.plan.planned.clear();
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let nobody = operator.types("hhctl payout run --confirm devnet").await;
    assert_eq!(nobody.exit, Exit::Done);
    assert!(
        nobody.stdout.contains("nobody is to be paid now"),
        "{nobody:?}"
    );
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn a_hold_asks_nothing_and_a_release_does() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let held = operator
        .types("hhctl payout hold miner:bob --reason disputed")
        .await;
    assert_eq!(held.exit, Exit::Done, "{held:?}");
    let line = "hhctl payout release 413 --reason settled";
    check_not_confirmed_after(&devnet, "hold miner:bob true for disputed");
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("payout_release_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let released = operator.types(&format!("{line} -y")).await;
    assert_eq!(released.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["hold payout:413 false for settled"]);
    for target in ["bob", "lane:main", "miner:", "-1"] {
        let line = format!("hhctl payout hold --reason x -- {target}");
        assert_eq!(operator.types(&line).await.exit, Exit::Usage, "{target}");
    }
}

#[track_caller]
fn check_not_confirmed_after(devnet: &Devnet, change: &str) {
    assert_eq!(devnet.changes(), [change]);
}

#[tokio::test]
async fn one_payout_is_tried_again_or_cancelled() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let retried = operator.types("hhctl payout retry 414").await;
    assert_eq!(retried.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["retry 414"]);
    let line = "hhctl payout cancel 414 --reason asked";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("payout_cancel_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let cancelled = operator.types(&format!("{line} --yes")).await;
    assert_eq!(cancelled.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["cancel 414 for asked"]);
}

#[tokio::test]
async fn a_word_is_given_for_the_amount_and_destination_that_were_shown() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl payout approve 415";
    let asked = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("payout_approve_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let approved = Operator::at(&devnet)
        .who_answers("devnet\n")
        .types(line)
        .await;
    assert!(
        approved.stdout.contains("approved by alice, bob"),
        "{approved:?}"
    );
    let to = format!("03{}", "cd".repeat(32));
    let change = format!("approve 415 900000000 msat to {to}");
    assert_eq!(devnet.changes(), [change]);
    let line = "hhctl payout close-failed 413 --reason lost";
    let asked = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("payout_close_failed_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let closed = format!("{line} --confirm devnet");
    let closed = Operator::at(&devnet).types(&closed).await;
    assert_eq!(closed.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["close 413 for lost"]);
}

#[tokio::test]
async fn an_export_has_every_payout_oldest_first_and_no_formula() {
    let mut answers = Answers::good();
    answers.treasury.payouts[1].payout.payee = MALLORY.to_owned();
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let csv = operator.types("hhctl payout export").await;
    assert_snapshot!("payout_export", csv.stdout);
    assert_eq!(csv.stdout.lines().count(), 5, "over several pages");
    let some = operator.types("hhctl payout export --state settled").await;
    assert_eq!(some.stdout.lines().count(), 2);
}
