use super::*;
use crate::config::ServiceConfig;
use hh_daemon::Tasks;
use hh_trust::NodeId;
use hh_trust::command::Order;
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
}

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
        let (dir, tasks) = (tempfile::tempdir().unwrap(), Tasks::default());
        let service = "name = \"counted\"\ncommand = [\"/bin/sh\", \"-c\", \"echo begun; exec sleep 1000\"]\n";
        let service: ServiceConfig = toml::from_str(service).unwrap();
        let supervisor = Supervisor::start(&[service], dir.path(), &tasks).unwrap();
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
        let node_key = Arc::new(NodeSecretKey::generate().unwrap());
        let policy = "[services.counted]\nallow = [\"restart\"]\n";
        let (worker, ends) = Worker::new(Parts {
            journal: Journal::open(&dir.path().join("journal.db")).unwrap(),
            policy: toml::from_str(policy).unwrap(),
            supervisor,
            node_key: Arc::clone(&node_key),
            enrolled: watch::channel(Some(enrolled)).1,
            clock: ClockOffset::default(),
            renew: Arc::default(),
        });
        tasks.spawn("worker", worker.run(tasks.token().clone()));
        Self {
            dir,
            tasks,
            node_key,
            command_key,
            ends,
        }
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
                return (result, jws);
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

    async fn end(self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
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
    let spend = Node::order(1, spend);
    node.rejected(&spend, &key, "policy").await;
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
