//! Lines as they come, and calls beside mining.

use crate::miner::error_code;
use crate::pool::{Pool, PoolConnection};
use crate::translator::Translator;
use hh_sv2::message::Reconnect;
use serde_json::{Value, json};

async fn start() -> (Pool, Translator, PoolConnection) {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let upstream = pool.accept().await;
    (pool, translator, upstream)
}

#[tokio::test]
async fn lines_may_be_cut_joined_ended_and_padded_in_every_way() {
    let (_pool, translator, _upstream) = start().await;
    let ping = r#"{"id":1,"method":"mining.ping","params":[]}"#;
    for bytes in [
        format!("{ping}\r\n"),
        format!("\r\n\n{ping}\n"),
        format!("{ping}\0\n"),
        format!("\0{ping}\r\0\n"),
        format!("  \t{ping} \n"),
        ping.replace(":", " : ") + "\n",
    ] {
        let mut miner = translator.miner().await;
        for piece in bytes.as_bytes().chunks(7) {
            miner.send_raw(piece).await;
        }
        assert_eq!(miner.answer().await["result"], "pong", "{bytes:?}");
    }
    let mut miner = translator.miner().await;
    miner.send_raw(format!("{ping}\n").repeat(10)).await;
    for _ in 0..10 {
        assert_eq!(miner.answer().await["result"], "pong");
    }
    translator.stop().await;
}

/// What can't be understood is told so, and the connection goes on until it is plainly no miner's.
#[tokio::test]
async fn lines_that_are_no_calls_are_answered_with_an_error_and_cost_nothing() {
    let (_pool, translator, mut upstream) = start().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    let deep = format!(r#"{{"id":1,"method":"x","params":{}"#, "[".repeat(500));
    for line in [
        r#"{"id":1,"method":"mining.ping","method":"mining.submit"}"#,
        r#"{"id":1,"id":2,"method":"mining.ping"}"#,
        r#"{"id":1,"method":7}"#,
        "[1,2,3]",
        &deep,
    ] {
        miner.send_raw(format!("{line}\n")).await;
        let answer = miner.answer().await;
        assert_eq!(
            (error_code(&answer), &answer["id"]),
            (20, &Value::Null),
            "{line}"
        );
    }
    miner
        .send_raw(b"{\"id\":2,\"method\":\"mining.\xff\xfe\"}\n")
        .await;
    let answer = miner.answer().await;
    assert_eq!((error_code(&answer), &answer["id"]), (20, &json!(2)));
    miner.submit(json!(3), "alice", &notify, 1).await;
    let share = upstream.recv_share().await;
    upstream.settle(1, share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    translator.stop().await;
}

#[tokio::test]
async fn a_line_of_16_kib_passes_once_the_miner_is_authorized() {
    let (_pool, translator, mut upstream) = start().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let padded = |bytes: usize| {
        let call = r#"{"id":1,"method":"mining.ping","params":[""]}"#;
        let padding = "x".repeat(bytes - call.len());
        call.replace("[\"", &format!("[\"{padding}")) + "\n"
    };
    miner.send_raw(padded(16 * 1024)).await;
    assert_eq!(miner.answer().await["result"], "pong");
    miner.send_raw(padded(16 * 1024 + 1)).await;
    miner.closed().await;
    translator.stop().await;
}

/// Silence makes some firmware wait for its time-out.
#[tokio::test]
async fn no_call_is_met_with_silence() {
    let (_pool, translator, mut upstream) = start().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    for method in [
        "mining.get_transactions",
        "mining.get_txnhashes",
        "mining.multi_version",
        "mining.suggest_target",
        "mining.capabilities",
        "client.get_version",
        "eth_submitLogin",
        "",
    ] {
        let answer = miner.call(method, json!(["1"])).await;
        assert_eq!(error_code(&answer), 20, "{method}");
    }
    for (method, result) in [
        ("mining.ping", json!("pong")),
        ("mining.extranonce.subscribe", json!(true)),
    ] {
        assert_eq!(miner.call(method, json!([])).await["result"], result);
    }
    // Answers to questions of another pool, and ESP-Miner's to a ping, are no calls.
    let answers = "{\"id\":4,\"result\":\"cgminer/4.11.1\",\"error\":null}\n{\"id\":5,\"method\":\"pong\",\"params\":[]}\n";
    miner.send_raw(answers).await;
    assert_eq!(miner.call("mining.ping", json!([])).await["result"], "pong");
    translator.stop().await;
}

/// cgminer would follow one within the domain; whoever could have one sent would take the miners.
#[tokio::test]
async fn a_pool_that_wants_to_be_left_for_another_host_moves_no_miner() {
    let (pool, translator, mut upstream) = start().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let reconnect = Reconnect {
        new_host: "thief.example".try_into().unwrap(),
        new_port: 3333,
    };
    upstream.send([reconnect.into()]).await;
    let mut upstream = pool.accept().await;
    upstream.open().await;
    // notify() takes no other method than those of work.
    assert_eq!(miner.notify().await[8], true);
    assert_eq!(miner.call("mining.ping", json!([])).await["result"], "pong");
    translator.stop().await;
}
