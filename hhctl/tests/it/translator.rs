//! Lanes and miners of the translator.

use crate::changes::check_not_confirmed;
use crate::commands::check;
use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hhctl::Exit;
use insta::assert_snapshot;

#[tokio::test]
async fn lanes_are_listed_and_shown() {
    check("lane_list", "hhctl lane list").await;
    check("lane_show", "hhctl lane show main").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let paused = operator.types("hhctl lane show tls").await;
    assert!(paused.stdout.contains("hhctl lane resume"), "{paused:?}");
    let unknown = operator.types("hhctl lane show east").await;
    assert_eq!(unknown.exit, Exit::NotFound);
    assert!(unknown.stderr.contains("there is main, tls"), "{unknown:?}");
}

#[tokio::test]
async fn downstreams_are_listed_and_shown() {
    check("downstream_list", "hhctl translator downstream list").await;
    check("downstream_show", "hhctl translator downstream show 1").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    for (line, expected) in [
        ("list --user dave", "no miner of dave is connected"),
        ("list --lane tls", "nobody is connected on lane tls"),
    ] {
        let line = format!("hhctl translator downstream {line}");
        let none = operator.types(&line).await;
        assert!(none.stdout.contains(expected), "{none:?}");
    }
    let unknown = operator.types("hhctl translator downstream show 99").await;
    assert_eq!(unknown.exit, Exit::NotFound);
}

#[tokio::test]
async fn a_lane_is_paused_after_a_question_and_resumed_without() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl lane pause main";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("lane_pause_refused", no.transcript());
    check_not_confirmed(&devnet, &no);
    let operator = Operator::at(&devnet);
    check_not_confirmed(&devnet, &operator.types(line).await);
    let paused = operator.types(&format!("{line} --yes")).await;
    assert_snapshot!("lane_pause_table", paused.transcript());
    let resumed = operator.types("hhctl lane resume tls -o json").await;
    assert_snapshot!("lane_resume_json", resumed.stdout);
    let changes = ["lane main paused true", "lane tls paused false"];
    assert_eq!(devnet.changes(), changes);
    let unknown = operator.types("hhctl lane pause east --yes").await;
    assert_eq!(unknown.exit, Exit::NotFound);
    let dry = operator.types("hhctl lane pause main --dry-run").await;
    assert!(dry.stdout.contains("would let no new miner in"), "{dry:?}");
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn downstreams_are_kicked_one_without_a_question_and_many_with_one() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let one = operator.types("hhctl translator downstream kick 1").await;
    assert_snapshot!("downstream_kick_table", one.transcript());
    assert_eq!(devnet.changes(), ["kick Id(1)"]);
    let lane = "hhctl translator downstream kick --lane main";
    check_not_confirmed(&devnet, &operator.types(lane).await);
    let all = operator.types(&format!("{lane} --yes -o json")).await;
    assert_snapshot!("downstream_kick_json", all.stdout);
    assert_eq!(devnet.changes(), [r#"kick Lane("main")"#]);
    let gone = operator.types("hhctl translator downstream kick 99").await;
    assert_eq!(gone.exit, Exit::NotFound);
    let nobody = operator.types("hhctl translator downstream kick").await;
    assert_eq!(nobody.exit, Exit::Usage);
}

#[tokio::test]
async fn upstreams_are_listed_and_tested() {
    check("upstream_list", "hhctl translator upstream list").await;
    check(
        "upstream_test",
        "hhctl translator upstream test 127.0.0.1:34254",
    )
    .await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let all = operator.types("hhctl translator upstream test --all").await;
    assert_eq!(all.exit, Exit::Degraded);
    assert_snapshot!("upstream_test_all", all.transcript());
    for line in ["test", "test --all pool2.example.net:34254", "switch"] {
        let line = format!("hhctl translator upstream {line}");
        assert_eq!(operator.types(&line).await.exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn an_upstream_is_switched_to_after_a_question() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl translator upstream switch pool2.example.net:34254";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("upstream_switch_refused", no.transcript());
    check_not_confirmed(&devnet, &no);
    let operator = Operator::at(&devnet);
    check_not_confirmed(&devnet, &operator.types(line).await);
    let dry = operator.types(&format!("{line} --dry-run")).await;
    assert!(dry.stdout.contains("would connect to"), "{dry:?}");
    assert!(devnet.changes().is_empty());
    let done = operator.types(&format!("{line} --yes")).await;
    assert_snapshot!("upstream_switch_table", done.transcript());
    assert_eq!(devnet.changes(), ["switch to pool2.example.net:34254"]);
    let json = operator.types(&format!("{line} --yes -o json")).await;
    assert_snapshot!("upstream_switch_json", json.stdout);
    let unknown = "hhctl translator upstream switch elsewhere.example:1 --yes";
    assert_eq!(operator.types(unknown).await.exit, Exit::NotFound);
}
