//! Who found a block is the account whose channel it was mined on, whatever an edge makes of its messages on their way.

use crate::sample;
use crate::sample::server::{Options, TestChannel, TestMiner, TestPool};
use crate::share_log::{Record, ShareRecord};
use hh_sv2::Message;
use hh_sv2::extensions::request;
use hh_sv2::message::{EXTENSION_WORKER_HASHRATE, SubmitSharesExtended};
use std::collections::{HashMap, HashSet};

/// On regtest every second hash is a block.
const SHARES: u32 = 32;

/// Share number `number` on a channel, as its miner sends it.
fn share(channel: &TestChannel, number: u32) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: channel.id,
        sequence_number: number,
        job_id: channel.job_id,
        nonce: number,
        ntime: sample::TIP_TIME,
        version: 0x2000_0000,
        extranonce: vec![7; 8].try_into().unwrap(),
    }
}

/// An edge with the channels of alice and mallory.
async fn edge(pool: &TestPool) -> (TestMiner, TestChannel, TestChannel) {
    let mut edge = pool.connect().await;
    let wanted = [EXTENSION_WORKER_HASHRATE];
    let granted = request(&mut edge.connection, &wanted, sample::PATIENCE).await;
    assert_eq!(granted.unwrap(), wanted);
    let alice = edge.open("alice.rig1").await.unwrap();
    let mallory = edge.open("mallory").await.unwrap();
    (edge, alice, mallory)
}

/// The shares in the log, and whose each prefix is by its binding.
async fn logged(pool: TestPool) -> (Vec<ShareRecord>, HashMap<Vec<u8>, String>) {
    let (mut shares, mut owners) = (Vec::new(), HashMap::new());
    for record in pool.logged().await {
        match record {
            Record::Share(share) => shares.push(share),
            Record::Binding(binding) => {
                let prefix = binding.extranonce_prefix.to_vec();
                let account = binding.origin.account().to_owned();
                assert!(owners.insert(prefix, account).is_none(), "bound twice");
            }
            Record::Watermark { .. } => {}
        }
    }
    (shares, owners)
}

#[tokio::test]
async fn a_worker_s_name_that_an_edge_rewrites_changes_no_finder() {
    let pool = TestPool::start(Options::default()).await;
    let (mut edge, alice, _) = edge(&pool).await;
    let names = ["mallory", "mallory.rig1", "alice.rig2", "rig3", "", "a/b"];
    for number in 0..SHARES {
        let name = names[number as usize % names.len()];
        let rewritten = share(&alice, number);
        edge.send(Message::SubmitSharesExtended(
            rewritten,
            Some(name.to_owned()),
        ))
        .await;
        edge.verdict().await.unwrap();
    }
    assert!(pool.shared.blocks.count() > 0);
    let (shares, owners) = logged(pool).await;
    assert_eq!(shares.len(), SHARES as usize);
    assert!(shares.iter().any(|share| share.is_block));
    for share in &shares {
        assert_eq!(share.origin.account(), "alice");
        assert_eq!(owners[&share.extranonce_prefix.to_vec()], "alice");
    }
    let workers: HashSet<&str> = shares.iter().map(|share| share.origin.worker()).collect();
    let named = ["mallory", "rig1", "rig2", "rig3", "mallory.rig1", "a/b"];
    assert_eq!(workers, HashSet::from(named));
}

#[tokio::test]
async fn a_share_that_was_seen_on_another_channel_is_worth_only_the_work_of_its_own_hash() {
    let pool = TestPool::start(Options::default()).await;
    let (mut edge, alice, mallory) = edge(&pool).await;
    let mut replays = 0;
    for number in 0..SHARES {
        edge.send(share(&alice, number)).await;
        edge.verdict().await.unwrap();
        // The same bytes on mallory's channel, before anybody else could.
        edge.send(SubmitSharesExtended {
            channel_id: mallory.id,
            ..share(&alice, number)
        })
        .await;
        replays += usize::from(edge.verdict().await.is_ok());
        // And once more on alice's.
        edge.send(share(&alice, number)).await;
        assert_eq!(edge.verdict().await.unwrap_err(), "duplicate-share");
    }
    let (shares, owners) = logged(pool).await;
    assert_eq!(shares.len(), SHARES as usize + replays);
    let mut hashes = HashSet::new();
    for share in &shares {
        assert!(hashes.insert(share.hash), "a hash is credited once");
        let owner = &owners[&share.extranonce_prefix.to_vec()];
        assert_eq!(owner, share.origin.account());
    }
    let of = |account: &str| {
        let shares = shares.iter();
        let blocks = shares.filter(|share| share.is_block && share.origin.account() == account);
        blocks.map(|share| share.hash).collect::<HashSet<_>>()
    };
    let (alices, mallorys) = (of("alice"), of("mallory"));
    assert!(!alices.is_empty(), "every second hash is a block");
    assert!(
        alices.is_disjoint(&mallorys),
        "no block of alice's is mallory's too"
    );
}

/// Where a share is hard to find, what was seen on another channel is none.
#[tokio::test]
async fn a_share_that_took_work_is_none_on_another_channel() {
    let pool = TestPool::start(Options {
        nbits: 0x1d00_ffff,
        ..Options::default()
    })
    .await;
    let (mut edge, ..) = edge(&pool).await;
    // Each hash has one chance in 4,096.
    let target = hh_mining::Target::from_difficulty(4_096.0 / 4_294_967_296.0);
    let alice = edge.open_below("alice", target).await.unwrap();
    let mallory = edge.open_below("mallory", target).await.unwrap();
    let mut found = Vec::new();
    for number in 0.. {
        edge.send(share(&alice, number)).await;
        if edge.verdict().await.is_ok() {
            found.push(number);
        }
        if found.len() == 2 {
            break;
        }
    }
    for number in found {
        edge.send(SubmitSharesExtended {
            channel_id: mallory.id,
            ..share(&alice, number)
        })
        .await;
        assert_eq!(edge.verdict().await.unwrap_err(), "difficulty-too-low");
    }
}
