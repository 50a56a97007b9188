//! The node's credential: presented before the first channel, renewed on the connection, and nothing that a pool which does not
//! know of credentials has to answer.

use crate::pool::{Pool, PoolConnection};
use crate::translator::Translator;
use hh_ipc::api::translator::LaneCredential;
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::extensions;
use hh_sv2::message::{
    EXTENSION_NODE_CREDENTIAL, PresentCredential, PresentCredentialError, PresentCredentialSuccess,
    UpdateChannel,
};
use hh_translator::config::CredentialConfig;
use hh_trust::{NodeCredential, NodeSecretKey, PoolAuthority};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A node with the lane `main`, and the file of its credential.
struct Node {
    dir: TempDir,
    pool: PoolAuthority,
}

impl Node {
    fn new(pool: &Pool) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            pool: PoolAuthority::from_bytes(pool.public_key().to_bytes()),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("node.credential")
    }

    /// Writes a credential that ends in `seconds`, and gives its text.
    fn issue(&self, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let credential = NodeCredential {
            node: "berlin".parse().unwrap(),
            lanes: ["main".parse().unwrap()].into(),
            pool: self.pool,
            not_before: now,
            not_after: now + seconds,
        };
        let text = credential
            .sign(&NodeSecretKey::generate().unwrap())
            .unwrap();
        let new = self.file().with_extension("new");
        std::fs::write(&new, format!("{text}\n")).unwrap();
        std::fs::rename(&new, self.file()).unwrap();
        text
    }

    async fn translator(&self, pool: &Pool) -> Translator {
        let file = self.file();
        Translator::start_as(pool, |config| {
            config.credential = Some(CredentialConfig { file });
        })
        .await
    }
}

impl PoolConnection {
    /// Answers RequestExtensions, and grants what of it is in `supported`.
    async fn negotiate(&mut self, supported: &[u16]) {
        let Message::RequestExtensions(request) = self.recv_any().await else {
            panic!("no RequestExtensions");
        };
        let (answer, _) = extensions::answer(request, supported);
        self.send([answer]).await;
    }

    async fn recv_credential(&mut self) -> PresentCredential {
        match self.recv().await {
            Message::PresentCredential(message) => message,
            other => panic!("no credential: {other:?}"),
        }
    }

    async fn recv_update(&mut self) -> UpdateChannel {
        match self.recv().await {
            Message::UpdateChannel(update) => update,
            other => panic!("no update: {other:?}"),
        }
    }

    async fn take(&mut self) {
        self.send([PresentCredentialSuccess {}.into()]).await;
    }

    async fn refuse_credential(&mut self, code: &str) {
        let error_code = code.try_into().unwrap();
        self.send([PresentCredentialError { error_code }.into()])
            .await;
    }
}

async fn wait_for_standing(
    translator: &Translator,
    what: &str,
    wanted: impl Fn(&LaneCredential) -> bool,
) {
    translator
        .wait_for_status(what, |status| wanted(&status.credentials[0]))
        .await;
}

fn because(lane: &LaneCredential, words: &str) -> bool {
    lane.node == "core"
        && lane
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains(words))
}

fn target(update: &UpdateChannel) -> Target {
    Target::from_le_bytes(update.maximum_target.to_array())
}

#[tokio::test]
async fn a_credential_comes_before_the_first_channel_and_its_channels_have_a_target_of_ours() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    let text = node.issue(3_600);
    let translator = node.translator(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    upstream.negotiate(&[EXTENSION_NODE_CREDENTIAL]).await;
    let presented = upstream.recv_credential().await;
    assert_eq!(presented.credential.as_bytes(), text.as_bytes());
    assert_eq!(presented.lane.as_bytes(), b"main");
    upstream.take().await;
    let open = upstream.recv_open().await;
    // The lane's estimate, at 18 shares a minute: not what is easiest for the miner.
    let asked = Target::from_le_bytes(open.max_target.to_array());
    let expected = Target::from_hashrate(open.nominal_hash_rate.into(), 18.0).difficulty();
    let ratio = asked.difficulty() / expected;
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    upstream.grant(&open, asked).await;
    let is_berlin = |lane: &LaneCredential| lane.node == "berlin" && lane.until_at.is_some();
    wait_for_standing(&translator, "the node", is_berlin).await;
    translator.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_silent_or_knows_no_credentials_is_mined_at_without() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(3_600);
    let translator = node.translator(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    assert!(matches!(
        upstream.recv_any().await,
        Message::RequestExtensions(_)
    ));
    // Not a word, as of a pool that knows no extensions.
    upstream.open().await;
    miner.authorized().await;
    let unknown = |lane: &LaneCredential| because(lane, "does not know of credentials");
    wait_for_standing(&translator, "its silence", unknown).await;
    drop(upstream);
    let mut upstream = pool.accept().await;
    upstream.negotiate(&[]).await;
    upstream.open().await;
    wait_for_standing(&translator, "its refusal", unknown).await;
}

#[tokio::test]
async fn a_refused_credential_leaves_the_difficulty_to_the_pool() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(3_600);
    let translator = node.translator(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    upstream.negotiate(&[EXTENSION_NODE_CREDENTIAL]).await;
    upstream.recv_credential().await;
    upstream.refuse_credential("wrong-key").await;
    let open = upstream.recv_open().await;
    let asked = Target::from_le_bytes(open.max_target.to_array());
    assert_eq!(asked, Target::MAX, "any work, from which the pool chooses");
    let refused = |lane: &LaneCredential| because(lane, "wrong-key");
    wait_for_standing(&translator, "the reason", refused).await;
}

#[tokio::test]
async fn a_revoked_node_does_not_mine_and_says_why() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(3_600);
    let translator = node.translator(&pool).await;
    let mut upstream = pool.accept().await;
    upstream.negotiate(&[EXTENSION_NODE_CREDENTIAL]).await;
    upstream.recv_credential().await;
    upstream.refuse_credential("revoked").await;
    let revoked = |error: &String| error.contains("revoked this node");
    translator
        .wait_for_status("the reason", |status| {
            status.upstreams[0].last_error.as_ref().is_some_and(revoked)
        })
        .await;
}

#[tokio::test]
async fn a_credential_that_comes_late_makes_no_channel_easy_and_one_that_is_renewed_changes_none() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    let translator = node.translator(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    upstream.negotiate(&[EXTENSION_NODE_CREDENTIAL]).await;
    let pools = Target::from_difficulty(64.0);
    let channel_id = upstream.open_at(pools).await;
    miner.authorized().await;
    let absent = |lane: &LaneCredential| because(lane, "node.credential");
    wait_for_standing(&translator, "no file", absent).await;

    node.issue(1_800);
    // First what the channel has, and only then what fixes it there.
    let update = upstream.recv_update().await;
    assert_eq!((update.channel_id, target(&update)), (channel_id, pools));
    upstream.recv_credential().await;
    upstream.refuse_credential("expired").await;
    let given_back = upstream.recv_update().await;
    assert_eq!(target(&given_back), Target::MAX, "the pool's again");

    node.issue(1_900);
    assert_eq!(target(&upstream.recv_update().await), pools);
    upstream.recv_credential().await;
    upstream.take().await;
    let is_berlin = |lane: &LaneCredential| lane.node == "berlin";
    wait_for_standing(&translator, "the node", is_berlin).await;

    let renewed = node.issue(3_600);
    // The miner is silent, and is given easier work meanwhile.
    let presented = loop {
        match upstream.recv().await {
            Message::PresentCredential(presented) => break presented,
            Message::UpdateChannel(update) => assert!(target(&update) > pools),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(presented.credential.as_bytes(), renewed.as_bytes());
    upstream.refuse_credential("earlier-end").await;
    wait_for_standing(&translator, "the one that holds", is_berlin).await;
}
