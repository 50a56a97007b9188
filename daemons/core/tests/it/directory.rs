//! What operators sign: by hhctl and real ssh-agents, kept at a real core, fetched and believed as hh-pool and hh-treasury do it.

use crate::site::{Said, Site, program, wait_for};
use hh_daemon::{SecretRef, StateFile, Tasks};
use hh_trust::directory_feed::{DirectoryConfig, DirectoryFeed};
use hh_trust::node_directory::Directory;
use hh_trust::operator_key::{OperatorKey, OperatorList};
use hh_trust::ssh_agent::SshAgent;
use hh_trust::statement::{NodeRecord, OperatorRecord, Place, Signed, Statement};
use hh_trust::{NodeId, NodeSecretKey};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;

const LIGHTNING: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER_LIGHTNING: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

/// A person with an ssh-agent of his own, and a key in it.
struct Person {
    dir: TempDir,
    agent: Child,
}

impl Person {
    /// None where there is no OpenSSH.
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
        if keygen.arg(dir.path().join("key")).output().is_err() {
            crate::say("not run: there is no ssh-keygen here");
            return None;
        }
        let mut agent = Command::new("ssh-agent");
        agent.arg("-D").arg("-a").arg(dir.path().join("agent"));
        let agent = agent.stdout(Stdio::null()).spawn().unwrap();
        let person = Self { dir, agent };
        wait_for("ssh-agent listens", async || {
            SshAgent::connect(&person.socket()).ok().map(drop)
        })
        .await;
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(person.dir.path().join("key"));
        let added = add.env("SSH_AUTH_SOCK", person.socket()).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        Some(person)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    fn public_key(&self) -> PathBuf {
        self.dir.path().join("key.pub")
    }

    fn key(&self) -> OperatorKey {
        let line = std::fs::read_to_string(self.public_key()).unwrap();
        line.parse().unwrap()
    }

    /// At hhctl.
    fn types(&self, site: &Site, words: &[&str]) -> Said {
        let output = Command::new(program("hhctl"))
            .args(words)
            .current_dir(site.path())
            .env("HHCTL_CONTEXT", site.path().join("context.toml"))
            .env("SSH_AUTH_SOCK", self.socket())
            .output()
            .unwrap();
        Said {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Signs a record of a node, which core takes.
    #[track_caller]
    fn signs(&self, site: &Site, node: &str, lightning: &str) {
        let key = node_key(node).public_key().to_string();
        let record = ["node", "record", "sign", node, "--key", key.as_str()];
        let says = ["--lightning-node", lightning, "--lane", "asics"];
        let how = ["--chain", "signet", "--yes"];
        let words = [record.as_slice(), &says, &how].concat();
        let said = self.types(site, &words);
        assert_eq!(said.status, 0, "{said:?}");
    }

    /// Signs a text without hhctl.
    fn signs_text<S: Statement>(&self, statement: &S) -> Signed {
        let mut signed = Signed::draft(statement);
        let mut agent = SshAgent::connect(&self.socket()).unwrap();
        let signature = agent.sign(&self.key(), S::NAMESPACE, signed.text.as_bytes());
        signed.signatures = vec![signature.unwrap()];
        signed
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.agent.kill().ok();
        self.agent.wait().ok();
    }
}

/// A key that is a node's by its name.
fn node_key(node: &str) -> NodeSecretKey {
    let byte = node.bytes().fold(1_u8, u8::wrapping_add);
    format!("{byte:02x}").repeat(32).parse().unwrap()
}

fn id(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn place() -> Place {
    Place {
        domain: "hyperhash.test".parse().unwrap(),
        chain: "signet".to_owned(),
    }
}

/// A core that shows its network's certificate to who asks over REST, and a token for it.
async fn site() -> (Site, PathBuf) {
    let site = Site::start().await;
    let config = site.path().join("hyperhash-core.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("plain = true", "plain = false")).unwrap();
    site.core.restart();
    site.client().await;
    let token = site.path().join("directory.token");
    let out = token.to_str().unwrap();
    let made = site.hhctl(&[
        "api-token",
        "create",
        "hh-pool",
        "--role",
        "core-operator",
        "--read-only",
        "--out",
        out,
    ]);
    assert_eq!(made.status, 0, "{made:?}");
    (site, token)
}

/// What hh-pool and hh-treasury have of it, with their own configuration and their own file.
struct Believer {
    listed: OperatorList,
    known: watch::Receiver<Arc<Directory>>,
    tasks: Tasks,
}

impl Believer {
    fn start((site, token): &(Site, PathBuf), dir: &Path, listed: &[(&str, &Person)]) -> Self {
        let keys = listed.iter();
        let keys = keys.map(|(name, person)| (name.parse().unwrap(), person.key()));
        let listed = OperatorList::new(keys.collect()).unwrap();
        let config = DirectoryConfig {
            core_address: format!("127.0.0.1:{}", site.rest),
            root_certificate: site.path().join("pki/root.crt"),
            token: SecretRef::File(token.clone()),
            refresh_seconds: 1,
        };
        let file = StateFile::new(dir.join("directory.json"));
        let opened = DirectoryFeed::open(&config, place(), listed.clone(), file);
        let (feed, known) = opened.unwrap();
        let tasks = Tasks::default();
        tasks.spawn_session("directory", feed.run(tasks.token().clone()));
        Self {
            listed,
            known,
            tasks,
        }
    }

    fn now(&self) -> Arc<Directory> {
        Arc::clone(&self.known.borrow())
    }

    async fn waits_for(&self, what: &str, is_so: impl Fn(&Directory) -> bool) {
        wait_for(what, async || is_so(&self.now()).then_some(())).await;
    }

    fn lightning_of(&self, node: &str) -> Option<String> {
        let now = self.now();
        let record = now.node(&id(node))?;
        Some(record.lightning.to_string())
    }
}

impl Drop for Believer {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_admit_move_and_revoke_a_node_and_all_goes_on_without_core() {
    let (Some(alice), Some(bob)) = (Person::new().await, Person::new().await) else {
        return;
    };
    let core = site().await;
    let site = &core.0;
    let dir = tempfile::tempdir().unwrap();
    let listed = [("alice", &alice), ("bob", &bob)];
    let pool = Believer::start(&core, dir.path(), &listed);
    alice.signs(site, "berlin-1", LIGHTNING);
    let is_known = |directory: &Directory| directory.node(&id("berlin-1")).is_some();
    pool.waits_for("berlin-1 is known", is_known).await;
    // One operator alone moves no payee. What he signs next is taken after it.
    alice.signs(site, "berlin-1", OTHER_LIGHTNING);
    alice.signs(site, "paris", LIGHTNING);
    let is_later = |directory: &Directory| directory.node(&id("paris")).is_some();
    pool.waits_for("paris is known", is_later).await;
    assert_eq!(pool.lightning_of("berlin-1").as_deref(), Some(LIGHTNING));
    bob.signs(site, "berlin-1", OTHER_LIGHTNING);
    wait_for("berlin-1 is paid elsewhere", async || {
        let lightning = pool.lightning_of("berlin-1")?;
        (lightning == OTHER_LIGHTNING).then_some(())
    })
    .await;
    let words = ["node", "record", "revoke", "berlin-1", "--yes"];
    let revoked = site.hhctl(&words);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    let is_revoked = |directory: &Directory| directory.is_node_revoked(&id("berlin-1"));
    pool.waits_for("berlin-1 is revoked", is_revoked).await;
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    // A daemon that starts while core is away has what it had.
    site.core.kill();
    let is_kept = async || {
        let kept: Directory = StateFile::new(dir.path().join("directory.json"))
            .read()
            .ok()??;
        (kept == *pool.now()).then_some(())
    };
    wait_for("it is on the disk", is_kept).await;
    let known = pool.now();
    drop(pool);
    let again = Believer::start(&core, dir.path(), &listed);
    assert_eq!(*again.now(), *known);
    site.core.restart();
    site.client().await;
    alice.signs(site, "berlin-1", OTHER_LIGHTNING);
    again.waits_for("berlin-1 is back", is_known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_revoked_and_joined_anew_is_admitted_by_another_record_alone() {
    let Some(alice) = Person::new().await else {
        return;
    };
    let core = site().await;
    let site = &core.0;
    let sleeper = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
    let agent = site.start_node("berlin-1", sleeper, "");
    site.running("berlin-1", "sleeper").await;
    let sign = ["node", "record", "sign", "berlin-1", "--lane", "asics"];
    let how = ["--lightning-node", LIGHTNING, "--chain", "signet", "--yes"];
    let sign = [sign.as_slice(), &how].concat();
    let signed = alice.types(site, &sign);
    assert_eq!(signed.status, 0, "{signed:?}");
    let revoked = site.hhctl(&["node", "revoke", "berlin-1", "--yes"]);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    wait_for("the node has heard of it", async || {
        let text = "core has revoked this node";
        agent.log().contains(text).then_some(())
    })
    .await;
    // With the key that it had.
    let token = site.path().join("berlin-1/token");
    let out = token.to_str().unwrap();
    let made = site.hhctl(&["token", "create", "berlin-1", "--replace", "--out", out]);
    assert_eq!(made.status, 0, "{made:?}");
    site.running("berlin-1", "sleeper").await;
    // A daemon that begins only now has not seen the revocation before.
    let dir = tempfile::tempdir().unwrap();
    let pool = Believer::start(&core, dir.path(), &[("alice", &alice)]);
    alice.signs(site, "paris", LIGHTNING);
    let is_later = |directory: &Directory| directory.node(&id("paris")).is_some();
    pool.waits_for("paris is known", is_later).await;
    assert_eq!(pool.lightning_of("berlin-1"), None);
    let signed = alice.types(site, &sign);
    assert_eq!(signed.status, 0, "{signed:?}");
    let is_back = |directory: &Directory| {
        let record = directory.node(&id("berlin-1"));
        record.is_some_and(|record| record.number == 2)
    };
    pool.waits_for("berlin-1 is back", is_back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_admit_a_third_and_a_revocation_ends_him() {
    let people = (
        Person::new().await,
        Person::new().await,
        Person::new().await,
    );
    let (Some(alice), Some(bob), Some(carol)) = people else {
        return;
    };
    let core = site().await;
    let dir = tempfile::tempdir().unwrap();
    let treasury = Believer::start(&core, dir.path(), &[("alice", &alice), ("bob", &bob)]);
    let (key, file) = (carol.key(), carol.public_key());
    let words = [
        "operator",
        "enroll",
        "carol",
        "--public-key",
        file.to_str().unwrap(),
        "--chain",
        "signet",
        "--yes",
    ];
    let is_one = |directory: &Directory| {
        let all = directory.operators(&treasury.listed);
        all.name_of(&key).is_some()
    };
    // Her own word for herself, and one operator's, are not enough.
    for person in [&carol, &alice] {
        let said = person.types(&core.0, &words);
        assert_eq!(said.status, 0, "{said:?}");
    }
    alice.signs(&core.0, "paris", LIGHTNING);
    let is_later = |directory: &Directory| directory.node(&id("paris")).is_some();
    treasury.waits_for("paris is known", is_later).await;
    assert!(!is_one(&treasury.now()));
    let said = bob.types(&core.0, &words);
    assert_eq!(said.status, 0, "{said:?}");
    treasury.waits_for("carol is an operator", is_one).await;
    let listed = core.0.hhctl(&["operator", "list", "-o", "json"]).json();
    assert_eq!(listed["items"][0]["name"], "carol", "{listed}");
    let revoked = core.0.hhctl(&["operator", "revoke", "carol", "--yes"]);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    let is_none = |directory: &Directory| !is_one(directory);
    treasury.waits_for("carol is none", is_none).await;
}

/// Whoever has core's database, its keys and its control socket.
struct Thief<'a> {
    site: &'a Site,
    person: &'a Person,
}

impl Thief<'_> {
    /// Writes a row that core never checked.
    fn writes(&self, kind: &str, name: &str, number: u32, signed: &Signed) {
        let database = Connection::open(self.site.database()).unwrap();
        let signatures = serde_json::to_string(&signed.signatures).unwrap();
        database
            .execute(
                "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5, 'local:root', 0)",
                params![kind, name, number, signed.text, signatures],
            )
            .unwrap();
    }

    fn record(&self, node: &str, number: u64) -> NodeRecord {
        NodeRecord {
            place: place(),
            node: id(node),
            number,
            key: node_key(node).public_key(),
            lightning: OTHER_LIGHTNING.parse().unwrap(),
            lanes: ["asics".parse().unwrap()].into(),
            visibility: hh_trust::enrolment::Visibility::Public,
            at: jiff::Timestamp::now().as_second(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_core_invents_no_node_that_is_believed() {
    let people = (
        Person::new().await,
        Person::new().await,
        Person::new().await,
    );
    let (Some(alice), Some(bob), Some(thief)) = people else {
        return;
    };
    let core = site().await;
    let site = &core.0;
    let dir = tempfile::tempdir().unwrap();
    let pool = Believer::start(&core, dir.path(), &[("alice", &alice), ("bob", &bob)]);
    // Over the control socket, with a key of his own.
    thief.signs(site, "invented-1", OTHER_LIGHTNING);
    let robber = Thief {
        site,
        person: &thief,
    };
    // In the database: a node, and himself as an operator who has admitted it.
    let node = robber.person.signs_text(&robber.record("invented-2", 1));
    robber.writes("node", "invented-2", 1, &node);
    let himself = robber.person.signs_text(&OperatorRecord {
        place: place(),
        operator: "alice".parse().unwrap(),
        number: 1,
        key: thief.key(),
        at: jiff::Timestamp::now().as_second(),
    });
    robber.writes("operator", "alice", 1, &himself);
    // Without any signature, too.
    let unsigned = Signed::draft(&robber.record("invented-3", 1));
    robber.writes("node", "invented-3", 1, &unsigned);
    alice.signs(site, "paris", LIGHTNING);
    let is_later = |directory: &Directory| directory.node(&id("paris")).is_some();
    pool.waits_for("paris is known", is_later).await;
    let known = pool.now();
    let nodes: Vec<String> = known
        .nodes()
        .map(|record| record.node.to_string())
        .collect();
    assert_eq!(nodes, ["paris"]);
    assert_eq!(known.operators(&pool.listed), pool.listed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_core_moves_no_payee() {
    let people = (
        Person::new().await,
        Person::new().await,
        Person::new().await,
    );
    let (Some(alice), Some(bob), Some(thief)) = people else {
        return;
    };
    let core = site().await;
    let site = &core.0;
    let dir = tempfile::tempdir().unwrap();
    let treasury = Believer::start(&core, dir.path(), &[("alice", &alice), ("bob", &bob)]);
    alice.signs(site, "berlin-1", LIGHTNING);
    let is_known = |directory: &Directory| directory.node(&id("berlin-1")).is_some();
    treasury.waits_for("berlin-1 is known", is_known).await;
    let robber = Thief {
        site,
        person: &thief,
    };
    // A next record by him; and the first one, edited under the operator's signature.
    let moved = robber.person.signs_text(&robber.record("berlin-1", 2));
    robber.writes("node", "berlin-1", 2, &moved);
    let database = Connection::open(site.database()).unwrap();
    let edit = "UPDATE records SET statement = replace(statement, ?1, ?2) WHERE name = 'berlin-1' AND number = 1";
    let edited = database.execute(edit, params![LIGHTNING, OTHER_LIGHTNING]);
    assert_eq!(edited.unwrap(), 1);
    drop(database);
    alice.signs(site, "paris", LIGHTNING);
    let is_later = |directory: &Directory| directory.node(&id("paris")).is_some();
    treasury.waits_for("paris is known", is_later).await;
    let lightning = treasury.lightning_of("berlin-1");
    assert_eq!(lightning.as_deref(), Some(LIGHTNING));
    // A daemon that never knew it is not told where to pay instead.
    let fresh = tempfile::tempdir().unwrap();
    let fresh = Believer::start(&core, fresh.path(), &[("alice", &alice), ("bob", &bob)]);
    fresh.waits_for("paris is known", is_later).await;
    assert_eq!(fresh.lightning_of("berlin-1"), None);
}

#[tokio::test]
async fn a_view_socket_and_who_has_no_token_change_and_see_no_record() {
    let site = Site::start().await;
    let view = site.path().join("hyperhash-core/view.sock");
    let client = hh_ipc::client::core(hh_ipc::client::dial(&view).await.unwrap());
    let record = hh_ipc::api::core::SignedRecord {
        kind: hh_ipc::api::core::RecordKind::Node,
        text: "{}".to_owned(),
        signatures: Vec::new(),
    };
    let call = hh_ipc::client::within(crate::site::PATIENCE);
    let refused = client.create_record(call, record.clone()).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH0201");
    let control = site.client().await;
    let call = hh_ipc::client::within(crate::site::PATIENCE);
    let refused = control.create_record(call, record).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH5020");
}

#[tokio::test]
async fn core_tells_who_signs_what_is_wrong_with_it() {
    let Some(alice) = Person::new().await else {
        return;
    };
    let site = Site::start().await;
    let client = site.client().await;
    let thief = Thief {
        site: &site,
        person: &alice,
    };
    let bring = async |signed: Signed| {
        let record = hh_ipc::api::core::SignedRecord {
            kind: hh_ipc::api::core::RecordKind::Node,
            text: signed.text,
            signatures: signed.signatures,
        };
        let call = hh_ipc::client::within(crate::site::PATIENCE);
        let brought = client.create_record(call, record).await.unwrap();
        brought.map_or_else(|refused| refused.code, |kept| kept.number.to_string())
    };
    let signed = alice.signs_text(&thief.record("berlin-1", 1));
    let mut elsewhere = thief.record("berlin-1", 1);
    elsewhere.place.domain = "another.test".parse().unwrap();
    assert_eq!(bring(alice.signs_text(&elsewhere)).await, "HH5020");
    // No daemon would take it today.
    let mut ahead = thief.record("berlin-1", 1);
    ahead.at += 100_000;
    assert_eq!(bring(alice.signs_text(&ahead)).await, "HH5020");
    let mut edited = signed.clone();
    edited.text = edited.text.replace(OTHER_LIGHTNING, LIGHTNING);
    assert_eq!(bring(edited).await, "HH5020");
    let unsigned = Signed::draft(&thief.record("berlin-1", 1));
    assert_eq!(bring(unsigned).await, "HH5020");
    let skipped = alice.signs_text(&thief.record("berlin-1", 2));
    assert_eq!(bring(skipped).await, "HH5051");
    assert_eq!(bring(signed.clone()).await, "1");
    // The same again is the same; another text under its number is none.
    assert_eq!(bring(signed).await, "1");
    let mut other = thief.record("berlin-1", 1);
    other.at -= 100;
    assert_eq!(bring(alice.signs_text(&other)).await, "HH5051");
    let revoked = site.hhctl(&["node", "record", "revoke", "nowhere", "--yes"]);
    assert!(revoked.stderr.contains("HH5050"), "{revoked:?}");
    let revocation = hh_ipc::api::core::RevokeRecord {
        kind: hh_ipc::api::core::RecordKind::Node,
        name: "berlin-1".to_owned(),
        reason: "two\nlines".to_owned(),
    };
    let call = hh_ipc::client::within(crate::site::PATIENCE);
    let refused = client.revoke_record(call, revocation).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH5020");
}
