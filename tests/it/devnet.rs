//! `scripts/devnet` as a newcomer runs it, in a directory and on ports of its own, so that it disturbs no other.

use hh_tests::checkout;
use hh_tests::wait::wait_blocking;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// A block takes 4.8 million hashes, half a minute of devnet's miners; ten times that comes once in 20,000 runs.
const FIRST_BLOCK: Duration = Duration::from_secs(300);

/// How often a devnet is started with other ports.
const PORT_TRIES: usize = 5;

/// Away from a devnet that a developer has running, from a second run of this test, and below the ports that the kernel gives to
/// connections, of which other tests have thousands.
fn any_ports() -> i32 {
    rand::random_range(-2_200..-1_490)
}

/// Stopped and removed also where the test fails.
struct Devnet {
    dir: tempfile::TempDir,
    ports: i32,
}

impl Devnet {
    fn script(&self, arguments: &[&str]) -> Output {
        Command::new(checkout().join("scripts/devnet"))
            .args(arguments)
            .env("HH_DEVNET_DIR", self.dir.path().join("net"))
            .env("HH_DEVNET_PORTS", self.ports.to_string())
            // Without the tests' dependencies cargo would build most of the workspace anew, in the middle of a test run.
            .env("HH_DEVNET_NO_BUILD", "1")
            .output()
            .expect("the script runs")
    }

    /// Starts it; with other ports where one of them is taken meanwhile, as another test's connection may do to any of them.
    fn up(&mut self) -> Output {
        let mut tries = 1;
        loop {
            let output = self.script(&["up"]);
            let said = text(&output);
            let is_taken =
                said.contains("another process has the port") || said.contains("is taken by");
            if !is_taken || tries == PORT_TRIES {
                return output;
            }
            self.check(&["clean"], 0, &[]);
            self.ports = any_ports();
            tries += 1;
        }
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], status: i32, words: &[&str]) {
        check(arguments, &self.script(arguments), status, words);
    }

    fn hhctl(&self, arguments: &[&str]) -> Option<Value> {
        let net = self.dir.path().join("net");
        let output = Command::new(net.join("bin/hhctl"))
            .args(arguments)
            .args(["-o", "json"])
            .env("HHCTL_CONTEXT", net.join("context.toml"))
            .output()
            .ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    fn process_id(&self, name: &str) -> String {
        let file = self.dir.path().join("net/run").join(format!("{name}.pid"));
        let text = std::fs::read_to_string(file).expect("a process that runs has such a file");
        text.lines()
            .next()
            .expect("its first line is the id")
            .to_owned()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        drop(self.script(&["clean"]));
    }
}

#[track_caller]
fn check(arguments: &[&str], output: &Output, status: i32, words: &[&str]) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    for word in words {
        assert!(
            said.contains(word),
            "{arguments:?} does not say {word:?}: {said}"
        );
    }
}

/// Its parent is not us, and may take its time to reap it: a process that has ended has no executable any more.
fn has_ended(process_id: &str) -> bool {
    Path::new("/proc")
        .join(process_id)
        .join("exe")
        .read_link()
        .is_err()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// Blocks on top of the first of ours until its reward may be paid, and some to fund a channel.
const MATURITY: &str = "110";

/// Each block that is looked for takes some seconds.
const PAID: Duration = Duration::from_secs(600);

/// The node's part of a block's reward arrives at its wallet.
fn check_node_is_paid(devnet: &Devnet) {
    devnet.check(&["mine", MATURITY], 0, &["height"]);
    let payout = wait_blocking("hhctl lists a settled payout", PAID, || {
        // A channel is opened meanwhile, which wants blocks on its funding.
        devnet.check(&["mine", "1"], 0, &["height"]);
        let payouts = devnet.hhctl(&["payout", "list"])?;
        let mut payouts = payouts["items"].as_array()?.iter();
        payouts.find(|payout| payout["state"] == "settled").cloned()
    });
    assert_eq!(payout["payee"], "node:devnet-node", "{payout}");
    let preimage = hex::decode(payout["preimage"].as_str().expect("it is the receipt"));
    let hash: bitcoin::hashes::sha256::Hash =
        bitcoin::hashes::Hash::hash(&preimage.expect("it is hex"));
    assert_eq!(payout["payment_hash"], hash.to_string(), "{payout}");
}

#[test]
fn devnet_comes_up_mines_a_block_goes_down_and_leaves_nothing() {
    let mut devnet = Devnet {
        dir: tempfile::tempdir_in("/tmp").unwrap(),
        ports: any_ports(),
    };
    let running: &[&str] = &[
        "bitcoin-node",
        "hh-tp",
        "hh-pool",
        "hh-translator",
        "hhctl status",
    ];
    check(&["up"], &devnet.up(), 0, running);
    // What a newcomer types next shows nothing that is still on its way.
    let status = devnet.hhctl(&["status"]).expect("hhctl prints JSON");
    assert_eq!(status["item"]["treasury"]["state"], "ok", "{status}");

    let block = wait_blocking("hhctl lists an accepted block", FIRST_BLOCK, || {
        let blocks = devnet.hhctl(&["block", "list"])?;
        let mut blocks = blocks["items"].as_array()?.iter();
        blocks.find(|block| block["state"] == "accepted").cloned()
    });
    assert_eq!(block["account"], "devnet", "{block}");
    devnet.check(&["mine", "2"], 0, &["height"]);
    devnet.check(&["status"], 0, &["shares accepted"]);

    if hh_tests::all() {
        check_node_is_paid(&devnet);
    }

    // A second `up` starts only what is not there.
    let node = devnet.process_id("bitcoin-node");
    let pool = devnet.process_id("hh-pool");
    let killed = Command::new("kill").args(["-9", &pool]).status().unwrap();
    assert!(killed.success());
    wait_blocking("the pool has ended", Duration::from_secs(10), || {
        has_ended(&pool).then_some(())
    });
    devnet.check(&["status"], 3, &["hh-pool", "DEAD"]);
    devnet.check(&["up"], 0, &["hh-pool had ended by itself"]);
    assert_eq!(devnet.process_id("bitcoin-node"), node);
    assert_ne!(devnet.process_id("hh-pool"), pool);

    devnet.check(&["down"], 0, &["stopped"]);
    devnet.check(&["down"], 0, &["stopped"]);
    assert!(has_ended(&node));

    // A port that another has.
    let port = u16::try_from(34254 + devnet.ports).unwrap();
    let _held = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    devnet.check(&["up"], 1, &[&port.to_string(), "hh-pool", "is taken by"]);

    devnet.check(&["clean"], 0, &["removed"]);
    assert!(!devnet.dir.path().join("net").exists());
}
