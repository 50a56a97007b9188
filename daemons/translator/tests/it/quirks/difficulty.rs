//! Difficulty as firmware understands it.

use crate::pool::{Pool, job_now};
use crate::translator::Translator;
use hh_mining::Target;
use hh_sv2::message::SetTarget;
use serde_json::json;

fn set_target(difficulty: f64) -> SetTarget {
    SetTarget {
        channel_id: 1,
        maximum_target: Target::from_difficulty(difficulty).to_le_bytes().into(),
    }
}

/// Some firmware takes `1.5e-06` for 1.5, some takes 1024.0 for 1024 and some for nothing.
#[tokio::test]
async fn a_difficulty_has_no_exponent_and_a_whole_one_no_point() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    upstream.open_at(Target::from_difficulty(524_288.0)).await;
    miner.authorized().await;
    let line = miner.line().await.to_string();
    assert!(line.contains("[524288]"), "{line}");
    miner.notify().await;
    for (job, difficulty) in (2..).zip([0.000_001_5, 3e-9]) {
        upstream
            .send([set_target(difficulty).into(), job_now(1, job)])
            .await;
        let text = miner.raw_line().await;
        assert!(
            text.contains("mining.set_difficulty\",\"params\":[0.000"),
            "{text}"
        );
        assert!(!text.contains("e-"), "{text}");
        miner.notify().await;
    }
    translator.stop().await;
}

/// cgminer and Avalon apply a difficulty with the next job, ESP-Miner at once: it comes right before a job that is new.
#[tokio::test]
async fn a_difficulty_comes_right_before_a_job_with_work_of_its_own() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, first) = translator.mining(&mut upstream, "alice").await;
    upstream.send([set_target(2.0).into()]).await;
    // Alone it changes nothing: the pool holds jobs that are out to their own.
    assert_eq!(miner.call("mining.ping", json!([])).await["result"], "pong");
    upstream.send([job_now(1, 2)]).await;
    let told = ("mining.set_difficulty".to_owned(), json!([2]));
    assert_eq!(miner.notification().await, told);
    let (method, second) = miner.notification().await;
    assert_eq!(method, "mining.notify");
    assert_ne!(first[0], second[0]);
    translator.stop().await;
}

/// NerdMiners that got too much to do at first never came back: without a share there was nothing to judge them by.
#[tokio::test]
async fn a_silent_miner_is_eased_as_soon_as_the_pool_eases_it() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice.nerd").await;
    upstream.open_at(Target::from_difficulty(1e6)).await;
    miner.authorized().await;
    miner.notify().await;
    for (job, difficulty) in (2..).zip([1e3, 1.0, 0.001]) {
        upstream
            .send([set_target(difficulty).into(), job_now(1, job)])
            .await;
        let (method, told) = miner.notification().await;
        assert_eq!(method, "mining.set_difficulty");
        let told = told[0].as_f64().unwrap();
        assert!(
            (told / difficulty - 1.0).abs() < 1e-3,
            "{told} for {difficulty}"
        );
        miner.notify().await;
    }
    translator.stop().await;
}

/// NerdMiner and SparkMiner repeat it each half minute, ckpool met firmware that has it in the method's name.
#[tokio::test]
async fn a_suggestion_is_understood_in_every_shape_and_answered_where_it_has_an_id() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    for suggestion in [
        r#"{"id":9,"method":"mining.suggest_difficulty","params":[0.5]}"#,
        r#"{"id":9,"method":"mining.suggest_difficulty","params":["0.5"]}"#,
        r#"{"id":9,"method":"mining.suggest_difficulty(\"0.5\")","params":[]}"#,
        r#"{"id":null,"method":"mining.suggest_difficulty","params":[0.5]}"#,
        r#"{"method":"mining.suggest_difficulty","params":[0.5]}"#,
    ] {
        let mut miner = translator.miner().await;
        miner.send_raw(format!("{suggestion}\n")).await;
        let answer = miner.call("mining.ping", json!([])).await;
        if suggestion.contains("\"id\":9") {
            let accepted = json!({ "id": 9, "result": true, "error": null });
            assert_eq!(answer, accepted, "{suggestion}");
        } else {
            assert_eq!(answer["result"], "pong", "{suggestion}");
        }
        let authorize = json!(["alice"]);
        miner.send(json!(2), "mining.authorize", authorize).await;
        let open = upstream.recv_open().await;
        let start = Target::from_hashrate(open.nominal_hash_rate.into(), 18.0).difficulty();
        assert!((start / 0.5 - 1.0).abs() < 1e-3, "{start} by {suggestion}");
    }
    translator.stop().await;
}
