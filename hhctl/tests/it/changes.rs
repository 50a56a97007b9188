//! Commands that change something: what they print, what they ask, and that nothing happens without a yes.

use crate::daemons::{Answers, Devnet};
use crate::operator::{Operator, Outcome};
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;

/// Nothing was changed, and the exit says that it is for want of a yes.
#[track_caller]
pub(crate) fn check_not_confirmed(devnet: &Devnet, outcome: &Outcome) {
    assert_eq!(outcome.exit, Exit::NotConfirmed, "{outcome:?}");
    assert_eq!(devnet.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_kick_shows_what_it_closed() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let one = operator.types("hhctl miner kick 3").await;
    assert_snapshot!("kick_table", one.transcript());
    let json = operator
        .types("hhctl miner kick --account alice --yes -o json")
        .await;
    assert_snapshot!("kick_json", json.stdout);
    assert_eq!(
        devnet.changes(),
        [r#"kick Channel(3)"#, r#"kick Account("alice")"#]
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let devnet = Devnet::start(Answers::good());
    let outcome = Operator::at(&devnet)
        .types("hhctl miner kick --address 192.0.2.7 --dry-run")
        .await;
    assert_eq!(outcome.exit, Exit::Done);
    assert!(outcome.stdout.contains("would close"), "{}", outcome.stdout);
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn what_is_not_mild_is_asked_about_with_the_context_named() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl miner kick --account alice";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("kick_refused", no.transcript());
    check_not_confirmed(&devnet, &no);
    let nothing = Operator::at(&devnet).who_answers("").types(line).await;
    check_not_confirmed(&devnet, &nothing);
    let yes = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_eq!(yes.exit, Exit::Done);
    assert_eq!(devnet.changes().len(), 1);
}

#[tokio::test]
async fn without_a_terminal_nothing_is_changed_and_the_flag_is_named() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl miner kick --account alice";
    let piped = Operator::at(&devnet).types(line).await;
    assert_snapshot!("kick_without_terminal", piped.transcript());
    check_not_confirmed(&devnet, &piped);
    let ci = Operator::at(&devnet).with_variable("CI", "true");
    let ci = ci.who_answers("y\n").types(line).await;
    check_not_confirmed(&devnet, &ci);
}

#[tokio::test]
async fn nothing_is_changed_over_a_view_socket() {
    let devnet = Devnet::start(Answers::good());
    std::fs::remove_file(devnet.path().join("hh-pool/control.sock")).unwrap();
    let outcome = Operator::at(&devnet).types("hhctl miner kick 3").await;
    assert_eq!(outcome.exit, Exit::Unreachable, "{outcome:?}");
    assert!(outcome.stderr.contains("control.sock"), "{outcome:?}");
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn who_is_not_there_can_not_be_kicked() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let outcome = operator.types("hhctl miner kick 99").await;
    assert_eq!(outcome.exit, Exit::NotFound);
    for line in [
        "hhctl miner kick",
        "hhctl miner kick 3 --account alice",
        "hhctl miner kick 3 --watch",
        "hhctl token create paris --watch",
    ] {
        assert_eq!(operator.types(line).await.exit, Exit::Usage, "{line}");
    }
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn a_ban_is_asked_about_and_shows_what_it_closed() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl miner ban 192.0.2.7 --for 90m --reason scans";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("ban_refused", no.transcript());
    check_not_confirmed(&devnet, &no);
    let operator = Operator::at(&devnet);
    check_not_confirmed(&devnet, &operator.types(line).await);
    let made = operator.types(&format!("{line} --yes")).await;
    assert_snapshot!("ban_table", made.transcript());
    assert_eq!(devnet.changes().len(), 2, "at hh-pool and at hh-translator");
    let account = operator
        .types("hhctl miner ban --account alice -y -o json")
        .await;
    assert_snapshot!("ban_json", account.stdout);
    let dry = operator.types("hhctl miner ban 192.0.2.0/24 --dry-run");
    assert!(dry.await.stdout.contains("would ban 192.0.2.0/24"));
    assert_eq!(devnet.changes().len(), 1, "accounts are hh-pool's to ban");
    for line in [
        "hhctl miner ban",
        "hhctl miner ban --account alice --daemon hh-translator",
        "hhctl miner ban 192.0.2.7 --daemon hh-tp",
        "hhctl miner ban 192.0.2.7 --account alice",
        "hhctl miner ban 192.0.2.7 --for 5",
        "hhctl miner unban",
    ] {
        assert_eq!(operator.types(line).await.exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn a_ban_is_lifted_without_a_question() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let lifted = operator.types("hhctl miner unban --account mallory").await;
    assert_snapshot!("unban_table", lifted.transcript());
    assert_eq!(devnet.changes().len(), 1);
    let dry = operator.types("hhctl miner unban 203.0.113.0/24 --dry-run");
    let dry = dry.await;
    let both = "would lift the ban of 203.0.113.0/24 at hh-pool and hh-translator";
    assert!(dry.stdout.contains(both), "{dry:?}");
    let unknown = operator.types("hhctl miner unban 203.0.113.7").await;
    assert_eq!(unknown.exit, Exit::NotFound);
    assert!(devnet.changes().is_empty());
    let at_one = operator
        .types("hhctl miner unban 198.51.100.7 -o json")
        .await;
    assert_snapshot!("unban_json", at_one.transcript());
    assert_eq!(devnet.changes().len(), 1, "hh-pool has no such ban");
}

#[tokio::test]
async fn a_ban_is_made_where_it_can_be_and_says_where_not() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Pool]);
    let line = "hhctl miner ban 192.0.2.7";
    let asked = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("ban_refused_at_one_of_two", asked.transcript());
    check_not_confirmed(&devnet, &asked);
    let operator = Operator::at(&devnet);
    let made = operator.types(&format!("{line} --yes")).await;
    assert_eq!(made.exit, Exit::Partial);
    assert!(made.stderr.contains("hh-translator"), "{made:?}");
    assert_eq!(devnet.changes().len(), 1);
    let line = "hhctl miner unban 203.0.113.0/24";
    assert_eq!(operator.types(line).await.exit, Exit::Partial);
    let only = operator.types(&format!("{line} --daemon hh-pool")).await;
    assert_eq!(only.exit, Exit::Done);
    // One that can't be asked may have it.
    let unknown = operator.types("hhctl miner unban 198.51.100.7").await;
    assert_eq!(unknown.exit, Exit::Unreachable, "{unknown:?}");
}

#[tokio::test]
async fn a_difficulty_for_an_account_is_set_at_once_and_for_all_after_a_question() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let bob = operator
        .types("hhctl pool vardiff set --account bob --min 1000 --max 1e6")
        .await;
    assert_snapshot!("vardiff_set_account", bob.transcript());
    assert_eq!(devnet.changes().len(), 1);

    let line = "hhctl pool vardiff set --shares-per-minute 12";
    check_not_confirmed(&devnet, &operator.types(line).await);
    let asked = Operator::at(&devnet).who_answers("no").types(line).await;
    assert_snapshot!("vardiff_set_refused", asked.transcript());
    let json = operator.types(&format!("{line} -y -o json")).await;
    assert_snapshot!("vardiff_set_json", json.stdout);
    assert_eq!(devnet.changes().len(), 1);
    for line in [
        "hhctl pool vardiff set",
        "hhctl pool vardiff set --account bob",
        "hhctl pool vardiff set --account bob --shares-per-minute 3",
        "hhctl pool vardiff set --min low",
    ] {
        assert_eq!(operator.types(line).await.exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn a_pool_is_retired_once_its_name_is_typed() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl pool retire 3";
    for answer in ["y\n", "pool-2\n", ""] {
        let other = Operator::at(&devnet).who_answers(answer).types(line).await;
        check_not_confirmed(&devnet, &other);
    }
    check_not_confirmed(&devnet, &Operator::at(&devnet).types(line).await);
    let yes = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("retire_refused", yes.transcript());
    let named = Operator::at(&devnet)
        .who_answers("pool-3\n")
        .types(line)
        .await;
    assert_snapshot!("retire_table", named.transcript());
    let json = Operator::at(&devnet)
        .types(&format!("{line} -y -o json"))
        .await;
    assert_snapshot!("retire_json", json.stdout);
    assert_eq!(devnet.changes(), ["retire pool-3 lost false"; 2]);
}

#[tokio::test]
async fn shares_are_given_up_only_where_the_flag_says_so_and_the_loss_is_told() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let refused = operator.types("hhctl pool retire 2 --yes").await;
    assert_eq!(refused.exit, Exit::Failed);
    assert!(refused.stderr.contains("--lost"), "{}", refused.stderr);
    let dry = operator.types("hhctl pool retire 2 --lost --dry-run").await;
    assert_snapshot!("retire_lost_dry_run", dry.transcript());
    assert_eq!(
        operator.types("hhctl pool retire 9").await.exit,
        Exit::NotFound
    );
    for line in ["hhctl pool retire", "hhctl pool retire 65536"] {
        assert_eq!(operator.types(line).await.exit, Exit::Usage, "{line}");
    }
    assert!(devnet.changes().is_empty());
    let lost = operator.types("hhctl pool retire 2 --lost --yes").await;
    assert_eq!(lost.exit, Exit::Done);
    assert_eq!(devnet.changes(), ["retire pool-2 lost true"]);
}
