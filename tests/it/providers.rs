//! Two template providers: whichever dies, hangs or comes back, miners go on with the work they have, and what they find on
//! it counts.

use crate::failures::relay;
use bitcoin::hashes::Hash;
use hh_ipc::client::within;
use hh_tests::bitcoin_core::{BitcoinCore, Chain};
use hh_tests::channel::Channel;
use hh_tests::daemon::Daemon;
use hh_tests::network::{ANY_PORT, CALL, Network, authority_key, start_tp, tp_address};
use hh_tests::wait::wait_until;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A network whose pool has a second template provider, on a node of its own.
struct Two {
    network: Network,
    second: Daemon,
    second_address: SocketAddr,
    second_node: BitcoinCore,
    _dir: tempfile::TempDir,
}

impl Two {
    async fn start(chain: Chain) -> Self {
        let mut network = Network::start(chain).await;
        let second_node = BitcoinCore::start(chain);
        // Each has a first block of its own; the longer chain wins.
        network.node.generate(1);
        relay(&network.node, &second_node);
        let dir = hh_tests::directory("tp2");
        let key = authority_key(dir.path(), "hh-tp");
        let second = start_tp(dir.path(), &second_node, ANY_PORT);
        second.wait_until_ready().await;
        let second_address = tp_address(&second).await;
        let config = network.pool_config();
        let provider = format!(
            "[[template_providers]]\naddress = \"{second_address}\"\nauthority_public_key = \"{key}\"\n\n[[nodes]]"
        );
        let config = config.replacen("[[nodes]]", &provider, 1);
        let config = format!("template_provider_return_after_seconds = 1\n{config}");
        network.pool.write_config(&config);
        network.pool.restart();
        network.pool.wait_until_ready().await;
        let two = Self {
            network,
            second,
            second_address,
            second_node,
            _dir: dir,
        };
        two.wait_for_active(two.network.tp_address).await;
        two
    }

    async fn wait_for_active(&self, address: SocketAddr) {
        let what = format!("work is of {address}");
        wait_until(&what, DEADLINE, async || {
            let status = self.network.pool.pool().await.status(within(CALL)).await;
            let active = status.expect("hh-pool answers").active_template_provider;
            active == Some(address.to_string())
        })
        .await;
    }

    async fn open(&self, identity: &str) -> Channel {
        Channel::open(self.network.pool_address, &self.network.pool_key, identity)
            .await
            .expect("the pool takes miners")
    }
}

async fn mine(channel: &mut Channel, shares: usize) {
    channel.submit(shares).await.expect("the pool is there");
    channel.settle(0).await.expect("the pool is there");
    assert!(channel.refused.is_empty(), "{:?}", channel.refused);
}

async fn wait_for_tip(channel: &mut Channel, tip: bitcoin::BlockHash) {
    let given = async {
        while channel.prev_hash() != tip {
            let before = channel.prev_hash();
            let next = channel.wait_for_new_block(before).await;
            next.expect("the pool is there");
        }
    };
    let given = tokio::time::timeout(DEADLINE, given).await;
    given.expect("the miner is given work on the new block");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_do_not_notice_that_a_template_provider_dies_and_comes_back() {
    let mut two = Two::start(Chain::Signet).await;
    let mut channel = two.open("two.providers").await;
    mine(&mut channel, 10).await;

    two.network.tp.kill();
    // The job of the one that is gone is as good as before, and stays so when the other takes over.
    mine(&mut channel, 5).await;
    two.wait_for_active(two.second_address).await;
    mine(&mut channel, 5).await;
    two.second_node.generate(1);
    relay(&two.second_node, &two.network.node);
    wait_for_tip(&mut channel, two.second_node.tip()).await;
    mine(&mut channel, 10).await;

    two.network.tp.restart();
    two.network.tp.wait_until_ready().await;
    two.wait_for_active(two.network.tp_address).await;
    mine(&mut channel, 10).await;
    two.network.node.generate(1);
    wait_for_tip(&mut channel, two.network.node.tip()).await;
    mine(&mut channel, 10).await;
    assert_eq!(channel.acknowledged.len(), 50);
    assert!(two.second.process().is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_provider_that_hangs_is_left_and_gone_back_to() {
    let two = Two::start(Chain::Signet).await;
    let mut channel = two.open("hanging.provider").await;
    two.network.tp.process().signal(Signal::STOP);
    two.wait_for_active(two.second_address).await;
    mine(&mut channel, 10).await;
    two.network.tp.process().signal(Signal::CONT);
    two.wait_for_active(two.network.tp_address).await;
    mine(&mut channel, 10).await;
    let log = two.network.pool.log();
    assert!(log.contains("it hangs"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_on_work_of_a_template_provider_that_is_gone_is_on_the_chain() {
    let two = Two::start(Chain::Regtest).await;
    let mut channel = two.open("lost.provider").await;
    two.network.tp.kill();
    two.second.kill();
    let log = |text| two.network.pool.wait_for_log(text);
    log("no template provider has work").await;
    let hash = channel.submit_block().await.expect("the pool is there");
    let hash = bitcoin::BlockHash::from_byte_array(hash.to_byte_array());
    let node = &two.network.node;
    wait_until("the block is on the chain", DEADLINE, async || {
        node.block_on_best_chain(&hash).is_some()
    })
    .await;
}
