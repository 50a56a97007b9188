//! What operators see and do.

use crate::DEADLINE;
use crate::pool::Pool;
use crate::translator::Translator;
use hh_ipc::ErrorKind;
use hh_ipc::api::JournalQuery;
use hh_ipc::api::translator::{
    BanAddress, DownstreamQuery, DownstreamSelector, KickDownstreams, LaneDetail, PauseLane,
    SwitchUpstream, UnbanAddress, UpstreamState,
};
use hh_ipc::client::within;
use hh_sv2::Message;
use serde_json::json;

async fn lane(translator: &Translator) -> LaneDetail {
    let answer = translator.view().lane(within(DEADLINE), "main".to_owned());
    answer.await.unwrap().unwrap()
}

fn pause(paused: bool) -> PauseLane {
    PauseLane {
        lane: "main".to_owned(),
        paused,
        dry_run: false,
    }
}

#[tokio::test]
async fn a_paused_lane_lets_nobody_in_and_keeps_who_is_there() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut alice, notify) = translator.mining(&mut upstream, "alice").await;
    let control = translator.control().await;
    let paused = control.pause_lane(within(DEADLINE), pause(true)).await;
    assert!(paused.unwrap().unwrap().paused_at.is_some());
    translator.miner().await.closed().await;
    alice.submit(json!(1), "alice", &notify, 1).await;
    let share = upstream.recv_share().await;
    upstream.settle(1, share.sequence_number, 1).await;
    assert_eq!(alice.answer().await["result"], true);
    let detail = lane(&translator).await;
    assert_eq!((detail.connections, detail.ended["lane_paused"]), (1, 1));
    assert!(translator.status().await.lanes[0].paused);

    let resumed = control.pause_lane(within(DEADLINE), pause(false)).await;
    assert_eq!(resumed.unwrap().unwrap().paused_at, None);
    let (_bob, _) = translator.mining(&mut upstream, "bob").await;
    let journal = std::fs::read_to_string(translator.dir().join("changes.jsonl")).unwrap();
    assert!(
        journal.contains("lane.pause") && journal.contains("lane.resume"),
        "{journal}"
    );
    let page = translator
        .view()
        .journal(within(DEADLINE), JournalQuery::default())
        .await;
    assert_eq!(page.unwrap().unwrap().lines.len(), 4);
    translator.stop().await;
}

#[tokio::test]
async fn a_kick_ends_the_connections_that_are_meant_and_no_other() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut first, _) = translator.mining(&mut upstream, "alice.one").await;
    let (mut second, _) = translator.mining(&mut upstream, "alice.two").await;
    let (mut bob, _) = translator.mining(&mut upstream, "bob").await;
    let control = translator.control().await;
    let kick = |miners, dry_run| {
        let request = KickDownstreams { miners, dry_run };
        let answer = control.kick_downstreams(within(DEADLINE), request);
        async { answer.await.unwrap() }
    };
    let alice = || DownstreamSelector::User("alice".to_owned());
    assert_eq!(kick(alice(), true).await.unwrap().connections, 2);
    assert_eq!(first.call("mining.ping", json!([])).await["result"], "pong");
    let second_only = DownstreamSelector::User("alice.two".to_owned());
    assert_eq!(kick(second_only, false).await.unwrap().connections, 1);
    second.closed().await;
    assert_eq!(kick(alice(), false).await.unwrap().connections, 1);
    first.closed().await;
    assert_eq!(bob.call("mining.ping", json!([])).await["result"], "pong");
    translator
        .wait_for_status("bob is alone", |status| status.connections == 1)
        .await;
    let nobody = kick(alice(), false).await.unwrap_err();
    assert_eq!(
        (nobody.kind, nobody.code.as_str()),
        (ErrorKind::NotFound, "HH3001")
    );
    let here = DownstreamSelector::Address("127.0.0.0/8".to_owned());
    assert_eq!(kick(here, false).await.unwrap().miners[0].user_name, "bob");
    bob.closed().await;
    let nowhere = kick(DownstreamSelector::Lane("east".to_owned()), false).await;
    let message = nowhere.unwrap_err().message;
    assert!(message.contains("there is main"), "{message}");
    let wrong = kick(DownstreamSelector::Address("here".to_owned()), false).await;
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::Usage);
    translator.stop().await;
}

fn ban(address: &str, dry_run: bool) -> BanAddress {
    BanAddress {
        address: address.to_owned(),
        seconds: None,
        reason: Some("scans".to_owned()),
        dry_run,
    }
}

#[tokio::test]
async fn a_banned_address_is_closed_and_kept_out_until_the_ban_is_lifted() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut alice, _) = translator.mining(&mut upstream, "alice").await;
    let control = translator.control().await;
    let would = control.ban(within(DEADLINE), ban("127.0.0.0/8", true));
    assert_eq!(would.await.unwrap().unwrap().kicked.connections, 1);
    assert_eq!(alice.call("mining.ping", json!([])).await["result"], "pong");
    let banned = control.ban(within(DEADLINE), ban("127.0.0.0/8", false));
    let banned = banned.await.unwrap().unwrap();
    assert_eq!(banned.kicked.miners[0].user_name, "alice");
    alice.closed().await;
    translator.miner().await.closed().await;
    let page = translator.view().bans(within(DEADLINE)).await.unwrap();
    assert_eq!((page.total, &page.bans[..]), (1, &[banned.ban][..]));
    let kept = std::fs::read_to_string(translator.dir().join("bans.json")).unwrap();
    assert!(kept.contains("127.0.0.0/8"), "{kept}");

    let unban = |address: &str, dry_run| {
        let address = address.to_owned();
        let answer = control.unban(within(DEADLINE), UnbanAddress { address, dry_run });
        async { answer.await.unwrap() }
    };
    let one_of_it = unban("127.0.0.1", false).await.unwrap_err();
    assert_eq!(one_of_it.code, "HH3021");
    assert!(one_of_it.message.contains("127.0.0.0/8"), "{one_of_it:?}");
    assert_eq!(unban("127.0.0.0/8", true).await.unwrap().reason, "scans");
    assert_eq!(unban("127.0.0.0/8", false).await.unwrap().reason, "scans");
    let closed = upstream.recv().await;
    assert!(matches!(closed, Message::CloseChannel(_)), "{closed:?}");
    let (_alice, _) = translator.mining(&mut upstream, "alice").await;
    let journal = std::fs::read_to_string(translator.dir().join("changes.jsonl")).unwrap();
    for call in ["address.ban", "address.unban"] {
        assert!(journal.contains(call), "{journal}");
    }
    translator.stop().await;
}

#[tokio::test]
async fn what_is_no_ban_is_not_made_and_a_view_socket_makes_none() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let control = translator.control().await;
    let mut long = ban("192.0.2.7", false);
    long.reason = Some("x".repeat(1_000));
    for (request, code) in [(ban("here", false), "HH3003"), (long, "HH3020")] {
        let refused = control.ban(within(DEADLINE), request).await;
        let refused = refused.unwrap().unwrap_err();
        assert_eq!((refused.kind, &*refused.code), (ErrorKind::Usage, code));
    }
    let view = translator.view();
    let looked = view.ban(within(DEADLINE), ban("192.0.2.7", false)).await;
    assert_eq!(looked.unwrap().unwrap_err().kind, ErrorKind::Permission);
    assert_eq!(view.bans(within(DEADLINE)).await.unwrap().total, 0);
    translator.stop().await;
}

#[tokio::test]
async fn an_operator_switches_to_another_upstream_and_no_share_is_lost() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let translator = Translator::start_with_all(&[&first, &second]).await;
    let mut old_pool = first.accept().await;
    let (mut miner, old) = translator.mining(&mut old_pool, "alice").await;
    miner.submit(json!(1), "alice", &old, 1).await;
    let share = old_pool.recv_share().await;
    let control = translator.control().await;
    let address = second.address().to_string();
    let switch = |address: &str| SwitchUpstream {
        address: address.to_owned(),
        dry_run: false,
    };
    let unknown = control.switch_upstream(within(DEADLINE), switch("elsewhere.example:1"));
    let unknown = unknown.await.unwrap().unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    let switching = control.switch_upstream(within(DEADLINE), switch(&address));
    let (switched, new_pool) = tokio::join!(switching, second.accept());
    let switched = switched.unwrap().unwrap();
    assert_eq!(switched.lanes[0].error, None);
    assert_eq!(switched.lanes[0].from, Some(first.address().to_string()));
    let mut new_pool = new_pool;
    new_pool.open_with(9, 0x33).await;
    assert_eq!(miner.notify().await[8], true);
    old_pool.settle(1, share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);

    let listed = translator.view().upstreams(within(DEADLINE)).await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|upstream| (upstream.priority, upstream.address.as_str(), upstream.state))
        .collect();
    let first_address = first.address().to_string();
    assert_eq!(
        shown,
        [
            (1, address.as_str(), UpstreamState::Up),
            (2, first_address.as_str(), UpstreamState::Standby)
        ]
    );
    let journal = std::fs::read_to_string(translator.dir().join("changes.jsonl")).unwrap();
    assert!(journal.contains("upstream.switch"), "{journal}");
    translator.stop().await;
}

#[tokio::test]
async fn an_upstream_that_can_not_be_reached_is_not_switched_to() {
    let first = Pool::start().await;
    let gone = Pool::start().await;
    let translator = Translator::start_with_all(&[&first, &gone]).await;
    let mut upstream = first.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let address = gone.address().to_string();
    drop(gone);
    let request = SwitchUpstream {
        address: address.clone(),
        dry_run: false,
    };
    let control = translator.control().await;
    let refused = control.switch_upstream(within(DEADLINE), request).await;
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("cannot connect"), "{refused:?}");
    upstream.send([crate::pool::job_now(1, 2)]).await;
    miner.notify().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_test_connects_to_each_upstream_and_touches_no_miner() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let translator = Translator::start_with_all(&[&first, &second]).await;
    let mut upstream = first.accept().await;
    let (_miner, _) = translator.mining(&mut upstream, "alice").await;
    let control = translator.control().await;
    let testing = control.test_upstreams(within(DEADLINE), None);
    let (tests, _, ()) = tokio::join!(testing, first.accept(), second.accept_refusing());
    let tests = tests.unwrap().unwrap();
    assert!(
        tests[0].setup_ms.is_some() && tests[0].error.is_none(),
        "{tests:?}"
    );
    assert!(tests[1].handshake_ms.is_some() && tests[1].setup_ms.is_none());
    let error = tests[1].error.as_deref().unwrap();
    assert!(error.contains("unsupported-protocol"), "{error}");
    translator.stop().await;
}

#[tokio::test]
async fn a_view_socket_changes_nothing() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let _miner = translator.miner().await;
    let paused = translator
        .view()
        .pause_lane(within(DEADLINE), pause(true))
        .await;
    assert_eq!(paused.unwrap().unwrap_err().kind, ErrorKind::Permission);
    let request = KickDownstreams {
        miners: DownstreamSelector::Id(1),
        dry_run: false,
    };
    let kicked = translator
        .view()
        .kick_downstreams(within(DEADLINE), request)
        .await;
    assert_eq!(kicked.unwrap().unwrap_err().kind, ErrorKind::Permission);
    assert_eq!(lane(&translator).await.paused_at, None);
    translator.stop().await;
}

#[tokio::test]
async fn what_can_not_be_written_down_is_not_changed() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    std::fs::create_dir(translator.dir().join("changes.jsonl")).unwrap();
    let control = translator.control().await;
    let paused = control.pause_lane(within(DEADLINE), pause(true)).await;
    assert_eq!(paused.unwrap().unwrap_err().code, "HH0202");
    assert_eq!(lane(&translator).await.paused_at, None);
    translator.stop().await;
}

#[tokio::test]
async fn miners_are_listed_by_lane_and_user_and_shown_with_their_channel() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut alice, _) = translator.mining(&mut upstream, "alice.one").await;
    let two = alice.call("mining.authorize", json!(["alice.two"])).await;
    assert_eq!(two["result"], true);
    let (_bob, _) = translator.mining(&mut upstream, "bob").await;
    let list = |query| {
        let answer = translator.view().downstreams(within(DEADLINE), query);
        async { answer.await.unwrap() }
    };
    let all = list(DownstreamQuery {
        limit: 1,
        ..DownstreamQuery::default()
    })
    .await;
    assert_eq!((all.total, all.miners.len()), (2, 1));
    for (user, found) in [
        ("alice", 1),
        ("alice.two", 1),
        ("bob", 1),
        ("b", 0),
        ("", 0),
    ] {
        let user = Some(user.to_owned());
        let page = list(DownstreamQuery {
            user,
            ..DownstreamQuery::default()
        })
        .await;
        assert_eq!(page.total, found);
    }
    let lane = Some("other".to_owned());
    assert_eq!(
        list(DownstreamQuery {
            lane,
            ..DownstreamQuery::default()
        })
        .await
        .total,
        0
    );
    let id = all.miners[0].id;
    let shown = translator.view().downstream(within(DEADLINE), id).await;
    let shown = shown.unwrap().unwrap();
    assert_eq!(shown.users, ["alice.one", "alice.two"]);
    assert_eq!(shown.channel_id, Some(1));
    let nobody = translator.view().downstream(within(DEADLINE), 99).await;
    assert_eq!(nobody.unwrap().unwrap_err().kind, ErrorKind::NotFound);
    translator.stop().await;
}
