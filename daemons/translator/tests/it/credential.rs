//! The node's credential: presented before the first channel, renewed on the connection, and nothing that a pool which does not
//! know of credentials has to answer.

use crate::node::Node;
use crate::pool::{Pool, PoolConnection};
use crate::translator::Translator;
use hh_ipc::api::translator::LaneCredential;
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{EXTENSION_NODE_CREDENTIAL, UpdateChannel};

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
    let translator = node.translator(&pool, |_| {}).await;
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
    let translator = node.translator(&pool, |_| {}).await;
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

/// A translator whose credential the pool refuses, and the pool's end.
async fn refused(pool: &Pool, code: &str) -> (Translator, PoolConnection) {
    let node = Node::new(pool);
    node.issue(3_600);
    let translator = node.translator(pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    upstream.negotiate(&[EXTENSION_NODE_CREDENTIAL]).await;
    upstream.recv_credential().await;
    upstream.refuse_credential(code).await;
    (translator, upstream)
}

#[tokio::test]
async fn a_refused_credential_leaves_the_difficulty_to_the_pool() {
    let pool = Pool::start().await;
    let (translator, mut upstream) = refused(&pool, "wrong-key").await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    let open = upstream.recv_open().await;
    let asked = Target::from_le_bytes(open.max_target.to_array());
    assert_eq!(asked, Target::MAX, "any work, from which the pool chooses");
    let refused = |lane: &LaneCredential| because(lane, "wrong-key");
    wait_for_standing(&translator, "the reason", refused).await;
}

#[tokio::test]
async fn a_revoked_node_does_not_mine_and_says_why() {
    let pool = Pool::start().await;
    let (translator, _upstream) = refused(&pool, "revoked").await;
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
    let translator = node.translator(&pool, |_| {}).await;
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
