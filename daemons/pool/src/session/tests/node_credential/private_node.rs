//! A private node serves its own accounts, and gets nothing for the work of others.

use super::*;

/// Berlin is Alice's alone.
async fn private_pool() -> TestPool {
    let mut node = node::config("berlin", 1);
    node.lanes[0].min_difficulty = Some(1e-12);
    let accounts = ["alice".to_owned()].into();
    TestPool::start(Options {
        hyper_nodes: vec![node],
        private_nodes: [("berlin".parse().unwrap(), accounts)].into(),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn through_a_private_node_only_its_own_accounts_open_channels() {
    let pool = private_pool().await;
    let mut miner = berlin(&pool, HOUR).await;
    for stranger in ["bob", "bob.alice", "alice2"] {
        let refused = miner.open(stranger).await.unwrap_err();
        assert_eq!(refused, "unknown-user", "{stranger}");
    }
    let mut channel = miner.open("alice.rig1").await.unwrap();
    miner.mine(&mut channel).await;
    let (mut direct, mut straight) = pool.mine("bob").await;
    direct.mine(&mut straight).await;
    assert_eq!(
        credited(pool).await,
        [
            names(["alice", "rig1", "berlin", "asics"]),
            names(["bob", "", "core", "sv2"]),
        ]
    );
}

#[tokio::test]
async fn what_others_had_open_before_the_credential_is_no_work_of_the_node() {
    let pool = private_pool().await;
    let mut miner = pool.connect().await;
    miner.negotiate().await;
    let mut hers = miner.open("alice").await.unwrap();
    let mut his = miner.open("bob").await.unwrap();
    let answer = miner.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(answer, CredentialAnswer::Taken);
    miner.mine(&mut his).await;
    miner.mine(&mut hers).await;
    assert_eq!(
        credited(pool).await,
        [
            names(["bob", "", "core", "sv2"]),
            names(["alice", "", "berlin", "asics"]),
        ]
    );
}
