//! What every command prints.

use crate::daemons::{Answers, Devnet, down};
use crate::operator::Operator;
use hh_ipc::api::pool::LostRecords;
use hh_ipc::api::template_provider::NodeCondition;
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;

/// The table and the JSON of a command on a network that works.
pub(crate) async fn check(name: &str, line: &str) {
    check_of(Answers::good(), name, line).await;
}

pub(crate) async fn check_of(answers: Answers, name: &str, line: &str) {
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let table = operator.types(line).await;
    assert_snapshot!(format!("{name}_table"), table.transcript());
    let json = operator.types(&format!("{line} -o json")).await;
    assert_eq!(json.exit, table.exit);
    assert_eq!(json.stderr, "");
    let parsed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(parsed["api"], "hhctl/v1");
    assert_snapshot!(format!("{name}_json"), json.stdout);
}

#[tokio::test]
async fn status_shows_the_whole_network() {
    check("status", "hhctl status").await;
}

#[tokio::test]
async fn pool_status_shows_work_and_durability() {
    check("pool_status", "hhctl pool status").await;
}

#[tokio::test]
async fn pool_job_current_shows_what_miners_work_on() {
    check("job_current", "hhctl pool job current").await;
}

#[tokio::test]
async fn a_job_whose_template_provider_is_away_says_so() {
    let mut answers = Answers::good();
    let job = answers.job.as_mut().expect("there is work");
    job.template_provider = down("127.0.0.1:34250", "connection refused");
    job.template_connection_up = false;
    job.transactions = None;
    let devnet = Devnet::start(answers);
    let outcome = Operator::at(&devnet).types("hhctl pool job current").await;
    let lines = ["provider", "Transactions"].map(|name| {
        let mut lines = outcome.stdout.lines();
        lines.find(|line| line.contains(name)).unwrap_or("nothing")
    });
    assert_snapshot!("job_of_a_provider_that_is_away", lines.join("\n"));
}

#[tokio::test]
async fn pool_coinbase_show_takes_the_coinbase_apart() {
    check("coinbase_show", "hhctl pool coinbase show").await;
    let mut answers = Answers::good();
    let coinbase = answers.coinbase.as_mut().expect("there is work");
    coinbase.template_value_sat += 1;
    let devnet = Devnet::start(answers);
    let outcome = Operator::at(&devnet)
        .types("hhctl pool coinbase show")
        .await;
    assert_eq!(outcome.exit, Exit::Degraded);
    let wrong = "50.00003456 BTC (5,000,003,456 sat); the template allows 50.00003457 BTC";
    assert!(outcome.stdout.contains(wrong), "{}", outcome.stdout);
}

#[tokio::test]
async fn a_pool_without_work_says_so_and_why() {
    let mut answers = Answers::good();
    (answers.job, answers.coinbase) = (None, None);
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let job = operator.types("hhctl pool job current").await;
    assert_snapshot!("job_none", job.transcript());
    let coinbase = operator.types("hhctl pool coinbase show").await;
    assert_eq!(coinbase.exit, Exit::NotFound);
}

#[tokio::test]
async fn pool_vardiff_show_tells_what_was_set() {
    check("vardiff_show", "hhctl pool vardiff show").await;
}

#[tokio::test]
async fn miner_list_shows_every_channel() {
    check("miner_list", "hhctl miner list").await;
}

#[tokio::test]
async fn miner_show_shows_one_channel() {
    check("miner_show", "hhctl miner show 3").await;
}

#[tokio::test]
async fn ban_list_shows_who_is_kept_out_by_whom_and_until_when() {
    check("ban_list", "hhctl ban list").await;
    let mut answers = Answers::good();
    answers.bans = Vec::new();
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let none = operator.types("hhctl ban list --daemon hh-pool").await;
    assert!(none.stdout.contains("nobody is banned"), "{}", none.stdout);
    let translator = operator
        .types("hhctl ban list --daemon hh-translator --no-headers")
        .await;
    assert_eq!(translator.stdout.lines().count(), 2, "{translator:?}");
}

#[tokio::test]
async fn worker_list_shows_who_mines_and_who_is_away() {
    check("worker_list", "hhctl worker list").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let one = operator.types("hhctl worker list --limit 1").await;
    assert!(one.stdout.contains("1 of 2 shown"), "{}", one.stdout);
    let bob = operator
        .types("hhctl worker list --account bob --no-headers")
        .await;
    assert_eq!(bob.stdout.lines().count(), 1, "{}", bob.stdout);
}

#[tokio::test]
async fn share_stats_shows_accounts() {
    check("share_stats", "hhctl share stats").await;
}

#[tokio::test]
async fn share_tail_follows_what_comes_until_the_pool_ends_it() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let outcome = operator.types("hhctl share tail -n 3").await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert_snapshot!("share_tail_table", outcome.transcript());
    let lines = operator.types("hhctl share tail -n 1 -o jsonl").await;
    assert_snapshot!("share_tail_jsonl", lines.stdout);
    let json = operator.types("hhctl share tail -n 1 -o json").await;
    assert_eq!(json.stdout, lines.stdout);
}

#[tokio::test]
async fn share_tail_shows_whose_it_is_asked_for_and_waits_for_nothing_if_told_so() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let mut seen = String::new();
    for line in [
        "hhctl share tail --no-follow --no-headers",
        "hhctl share tail --no-follow --no-headers -n 2 --worker rig1",
        "hhctl share tail --no-follow --account zoe",
        "hhctl share tail --watch",
    ] {
        seen += &format!("$ {line}\n{}\n", operator.types(line).await.transcript());
    }
    assert_snapshot!("share_tail_some", seen);
}

#[tokio::test]
async fn block_list_shows_finders_and_reasons() {
    check("block_list", "hhctl block list").await;
}

#[tokio::test]
async fn block_show_shows_what_every_path_said() {
    check("block_show", "hhctl block show 1203").await;
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let hash = crate::daemons::TIP.to_ascii_uppercase();
    let refused = operator.types(&format!("hhctl block show {hash}")).await;
    let reason = "rejected: bad-txns-nonfinal";
    assert!(refused.stdout.contains(reason), "{}", refused.stdout);
    let none = operator.types("hhctl block show 7").await;
    assert_eq!(none.exit, Exit::NotFound);
    assert!(none.stderr.contains("HH2014"), "{}", none.stderr);
    let wrong = operator.types("hhctl block show open").await;
    assert_eq!(wrong.exit, Exit::Usage);
}

#[tokio::test]
async fn round_list_shows_effort_and_luck_and_who_is_waited_for() {
    check("round_list", "hhctl round list").await;
    let devnet = Devnet::start(Answers::good());
    let open = Operator::at(&devnet)
        .types("hhctl round show open --no-headers")
        .await;
    assert!(open.stdout.contains("the round goes on"), "{}", open.stdout);
    let none = Operator::at(&devnet).types("hhctl round show 7").await;
    assert_eq!(none.exit, Exit::NotFound);
}

#[tokio::test]
async fn round_show_shows_who_worked_in_it() {
    check("round_show", "hhctl round show 1203").await;
}

#[tokio::test]
async fn event_list_shows_who_changed_what() {
    check("event_list", "hhctl event list").await;
    let devnet = Devnet::start(Answers::good());
    let last = Operator::at(&devnet)
        .types("hhctl event list --limit 1 --no-headers")
        .await;
    assert!(last.stdout.contains("pool.retire"), "{}", last.stdout);
    assert_eq!(last.stdout.lines().count(), 1);
    let line = "hhctl event list --daemon hh-translator --no-headers";
    let at_one = Operator::at(&devnet).types(line).await;
    assert!(at_one.stdout.contains("lane.pause"), "{}", at_one.stdout);
    assert_eq!(at_one.stdout.lines().count(), 1);
}

#[tokio::test]
async fn a_journal_that_can_not_be_asked_for_is_told_beside_the_others() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Pool]);
    let operator = Operator::at(&devnet);
    let listed = operator.types("hhctl event list").await;
    assert_eq!(listed.exit, Exit::Partial);
    assert!(listed.stdout.contains("miner.kick"), "{}", listed.stdout);
    assert!(listed.stderr.contains("hh-translator"), "{}", listed.stderr);
    let checked = operator.types("hhctl event verify").await;
    assert_eq!(checked.exit, Exit::Partial);
    let one = operator.types("hhctl event verify --daemon hh-pool").await;
    assert_eq!((one.exit, &*one.stderr), (Exit::Done, ""));
}

#[tokio::test]
async fn event_verify_follows_the_chain() {
    check("event_verify", "hhctl event verify").await;
    let mut answers = Answers::good();
    answers.journal[1] = answers.journal[1].replace("2026", "2025");
    answers.journal.remove(3);
    let kept = "hhctl event verify --daemon hh-pool --kept 5:00";
    let kept = format!("{kept}{}", "ab".repeat(31));
    check_of(answers, "event_verify_tampered", &kept).await;
    let mut answers = Answers::good();
    answers.translator_journal.remove(0);
    let devnet = Devnet::start(answers);
    let both = Operator::at(&devnet).types("hhctl event verify").await;
    assert_eq!(both.exit, Exit::Degraded);
    assert_snapshot!("event_verify_one_of_two", both.transcript());
    let of_which = "hhctl event verify --kept 1:00";
    let of_which = Operator::at(&devnet).types(of_which).await;
    assert_eq!(of_which.exit, Exit::Usage);
}

#[tokio::test]
async fn tp_status_shows_bitcoin_core_and_clients() {
    check("tp_status", "hhctl tp status").await;
}

#[tokio::test]
async fn template_list_shows_what_made_them() {
    check("template_list", "hhctl template list").await;
}

#[tokio::test]
async fn template_show_shows_one_template() {
    check("template_show", "hhctl template show 41").await;
    let devnet = Devnet::start(Answers::good());
    let unknown = Operator::at(&devnet).types("hhctl template show 7").await;
    assert_eq!(unknown.exit, Exit::NotFound);
    assert!(
        unknown.stderr.contains("template 7 is not kept"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test]
async fn a_node_that_lags_is_told_with_its_reason() {
    let mut answers = Answers::good();
    let node = &mut answers.tp.nodes[1];
    node.condition = NodeCondition::Lagging;
    node.height = Some(1200);
    node.reason = Some("it is at height 1200, near has more work at height 1203".to_owned());
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let status = operator.types("hhctl tp status").await;
    assert_snapshot!("tp_status_lagging", status.stdout);
    let status = operator.types("hhctl status").await;
    assert!(
        status.stdout.contains("far is lagging"),
        "{}",
        status.stdout
    );
    assert_eq!(status.exit, Exit::Done);
}

#[tokio::test]
async fn translator_status_shows_sv1_miners() {
    check("translator_status", "hhctl translator status").await;
}

#[tokio::test]
async fn translator_status_shows_the_classes_of_a_lane_whose_miners_share_channels() {
    let mut answers = Answers::good();
    answers.translator = crate::daemons::translator::with_classes();
    let line = "hhctl translator status";
    check_of(answers.clone(), "translator_status_classes", line).await;
    answers.translator.classes.clear();
    let devnet = Devnet::start(answers);
    let nobody = Operator::at(&devnet).types(line).await;
    assert!(
        nobody.stdout.contains("no miner is in a class"),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn version_all_shows_every_daemon() {
    check("version_all", "hhctl version --all").await;
    let mut answers = Answers::good();
    answers.version = "0.0.9".to_owned();
    check_of(answers, "version_all_skewed", "hhctl version --all").await;
}

#[tokio::test]
async fn doctor_finds_nothing_to_fix_on_a_good_network() {
    let devnet = Devnet::start(Answers::good());
    let outcome = Operator::at(&devnet).types("hhctl doctor").await;
    assert_eq!(outcome.exit, Exit::Done);
    // What the machine's own clock says is not the network's.
    let stdout = without_clock_source(&outcome.stdout);
    assert_snapshot!("doctor_good", stdout);
}

fn without_clock_source(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("clock source"));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

#[tokio::test]
async fn doctor_says_what_is_broken_and_how_to_fix_it() {
    let devnet = Devnet::start(broken());
    let outcome = Operator::at(&devnet).types("hhctl doctor").await;
    assert_eq!(outcome.exit, Exit::Degraded);
    assert_snapshot!("doctor_broken", without_clock_source(&outcome.stdout));
}

/// Nearly everything that can be wrong.
fn broken() -> Answers {
    let mut answers = Answers::good();
    answers.version = "0.0.9".to_owned();
    answers.tp.nodes[0].active = false;
    for node in &mut answers.tp.nodes {
        node.condition = NodeCondition::Down;
        node.reason = Some("connection refused".to_owned());
    }
    if let Some(template) = &mut answers.tp.last_template {
        template.created_at = "2026-11-25T11:00:00Z".parse().unwrap();
    }
    if let Some(work) = &mut answers.pool.work {
        work.height = 1100;
        work.received_at = "2026-11-25T12:00:30Z".parse().unwrap();
    }
    answers.pool.hashrate_10m_hs = 0.0;
    answers.pool.share_log.last_error = Some("no space left on device".to_owned());
    answers.pool.ledger.last_error = Some("database is locked".to_owned());
    answers.pool.nodes = vec![down("http://127.0.0.1:38332", "connection refused")];
    answers.translator.upstreams = vec![down("127.0.0.1:34254", "authority key differs")];
    answers
}

#[tokio::test]
async fn shares_that_wait_for_the_ledger_are_told_with_their_age() {
    let mut answers = Answers::good();
    answers.pool.share_log.shipped_seq -= 1_234;
    answers.pool.ledger.oldest_waiting_at = Some("2026-11-25T11:56:48Z".parse().unwrap());
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let status = operator.types("hhctl pool status").await;
    let doctor = operator.types("hhctl doctor").await;
    assert_eq!(doctor.exit, Exit::Done);
    let lines = [status, doctor].map(|outcome| {
        let mut lines = outcome.stdout.lines();
        let found = lines.find(|line| line.contains("Ledger ") || line.contains("ledger "));
        found.unwrap_or("nothing").trim_end().to_owned()
    });
    assert_snapshot!("ledger_behind", lines.join("\n"));
}

#[tokio::test]
async fn status_of_a_broken_network_names_the_worst_and_exits_3() {
    let devnet = Devnet::start(broken());
    let outcome = Operator::at(&devnet).types("hhctl status").await;
    assert_eq!(outcome.exit, Exit::Degraded);
    assert_snapshot!("status_broken", outcome.transcript());
}

#[tokio::test]
async fn a_share_log_whose_disk_is_full_says_whether_shares_still_count() {
    let mut answers = Answers::good();
    let full = "could not prepare /var/lib/hyperhash/hh-pool/shares: no space left on device";
    answers.pool.share_log.warning = Some(full.to_owned());
    let devnet = Devnet::start(answers.clone());
    let soon = Operator::at(&devnet).types("hhctl pool status").await;
    answers.pool.share_log.last_error = answers.pool.share_log.warning.take();
    answers.pool.share_log.waiting_records = 1_234;
    let devnet = Devnet::start(answers);
    let now = Operator::at(&devnet).types("hhctl pool status").await;
    let lines = [soon.transcript(), now.transcript()].map(|text| {
        let mut lines = text.lines().filter(|line| line.contains("Share log"));
        lines.next().unwrap_or("nothing").trim_end().to_owned()
    });
    assert_snapshot!("share_log_disk_full", lines.join("\n"));
}

#[tokio::test]
async fn records_that_a_restored_ledger_lacks_are_told_with_their_time() {
    let mut answers = Answers::good();
    answers.pool.share_log.lost = Some(LostRecords {
        first_seq: 1_200,
        last_seq: 5_400,
        after: Some("2026-11-24T02:00:00Z".parse().unwrap()),
        until: Some("2026-11-24T02:30:00Z".parse().unwrap()),
    });
    let devnet = Devnet::start(answers);
    let mut seen = String::new();
    for command in ["pool status", "status", "doctor"] {
        let line = format!("hhctl {command}");
        let said = Operator::at(&devnet).types(&line).await.stdout;
        let about = |line: &&str| line.contains("1,200") || line.contains("restore a newer");
        let lines: Vec<&str> = said.lines().map(str::trim_end).filter(about).collect();
        seen += &format!("$ {line}\n{}\n", lines.join("\n"));
    }
    assert_snapshot!("share_log_lost_records", seen);
}

#[tokio::test]
async fn what_is_empty_says_what_that_means() {
    let mut answers = Answers::good();
    answers.miners.clear();
    answers.workers.clear();
    answers.translator.connections = 0;
    answers.blocks.clear();
    answers.templates.clear();
    answers.stats.accounts.clear();
    answers.journal.clear();
    answers.translator_journal.clear();
    answers.translator.miners.clear();
    answers.vardiff.accounts.clear();
    answers.tp.clients.clear();
    answers.tp.solutions.clear();
    let devnet = Devnet::start(answers);
    let operator = Operator::at(&devnet);
    let mut seen = String::new();
    for line in [
        "hhctl miner list",
        "hhctl miner list --account zoe",
        "hhctl worker list",
        "hhctl worker list --account zoe",
        "hhctl block list",
        "hhctl event list",
        "hhctl template list",
        "hhctl share stats",
        "hhctl pool vardiff show",
        "hhctl translator status",
        "hhctl tp status",
    ] {
        seen += &format!("$ {line}\n{}\n", operator.types(line).await.stdout);
    }
    assert_snapshot!("empty", seen);
}

#[tokio::test]
async fn a_list_can_be_shortened_and_says_so() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    let one = operator
        .types("hhctl miner list --limit 1 --no-headers")
        .await;
    assert_eq!(one.stdout.lines().count(), 3, "{}", one.stdout);
    assert!(one.stdout.contains("1 of 2 shown"), "{}", one.stdout);
    let bob = operator
        .types("hhctl miner list --account bob -o json")
        .await;
    let bob: serde_json::Value = serde_json::from_str(&bob.stdout).unwrap();
    assert_eq!(bob["items"].as_array().unwrap().len(), 1);
    assert_eq!(bob["items"][0]["account"], "bob");
}

#[tokio::test]
async fn states_have_colour_only_where_it_is_wanted_and_a_mark_everywhere() {
    let devnet = Devnet::start(Answers::good());
    let plain = Operator::at(&devnet).types("hhctl status").await.stdout;
    assert!(
        plain.contains("● ok") && !plain.contains('\u{1b}'),
        "{plain}"
    );
    let always = Operator::at(&devnet)
        .types("hhctl status --color always")
        .await;
    assert!(
        always.stdout.contains("\u{1b}[32m● ok\u{1b}[0m"),
        "{}",
        always.stdout
    );
    let forced = Operator::at(&devnet).with_variable("CLICOLOR_FORCE", "1");
    assert!(
        forced
            .types("hhctl status")
            .await
            .stdout
            .contains("\u{1b}[32m")
    );
    let refused = forced.with_variable("NO_COLOR", "1");
    assert!(
        !refused
            .types("hhctl status")
            .await
            .stdout
            .contains('\u{1b}')
    );
    let ascii = Operator::at(&devnet).with_variable("LANG", "C");
    let ascii = ascii.types("hhctl status").await.stdout;
    assert!(ascii.is_ascii() && ascii.contains("+ ok"), "{ascii}");
}

#[tokio::test]
async fn a_worker_can_not_name_itself_a_terminal_command() {
    let mut answers = Answers::good();
    answers.miners[0].worker = "\u{1b}[2J\nroot".to_owned();
    let devnet = Devnet::start(answers);
    let listed = Operator::at(&devnet).types("hhctl miner list").await.stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(!listed.contains('\u{1b}'));
}

#[tokio::test]
async fn version_needs_no_context() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".devnet")).unwrap();
    std::fs::write(dir.path().join(".devnet/context.toml"), "broken").unwrap();
    let outcome = Operator::in_dir(dir.path()).types("hhctl version").await;
    assert_eq!(
        outcome.stdout,
        format!("hhctl {}\n", env!("CARGO_PKG_VERSION"))
    );
}
