//! What the treasury has on the chain, and that nothing leaves it there without the name of the context.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hhctl::Exit;
use insta::assert_snapshot;

const ADDRESS: &str = "tb1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l";

#[tokio::test]
async fn outputs_are_listed_and_where_a_wallet_cant_it_is_said_first() {
    check("treasury_utxo", "hhctl treasury utxo").await;
    let mut answers = Answers::good();
    let on_chain = &mut answers.treasury.on_chain;
    on_chain.outputs.clear();
    on_chain.no_list_because = Some("it tells sums".to_owned());
    let devnet = Devnet::start(answers);
    let sums = Operator::at(&devnet).types("hhctl treasury utxo").await;
    assert_snapshot!("treasury_utxo_sums", sums.transcript());
}

#[tokio::test]
async fn money_leaves_once_the_name_of_the_context_is_typed() {
    let devnet = Devnet::start(Answers::good());
    let line = format!("hhctl treasury withdraw {ADDRESS} 150ksat --request-id w-4");
    for answer in ["y\n", "Devnet\n", ""] {
        let other = Operator::at(&devnet).who_answers(answer).types(&line).await;
        check_not_confirmed(&devnet, &other);
    }
    let asked = Operator::at(&devnet).who_answers("y\n").types(&line).await;
    assert_snapshot!("treasury_withdraw_refused", asked.transcript());
    let named = Operator::at(&devnet).who_answers("devnet\n");
    let named = named.types(&line).await;
    assert_snapshot!("treasury_withdraw", named.transcript());
    let sent = format!("withdraw Some(150000) to {ADDRESS} at None as w-4");
    assert_eq!(devnet.changes(), [sent]);
}

#[tokio::test]
async fn a_plan_names_what_may_leave_and_sends_nothing() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let line = format!("hhctl treasury withdraw {ADDRESS} --all-free --dry-run");
    let planned = operator.types(&line).await;
    assert_snapshot!("treasury_withdraw_dry_run", planned.transcript());
    let json = operator.types(&format!("{line} -o json")).await;
    assert_snapshot!("treasury_withdraw_dry_run_json", json.stdout);
    assert!(devnet.changes().is_empty());
    let line = format!("hhctl treasury withdraw {ADDRESS} 2btc --confirm devnet");
    let too_much = operator.types(&line).await;
    assert_eq!(too_much.exit, Exit::Failed, "{too_much:?}");
    let line = format!("hhctl treasury withdraw {ADDRESS} 1btc --dry-run");
    assert!(
        operator
            .types(&line)
            .await
            .stderr
            .contains("99900000 sat that may leave")
    );
}

#[tokio::test]
async fn above_the_limit_the_first_operator_is_told_of_the_second() {
    let devnet = Devnet::start(Answers::good());
    let line = format!("hhctl treasury withdraw {ADDRESS} 300ksat --request-id w-5");
    let first = Operator::at(&devnet)
        .types(&format!("{line} --confirm devnet"))
        .await;
    assert_eq!(first.exit, Exit::NotConfirmed, "{first:?}");
    assert_snapshot!("treasury_withdraw_first_of_two", first.transcript());
}

#[tokio::test]
async fn what_is_no_withdrawal_is_refused_before_any_daemon_is_asked() {
    let devnet = Devnet::empty();
    for rest in [
        "",
        "1btc --all-free",
        "1500msat",
        "1",
        "1btc --fee-rate 0",
        "1btc --fee-rate 20000",
    ] {
        let line = format!("hhctl treasury withdraw {ADDRESS} {rest}");
        let refused = Operator::at(&devnet).types(line.trim_end()).await;
        assert_eq!(refused.exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn withdrawals_are_listed_and_one_that_nobody_has_is_closed_by_name() {
    check("treasury_withdrawal_list", "hhctl treasury withdrawal list").await;
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl treasury withdrawal close-failed 3 --reason killed";
    let asked = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("treasury_withdrawal_close_refused", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let named = format!("{line} --confirm devnet");
    let closed = Operator::at(&devnet).types(&named).await;
    assert_snapshot!("treasury_withdrawal_close", closed.transcript());
    assert_eq!(devnet.changes(), ["close 3 for killed"]);
}
