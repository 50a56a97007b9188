//! Who shares are credited to when a node presents its credential, and what it is worth where it is not its own.

mod private_node;

use crate::difficulty::{Change, DifficultyRange};
use crate::directory::unix_ms;
use crate::sample::node::{self, HOUR};
use crate::sample::server::{Options, TestChannel, TestMiner, TestPool};
use crate::sample::{self, PATIENCE};
use crate::share_log::Record;
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::extensions::{CredentialAnswer, EXTENSIONS_DEADLINE, present_credential, request};
use hh_sv2::message::{
    EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE, PresentCredential, SubmitSharesExtended,
    UpdateChannel,
};

use std::sync::Arc;
use tokio::sync::watch;

/// A network on which shares of difficulty 0.5 are far from blocks.
const HARD_NBITS: u32 = 0x1d00_ffff;

fn now() -> i64 {
    unix_ms() / 1000
}

/// A credential of Berlin for this pool that ends in `seconds`.
fn credential(pool: &TestPool, seconds: i64) -> Vec<u8> {
    node::credential_at("berlin", 1, pool.authority(), now() + seconds)
}

fn message(credential: Vec<u8>, lane: &str) -> PresentCredential {
    PresentCredential {
        credential: credential.try_into().unwrap(),
        lane: lane.try_into().unwrap(),
    }
}

impl TestMiner {
    async fn negotiate(&mut self) {
        let wanted = [EXTENSION_WORKER_HASHRATE, EXTENSION_NODE_CREDENTIAL];
        let granted = request(&mut self.connection, &wanted, PATIENCE)
            .await
            .unwrap();
        assert_eq!(granted, wanted);
    }

    async fn present(&mut self, credential: Vec<u8>, lane: &str) -> CredentialAnswer {
        let message = message(credential, lane);
        present_credential(&mut self.connection, message, PATIENCE)
            .await
            .unwrap()
    }

    /// A share, and its acknowledgement.
    async fn mine(&mut self, channel: &mut TestChannel) {
        self.submit(channel).await;
        self.verdict().await.unwrap();
    }

    /// The target that is set next.
    async fn next_target(&mut self) -> Target {
        loop {
            if let Message::SetTarget(set) = self.recv().await.unwrap() {
                return Target::from_le_bytes(set.maximum_target.to_array());
            }
        }
    }
}

/// A connection of Berlin whose credential ends in `seconds`.
async fn berlin(pool: &TestPool, seconds: i64) -> TestMiner {
    let mut miner = pool.connect().await;
    miner.negotiate().await;
    let answer = miner.present(credential(pool, seconds), "asics").await;
    assert_eq!(answer, CredentialAnswer::Taken);
    miner
}

/// Any hash is a share here, but for where a test says otherwise: the lane of the nodes goes below nothing.
async fn easy_pool() -> TestPool {
    let mut nodes = [node::config("berlin", 1), node::config("rome", 3)];
    for node in &mut nodes {
        node.lanes[0].min_difficulty = Some(1e-12);
    }
    TestPool::start(Options {
        hyper_nodes: nodes.into(),
        ..Options::default()
    })
    .await
}

/// Account, worker, node and lane of all shares in the log.
async fn credited(pool: TestPool) -> Vec<[String; 4]> {
    let records = pool.logged().await.into_iter();
    let shares = records.filter_map(|record| match record {
        Record::Share(share) => Some(share.origin.names().map(str::to_owned)),
        Record::Binding(_) | Record::Watermark { .. } => None,
    });
    shares.collect()
}

fn names(names: [&str; 4]) -> [String; 4] {
    names.map(str::to_owned)
}

#[tokio::test]
async fn shares_after_a_credential_have_its_node_and_lane_whatever_worker_they_name() {
    let pool = easy_pool().await;
    let mut miner = berlin(&pool, HOUR).await;
    let mut channel = miner.open("alice.rig1").await.unwrap();
    miner.mine(&mut channel).await;
    let mut other = miner.open("bob").await.unwrap();
    let share = SubmitSharesExtended {
        channel_id: other.id,
        sequence_number: 9,
        job_id: other.job_id,
        nonce: 9,
        ntime: sample::TIP_TIME,
        version: 0x2000_0000,
        extranonce: vec![0; 8].try_into().unwrap(),
    };
    miner
        .send(Message::SubmitSharesExtended(
            share,
            Some("rig7".to_owned()),
        ))
        .await;
    miner.verdict().await.unwrap();
    let (mut direct, mut straight) = pool.mine("carol").await;
    direct.mine(&mut straight).await;
    let live = pool.shared.directory.channel(other.id).unwrap().origin();
    assert_eq!((live.node(), live.lane()), ("berlin", "asics"));
    miner.mine(&mut other).await;
    assert_eq!(
        credited(pool).await,
        [
            names(["alice", "rig1", "berlin", "asics"]),
            names(["bob", "rig7", "berlin", "asics"]),
            names(["carol", "", "core", "sv2"]),
            names(["bob", "", "berlin", "asics"]),
        ]
    );
}

#[tokio::test]
async fn a_credential_that_is_not_taken_says_why_and_its_miner_mines_on_as_core() {
    let pool = easy_pool().await;
    let theirs = TestPool::start(Options::default()).await;
    let forged = node::credential_at("berlin", 2, pool.authority(), now() + HOUR);
    let stranger = node::credential_at("paris", 1, pool.authority(), now() + HOUR);
    let replayed = node::credential_at("berlin", 1, theirs.authority(), now() + HOUR);
    let mut miner = pool.connect().await;
    miner.negotiate().await;
    for (credential, lane, code) in [
        (forged, "asics", "wrong-key"),
        (stranger, "asics", "unknown-node"),
        (replayed, "asics", "another-pool"),
        (credential(&pool, 0), "asics", "expired"),
        (credential(&pool, 30 * HOUR), "asics", "not-yet-valid"),
        (credential(&pool, HOUR), "solar", "unknown-lane"),
        (credential(&pool, HOUR), "gpus", "unknown-lane"),
        (b"\0\xff".to_vec(), "asics", "malformed"),
    ] {
        let answer = miner.present(credential, lane).await;
        assert_eq!(answer, CredentialAnswer::Refused(code.to_owned()));
    }
    let mut channel = miner.open("alice").await.unwrap();
    miner.mine(&mut channel).await;
    assert_eq!(credited(pool).await, [names(["alice", "", "core", "sv2"])]);
}

/// What one pool was shown is of no use to it at another one that knows the same node.
#[tokio::test]
async fn a_pool_can_t_replay_what_it_was_shown() {
    let (pool, other) = (easy_pool().await, easy_pool().await);
    let shown = credential(&pool, HOUR);
    let mut thief = other.connect().await;
    thief.negotiate().await;
    let answer = thief.present(shown, "asics").await;
    assert_eq!(answer, CredentialAnswer::Refused("another-pool".to_owned()));
}

#[tokio::test]
async fn a_credential_without_the_extension_is_not_taken() {
    let pool = easy_pool().await;
    let mut miner = pool.connect().await;
    let wanted = [EXTENSION_WORKER_HASHRATE];
    request(&mut miner.connection, &wanted, EXTENSIONS_DEADLINE)
        .await
        .unwrap();
    let answer = miner.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(
        answer,
        CredentialAnswer::Refused("not-negotiated".to_owned())
    );
}

#[tokio::test]
async fn a_credential_presented_late_counts_from_the_next_share_of_each_channel() {
    let pool = easy_pool().await;
    let mut miner = pool.connect().await;
    miner.negotiate().await;
    let mut alice = miner.open("alice").await.unwrap();
    let mut bob = miner.open("bob.rig1").await.unwrap();
    miner.mine(&mut alice).await;
    let answer = miner.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(answer, CredentialAnswer::Taken);
    miner.mine(&mut alice).await;
    miner.mine(&mut bob).await;
    assert_eq!(
        credited(pool).await,
        [
            names(["alice", "", "core", "sv2"]),
            names(["alice", "", "berlin", "asics"]),
            names(["bob", "rig1", "berlin", "asics"]),
        ]
    );
}

#[tokio::test]
async fn a_credential_that_ends_leaves_its_miner_mining_as_core_until_it_is_renewed() {
    let pool = easy_pool().await;
    let mut miner = berlin(&pool, 2).await;
    let mut channel = miner.open("alice").await.unwrap();
    miner.mine(&mut channel).await;
    let view = pool.shared.directory.channel(channel.id).unwrap();
    let ended = async || (view.origin().node() == "core").then_some(());
    sample::wait_for("the end of the credential", ended).await;
    miner.mine(&mut channel).await;
    let answer = miner.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(answer, CredentialAnswer::Taken);
    miner.mine(&mut channel).await;
    assert_eq!(
        credited(pool).await,
        [
            names(["alice", "", "berlin", "asics"]),
            names(["alice", "", "core", "sv2"]),
            names(["alice", "", "berlin", "asics"]),
        ]
    );
}

/// Whoever asks for easy work right after the end would have it as asked, and a flood of shares of it.
#[tokio::test]
async fn what_is_asked_for_after_the_end_is_the_pools_to_choose_though_it_has_not_looked_at_the_clock_since()
 {
    let mut nodes = vec![node::config("berlin", 1)];
    nodes[0].lanes[0].min_difficulty = Some(1e-12);
    let pool = TestPool::start(Options {
        hyper_nodes: nodes,
        nbits: HARD_NBITS,
        ..Options::default()
    })
    .await;
    let mut miner = berlin(&pool, 2).await;
    let end = now() + 2;
    let asked = Target::from_difficulty(0.5);
    let channel = miner.open_below("alice", asked).await.unwrap();
    assert_eq!(channel.target, asked);
    let over = async || (now() >= end).then_some(());
    sample::wait_for("the end", over).await;
    miner
        .send(UpdateChannel {
            channel_id: channel.id,
            nominal_hash_rate: 1e10,
            maximum_target: Target::MAX.to_le_bytes().into(),
        })
        .await;
    let chosen = miner.next_target().await;
    assert!(
        chosen < asked,
        "{} is what was asked for",
        chosen.difficulty()
    );
}

#[tokio::test]
async fn a_renewal_outlasts_the_first_end_and_loses_no_share() {
    let pool = easy_pool().await;
    let mut miner = berlin(&pool, 2).await;
    let mut channel = miner.open("alice").await.unwrap();
    miner.mine(&mut channel).await;
    let renewed = miner.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(renewed, CredentialAnswer::Taken);
    let first_end = now() + 3;
    let over = async || (now() >= first_end).then_some(());
    sample::wait_for("the first end", over).await;
    miner.mine(&mut channel).await;
    let credited = credited(pool).await;
    assert_eq!(credited, vec![names(["alice", "", "berlin", "asics"]); 2]);
}

#[tokio::test]
async fn a_renewal_is_of_the_same_node_and_lane_and_ends_no_earlier() {
    let pool = easy_pool().await;
    let mut miner = berlin(&pool, HOUR).await;
    let refused = |code: &str| CredentialAnswer::Refused(code.to_owned());
    let earlier = miner.present(credential(&pool, HOUR / 2), "asics").await;
    assert_eq!(earlier, refused("earlier-end"));
    let rome = node::credential_at("rome", 3, pool.authority(), now() + 2 * HOUR);
    assert_eq!(miner.present(rome, "asics").await, refused("other-node"));
    let again = node::credential_at("berlin", 1, pool.authority(), now() + HOUR);
    assert_eq!(miner.present(again, "asics").await, CredentialAnswer::Taken);
    let mut channel = miner.open("alice").await.unwrap();
    miner.mine(&mut channel).await;
    assert_eq!(
        credited(pool).await,
        [names(["alice", "", "berlin", "asics"])]
    );
}

#[tokio::test]
async fn a_revoked_node_is_disconnected_with_its_shares_answered_and_not_let_in_again() {
    let pool = easy_pool().await;
    let mut miner = berlin(&pool, HOUR).await;
    let mut channel = miner.open("alice").await.unwrap();
    miner.mine(&mut channel).await;
    let (mut direct, mut straight) = pool.mine("bob").await;
    let nodes = &pool.shared.hyper_nodes;
    nodes
        .revoke("berlin", "stolen".to_owned(), unix_ms())
        .unwrap();
    let berlin = "berlin".parse().unwrap();
    let through = pool.admission.connections_through(&berlin);
    assert_eq!(through.len(), 1);
    through[0].ending.cancel();
    assert!(miner.recv().await.is_none(), "closed, without a word");
    let mut again = pool.connect().await;
    again.negotiate().await;
    let answer = again.present(credential(&pool, HOUR), "asics").await;
    assert_eq!(answer, CredentialAnswer::Refused("revoked".to_owned()));
    assert!(again.recv().await.is_none(), "closed");
    direct.mine(&mut straight).await;
}

/// The configuration names no node here.
#[tokio::test]
async fn a_node_of_the_directory_is_let_in_and_is_out_as_soon_as_it_is_revoked_there() {
    let (shown, node_directory) = watch::channel(Arc::default());
    let pool = TestPool::start(Options {
        node_directory,
        ..Options::default()
    })
    .await;
    let present = async || {
        let mut miner = pool.connect().await;
        miner.negotiate().await;
        let answer = miner.present(credential(&pool, HOUR), "asics").await;
        (miner, answer)
    };
    let refused = |code: &str| CredentialAnswer::Refused(code.to_owned());
    assert_eq!(present().await.1, refused("unknown-node"));
    let record = |seed, revoked_at| Arc::new(node::directory("berlin", seed, revoked_at));
    shown.send_replace(record(2, None));
    assert_eq!(present().await.1, refused("wrong-key"));
    shown.send_replace(record(1, None));
    let (mut miner, answer) = present().await;
    assert_eq!(answer, CredentialAnswer::Taken);
    shown.send_replace(record(1, Some(now())));
    assert!(miner.recv().await.is_none(), "closed");
    let (mut again, answer) = present().await;
    assert_eq!(answer, refused("revoked"));
    assert!(again.recv().await.is_none(), "closed");
}

#[tokio::test]
async fn a_revocation_in_the_directory_ends_a_node_of_the_configuration_too() {
    let (shown, node_directory) = watch::channel(Arc::default());
    let pool = TestPool::start(Options {
        hyper_nodes: vec![node::config("berlin", 1)],
        node_directory,
        ..Options::default()
    })
    .await;
    let mut miner = berlin(&pool, HOUR).await;
    shown.send_replace(Arc::new(node::directory("berlin", 1, Some(now()))));
    assert!(miner.recv().await.is_none(), "closed");
}

#[tokio::test]
async fn a_channel_s_target_is_the_one_that_the_node_asks_for_within_the_bounds() {
    let pool = TestPool::start(Options {
        hyper_nodes: vec![node::config("berlin", 1)],
        nbits: 0x1b00_ffff,
        ..Options::default()
    })
    .await;
    let mut miner = berlin(&pool, HOUR).await;
    let asked = Target::from_difficulty(3.75);
    let hard = miner.open_below("alice", asked).await.unwrap();
    assert_eq!(hard.target, asked, "exactly, and not a whole difficulty");
    let easy = miner.open_below("bob", Target::MAX).await.unwrap();
    assert_eq!(
        easy.target,
        Target::from_difficulty(0.5),
        "that of the node's lane"
    );

    let next = Target::from_difficulty(17.3);
    miner
        .send(UpdateChannel {
            channel_id: hard.id,
            nominal_hash_rate: 1e15,
            maximum_target: next.to_le_bytes().into(),
        })
        .await;
    assert_eq!(
        miner.next_target().await,
        next,
        "whatever hashrate it claims"
    );

    let range = DifficultyRange {
        min: Some(40.0),
        max: None,
    };
    let change = Change {
        account: Some("bob".to_owned()),
        range,
        ..Change::default()
    };
    pool.difficulty.set(&change).unwrap();
    assert_eq!(miner.next_target().await, Target::from_difficulty(40.0));
}

#[tokio::test]
async fn a_miner_without_a_credential_has_vardiff_and_with_one_it_has_none() {
    let mut nodes = vec![node::config("berlin", 1)];
    nodes[0].lanes[0].min_difficulty = Some(1e-12);
    let pool = TestPool::start(Options {
        hyper_nodes: nodes,
        nbits: HARD_NBITS,
        ..Options::default()
    })
    .await;
    let mut node = berlin(&pool, HOUR).await;
    let (mut direct, mut straight) = pool.mine("bob").await;
    let mut channel = node.open("alice").await.unwrap();
    // Hundreds of shares at once: vardiff makes the target of who has it harder within seconds.
    for _ in 0..300 {
        direct.submit(&mut straight).await;
        node.submit(&mut channel).await;
    }
    assert!(direct.next_target().await < straight.target);
    let view = pool.shared.directory.channel(channel.id).unwrap();
    let counted = async || (view.live().counters.accepted == 300).then_some(());
    sample::wait_for("all shares of the node", counted).await;
    assert_eq!(view.live().target, channel.target);
}
