//! The miner against a small pool at the other end of the socket, which checks what it is sent as a pool would.

mod fake_sv1;
mod fake_sv2;

use std::time::{Duration, Instant};

use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use fake_sv1::FakeSv1;
use fake_sv2::FakeSv2;
use hh_mining::{BlockHash, Header, Target};
use tokio::sync::mpsc;

use super::hasher::{Assignment, Found, Hasher, search};
use super::{ChannelKind, Event, Miner, MinerConfig, MinerUrl, MinerUrlError, Outcome, Probe};

const DEADLINE: Duration = Duration::from_secs(60);
/// A bit harder than what every hash meets, so that some hashes miss it.
const EASY: Target = Target::from_be_bytes([0x3f; 32]);

fn genesis() -> (Header, Target) {
    let header = genesis_block(bitcoin::Network::Bitcoin).header;
    let nbits = header.bits.to_consensus();
    let header = Header {
        version: 1,
        prev_hash: [0; 32],
        merkle_root: header.merkle_root.to_byte_array(),
        ntime: header.time,
        nbits,
        nonce: header.nonce,
    };
    (header, Target::from_compact(nbits).unwrap())
}

#[test]
fn the_genesis_block_is_found_where_it_is() {
    let (genesis, target) = genesis();
    let mut header = Header {
        nonce: genesis.nonce - 1_000,
        ..genesis
    };
    assert_eq!(search(&mut header, &target, &mut 1_000), None);
    let mut tries = 10;
    let hash = search(&mut header, &target, &mut tries).unwrap();
    assert_eq!(tries, 9);
    assert_eq!(header, genesis);
    assert_eq!(hash, genesis.hash());
}

#[test]
fn when_the_nonces_are_used_up_time_goes_on() {
    let (genesis, _) = genesis();
    let mut header = Header {
        nonce: u32::MAX,
        ..genesis
    };
    let nothing = Target::from_be_bytes([0; 32]);
    assert_eq!(search(&mut header, &nothing, &mut 2), None);
    assert_eq!((header.ntime, header.nonce), (genesis.ntime + 1, 1));
}

#[tokio::test]
async fn a_hasher_is_no_faster_than_it_may_and_finds_each_share_once() {
    let (sender, mut found) = mpsc::channel(10_000);
    let hasher = Hasher::start(2_000, sender);
    let start = Instant::now();
    hasher.assign(Some(
        Assignment {
            session: 0,
            job_id: "1".to_owned(),
            extranonce: Vec::new(),
            header: genesis().0,
            target: Target::MAX,
            network_target: genesis().1,
        }
        .into(),
    ));
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..1_000 {
        let Found { header, hash, .. } = found.recv().await.unwrap();
        assert_eq!(hash, header.hash());
        assert!(nonces.insert(header.nonce));
    }
    // 1,000 of 2,000 a second, of which it may catch up with a tenth of a second.
    assert!(start.elapsed() >= Duration::from_millis(350), "{start:?}");
    drop(hasher);
}

#[track_caller]
fn check_url(text: &str, expected: Result<&str, MinerUrlError>) {
    let parsed = text.parse::<MinerUrl>().map(|url| url.to_string());
    assert_eq!(parsed, expected.map(str::to_owned));
}

#[test]
fn an_address_is_what_miners_write() {
    let key = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    let with_key = format!("stratum2+tcp://127.0.0.1:34254/{key}");
    check_url(
        "stratum+tcp://pool.example:3333",
        Ok("stratum+tcp://pool.example:3333"),
    );
    check_url("stratum2+tcp://[::1]:1", Ok("stratum2+tcp://[::1]:1"));
    check_url(&with_key, Ok(&with_key));
    check_url("tcp://a:1", Err(MinerUrlError::Scheme("tcp://a:1".into())));
    let without_port = "stratum2+tcp://a/";
    check_url(
        without_port,
        Err(MinerUrlError::Address(without_port.into())),
    );
    assert!(format!("{with_key}x").parse::<MinerUrl>().is_err());
}

fn config(url: MinerUrl, channel: ChannelKind, hashrate_hs: u64) -> MinerConfig {
    MinerConfig {
        channel,
        hashrate_hs,
        ..MinerConfig::new(url, "alice.rig")
    }
}

const KINDS: [ChannelKind; 3] = [
    ChannelKind::Standard,
    ChannelKind::Group,
    ChannelKind::Extended,
];

#[tokio::test]
async fn shares_found_on_every_kind_of_channel_are_right() {
    for kind in KINDS {
        let pool = FakeSv2::start().await;
        let mut miner_config = config(pool.url(), kind, 1_000);
        miner_config.shares = Some(5);
        let miner = Miner::start(miner_config);
        let mut session = pool.accept().await;
        session.new_tip(1, [1; 32], EASY).await;
        // Settled in one answer, as SV2 allows.
        for _ in 0..5 {
            session.share().await.unwrap();
        }
        session.accept_all().await;
        miner.finished().await;
        let counters = miner.counters();
        assert_eq!(counters.accepted, 5, "{kind:?} {counters:?}");
        assert_eq!(counters.rejected_total(), 0);
        assert_eq!(
            counters.prev_hash,
            Some(BlockHash::from_byte_array([1; 32]))
        );
    }
}

/// Each probe has the one fault that its name says, in the eyes of `judge`.
async fn check_probes(miner: &Miner, expected: &[(Probe, Result<(), &str>)]) {
    for (probe, fault) in expected {
        let outcome = miner.submit(*probe).await.unwrap();
        let expected = match fault {
            Ok(()) => Outcome::Accepted,
            Err(reason) => Outcome::Rejected((*reason).to_owned()),
        };
        assert_eq!(outcome, expected, "{probe:?}");
    }
}

#[tokio::test]
async fn a_test_can_submit_what_no_miner_would_over_sv2() {
    for kind in KINDS {
        let pool = FakeSv2::start().await;
        let miner = Miner::start(config(pool.url(), kind, 0));
        let mut session = pool.accept().await;
        session.new_tip(1, [1; 32], EASY).await;
        session.new_tip(2, [2; 32], EASY).await;
        miner.wait_for("both jobs", DEADLINE, |c| c.jobs == 2).await;
        let mut probes = vec![
            (Probe::Valid, Ok(())),
            (Probe::Duplicate, Err("duplicate-share")),
            (Probe::WrongNonce, Err("difficulty-too-low")),
            (Probe::Stale, Err("stale-share")),
            (Probe::UnknownJob, Err("invalid-job-id")),
            (Probe::FutureTime, Err("invalid-share")),
            (Probe::WrongVersion, Err("invalid-non-rollable-version-bit")),
            (Probe::Valid, Ok(())),
        ];
        if kind == ChannelKind::Extended {
            probes.push((Probe::LongExtranonce, Err("bad-extranonce-size")));
        }
        let count = probes.len() as u64;
        tokio::join!(session.judge(probes.len()), check_probes(&miner, &probes));
        let counters = miner.stop().await;
        assert_eq!((counters.submitted, counters.accepted), (count, 2));
        assert_eq!(counters.rejected["stale-share"], 1);
    }
}

#[tokio::test]
async fn a_miner_without_work_says_so_to_its_test() {
    let pool = FakeSv2::start().await;
    let miner = Miner::start(config(pool.url(), ChannelKind::Extended, 0));
    let mut session = pool.accept().await;
    let refused = miner.submit(Probe::Valid).await.unwrap_err().to_string();
    assert_eq!(refused, "there is no work for a Valid share");
    session.new_tip(1, [1; 32], EASY).await;
    miner.wait_for("a job", DEADLINE, |c| c.jobs == 1).await;
    let refused = miner.submit(Probe::Stale).await.unwrap_err().to_string();
    assert_eq!(refused, "there is no work for a Stale share");
    // The connection goes with a share in flight.
    let (lost, ()) = tokio::join!(miner.submit(Probe::Valid), async {
        session.share().await.unwrap();
        drop(session);
    });
    assert!(lost.unwrap_err().to_string().contains("before the answer"));
    let counters = miner
        .wait_for("the end of the session", DEADLINE, |c| !c.connected)
        .await;
    assert_eq!(counters.unanswered, 1);
}

#[tokio::test]
async fn a_miner_comes_back_after_its_pool_was_away() {
    let pool = FakeSv2::start().await;
    let (sender, mut events) = mpsc::channel(1_000);
    let mut miner_config = config(pool.url(), ChannelKind::Standard, 0);
    miner_config.events = Some(sender);
    let miner = Miner::start(miner_config);
    for session_number in 1..=3 {
        let mut session = pool.accept().await;
        session.new_tip(session_number, [7; 32], EASY).await;
        miner
            .wait_for("a session", DEADLINE, |c| {
                c.jobs == u64::from(session_number)
            })
            .await;
    }
    let counters = miner.stop().await;
    assert_eq!(counters.sessions, 3);
    let mut kinds = Vec::new();
    while let Some(event) = events.recv().await {
        kinds.push(match event {
            Event::Connected { .. } => 'c',
            Event::Job { new_tip: true, .. } => 'j',
            Event::Disconnected { .. } => 'd',
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds, ['c', 'j', 'd', 'c', 'j', 'd', 'c', 'j', 'd']);
}

#[tokio::test]
async fn a_miner_goes_where_its_pool_sends_it() {
    let (first, second) = (FakeSv2::start().await, FakeSv2::start().await);
    let mut miner_config = config(first.url(), ChannelKind::Standard, 0);
    // Both pools have keys of their own, and a Reconnect names none.
    if let MinerUrl::StratumV2 { authority, .. } = &mut miner_config.url {
        *authority = None;
    }
    let miner = Miner::start(miner_config);
    first.accept().await.reconnect(second.port()).await;
    let mut session = second.accept().await;
    session.new_tip(1, [1; 32], EASY).await;
    miner.wait_for("a job", DEADLINE, |c| c.jobs == 1).await;
}

#[tokio::test]
async fn a_pool_with_another_key_is_not_mined_on() {
    let pool = FakeSv2::start().await;
    let another = FakeSv2::start().await;
    let MinerUrl::StratumV2 { authority, .. } = another.url() else {
        unreachable!("the fake speaks SV2");
    };
    let address = format!("127.0.0.1:{}", pool.port());
    let url = MinerUrl::StratumV2 { address, authority };
    let miner = Miner::start(config(url, ChannelKind::Standard, 0));
    pool.accept_tcp().await;
    let counters = miner
        .wait_for("an error", DEADLINE, |c| c.last_error.is_some())
        .await;
    let error = counters.last_error.unwrap();
    assert!(
        error.contains("authority key is not the configured one"),
        "{error}"
    );
}

#[tokio::test]
async fn a_target_holds_for_the_jobs_after_it() {
    let pool = FakeSv2::start().await;
    let miner = Miner::start(config(pool.url(), ChannelKind::Extended, 0));
    let mut session = pool.accept().await;
    session.new_tip(1, [1; 32], EASY).await;
    let harder = Target::from_be_bytes([0x1f; 32]);
    session.set_target(harder).await;
    session.new_tip(2, [1; 32], harder).await;
    let counters = miner.wait_for("both jobs", DEADLINE, |c| c.jobs == 2).await;
    assert!((counters.difficulty / harder.difficulty() - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn shares_over_sv1_are_right_with_and_without_version_rolling() {
    for mask in [Some(0x1fff_e000), Some(0x0000_e000), None] {
        let pool = FakeSv1::start(mask).await;
        let mut miner_config = config(pool.url(), ChannelKind::Standard, 1_000);
        miner_config.shares = Some(5);
        let miner = Miner::start(miner_config);
        let mut session = pool.accept().await;
        let prev_hash: [u8; 32] = std::array::from_fn(|i| i.to_le_bytes()[0]);
        session.notify("a", prev_hash, true).await;
        for _ in 0..5 {
            let (id, fault) = session.share().await;
            assert_eq!(fault, Ok(()), "{mask:08x?}");
            session.answer(id, Ok(())).await;
        }
        miner.finished().await;
        let counters = miner.counters();
        assert_eq!(counters.accepted, 5, "{counters:?}");
        assert_eq!(
            counters.prev_hash,
            Some(BlockHash::from_byte_array(prev_hash))
        );
    }
}

#[tokio::test]
async fn a_test_can_submit_what_no_miner_would_over_sv1() {
    let pool = FakeSv1::start(Some(0x1fff_e000)).await;
    let miner = Miner::start(config(pool.url(), ChannelKind::Standard, 0));
    let mut session = pool.accept().await;
    session.notify("a", [1; 32], true).await;
    session.notify("b", [2; 32], true).await;
    miner.wait_for("both jobs", DEADLINE, |c| c.jobs == 2).await;
    let probes = [
        (Probe::Valid, Ok(())),
        (Probe::Duplicate, Err("22: duplicate")),
        (Probe::WrongNonce, Err("23: low difficulty")),
        (Probe::Stale, Err("21: stale")),
        (Probe::UnknownJob, Err("21: job not found")),
        (Probe::FutureTime, Err("20: time")),
        (Probe::WrongVersion, Err("20: version")),
        (Probe::LongExtranonce, Err("20: extranonce")),
        (Probe::Valid, Ok(())),
    ];
    tokio::join!(session.judge(probes.len()), check_probes(&miner, &probes));
    let counters = miner.stop().await;
    assert_eq!((counters.submitted, counters.accepted), (9, 2));
}

#[tokio::test]
async fn an_sv1_miner_takes_a_new_extranonce_answers_pings_and_reconnects() {
    let pool = FakeSv1::start(Some(0x1fff_e000)).await;
    let mut miner_config = config(pool.url(), ChannelKind::Standard, 0);
    let (sender, mut events) = mpsc::channel(100);
    miner_config.events = Some(sender);
    let miner = Miner::start(miner_config);
    let mut session = pool.accept().await;
    session.notify("a", [1; 32], true).await;
    session.set_extranonce(&[9; 6], 3).await;
    session.notify("b", [1; 32], false).await;
    assert_eq!(session.ping().await, "pong");
    miner.wait_for("both jobs", DEADLINE, |c| c.jobs == 2).await;
    tokio::join!(
        session.judge(1),
        check_probes(&miner, &[(Probe::Valid, Ok(()))])
    );
    session.reconnect().await;
    pool.accept().await.notify("c", [1; 32], true).await;
    let counters = miner.wait_for("a job", DEADLINE, |c| c.jobs == 3).await;
    assert_eq!(counters.sessions, 2);
    let connected = events.recv().await.unwrap();
    assert!(
        matches!(connected, Event::Connected { .. }),
        "{connected:?}"
    );
}
