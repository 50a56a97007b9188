//! A lane whose miners share channels, at a pool that leaves the difficulty to the node, and at one that does not.

use crate::miner::Miner;
use crate::node::Node;
use crate::pool::{NODE_EXTENSIONS, NTIME, Pool, PoolConnection, future_job, prefix, tip};
use crate::translator::Translator;
use hh_ipc::api::translator::TranslatorStatus;
use hh_mining::Target;
use hh_translator::config::LaneChannels;
use serde_json::{Value, json};

/// A translator on the node, whose lane is aggregated.
async fn start(pool: &Pool, node: &Node) -> Translator {
    node.translator(pool, |config| {
        config.lanes[0].channels = LaneChannels::Aggregated;
        // The easiest class: every header is work.
        config.lanes[0].max_difficulty = Some(1e-10);
    })
    .await
}

async fn begin(translator: &Translator, user_name: &str) -> (Miner, Value) {
    let mut miner = translator.miner().await;
    let answer = miner.call("mining.subscribe", json!(["test/1"])).await;
    assert_eq!(answer["result"][2], 5, "two bytes are the lease");
    miner
        .send(json!("auth"), "mining.authorize", json!([user_name, "x"]))
        .await;
    let extranonce1 = answer["result"][1].clone();
    (miner, extranonce1)
}

fn coinbase(notify: &Value) -> &str {
    notify[2].as_str().unwrap()
}

async fn submit(miner: &mut Miner, id: u32, user_name: &str, notify: &Value) {
    let ntime = format!("{NTIME:08x}");
    let params = json!([user_name, notify[0], "0000000001", ntime, "0000002a"]);
    miner.send(json!(id), "mining.submit", params).await;
}

/// Opens the channel that is asked for next at exactly the target that is asked for.
async fn open(upstream: &mut PoolConnection, account: &str) -> u32 {
    let open = upstream.recv_open().await;
    assert_eq!(open.user_identity.as_bytes(), account.as_bytes());
    let target = Target::from_le_bytes(open.max_target.to_array());
    assert_eq!(target.difficulty().log2().fract(), 0.0, "a power of two");
    let channel_id = upstream.grant(&open, target).await;
    upstream
        .send([future_job(channel_id, 1), tip(channel_id, 1, 0x11)])
        .await;
    channel_id
}

#[tokio::test]
async fn miners_of_an_account_share_a_channel_and_each_share_names_its_worker() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(3_600);
    let translator = start(&pool, &node).await;
    let mut upstream = pool.accept_node().await;
    let (mut one, extranonce1) = begin(&translator, "alice.one").await;
    let channel_id = open(&mut upstream, "alice").await;
    one.authorized().await;
    let first = one.notify().await;
    let (mut two, _) = begin(&translator, "alice.two").await;
    two.authorized().await;
    let second = two.notify().await;
    let head = hex::encode(prefix(channel_id));
    assert!(coinbase(&first).ends_with(&format!("{head}0000")));
    assert!(coinbase(&second).ends_with(&format!("{head}0001")));

    submit(&mut one, 1, "alice.one", &first).await;
    let (share, worker) = upstream.recv_named_share().await;
    let extranonce1 = extranonce1.as_str().unwrap();
    let extranonce = hex::encode(share.extranonce.as_bytes());
    assert_eq!(extranonce, format!("0000{extranonce1}0000000001"));
    assert_eq!(
        (share.channel_id, worker.as_deref()),
        (channel_id, Some("one"))
    );
    submit(&mut two, 2, "alice.two", &second).await;
    let (share, worker) = upstream.recv_named_share().await;
    assert_eq!(
        (share.channel_id, worker.as_deref()),
        (channel_id, Some("two"))
    );
    assert_eq!(share.sequence_number, 2, "counted by channel");
    upstream.reject(channel_id, 1, "stale-share").await;
    upstream.settle(channel_id, 2, 1).await;
    assert_eq!(crate::miner::error_code(&one.answer().await), 21);
    assert_eq!(two.answer().await["result"], true);
    let both_in_a_class = |status: &TranslatorStatus| {
        let [class] = &status.classes[..] else {
            return false;
        };
        (class.lane.as_str(), class.accounts, class.channels) == ("main", 1, 1)
            && (class.miners, class.arriving) == (2, 0)
    };
    let status = translator
        .wait_for_status("both in a class", both_in_a_class)
        .await;
    assert!(status.lanes[0].aggregated);

    let (mut bob, _) = begin(&translator, "bob").await;
    let of_bob = open(&mut upstream, "bob").await;
    assert_ne!(of_bob, channel_id);
    bob.authorized().await;
    bob.notify().await;
    translator.stop().await;
}

/// In place of standing still: the pool's vardiff would have all who share a channel find as many shares as one.
#[tokio::test]
async fn while_no_credential_holds_each_miner_has_a_channel_of_its_own() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(-1);
    let translator = start(&pool, &node).await;
    let mut upstream = pool.accept().await;
    upstream.negotiate(&NODE_EXTENSIONS).await;
    let ended = |status: &TranslatorStatus| {
        let reason = status.credentials[0].reason.as_deref();
        reason == Some("the credential has ended")
    };
    translator.wait_for_status("the end", ended).await;
    let mut miners = Vec::new();
    for worker in ["one", "two"] {
        let user_name = format!("alice.{worker}");
        let (mut miner, _) = begin(&translator, &user_name).await;
        let open = upstream.recv_open().await;
        assert_eq!(open.user_identity.as_bytes(), user_name.as_bytes());
        let easiest = Target::from_le_bytes(open.max_target.to_array());
        assert_eq!(
            easiest,
            Target::MAX,
            "any work, from which the pool chooses"
        );
        let channel_id = upstream.grant(&open, Target::MAX).await;
        upstream
            .send([future_job(channel_id, 1), tip(channel_id, 1, 0x11)])
            .await;
        miner.authorized().await;
        let notify = miner.notify().await;
        submit(&mut miner, 1, &user_name, &notify).await;
        let (share, named) = upstream.recv_named_share().await;
        assert_eq!(
            (share.channel_id, named.as_deref()),
            (channel_id, Some(worker))
        );
        upstream.settle(channel_id, 1, 1).await;
        assert_eq!(miner.answer().await["result"], true);
        miners.push((user_name, miner));
    }

    let each_its_own = |status: &TranslatorStatus| {
        let [own] = &status.classes[..] else {
            return false;
        };
        own.difficulty.is_none() && (own.channels, own.miners) == (2, 2)
    };
    translator
        .wait_for_status("channels of their own", each_its_own)
        .await;

    // A credential fixes each channel where it is, so that is what is asked for first.
    node.issue(3_600);
    for _ in &miners {
        let update = upstream.recv_update().await;
        let asked = Target::from_le_bytes(update.maximum_target.to_array());
        assert_eq!(asked, Target::MAX);
    }
    upstream.recv_credential().await;
    upstream.take().await;
    let channel_id = open(&mut upstream, "alice").await;
    for (user_name, miner) in &mut miners {
        let notify = miner.notify().await;
        assert!(coinbase(&notify).contains(&hex::encode(prefix(channel_id))));
        submit(miner, 2, user_name, &notify).await;
        assert_eq!(upstream.recv_named_share().await.0.channel_id, channel_id);
    }
    translator.stop().await;
}

#[tokio::test]
async fn a_pool_that_keeps_the_difficulty_to_itself_is_refused_with_the_reason() {
    let pool = Pool::start().await;
    let node = Node::new(&pool);
    node.issue(3_600);
    let translator = start(&pool, &node).await;
    pool.accept().await.negotiate(&[]).await;
    let refused = |status: &TranslatorStatus| {
        let error = status.upstreams[0].last_error.as_deref();
        error.is_some_and(|error| {
            error.contains("does not know of credentials") && error.contains("separate")
        })
    };
    translator.wait_for_status("the reason", refused).await;
    translator.stop().await;
}
