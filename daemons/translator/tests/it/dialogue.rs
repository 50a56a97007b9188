//! The handshake in the orders, and with the ids and line ends, that miners in the field use.

use crate::miner::error_code;
use crate::pool::{NBITS, Pool, prefix};
use crate::translator::Translator;
use hh_mining::Target;
use hh_sv2::Message;
use serde_json::{Value, json};

/// cpuminer waits for the answer to subscribe before it says who it is, and takes the first line for that answer.
#[tokio::test]
async fn cpuminer_subscribes_before_there_is_a_channel_and_mines_after_authorize() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;

    miner
        .send_raw(
            "{\"id\": 1, \"method\": \"mining.subscribe\", \"params\": [\"cpuminer/2.5.1\"]}\n",
        )
        .await;
    let answer = miner.line().await;
    assert_eq!(answer["id"], 1);
    let extranonce1 = answer["result"][1].as_str().unwrap().to_owned();
    assert_eq!((extranonce1.len(), &answer["result"][2]), (2, &json!(7)));

    miner
        .send_raw(
            "{\"id\": 2, \"method\": \"mining.authorize\", \"params\": [\"alice.rig1\", \"x\"]}\n",
        )
        .await;
    let open = upstream.recv_open().await;
    assert_eq!(open.user_identity.as_bytes(), b"alice.rig1");
    assert_eq!(open.min_extranonce_size, 8);
    assert!((open.nominal_hash_rate - 1e9).abs() < 1.0, "the lane's");
    let channel_id = upstream.grant(&open, Target::from_difficulty(0.5)).await;
    assert_eq!(
        miner.line().await,
        json!({ "id": 2, "result": true, "error": null })
    );

    upstream
        .send([
            crate::pool::future_job(channel_id, 1),
            crate::pool::tip(channel_id, 1, 0x11),
        ])
        .await;
    assert_eq!(
        miner.notification().await,
        ("mining.set_difficulty".to_owned(), json!([0.5]))
    );
    let (method, notify) = miner.notification().await;
    assert_eq!(method, "mining.notify");
    assert_eq!(notify[1], "11".repeat(32));
    assert!(
        notify[2]
            .as_str()
            .unwrap()
            .ends_with(&hex::encode(prefix(channel_id))),
        "the prefix is in coinb1"
    );
    assert_eq!(notify[6], format!("{NBITS:08x}"));
    assert_eq!(notify[8], true);

    let status = translator.status().await;
    assert_eq!(status.miners[0].user_name, "alice.rig1");
    assert_eq!(status.miners[0].user_agent, "cpuminer/2.5.1");
    translator.stop().await;
}

/// The hashrate is that at which the difficulty gives 18 shares a minute.
#[track_caller]
fn check_starts_at(nominal_hash_rate: f32, difficulty: f64) {
    let expected = difficulty * 4_294_967_296.0 * 18.0 / 60.0;
    let ratio = f64::from(nominal_hash_rate) / expected;
    assert!(
        (ratio - 1.0).abs() < 1e-3,
        "{nominal_hash_rate} for difficulty {difficulty}"
    );
}

#[tokio::test]
async fn authorize_may_come_before_subscribe() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner
        .send(json!("auth"), "mining.authorize", json!(["alice"]))
        .await;
    upstream.open().await;
    miner.authorized().await;
    let answer = miner.call("mining.subscribe", json!([])).await;
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(
        miner.notify().await[8],
        true,
        "the first job is not sent before"
    );
    translator.stop().await;
}

/// ESP-Miner, and whoever sends everything at once; with a string id, a missing one, CRLF and a blank line.
#[tokio::test]
async fn a_pipelined_handshake_is_answered_in_order_and_to_the_ids_given() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner
        .send_raw(concat!(
            r#"{"id":"cfg","method":"mining.configure","params":[["version-rolling","nonsense"],{"version-rolling.mask":"ffffffff"}]}"#,
            "\r\n\r\n",
            r#"{"method":"mining.subscribe","params":["bitaxe/BM1370/v2","00000001","pool.example:3333",null]}"#,
            "\r\n",
            r#"{"id":7,"method":"mining.suggest_difficulty","params":[1000]}"#,
            "\n",
            r#"{"id":2.5,"method":"mining.authorize","params":["alice.bitaxe","x",{"more":1}]}"#,
            "\n",
            r#"{"id":9,"method":"mining.extra"#,
        ))
        .await;
    let result =
        json!({ "version-rolling.mask": "1fffe000", "version-rolling": true, "nonsense": false });
    assert_eq!(
        miner.answer().await,
        json!({ "id": "cfg", "result": result, "error": null })
    );
    let subscribed = miner.answer().await;
    assert_eq!(
        (&subscribed["id"], &subscribed["result"][2]),
        (&Value::Null, &json!(7))
    );
    assert_eq!(
        miner.answer().await,
        json!({ "id": 7, "result": true, "error": null })
    );
    miner.send_raw("nonce.subscribe\",\"params\":[]}\n").await;
    assert_eq!(
        miner.answer().await,
        json!({ "id": 9, "result": true, "error": null })
    );

    let open = upstream.recv_open().await;
    check_starts_at(open.nominal_hash_rate, 1000.0);
    assert_eq!(
        open.max_target.to_array(),
        [0xFF; 32],
        "no more than a suggestion"
    );
    let channel_id = upstream.grant(&open, Target::from_difficulty(1000.0)).await;
    assert_eq!(
        miner.answer().await,
        json!({ "id": 2.5, "result": true, "error": null })
    );
    upstream
        .send([
            crate::pool::future_job(channel_id, 1),
            crate::pool::tip(channel_id, 1, 0x11),
        ])
        .await;
    assert_eq!(
        miner.notification().await,
        ("mining.set_difficulty".to_owned(), json!([1000]))
    );
    assert_eq!(
        miner.notification().await,
        ("mining.set_version_mask".to_owned(), json!(["1fffe000"]))
    );
    miner.notify().await;
    translator.stop().await;
}

#[tokio::test]
async fn calls_that_are_not_mining_are_answered_too() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut miner = translator.miner().await;
    assert_eq!(miner.call("mining.ping", json!([])).await["result"], "pong");
    assert_eq!(
        miner.call("mining.extranonce.subscribe", json!([])).await["result"],
        true
    );
    for method in [
        "mining.get_transactions",
        "client.get_version",
        "mining.multi_version",
        "x",
    ] {
        assert_eq!(
            error_code(&miner.call(method, json!([])).await),
            20,
            "{method}"
        );
    }
    assert_eq!(
        error_code(
            &miner
                .call("mining.suggest_difficulty", json!(["hard"]))
                .await
        ),
        20
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_share_before_subscribe_or_authorize_is_refused_with_its_own_code() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut miner = translator.miner().await;
    let share = json!(["alice", "1", "00000000000000", "00000000", "00000000"]);
    assert_eq!(
        error_code(&miner.call("mining.submit", share.clone()).await),
        25
    );
    miner.call("mining.subscribe", json!([])).await;
    assert_eq!(error_code(&miner.call("mining.submit", share).await), 24);
    translator.stop().await;
}

#[tokio::test]
async fn a_user_that_the_pool_refuses_is_told_why_and_may_try_another() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("nobody").await;
    let open = upstream.recv_open().await;
    upstream.refuse(&open, "unknown-user").await;
    let answer = miner.answer().await;
    assert_eq!(
        (&answer["result"], &answer["error"][0]),
        (&json!(false), &json!(24))
    );
    assert!(
        answer["error"][1]
            .as_str()
            .unwrap()
            .contains("unknown-user"),
        "{answer}"
    );

    miner
        .send(json!("auth"), "mining.authorize", json!(["alice"]))
        .await;
    upstream.open().await;
    miner.authorized().await;
    miner.notify().await;
    translator.stop().await;
}

#[tokio::test]
async fn workers_of_one_account_share_a_connection_and_those_of_another_do_not() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice.one").await;
    assert_eq!(
        miner
            .call("mining.authorize", json!(["alice.two", "x"]))
            .await["result"],
        true
    );
    let other = miner
        .call("mining.authorize", json!(["bob.one", "x"]))
        .await;
    assert_eq!(
        (&other["result"], &other["error"][0]),
        (&json!(false), &json!(24))
    );
    let empty = miner.call("mining.authorize", json!([])).await;
    assert_eq!(empty["result"], false);

    miner.submit(json!(5), "bob.one", &notify, 1).await;
    assert_eq!(error_code(&miner.answer().await), 24);
    miner.submit(json!(6), "alice.two", &notify, 1).await;
    let share = upstream.recv_share().await;
    upstream
        .settle(share.channel_id, share.sequence_number, 1)
        .await;
    assert_eq!(miner.answer().await["result"], true);
    translator.stop().await;
}

#[tokio::test]
async fn a_suggested_difficulty_reaches_the_pool_once_and_a_notification_gets_no_answer() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    // NerdMiner repeats it every half minute, without an id.
    for _ in 0..3 {
        miner
            .send_raw("{\"method\":\"mining.suggest_difficulty\",\"params\":[\"0.001\"]}\n")
            .await;
    }
    assert_eq!(
        miner.call("mining.ping", json!([])).await["result"],
        "pong",
        "the first answer"
    );
    let Message::UpdateChannel(update) = upstream.recv().await else {
        panic!("the suggestion is passed on");
    };
    check_starts_at(update.nominal_hash_rate, 0.001);
    assert_eq!(update.maximum_target.to_array(), [0xFF; 32]);

    assert_eq!(
        miner.call("mining.suggest_difficulty", json!([2])).await["result"],
        true
    );
    let Message::UpdateChannel(update) = upstream.recv().await else {
        panic!("nothing came between the two suggestions");
    };
    check_starts_at(update.nominal_hash_rate, 2.0);
    translator.stop().await;
}

#[tokio::test]
async fn a_difficulty_in_the_password_or_in_configure_is_a_minimum_that_the_pool_is_told() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner
        .send(json!(1), "mining.authorize", json!(["alice", "x,d=524288"]))
        .await;
    let open = upstream.recv_open().await;
    check_starts_at(open.nominal_hash_rate, 524_288.0);
    assert_eq!(
        open.max_target.to_array(),
        Target::from_difficulty(524_288.0).to_le_bytes()
    );
    upstream
        .grant(&open, Target::from_difficulty(524_288.0))
        .await;
    assert_eq!(miner.answer().await["result"], true);
    // Old cgminer configures last.
    for (minimum, granted) in [(1024, 524_288.0), (1_048_576, 1_048_576.0)] {
        let extensions = json!([["minimum-difficulty"], { "minimum-difficulty.value": minimum }]);
        let answer = miner.call("mining.configure", extensions).await;
        assert_eq!(answer["result"]["minimum-difficulty"], true);
        if granted > 524_288.0 {
            let Message::UpdateChannel(update) = upstream.recv().await else {
                panic!("the higher minimum is passed on, and the lower was not");
            };
            assert_eq!(
                update.maximum_target.to_array(),
                Target::from_difficulty(granted).to_le_bytes()
            );
        }
    }
    translator.stop().await;
}

#[tokio::test]
async fn a_lanes_bounds_go_to_the_pool_with_every_channel() {
    let pool = Pool::start().await;
    let bounded = |config: &mut hh_translator::config::TranslatorConfig| {
        config.lanes[0].min_difficulty = Some(16.0);
        config.lanes[0].max_difficulty = Some(64.0);
    };
    let translator = Translator::start_as(&pool, bounded).await;
    let mut upstream = pool.accept().await;
    for (suggested, start) in [(0.001, 16.0), (32.0, 32.0), (1e9, 64.0)] {
        let mut miner = translator.miner().await;
        miner
            .call("mining.suggest_difficulty", json!([suggested]))
            .await;
        miner
            .send(json!(1), "mining.authorize", json!(["alice"]))
            .await;
        let open = upstream.recv_open().await;
        check_starts_at(open.nominal_hash_rate, start);
        assert_eq!(
            open.max_target.to_array(),
            Target::from_difficulty(16.0).to_le_bytes()
        );
    }
    translator.stop().await;
}

/// It drops a pool that gives it less, and says who it is before or after it authorizes.
#[tokio::test]
async fn nicehash_is_given_its_minimum_in_any_order() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let least = Target::from_difficulty(524_288.0).to_le_bytes();
    let mut miner = translator.miner().await;
    miner
        .call("mining.subscribe", json!(["NiceHash/1.0.0"]))
        .await;
    miner
        .send(json!(2), "mining.authorize", json!(["alice.rented", "x"]))
        .await;
    let open = upstream.recv_open().await;
    check_starts_at(open.nominal_hash_rate, 524_288.0);
    assert_eq!(open.max_target.to_array(), least);

    let mut miner = translator.miner().await;
    miner
        .send(json!(1), "mining.authorize", json!(["alice.rented", "x"]))
        .await;
    upstream.open().await;
    assert_eq!(miner.answer().await["result"], true);
    miner
        .call("mining.subscribe", json!(["NiceHash/1.0.0"]))
        .await;
    let Message::UpdateChannel(update) = upstream.recv().await else {
        panic!("the pool is told of the minimum");
    };
    assert_eq!(update.maximum_target.to_array(), least);
    translator.stop().await;
}

#[tokio::test]
async fn a_peer_that_speaks_no_sv1_is_closed() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut miner = translator.miner().await;
    miner.send_raw("GET / HTTP/1.1\r\n".repeat(8)).await;
    miner.closed().await;
    let mut miner = translator.miner().await;
    miner.send_raw(vec![b'x'; 4097]).await;
    miner.closed().await;
    let mut miner = translator.miner().await;
    miner
        .send_raw("{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(65))
        .await;
    miner.closed().await;
    translator
        .wait_for_status("no connection is left", |status| status.connections == 0)
        .await;
    translator.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_a_miner_is_who_the_header_tells() {
    let pool = Pool::start().await;
    let translator = Translator::start_proxied(&pool).await;
    let _upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    // IPv4 over TCP, from 203.0.113.7:8080 to 192.0.2.1:1; what the miner says comes in the same packet.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\x1f\x90\0\x01";
    let ping = b"{\"id\": 7, \"method\": \"mining.ping\", \"params\": []}\n";
    miner.send_raw([&header[..], &ping[..]].concat()).await;
    assert_eq!(miner.line().await["id"], 7);
    let status = translator.status().await;
    assert_eq!(status.miners[0].peer, "203.0.113.7:8080");
    let mut direct = translator.miner().await;
    direct.send_raw(ping).await;
    direct.closed().await;
    translator.stop().await;
}
