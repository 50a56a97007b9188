//! The treasury: what its commands print, what they ask, and that no money goes without the name of the context.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::{Answers, Devnet, down};
use crate::operator::Operator;
use hh_ipc::api::treasury::{Freeze, RewardBlockState};
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;

fn frozen() -> Answers {
    let mut answers = Answers::good();
    answers.treasury.status.freeze = Some(Freeze {
        reason: "the wallet has less than the books".to_owned(),
        actor: "hh-treasury".to_owned(),
        since_at: "2026-11-25T11:00:00Z".parse().unwrap(),
    });
    answers.treasury.status.payouts_waiting_for_operator = 2;
    answers.treasury.plan.is_frozen = true;
    answers
}

#[tokio::test]
async fn limits_say_what_is_left_today_and_until_when() {
    check("treasury_limits", "hhctl treasury limits").await;
}

#[tokio::test]
async fn treasury_status_and_balance_name_every_amount() {
    check("treasury_status", "hhctl treasury status").await;
    check("treasury_balance", "hhctl treasury balance").await;
    let devnet = Devnet::start(frozen());
    let frozen = Operator::at(&devnet).types("hhctl treasury status").await;
    assert_snapshot!("treasury_status_frozen", frozen.transcript());
    let mut answers = Answers::good();
    answers.treasury.status.totals = None;
    answers.treasury.status.balances = None;
    let devnet = Devnet::start(answers);
    let away = Operator::at(&devnet).types("hhctl treasury balance").await;
    assert!(
        away.stdout.contains("the wallet does not answer now"),
        "{away:?}"
    );
}

#[tokio::test]
async fn the_ledger_has_a_line_for_each_book_that_an_entry_changed() {
    check("treasury_ledger", "hhctl treasury ledger").await;
    let command = "hhctl treasury ledger --before 4 --limit 1";
    check("treasury_ledger_page", command).await;
}

#[tokio::test]
async fn a_freeze_asks_nothing_and_works_without_a_terminal() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let frozen = operator.types("hhctl treasury freeze").await;
    assert_snapshot!("treasury_freeze", frozen.transcript());
    let again = operator
        .types("hhctl treasury freeze --reason wallet -o json")
        .await;
    assert_snapshot!("treasury_freeze_json", again.stdout);
    let ci = Operator::at(&devnet).with_variable("CI", "true");
    let ci = ci.who_answers("").types("hhctl treasury freeze").await;
    assert_eq!(ci.exit, Exit::Done, "{ci:?}");
    assert_eq!(devnet.changes().len(), 3);
    let watched = operator.types("hhctl treasury freeze --watch").await;
    assert_eq!(watched.exit, Exit::Usage);
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn payouts_go_on_once_the_name_of_the_context_is_typed() {
    let devnet = Devnet::start(frozen());
    let line = "hhctl treasury unfreeze --reason mended";
    for answer in ["y\n", "yes\n", "Devnet\n", ""] {
        let other = Operator::at(&devnet).who_answers(answer).types(line).await;
        check_not_confirmed(&devnet, &other);
    }
    let asked = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("treasury_unfreeze_refused", asked.transcript());
    let piped = Operator::at(&devnet).types(line).await;
    assert!(piped.stderr.contains("--confirm devnet"), "{piped:?}");
    check_not_confirmed(&devnet, &piped);
    let yes = Operator::at(&devnet).types(&format!("{line} --yes")).await;
    assert_eq!(yes.exit, Exit::Usage, "a yes is the same in every context");

    let elsewhere = format!("{line} --confirm mainnet");
    let elsewhere = Operator::at(&devnet).types(&elsewhere).await;
    assert_snapshot!("treasury_unfreeze_elsewhere", elsewhere.transcript());
    check_not_confirmed(&devnet, &elsewhere);
    let dry = format!("{line} --dry-run -o json");
    let dry = Operator::at(&devnet).types(&dry).await;
    assert_snapshot!("treasury_unfreeze_dry_run", dry.stdout);
    assert!(devnet.changes().is_empty());

    let typed = Operator::at(&devnet).who_answers("devnet\n");
    assert_eq!(typed.types(line).await.exit, Exit::Done);
    let flag = format!("{line} --confirm devnet");
    let flag = Operator::at(&devnet).types(&flag).await;
    assert_snapshot!("treasury_unfreeze", flag.transcript());
    assert_eq!(devnet.changes(), ["unfreeze for mended"; 2]);
}

#[tokio::test]
async fn what_is_not_frozen_is_refused_with_the_daemons_code() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let line = "hhctl treasury unfreeze --reason x --confirm devnet";
    let refused = operator.types(line).await;
    assert!(refused.stderr.starts_with("error[HH4012]: "), "{refused:?}");
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "what, why, what to do: {refused:?}");
}

#[tokio::test]
async fn verify_and_reconcile_end_with_3_where_something_does_not_agree() {
    check("treasury_verify", "hhctl treasury verify").await;
    check("treasury_reconcile", "hhctl treasury reconcile").await;
    let mut answers = Answers::good();
    answers.treasury.verified.is_solvent = false;
    answers.treasury.verified.findings[0].is_grave = true;
    answers.treasury.reconciled = crate::daemons::treasury::unmatched();
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let insolvent = operator.types("hhctl treasury verify").await;
    assert_eq!(insolvent.exit, Exit::Degraded);
    assert_snapshot!("treasury_verify_insolvent", insolvent.transcript());
    let unmatched = operator.types("hhctl treasury reconcile").await;
    assert_eq!(unmatched.exit, Exit::Degraded);
    assert_snapshot!("treasury_reconcile_unmatched", unmatched.transcript());
}

#[tokio::test]
async fn a_payment_is_adopted_once_the_context_is_named() {
    let mut answers = Answers::good();
    answers.treasury.reconciled = crate::daemons::treasury::unmatched();
    answers.treasury.reconciled.unmatched[0].books =
        Some("attempt 3 of payout 9 is abandoned".to_owned());
    let devnet = Devnet::start(answers);
    let hash = "07".repeat(32);
    let line = format!("hhctl treasury adopt {hash} --payee alice --evidence seen");
    let asked = Operator::at(&devnet).who_answers("y\n").types(&line).await;
    assert_snapshot!("treasury_adopt_refused", asked.transcript());
    assert_eq!(devnet.changes(), ["reconcile"], "only a look");
    let operator = Operator::at(&devnet);
    let done = operator.types(&format!("{line} --confirm devnet")).await;
    assert_snapshot!("treasury_adopt", done.transcript());
    let adopted = format!("adopt {hash} of miner:alice for seen");
    assert_eq!(devnet.changes(), [adopted]);
    let line = format!("hhctl treasury adopt-foreign {hash} --evidence mine --confirm devnet");
    let done = operator.types(&line).await;
    assert_snapshot!("treasury_adopt_foreign", done.transcript());
    assert_eq!(devnet.changes(), [format!("foreign {hash} for mine")]);
    let wrong = "hhctl treasury adopt 0707 --payee alice --evidence x";
    assert_eq!(operator.types(wrong).await.exit, Exit::Usage);
}

#[tokio::test]
async fn an_address_is_all_that_is_printed() {
    let devnet = Devnet::start(Answers::good());
    let address = Operator::at(&devnet).types("hhctl treasury address").await;
    assert_eq!(
        address.stdout,
        "tb1q7cyrfmck2ffu2ud3rn5l5a8yv6f0chkp0zpemf\n"
    );
}

#[tokio::test]
async fn capital_is_booked_after_a_question_and_the_amount_has_a_unit() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl treasury deposit 50ksat --note channels";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("treasury_deposit_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let operator = Operator::at(&devnet);
    let dry = operator.types(&format!("{line} --dry-run")).await;
    assert_eq!(dry.exit, Exit::Done);
    assert!(devnet.changes().is_empty());
    let booked = format!("{line} --request-id d-1 -y");
    let booked = operator.types(&booked).await;
    assert_snapshot!("treasury_deposit", booked.transcript());
    assert_eq!(devnet.changes(), ["deposit 50000000 for channels as d-1"]);
    // Without an id it gets one of its own, which is told.
    let told = operator.types(&format!("{line} -y")).await.stderr;
    let id = told.split("--request-id ").nth(1).unwrap();
    let id = id.split_whitespace().next().unwrap();
    let sent = format!("deposit 50000000 for channels as {id}");
    assert_eq!(devnet.changes(), [sent], "{told}");
    for amount in ["50000", "0sat", "0.1msat", "-1sat", "22000000btc"] {
        let line = format!("hhctl treasury deposit {amount} --note x -y");
        assert_eq!(operator.types(&line).await.exit, Exit::Usage, "{amount}");
    }
}

#[tokio::test]
async fn the_reserve_is_given_to_nodes_once_the_context_is_named() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl treasury distribute berlin-1=300ksat oslo=120ksat --reason October";
    let asked = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("treasury_distribute_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let operator = Operator::at(&devnet);
    let done = operator.types(&format!("{line} --confirm devnet")).await;
    assert_eq!(done.exit, Exit::Done, "{done:?}");
    let parts = r#"distribute [("berlin-1", 300000000), ("oslo", 120000000)] for October"#;
    assert_eq!(devnet.changes(), [parts]);
    let wrong = "hhctl treasury distribute berlin-1 --reason x";
    assert_eq!(operator.types(wrong).await.exit, Exit::Usage);
}

#[tokio::test]
async fn a_view_socket_lets_nothing_be_changed() {
    let devnet = Devnet::start(frozen());
    std::fs::remove_file(devnet.path().join("hh-treasury/control.sock")).unwrap();
    let operator = Operator::at(&devnet);
    for line in [
        "hhctl treasury freeze",
        "hhctl treasury unfreeze --reason x --confirm devnet",
        "hhctl payout run --confirm devnet",
        "hhctl ln channel close 1187x1x0 --force --confirm devnet",
    ] {
        assert_eq!(operator.types(line).await.exit, Exit::Unreachable, "{line}");
    }
    assert_eq!(
        operator.types("hhctl treasury status").await.exit,
        Exit::Done
    );
}

#[tokio::test]
async fn blocks_are_shown_with_their_reward_and_without_a_treasury_without() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Pool]);
    let alone = Operator::at(&devnet).types("hhctl block list").await;
    assert_eq!((alone.exit, &*alone.stderr), (Exit::Done, ""));
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Pool]);
    let _deaf = devnet.listen(Daemon::Treasury);
    let line = "hhctl block list --timeout 50ms";
    let deaf = Operator::at(&devnet).types(line).await;
    assert_eq!(deaf.exit, Exit::Partial, "{deaf:?}");
    assert!(deaf.stdout.contains("1203"), "{deaf:?}");
    let mut answers = Answers::good();
    let block = &mut answers.treasury.blocks[0];
    block.state = RewardBlockState::Tracked;
    block.split_at = None;
    block.reason = Some("pool-2 lags".to_owned());
    let devnet = Devnet::start(answers);
    let waits = Operator::at(&devnet).types("hhctl block list").await;
    let words = "not split, mature in 99 blocks: pool-2 lags";
    assert!(waits.stdout.contains(words), "{waits:?}");
}

#[tokio::test]
async fn doctor_and_status_say_what_is_wrong_with_the_treasury() {
    let mut answers = frozen();
    let status = &mut answers.treasury.status;
    status.lightning = down("ldk-node", "no peer");
    status.last_verified_at = None;
    status.bitcoin_nodes = vec![down("http://127.0.0.1:38332", "connection refused")];
    if let Some(balances) = &mut status.balances {
        balances.channels_msat = 0;
    }
    if let Some(block) = &mut status.last_block {
        block.split_at = None;
        block.reason = Some("pool-2 lags".to_owned());
        block.found_at = "2026-11-25T11:00:00Z".parse().unwrap();
    }
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let doctor = operator.types("hhctl doctor").await;
    assert_eq!(doctor.exit, Exit::Degraded);
    let of_treasury = [
        "treasury",
        "books",
        "lightning",
        "payouts",
        "verification",
        "suspense",
        "liquidity",
        "split",
    ];
    let is_about = |line: &&str| {
        let line = line.trim_start();
        of_treasury.iter().any(|name| line.starts_with(name))
    };
    let lines = doctor.stdout.lines().filter(is_about).map(str::trim_end);
    assert_snapshot!("doctor_treasury", lines.collect::<Vec<_>>().join("\n"));
    let status = operator.types("hhctl status").await;
    assert_eq!(status.exit, Exit::Degraded);
    assert!(
        status.stdout.contains("payouts are frozen by hh-treasury"),
        "{status:?}"
    );
}
