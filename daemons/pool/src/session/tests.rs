//! Sessions over a real socket.

mod conformance;
mod credit;
mod finder;
mod node_credential;
mod spaces;

use crate::config::ReconnectConfig;
use crate::difficulty::{Change, DifficultyRange};
use crate::kick::{Chosen, Selector};
use crate::sample;
use crate::sample::server::{Options, TestMiner, TestPool};
use crate::share_log::Record;
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::SubmitSharesExtended;
use std::collections::HashSet;
use std::time::Duration;
use tokio::net::TcpSocket;

fn kick(pool: &TestPool, selector: &Selector) -> Chosen {
    let chosen = Chosen::find(selector, &pool.shared.directory, &pool.admission);
    chosen.end();
    chosen
}

#[tokio::test]
async fn a_kicked_miner_has_its_shares_answered_and_its_connection_closed() {
    let pool = TestPool::start(Options::default()).await;
    let (mut miner, mut channel) = pool.mine("alice.rig1").await;
    let (mut other, mut other_channel) = pool.mine("bob").await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    let chosen = kick(&pool, &Selector::Account("alice".to_owned()));
    assert_eq!((chosen.connections.len(), chosen.alone.len()), (1, 0));
    assert!(miner.recv().await.is_none(), "closed, without a word");
    other.submit(&mut other_channel).await;
    other.verdict().await.unwrap();
    let (mut again, mut channel) = pool.mine("alice.rig1").await;
    again.submit(&mut channel).await;
    again.verdict().await.unwrap();
}

#[tokio::test]
async fn a_kick_on_a_shared_connection_closes_the_channel_alone() {
    let pool = TestPool::start(Options::default()).await;
    let (mut proxy, alice) = pool.mine("alice").await;
    let mut bob = proxy.open("bob").await.unwrap();
    let chosen = kick(&pool, &Selector::Channel(alice.id));
    assert_eq!((chosen.connections.len(), chosen.alone.len()), (0, 1));
    let Some(Message::CloseChannel(close)) = proxy.recv().await else {
        panic!("no CloseChannel");
    };
    assert_eq!(close.channel_id, alice.id);
    assert_eq!(close.reason_code.as_utf8_or_hex(), "closed-by-operator");
    assert!(pool.shared.directory.channel(alice.id).is_none());
    proxy.submit(&mut bob).await;
    proxy.verdict().await.unwrap();
    let mut gone = alice;
    proxy.submit(&mut gone).await;
    assert_eq!(proxy.verdict().await.unwrap_err(), "invalid-channel-id");
}

/// A share sent again is none: on its connection it is a duplicate, and on any other channel, of this process or the next one,
/// its bytes are another header, as nobody has its extranonce prefix again.
#[tokio::test]
async fn a_hash_is_credited_once_over_reconnects_and_restarts() {
    let mut pool = TestPool::start(Options::default()).await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    let again = channel;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    miner.submit(&mut again.clone()).await;
    assert_eq!(miner.verdict().await.unwrap_err(), "duplicate-share");
    drop(miner);
    for restarts in 0..3 {
        pool = match restarts {
            0 => pool,
            1 => pool.restart().await,
            _ => pool.restart_after_kill().await,
        };
        let (mut miner, channel) = pool.mine("alice").await;
        // What it was on the old channel, to the byte; after a restart the ids are the same again.
        miner.submit(&mut again.clone()).await;
        let is_as_it_was = (channel.id, channel.job_id) == (again.id, again.job_id);
        let verdict = miner.verdict().await;
        assert_eq!(verdict.is_ok(), is_as_it_was, "{verdict:?}");
        assert_eq!(is_as_it_was, restarts > 0);
        if !is_as_it_was {
            miner.submit(&mut channel.clone()).await;
            miner.verdict().await.unwrap();
        }
    }
    let mut hashes = HashSet::new();
    for record in pool.logged().await {
        if let Record::Share(share) = record {
            assert!(hashes.insert(share.hash), "a hash is credited twice");
        }
    }
    assert_eq!(hashes.len(), 4);
}

#[tokio::test]
async fn a_stale_share_is_refused_and_the_block_in_it_found_all_the_same() {
    let mut pool = TestPool::start(Options::default()).await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    let template = sample::template(2);
    pool.board.on_new_template(0, template, true, 0).unwrap();
    let tip = sample::tip(2);
    pool.board.on_set_new_prev_hash(0, 2, tip, 0).unwrap();
    while !matches!(miner.recv().await, Some(Message::SetNewPrevHash(_))) {}
    // On regtest every second hash is a block.
    for _ in 0..64 {
        miner.submit(&mut channel).await;
        assert_eq!(miner.verdict().await.unwrap_err(), "stale-share");
    }
    let found = pool.shared.blocks.count();
    assert!((1..64).contains(&found), "{found}");
}

#[tokio::test]
async fn a_kick_by_address_reaches_connections_that_have_not_spoken_yet() {
    let pool = TestPool::start(Options::default()).await;
    let mut silent = tokio::net::TcpStream::connect(pool.address).await.unwrap();
    // The listener takes connections in their order: with the second one there, the first is.
    let _later = pool.connect().await;
    let chosen = kick(&pool, &Selector::Address("127.0.0.0/8".parse().unwrap()));
    assert_eq!(chosen.connections.len(), 2);
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_new_bound_is_heeded_by_the_next_job_and_rejects_no_share_of_the_last() {
    let mut pool = TestPool::start(Options::default()).await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    let (mut other, _) = pool.mine("bob").await;
    let change = Change {
        account: Some("alice".to_owned()),
        range: DifficultyRange {
            min: Some(1.0),
            max: None,
        },
        ..Change::default()
    };
    pool.difficulty.set(&change).unwrap();
    let Some(Message::SetTarget(set)) = miner.recv().await else {
        panic!("no SetTarget");
    };
    // Difficulty 1 is harder than this network, and no job is.
    let target = Target::from_le_bytes(*set.maximum_target.as_array());
    assert_eq!(target, sample::tip(1).target);
    let Some(Message::NewExtendedMiningJob(job)) = miner.recv().await else {
        panic!("no job for it");
    };
    assert_ne!(job.job_id, channel.job_id);
    // Any hash was good enough for the job before: half of these miss the new target.
    for _ in 0..16 {
        miner.submit(&mut channel).await;
        miner.verdict().await.unwrap();
    }
    let mut refused = 0;
    channel.job_id = job.job_id;
    for _ in 0..16 {
        miner.submit(&mut channel).await;
        refused += usize::from(miner.verdict().await.is_err());
    }
    assert!(refused > 0, "the new job has the new target");
    // Whoever opens a channel now has it at once; who is not meant hears nothing.
    let mut again = miner.open("alice.rig2").await.unwrap();
    miner.submit(&mut again).await;
    miner.verdict().await.ok();
    let template = sample::template(2);
    pool.board.on_new_template(0, template, false, 0).unwrap();
    let said = other.recv().await;
    assert!(
        matches!(said, Some(Message::NewExtendedMiningJob(_))),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_stop_answers_what_was_accepted_and_says_where_to_go() {
    let pool = TestPool::start(Options {
        reconnect_on_stop: Some(ReconnectConfig {
            host: "other.example".to_owned(),
            port: 7,
        }),
        ..Options::default()
    })
    .await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    let (mut kicked, _) = pool.mine("bob").await;
    kick(&pool, &Selector::Account("bob".to_owned()));
    assert!(kicked.recv().await.is_none(), "only at a stop it is told");
    for _ in 0..500 {
        miner.submit(&mut channel).await;
    }
    // Some are on their way to the disk now, some not read.
    let first = miner.verdict().await.unwrap();
    pool.tasks.token().cancel();
    let mut acknowledged = u64::from(first.new_submits_accepted_count);
    let to = loop {
        match miner.recv().await.expect("Reconnect before the end") {
            Message::SubmitSharesSuccess(success) => {
                acknowledged += u64::from(success.new_submits_accepted_count);
            }
            Message::Reconnect(to) => break to,
            _ => {}
        }
    };
    assert_eq!(to.new_host.as_utf8_or_hex(), "other.example");
    assert_eq!(to.new_port, 7);
    assert!(miner.recv().await.is_none());
    let bindings = 2;
    assert_eq!(acknowledged, *pool.shared.log.durable().borrow() - bindings);
}

/// A miner that sends shares and reads no answer, until the pool takes no more of them.
async fn deaf(pool: &TestPool) -> TestMiner {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(pool.address).await.unwrap();
    let mut miner = pool.set_up(stream, 0).await;
    let channel = miner.open("mallory").await.unwrap();
    loop {
        for sequence_number in 0..1_000 {
            let share = SubmitSharesExtended {
                channel_id: channel.id,
                sequence_number,
                // Older than any: an answer without an end of the connection.
                job_id: 0,
                nonce: 0,
                ntime: 0,
                version: 0,
                extranonce: vec![0; 8].try_into().unwrap(),
            };
            miner.connection.queue(share).unwrap();
        }
        let taken = miner.connection.flush();
        if tokio::time::timeout(Duration::from_millis(500), taken)
            .await
            .is_err()
        {
            return miner;
        }
    }
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_does_not_read() {
    let pool = TestPool::start(Options::default()).await;
    let _deaf = deaf(&pool).await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    let stopped = pool.tasks.shutdown(Duration::from_secs(10)).await;
    assert_eq!(stopped, Ok(()));
}

#[tokio::test]
async fn a_miner_that_does_not_read_is_dropped_and_others_notice_nothing() {
    let pool = TestPool::start(Options {
        write_deadline: Duration::from_secs(1),
        ..Options::default()
    })
    .await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    let deaf = deaf(&pool).await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    pool.wait_for_disconnects("slow_reader", 1).await;
    drop(deaf);
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
}
