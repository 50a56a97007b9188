use super::*;
use crate::config::{ConfigFileConfig, ServiceConfig};
use hh_daemon::Tasks;
use hh_trust::NodeId;
use hh_trust::command::Order;
use hh_trust::consent::{Owner, WAIT_SECONDS_MAX};
use hh_trust::control_key::{CommandKey, NetworkKey};
use hh_trust::key_set::{KeySet, TimedKey};
use hh_trust::pki::TrustDomain;

const PATIENCE: Duration = Duration::from_secs(30);
const EPOCH: u64 = 7;

/// A node that has joined, and core's key.
struct Node {
    dir: tempfile::TempDir,
    tasks: Tasks,
    node_key: Arc<NodeSecretKey>,
    command_key: CommandKey,
    ends: Ends,
    decisions: mpsc::Sender<Decision>,
    journal: Journal,
    clock: ClockOffset,
}

/// The node's policy; what changes `address` is the owner's.
const POLICY: &str = "[services.counted]\nallow = [\"restart\", \"config\"]\nconfig_keys = [\"shares\"]\n\
    [wallet]\nspend = true\n";

fn domain() -> TrustDomain {
    "hyperhash.test".parse().unwrap()
}

fn berlin() -> NodeId {
    "berlin".parse().unwrap()
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("counted.toml"), "address = \"ours\"\n").unwrap();
        Self::start_in(dir, NodeSecretKey::generate().unwrap())
    }

    /// In a folder where another life of it may have been.
    fn start_in(dir: tempfile::TempDir, node_key: NodeSecretKey) -> Self {
        Self::with_wallet(dir, node_key, None)
    }

    fn with_wallet(
        dir: tempfile::TempDir,
        node_key: NodeSecretKey,
        wallet: Option<WalletHandle>,
    ) -> Self {
        let tasks = Tasks::default();
        let service = "name = \"counted\"\ncommand = [\"/bin/sh\", \"-c\", \"echo begun; exec sleep 1000\"]\n";
        let service: ServiceConfig = toml::from_str(service).unwrap();
        let policy: LocalPolicy = toml::from_str(POLICY).unwrap();
        let supervisor = Supervisor::start(&[service], &policy, dir.path(), &tasks).unwrap();
        let network = NetworkKey::generate().unwrap();
        let command_key = CommandKey::generate().unwrap();
        let keys = KeySet {
            version: 1,
            domain: domain(),
            commands: vec![TimedKey {
                key: command_key.public_key(),
                nbf: 0,
                exp: now() + 3_600,
            }],
            checkpoints: Vec::new(),
        };
        let key_set = keys.sign(&network).unwrap();
        let enrolled = Enrolled::of_test(berlin(), domain(), EPOCH, network.public_key(), key_set);
        let node_key = Arc::new(node_key);
        let journal = Journal::open(&dir.path().join("journal.db")).unwrap();
        let file = ConfigFileConfig {
            service: "counted".parse().unwrap(),
            file: dir.path().join("counted.toml"),
            check: vec!["/bin/true".to_owned()],
        };
        let clock = ClockOffset::default();
        let files = [(file.service.clone(), ConfigFile::new(&file))];
        let (worker, ends, decisions) = Worker::new(Parts {
            journal: journal.clone(),
            policy,
            supervisor,
            node_key: Arc::clone(&node_key),
            enrolled: watch::channel(Some(enrolled)).1,
            clock: clock.clone(),
            renew: Arc::default(),
            config_files: Arc::new(files.into()),
            drain: Drain::new(dir.path()),
            wallet,
        });
        tasks.spawn("worker", worker.run(tasks.token().clone()));
        Self {
            dir,
            tasks,
            node_key,
            command_key,
            ends,
            decisions,
            journal,
            clock,
        }
    }

    /// The owner says yes or no.
    async fn decide(&self, id: CommandId, is_yes: bool) -> Result<Decided, DecisionError> {
        let (done, decided) = tokio::sync::oneshot::channel();
        let owner = Owner::of(0);
        let decision = Decision {
            id,
            is_yes,
            owner,
            done,
        };
        self.decisions.send(decision).await.unwrap();
        let decided = tokio::time::timeout(PATIENCE, decided).await;
        decided.unwrap().unwrap()
    }

    /// Has it wait for the owner.
    async fn asked(&mut self, order: &Order, key: &CommandKey) {
        let (result, _) = self.result_of(order, key).await;
        assert_eq!(result.outcome, Outcome::AwaitsOwner, "{result:?}");
        assert_eq!(result.code, "owner-consent");
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("counted.toml")).unwrap()
    }

    fn order(seq: u64, command: Command) -> Order {
        Order {
            domain: domain(),
            node: berlin(),
            operator: "alice".to_owned(),
            id: CommandId::generate().unwrap(),
            issued_at: now(),
            expires_at: now() + 60,
            epoch: EPOCH,
            seq,
            command,
            if_generation: None,
            deadline_seconds: 60,
            audit: None,
        }
    }

    /// Sends an order by an id that need not be its own.
    async fn send(&self, order: &Order, key: &CommandKey, id: CommandId) {
        let sent = Sent {
            jws: order.sign(key).unwrap(),
            command_id: id.to_string(),
        };
        self.ends.orders.send(sent).await.unwrap();
    }

    /// Sends an order, and gives the result and its text.
    async fn result_of(&mut self, order: &Order, key: &CommandKey) -> (CommandResult, String) {
        self.send(order, key, order.id).await;
        loop {
            let report = tokio::time::timeout(PATIENCE, self.ends.reports.recv()).await;
            if let node_message::Body::Result(ResultMessage { jws }) = report.unwrap().unwrap() {
                let key = self.node_key.public_key();
                let result = CommandResult::verify(&jws, &domain(), &berlin(), &key).unwrap();
                if result.id == order.id {
                    return (result, jws);
                }
            }
        }
    }

    async fn rejected(&mut self, order: &Order, key: &CommandKey, code: &str) {
        let (result, _) = self.result_of(order, key).await;
        assert_eq!(
            (result.outcome, result.code.as_str()),
            (Outcome::Rejected, code)
        );
        assert_eq!(result.id, order.id);
    }

    fn starts(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("counted.log"));
        log.unwrap_or_default().matches("begun").count()
    }

    async fn end(self) -> tempfile::TempDir {
        self.tasks.shutdown(PATIENCE).await.unwrap();
        self.dir
    }
}

fn theft(generation: u64) -> Command {
    let body = "address = \"theirs\"\n".to_owned();
    Command::ConfigApply {
        service: "counted".parse().unwrap(),
        generation,
        sha256: Digest::of(body.as_bytes()),
        body,
    }
}

fn restart() -> Command {
    let service = "counted".parse().unwrap();
    Command::ServiceRestart { service }
}

#[tokio::test]
async fn an_order_that_comes_again_is_answered_and_not_done_again() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(1, restart());
    let (result, first) = node.result_of(&order, &key).await;
    assert_eq!(result.outcome, Outcome::Ok, "{result:?}");
    let starts = node.starts();
    let (_, again) = node.result_of(&order, &key).await;
    assert_eq!(first, again);
    assert_eq!(node.starts(), starts);
    // What is known by its id is answered, whatever comes with it; nothing of it is done.
    let other = Order {
        id: order.id,
        ..Node::order(2, restart())
    };
    let (_, same) = node.result_of(&other, &key).await;
    assert_eq!(first, same);
    assert_eq!(node.starts(), starts);
    node.end().await;
}

#[tokio::test]
async fn what_core_has_not_signed_for_this_node_and_now_is_refused() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let forger = CommandKey::generate().unwrap();
    let forged = Node::order(1, Command::Ping {});
    node.rejected(&forged, &forger, "unknown-key").await;
    let elsewhere = Order {
        node: "paris".parse().unwrap(),
        ..Node::order(1, Command::Ping {})
    };
    node.rejected(&elsewhere, &key, "wrong-audience").await;
    let late = Order {
        issued_at: now() - 200,
        expires_at: now() - 100,
        ..Node::order(1, Command::Ping {})
    };
    node.rejected(&late, &key, "expired").await;
    let restored = Order {
        epoch: EPOCH - 1,
        ..Node::order(1, Command::Ping {})
    };
    node.rejected(&restored, &key, "wrong-epoch").await;
    // None of them has used a number up.
    let (first, _) = node
        .result_of(&Node::order(1, Command::Ping {}), &key)
        .await;
    assert_eq!(first.output, "pong");
    let stale = Node::order(1, Command::Ping {});
    node.rejected(&stale, &key, "stale-sequence").await;
    node.end().await;
}

#[tokio::test]
async fn an_order_that_the_journal_could_not_hold_stops_nothing() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let first = Node::order(1, Command::Ping {});
    node.result_of(&first, &key).await;
    // The id that it is signed with was used, by another name and with the next number.
    let again = Order {
        id: first.id,
        ..Node::order(2, Command::Ping {})
    };
    let fresh = CommandId::generate().unwrap();
    node.send(&again, &key, fresh).await;
    // No number of a database.
    let beyond = Node::order(u64::MAX, Command::Ping {});
    node.rejected(&beyond, &key, "malformed").await;
    let (next, _) = node
        .result_of(&Node::order(2, Command::Ping {}), &key)
        .await;
    assert_eq!(next.output, "pong");
    node.end().await;
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_not_done() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let service = || "counted".parse().unwrap();
    let stop = Node::order(1, Command::ServiceStop { service: service() });
    node.rejected(&stop, &key, "policy").await;
    let unknown = Command::ServiceRestart {
        service: "sshd".parse().unwrap(),
    };
    let unknown = Node::order(1, unknown);
    node.rejected(&unknown, &key, "policy").await;
    let spend = Command::WalletSpend {
        destination: "lnbc1".to_owned(),
        amount_msat: 1,
        fee_msat_max: 1,
    };
    // The owner is not asked for what the agent can't do.
    let spend = Node::order(1, spend);
    node.rejected(&spend, &key, "no-wallet").await;
    node.end().await;
}

#[tokio::test]
async fn a_payment_from_the_wallet_waits_for_the_owner_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let wallet = WalletHandle::of_test(dir.path());
    let mut node = Node::with_wallet(dir, NodeSecretKey::generate().unwrap(), Some(wallet));
    let key = copy(&node.command_key);
    let spend = || Command::WalletSpend {
        destination: "lnbc1".to_owned(),
        amount_msat: 1,
        fee_msat_max: 1,
    };
    let first = Node::order(1, spend());
    node.asked(&first, &key).await;
    let refused = node.decide(first.id, false).await.unwrap();
    assert_eq!(refused.code, "owner-refused");
    let second = Node::order(2, spend());
    node.asked(&second, &key).await;
    // It is begun then; and this is no invoice.
    let begun = node.decide(second.id, true).await.unwrap();
    assert_eq!(begun.code, "not-paid", "{begun:?}");
    node.end().await;
}

#[tokio::test]
async fn each_result_names_the_one_before() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let (_, first) = node
        .result_of(&Node::order(1, Command::Ping {}), &key)
        .await;
    let (second, _) = node
        .result_of(&Node::order(2, Command::Ping {}), &key)
        .await;
    assert_eq!(second.previous, Digest::of(first.as_bytes()));
    node.end().await;
}

fn copy(key: &CommandKey) -> CommandKey {
    key.to_secret_hex().parse().unwrap()
}

#[tokio::test]
async fn what_is_the_owners_is_done_when_he_has_said_yes_and_never_twice() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(1, theft(1));
    node.asked(&order, &key).await;
    assert!(node.config().contains("ours"));
    // Sent again it is told again, and nothing else.
    node.asked(&order, &key).await;
    let decided = node.decide(order.id, true).await.unwrap();
    assert_eq!(decided.outcome, Outcome::Ok, "{decided:?}");
    assert!(node.config().contains("theirs"));
    let (result, _) = node.result_of(&order, &key).await;
    assert_eq!(result.outcome, Outcome::Ok);
    let again = node.decide(order.id, true).await;
    assert_eq!(again.unwrap_err(), DecisionError::Unknown(order.id));
    node.end().await;
}

#[tokio::test]
async fn a_yes_is_for_one_order_and_a_no_is_kept() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let (first, second) = (Node::order(1, theft(1)), Node::order(2, theft(2)));
    node.asked(&first, &key).await;
    let refused = node.decide(first.id, false).await.unwrap();
    assert_eq!(refused.code, "owner-refused");
    node.asked(&second, &key).await;
    let again = node.decide(first.id, true).await;
    assert_eq!(again.unwrap_err(), DecisionError::Unknown(first.id));
    assert!(node.config().contains("ours"));
    let (result, _) = node.result_of(&first, &key).await;
    assert_eq!(result.code, "owner-refused");
    node.end().await;
}

#[tokio::test]
async fn a_consent_that_somebody_else_wrote_into_the_journal_is_none() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(1, theft(1));
    node.asked(&order, &key).await;
    let waiting = node.journal.waiting_order(order.id).await.unwrap().unwrap();
    // Whoever has core's keys, or any key but the node's.
    let stranger = NodeSecretKey::generate().unwrap();
    let forged = waiting.request.consent(Owner::of(0), &stranger, now());
    node.journal
        .consented(order.id, forged.unwrap())
        .await
        .unwrap();
    let key_text = node.node_key.to_secret_hex();
    let dir = node.end().await;
    let mut node = Node::start_in(dir, key_text.parse().unwrap());
    let report = tokio::time::timeout(PATIENCE, node.ends.reports.recv()).await;
    let Some(node_message::Body::Result(ResultMessage { jws })) = report.unwrap() else {
        panic!("the order is concluded");
    };
    let public = node.node_key.public_key();
    let result = CommandResult::verify(&jws, &domain(), &berlin(), &public).unwrap();
    assert_eq!((result.id, result.code.as_str()), (order.id, "consent"));
    assert!(node.config().contains("ours"));
    node.end().await;
}

#[tokio::test]
async fn an_order_with_a_consent_that_was_not_begun_is_done_by_the_next_life() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(1, theft(1));
    node.asked(&order, &key).await;
    let waiting = node.journal.waiting_order(order.id).await.unwrap().unwrap();
    let consent = waiting.request.consent(Owner::of(0), &node.node_key, now());
    node.journal
        .consented(order.id, consent.unwrap())
        .await
        .unwrap();
    let key_text = node.node_key.to_secret_hex();
    let dir = node.end().await;
    let mut node = Node::start_in(dir, key_text.parse().unwrap());
    let report = tokio::time::timeout(PATIENCE, node.ends.reports.recv()).await;
    assert!(matches!(
        report.unwrap(),
        Some(node_message::Body::Result(_))
    ));
    assert!(node.config().contains("theirs"));
    node.end().await;
}

#[tokio::test]
async fn a_restart_before_the_wallet_is_there_does_not_use_a_consent_up() {
    let dir = tempfile::tempdir().unwrap();
    let (wallet, _starts) = WalletHandle::of_test_starting(dir.path());
    let node_key = NodeSecretKey::generate().unwrap();
    let mut node = Node::with_wallet(dir, node_key, Some(wallet.clone()));
    let key = copy(&node.command_key);
    let spend = Command::WalletSpend {
        destination: "lnbc1".to_owned(),
        amount_msat: 1,
        fee_msat_max: 1,
    };
    let order = Node::order(1, spend);
    node.asked(&order, &key).await;
    let waiting = node.journal.waiting_order(order.id).await.unwrap().unwrap();
    let consent = waiting.request.consent(Owner::of(0), &node.node_key, now());
    let consented = node.journal.consented(order.id, consent.unwrap()).await;
    consented.unwrap();
    let key_text = node.node_key.to_secret_hex();
    let dir = node.end().await;
    let node = Node::with_wallet(dir, key_text.parse().unwrap(), Some(wallet));
    let journal = node.journal.clone();
    let _dir = node.end().await;
    let waiting = journal.waiting_order(order.id).await.unwrap().unwrap();
    assert!(waiting.consent.is_some());
}

#[tokio::test]
async fn who_says_nothing_for_a_day_has_said_no() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(1, theft(1));
    node.asked(&order, &key).await;
    let old = now() - WAIT_SECONDS_MAX;
    node.journal.age(order.id, old).await.unwrap();
    match node.decide(order.id, true).await {
        Ok(late) => assert_eq!(late.code, "owner-silent"),
        // It was given up a moment before.
        Err(error) => assert_eq!(error, DecisionError::Unknown(order.id)),
    }
    assert!(node.config().contains("ours"));
    // Nobody needs to ask for that.
    let order = Node::order(2, theft(2));
    node.asked(&order, &key).await;
    node.journal.age(order.id, old).await.unwrap();
    let key_text = node.node_key.to_secret_hex();
    let dir = node.end().await;
    let mut node = Node::start_in(dir, key_text.parse().unwrap());
    let report = tokio::time::timeout(PATIENCE, node.ends.reports.recv()).await;
    assert!(matches!(
        report.unwrap(),
        Some(node_message::Body::Result(_))
    ));
    assert!(node.journal.waiting().await.unwrap().is_empty());
    node.end().await;
}

#[tokio::test]
async fn no_more_wait_for_the_owner_than_he_reads() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    for seq in 1..=16 {
        node.asked(&Node::order(seq, theft(1)), &key).await;
    }
    let more = Node::order(17, theft(1));
    node.rejected(&more, &key, "too-many-waiting").await;
    node.end().await;
}

#[tokio::test]
async fn a_captured_order_is_not_done_again_after_the_journal_is_cut_or_the_clock_set_back() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let order = Node::order(7, restart());
    let (result, _) = node.result_of(&order, &key).await;
    assert_eq!(result.outcome, Outcome::Ok);
    let starts = node.starts();
    // Its result is forgotten, as that of any order is some day; its number is not.
    node.journal.forget(order.id).await.unwrap();
    node.rejected(&order, &key, "stale-sequence").await;
    let renamed = Order {
        id: CommandId::generate().unwrap(),
        ..order
    };
    node.rejected(&renamed, &key, "stale-sequence").await;
    assert_eq!(node.starts(), starts);
    node.end().await;
}

#[tokio::test]
async fn a_wrong_clock_takes_no_orders_and_says_so() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    for ahead_ms in [3_600_000, -3_600_000] {
        node.clock.set(ahead_ms);
        let order = Node::order(1, restart());
        node.rejected(&order, &key, "clock-skew").await;
    }
    node.clock.set(0);
    let (result, _) = node.result_of(&Node::order(1, restart()), &key).await;
    assert_eq!(result.outcome, Outcome::Ok);
    node.end().await;
}

#[tokio::test]
async fn numbers_that_no_journal_keeps_stop_no_agent() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let huge = Node::order(u64::MAX, Command::Ping {});
    node.rejected(&huge, &key, "malformed").await;
    let (pong, _) = node
        .result_of(&Node::order(1, Command::Ping {}), &key)
        .await;
    assert_eq!(pong.output, "pong");
    node.end().await;
}

#[tokio::test]
async fn an_order_that_comes_under_another_name_than_it_was_signed_with_is_left_out() {
    let mut node = Node::start();
    let key = copy(&node.command_key);
    let first = Node::order(1, restart());
    node.result_of(&first, &key).await;
    let starts = node.starts();
    // Its name was used already; the one that it comes with was not.
    let second = Order {
        id: first.id,
        ..Node::order(2, restart())
    };
    let sent = Sent {
        jws: second.sign(&key).unwrap(),
        command_id: CommandId::generate().unwrap().to_string(),
    };
    node.ends.orders.send(sent).await.unwrap();
    let (pong, _) = node
        .result_of(&Node::order(2, Command::Ping {}), &key)
        .await;
    assert_eq!(pong.output, "pong");
    assert_eq!(node.starts(), starts);
    node.end().await;
}
