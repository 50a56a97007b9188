//! The owner of a node has the last word there: what touches where work goes waits for him, with the real programs.

use crate::site::{Said, Setup, Site, hhctl, wait_for};
use hh_ipc::api::core::OperationState;
use hh_trust::command::{Command, CommandId, Order};
use hh_trust::control_key::CommandKey;
use rusqlite::{Connection, params};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const OLD: &str = "address = \"pool.example:34254\"\nshares = 1\n";
const THEFT: &str = "address = \"thief.example:34254\"\nshares = 1\n";

/// A service whose configuration is a file that has no `bad` in it, and that does not come up with `dead` in it.
fn services(dir: &Path) -> String {
    let file = dir.join("sleeper.toml");
    let check = r#"if grep -q bad "$0"; then echo no good >&2; exit 78; fi"#;
    let run = format!(
        "if grep -q dead {}; then exit 1; fi; exec sleep 1000",
        file.display()
    );
    format!(
        "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sh\", \"-c\", {run:?}]\n\
         [[config_files]]\nservice = \"sleeper\"\nfile = {file:?}\ncheck = [\"/bin/sh\", \"-c\", {check:?}]\n"
    )
}

const POLICY: &str = "[services.sleeper]\nallow = [\"config\", \"status\", \"logs\", \"start\", \"stop\"]\nconfig_keys = [\"shares\"]\n";

struct Node {
    /// The folder of the site.
    root: PathBuf,
    dir: PathBuf,
}

impl Node {
    /// In a folder where its configuration is already.
    fn at(site: &Site) -> Self {
        let root = site.path().to_owned();
        let dir = root.join("berlin-1");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("sleeper.toml"), OLD).unwrap();
        let context = format!("name = \"berlin-1\"\nruntime_dir = {dir:?}\n");
        fs::write(dir.join("context.toml"), context).unwrap();
        Self { root, dir }
    }

    /// The owner types it, on the node.
    fn owner(&self, words: &[&str]) -> Said {
        let context = self.dir.join("context.toml");
        let mut all = vec!["--context", context.to_str().unwrap()];
        all.extend(words);
        hhctl(&self.root, &all)
    }

    /// An operator of core has a configuration applied.
    fn apply(&self, body: &str, generation: &str) -> Said {
        let file = self.root.join("new.toml");
        fs::write(&file, body).unwrap();
        let file = file.to_str().unwrap();
        let words = ["node", "config", "apply", "berlin-1", "sleeper", file];
        let more = ["--generation", generation, "--yes", "-o", "json"];
        hhctl(&self.root, &[words.as_slice(), more.as_slice()].concat())
    }

    fn text(&self) -> String {
        fs::read_to_string(self.dir.join("sleeper.toml")).unwrap()
    }

    fn waiting(&self) -> Vec<Value> {
        let list = self.owner(&["consent", "list", "-o", "json"]);
        assert_eq!(list.status, 0, "{list:?}");
        list.json()["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_configuration_that_moves_work_elsewhere_waits_for_the_owner_and_is_done_once() {
    let site = Site::start().await;
    let node = Node::at(&site);
    let _agent = site.start_node("berlin-1", &services(&node.dir), POLICY);
    let before = site.running("berlin-1", "sleeper").await;

    // What the policy leaves to core is done at once.
    let mild = node.apply(&OLD.replace("shares = 1", "shares = 2"), "1");
    assert_eq!(mild.status, 0, "{mild:?}");
    assert!(node.text().contains("shares = 2"));
    let after = wait_for("another process", async || {
        let now = site.running("berlin-1", "sleeper").await;
        (now.pid != before.pid).then_some(now)
    })
    .await;

    let asked = node.apply(THEFT, "2");
    assert_eq!(asked.status, 3, "{asked:?}");
    assert_eq!(asked.item()["code"], "owner-consent", "{asked:?}");
    let id = asked.item()["id"].as_str().unwrap().to_owned();
    assert!(!node.text().contains("thief"), "nothing is done yet");
    let waiting = node.waiting();
    assert_eq!(waiting[0]["id"], id.as_str());
    let shown = node.owner(&["consent", "show", &id]);
    assert!(
        shown.stdout.contains("+ address = \"thief.example:34254\""),
        "{shown:?}"
    );
    assert!(
        shown.stdout.contains("- address = \"pool.example:34254\""),
        "{shown:?}"
    );

    let refused = node.owner(&["consent", "refuse", &id, "--yes"]);
    assert_eq!(refused.status, 0, "{refused:?}");
    let told = site.hhctl(&["operation", "wait", &id, "-o", "json"]);
    assert_eq!(told.item()["code"], "owner-refused", "{told:?}");
    assert!(!node.text().contains("thief"));

    // The same again is asked again, and done once he has said yes.
    let asked = node.apply(THEFT, "2");
    let again = asked.item()["id"].as_str().unwrap().to_owned();
    assert_ne!(again, id);
    let late = node.owner(&["consent", "approve", &id, "--yes"]);
    assert_eq!(late.status, 4, "{late:?}");
    let approved = node.owner(&["consent", "approve", &again, "--yes", "-o", "json"]);
    assert_eq!(approved.status, 0, "{approved:?}");
    assert_eq!(node.text(), THEFT);
    let told = site.hhctl(&["operation", "wait", &again, "-o", "json"]);
    assert_eq!(told.status, 0, "{told:?}");
    assert!(node.waiting().is_empty());
    let twice = node.owner(&["consent", "approve", &again, "--yes"]);
    assert_eq!(twice.status, 4, "{twice:?}");
    wait_for("a third process", async || {
        let now = site.running("berlin-1", "sleeper").await;
        (now.pid != after.pid).then_some(())
    })
    .await;
    let journal = node.owner(&["event", "verify", "--daemon", "hh-node-agent"]);
    assert_eq!(journal.status, 0, "{journal:?}");
    let audit = site.hhctl(&["audit", "verify"]);
    assert_eq!(audit.status, 0, "{audit:?}");
}

#[tokio::test]
async fn a_question_outlives_the_agent_that_asked_it() {
    let site = Site::start().await;
    let node = Node::at(&site);
    let agent = site.start_node("berlin-1", &services(&node.dir), POLICY);
    site.running("berlin-1", "sleeper").await;
    let asked = node.apply(THEFT, "1");
    let id = asked.item()["id"].as_str().unwrap().to_owned();
    agent.restart();
    wait_for("the agent answers", async || {
        (node.owner(&["consent", "list"]).status == 0).then_some(())
    })
    .await;
    assert_eq!(node.waiting().len(), 1);
    assert_eq!(site.operation(&id).await.state, OperationState::Taken);
    let approved = node.owner(&["consent", "approve", &id, "--yes"]);
    assert_eq!(approved.status, 0, "{approved:?}");
    assert_eq!(node.text(), THEFT);
}

#[tokio::test]
async fn what_its_program_refuses_or_dies_of_is_not_left_in_place() {
    let site = Site::start().await;
    let node = Node::at(&site);
    let _agent = site.start_node("berlin-1", &services(&node.dir), POLICY);
    site.running("berlin-1", "sleeper").await;
    let bad = node.apply(&format!("{OLD}# bad\n"), "1");
    assert_eq!(bad.item()["code"], "config-refused", "{bad:?}");
    assert!(
        bad.item()["detail"].as_str().unwrap().contains("no good"),
        "{bad:?}"
    );
    assert_eq!(node.text(), OLD);
    let dead = node.apply(&format!("{OLD}# dead\n"), "1");
    assert_eq!(dead.item()["code"], "rolled-back", "{dead:?}");
    assert_eq!(node.text(), OLD);
    site.running("berlin-1", "sleeper").await;
    // Neither has used the number up; one that is no higher than the last is refused.
    let good = node.apply(&OLD.replace("shares = 1", "shares = 9"), "1");
    assert_eq!(good.status, 0, "{good:?}");
    let stale = node.apply(OLD, "1");
    assert_eq!(stale.item()["code"], "generation", "{stale:?}");
}

/// Who has stolen core has its command key and its database, and signs what he likes.
#[tokio::test]
async fn a_stolen_core_gets_no_consent() {
    let site = Site::start().await;
    let node = Node::at(&site);
    let agent = site.start_node("berlin-1", &services(&node.dir), POLICY);
    site.running("berlin-1", "sleeper").await;
    let asked = node.apply(THEFT, "1");
    let id: CommandId = asked.item()["id"].as_str().unwrap().parse().unwrap();
    site.core.kill();
    let connection = Connection::open(site.database()).unwrap();
    // It calls it done, and sends it again under the same name and under another.
    let update = "UPDATE commands SET state = 'sent', code = 'ok' WHERE id = ?";
    connection.execute(update, [id.to_string()]).unwrap();
    let thief = Thief::of(&site, &connection);
    let theft = || {
        let body = THEFT.to_owned();
        let sha256 = hh_trust::command::Digest::of(body.as_bytes());
        let service = "sleeper".parse().unwrap();
        Command::ConfigApply {
            service,
            generation: 2,
            sha256,
            body,
        }
    };
    let another = thief.order(2, theft());
    let spend = thief.order(
        3,
        Command::WalletSpend {
            destination: "lnbc1".to_owned(),
            amount_msat: 1,
            fee_msat_max: 0,
        },
    );
    site.core.restart();
    site.client().await;
    wait_for("the other order waits as well", async || {
        (node.waiting().len() == 2).then_some(())
    })
    .await;
    wait_for("the payment is refused", async || {
        let operation = site.operation(&spend.to_string()).await;
        (operation.state == OperationState::Rejected).then_some(())
    })
    .await;
    assert_eq!(node.text(), OLD, "{}", agent.log());
    // The socket on which the owner speaks is open to nobody else.
    let socket = node.dir.join("hh-node-agent/control.sock");
    let mode = fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ids: Vec<_> = node.waiting().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [id.to_string(), another.to_string()]);
}

struct Thief<'a> {
    connection: &'a Connection,
    key: CommandKey,
    epoch: u64,
}

impl<'a> Thief<'a> {
    fn of(site: &Site, connection: &'a Connection) -> Self {
        let key = fs::read_to_string(site.path().join("pki/command.key")).unwrap();
        let epoch = "SELECT epoch FROM nodes WHERE id = 'berlin-1'";
        Self {
            connection,
            key: key.parse().unwrap(),
            epoch: connection.query_row(epoch, [], |row| row.get(0)).unwrap(),
        }
    }

    /// Writes an order into core's database as core does.
    fn order(&self, seq: u64, command: Command) -> CommandId {
        let now = jiff::Timestamp::now().as_second();
        let name = command.name();
        let order = Order {
            domain: "hyperhash.test".parse().unwrap(),
            node: "berlin-1".parse().unwrap(),
            operator: "mallory".to_owned(),
            id: CommandId::generate().unwrap(),
            issued_at: now,
            expires_at: now + 120,
            epoch: self.epoch,
            seq,
            command,
            if_generation: None,
            deadline_seconds: 60,
            audit: None,
        };
        let insert = "INSERT INTO commands (id, node, epoch, seq, jws, command, asked_by, created_at_ms, expires_at_ms, state)
            VALUES (?, 'berlin-1', ?, ?, ?, ?, 'mallory', ?, ?, 'queued')";
        let jws = order.sign(&self.key).unwrap();
        let (made, ends) = (now * 1_000, (now + 120) * 1_000);
        let values = params![order.id.to_string(), self.epoch, seq, jws, name, made, ends];
        self.connection.execute(insert, values).unwrap();
        order.id
    }
}

#[tokio::test]
async fn what_the_owner_decides_is_in_the_audit_log_once() {
    let journal = "[audit]\njournals = [{ daemon = \"hh-node-agent\", socket = \"{dir}/berlin-1/hh-node-agent/view.sock\" }]\n";
    let setup = Setup {
        more: [String::new(), journal.to_owned()],
        ..Setup::default()
    };
    let site = Site::start_with(setup).await;
    let node = Node::at(&site);
    let _agent = site.start_node("berlin-1", &services(&node.dir), POLICY);
    site.running("berlin-1", "sleeper").await;
    let asked = node.apply(THEFT, "1");
    let id = asked.item()["id"].as_str().unwrap().to_owned();
    let refused = node.owner(&["consent", "refuse", &id, "--yes"]);
    assert_eq!(refused.status, 0, "{refused:?}");
    let decided = || {
        let list = site.hhctl(&["audit", "list", "--target", "hh-node-agent", "-o", "json"]);
        assert_eq!(list.status, 0, "{list:?}");
        list.json()["items"].as_array().unwrap().clone()
    };
    let told = wait_for("the journal is taken in", async || {
        let decided = decided();
        (decided.first()?["outcome"] == "done").then_some(decided)
    })
    .await;
    assert_eq!(told[0]["action"], "decide", "{told:?}");
    assert!(told[0]["target"].to_string().contains(&id), "{told:?}");

    // Another core that goes on with it takes in what is new, and nothing twice.
    site.core.restart();
    site.client().await;
    let asked = node.apply(THEFT, "1");
    let id = asked.item()["id"].as_str().unwrap().to_owned();
    let refused = node.owner(&["consent", "refuse", &id, "--yes"]);
    assert_eq!(refused.status, 0, "{refused:?}");
    wait_for("the next is taken in", async || {
        let decided = decided();
        (decided.len() == 2 && decided[0]["outcome"] == "done").then_some(())
    })
    .await;

    // The owner of the file writes it anew.
    let file = node.dir.join("data/changes.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let cut: String = text
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&file, cut).unwrap();
    wait_for("the fault is in the log", async || {
        let faults = decided();
        let told = faults.iter().find(|act| act["outcome"] == "fault")?;
        assert!(told["code"].to_string().contains("2 lines, and 4"));
        Some(())
    })
    .await;
    assert!(
        site.core
            .log()
            .contains("journal of changes was tampered with")
    );
    let whole = site.hhctl(&["audit", "verify"]);
    assert_eq!(whole.status, 0, "{whole:?}");
}
