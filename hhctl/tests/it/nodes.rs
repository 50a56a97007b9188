//! `hhctl node`: keys and credentials on a node, and which nodes the pool lets in.

use crate::daemons::{Answers, Devnet, now};
use crate::operator::{Operator, Outcome};
use hh_trust::{NodePublicKey, NodeSecretKey, PoolAuthority, PresentedCredential};
use hhctl::Exit;
use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// From the Stratum V2 specification 4.7.
const POOL: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A folder with the key of a node, and its operator.
struct Node {
    dir: tempfile::TempDir,
    operator: Operator,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let operator = Operator::in_dir(dir.path());
        Self { dir, operator }
    }

    /// Runs `line` with the folder for each `DIR`, and shows `DIR` for it.
    async fn types(&self, line: &str) -> Outcome {
        let dir = self.dir.path().to_str().unwrap();
        let mut outcome = self.operator.types(&line.replace("DIR", dir)).await;
        for said in [&mut outcome.stdout, &mut outcome.stderr] {
            *said = said.replace(dir, "DIR");
        }
        outcome
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// One that has its key.
fn node() -> Node {
    let node = Node::new();
    let key = node.path("node.key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    node
}

fn issue(more: &str) -> String {
    format!(
        "hhctl node credential issue --key file:DIR/node.key --node berlin-1 --lane asics {more}"
    )
}

#[tokio::test]
async fn the_list_shows_who_is_let_in_and_who_not() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    assert_snapshot!(
        "node_list",
        operator.types("hhctl node list").await.transcript()
    );
    let json = operator.types("hhctl nodes list -o json").await;
    assert_snapshot!("node_list_json", json.stdout);
    let devnet = Devnet::start(Answers {
        hyper_nodes: Vec::new(),
        ..Answers::good()
    });
    let empty = Operator::at(&devnet).types("hhctl node list").await;
    assert!(empty.stdout.contains("[[hyper_nodes]]"), "{empty:?}");
}

#[tokio::test]
async fn a_revocation_is_asked_about_and_shows_what_it_closed() {
    let devnet = Devnet::start(Answers::good());
    let line = "hhctl node revoke berlin --reason stolen";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("node_revoke_refused", no.transcript());
    let operator = Operator::at(&devnet);
    let dry = operator.types(&format!("{line} --dry-run")).await;
    assert!(dry.stdout.contains("would revoke"), "{dry:?}");
    assert!(devnet.changes().is_empty());
    let revoked = operator.types(&format!("{line} --yes")).await;
    assert_snapshot!("node_revoke", revoked.transcript());
    assert_eq!(devnet.changes().len(), 1);
    let nobody = operator.types("hhctl node revoke paris -y").await;
    assert_eq!(nobody.exit, Exit::NotFound, "{nobody:?}");
}

#[tokio::test]
async fn a_key_is_made_once_for_its_owner_alone_and_shown_again() {
    let node = Node::new();
    let made = node.types("hhctl node key generate DIR/node.key").await;
    assert_eq!(made.exit, Exit::Done, "{made:?}");
    let key = node.path("node.key");
    assert_eq!(mode(&key), 0o600);
    let secret: NodeSecretKey = std::fs::read_to_string(&key).unwrap().parse().unwrap();
    let public: NodePublicKey = made.stdout.trim().parse().unwrap();
    assert_eq!(public, secret.public_key());
    let shown = node.types("hhctl node key show DIR/node.key").await;
    assert_eq!(shown.stdout, made.stdout);
    let again = node.types("hhctl node key generate DIR/node.key").await;
    assert_eq!(again.exit, Exit::Failed);
    assert!(again.stderr.contains("hhctl node key show"), "{again:?}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = node.types("hhctl node key show DIR/node.key").await;
    assert!(open.stderr.contains("chmod 600"), "{open:?}");
}

#[tokio::test]
async fn a_credential_holds_from_now_for_its_hours_and_is_for_its_owner() {
    let node = node();
    let line = issue(&format!(
        "--lane gpus --pool-authority {POOL} --hours 6 --out DIR/c"
    ));
    let issued = node.types(&line).await;
    assert_snapshot!("node_credential_issue", issued.transcript());
    let path = node.path("c");
    assert_eq!(mode(&path), 0o600);

    let text = std::fs::read_to_string(&path).unwrap();
    let presented = PresentedCredential::parse(text.trim_end().as_bytes()).unwrap();
    let key: NodeSecretKey = "07".repeat(32).parse().unwrap();
    let pool: PoolAuthority = POOL.parse().unwrap();
    let now = now().as_second();
    let verified = presented
        .verify(&key.public_key(), pool, "gpus", now)
        .unwrap();
    assert_eq!(
        (verified.not_before, verified.not_after),
        (now, now + 6 * 3_600)
    );

    // The one that holds is replaced.
    let line = issue(&format!("--pool-authority {POOL} --out DIR/c -o json"));
    assert_snapshot!("node_credential_issue_json", node.types(&line).await.stdout);
    let shown = node.types("hhctl node credential show DIR/c").await;
    assert_snapshot!("node_credential_show", shown.transcript());
    assert_eq!(std::fs::read_dir(node.dir.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_credential_that_has_ended_says_so() {
    let node = node();
    // Signed with the key 07..07; it ended on 2026-11-25 at 11:00.
    let key: NodeSecretKey = "07".repeat(32).parse().unwrap();
    let end = now().as_second() - 3_600;
    let ended = hh_trust::NodeCredential {
        node: "berlin-1".parse().unwrap(),
        lanes: ["asics".parse().unwrap()].into(),
        pool: POOL.parse().unwrap(),
        not_before: end - 3_600,
        not_after: end,
    };
    std::fs::write(node.path("c"), ended.sign(&key).unwrap()).unwrap();
    let shown = node.types("hhctl node credential show DIR/c").await;
    assert!(shown.stdout.contains("ended 1h00m ago"), "{shown:?}");
}

#[tokio::test]
async fn what_is_no_credential_is_not_made_and_not_shown() {
    let node = node();
    for (more, expected) in [
        (
            format!("--pool-authority {POOL} --hours 25 --out DIR/c"),
            "24",
        ),
        (
            format!("--pool-authority {POOL} --hours 0 --out DIR/c"),
            "24",
        ),
        (
            "--pool-authority 9bXi --out DIR/c".to_owned(),
            "authority key of a pool",
        ),
        (
            format!("--lane a/b --pool-authority {POOL} --out DIR/c"),
            "no name of a lane",
        ),
        (format!("--pool-authority {POOL}"), "--out"),
    ] {
        let outcome = node.types(&issue(&more)).await;
        assert_eq!(outcome.exit, Exit::Usage, "{more}: {outcome:?}");
        assert!(outcome.stderr.contains(expected), "{more}: {outcome:?}");
    }
    let line = issue(&format!("--pool-authority {POOL} --out DIR/c")).replace("berlin-1", "core");
    assert_eq!(node.types(&line).await.exit, Exit::Usage);
    assert!(!node.path("c").exists());
    let shown = node.types("hhctl node credential show DIR/node.key").await;
    assert_eq!(shown.exit, Exit::Failed);
    assert!(shown.stderr.contains("not a credential"), "{shown:?}");
}
