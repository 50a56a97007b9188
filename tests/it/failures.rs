//! What a daemon says and does where something is wrong: at its start by its exit status and its words, and later by waiting
//! until it is right again.

use bitcoincore_rpc::RpcApi;
use hh_ipc::api::template_provider::{NodeCondition, NodeStatus};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::{BitcoinCore, Chain};
use hh_tests::channel::Channel;
use hh_tests::daemon::{Daemon, run_to_its_end};
use hh_tests::network::{CALL, Network, authority_key, tp_config, tp_node_config};
use hh_tests::wait::wait_until;
use std::net::SocketAddr;
use std::time::Duration;

/// `EX_CONFIG`: it fails again until somebody corrects the configuration.
const CONFIG: i32 = 78;

/// `EX_UNAVAILABLE`: what it can't work without did not answer in time.
const UNAVAILABLE: i32 = 69;

/// A second is enough for what is never going to answer.
const SHORT_START: &str = "start_timeout_seconds = 2\n";

const DEADLINE: Duration = Duration::from_secs(60);

const NOBODY: &str = "127.0.0.1:1";

const DAEMONS: [&str; 3] = ["hh-tp", "hh-pool", "hh-translator"];

/// Runs a daemon that is to end by itself, and checks its status and that it says each of `words`.
#[track_caller]
fn check(name: &'static str, dir: &std::path::Path, config: &str, status: i32, words: &[&str]) {
    let (exit, log) = run_to_its_end(name, dir, config);
    assert_eq!(exit.code(), Some(status), "{name} wrote:\n{log}");
    for word in words {
        assert!(log.contains(word), "{name} does not say {word:?}:\n{log}");
    }
}

#[test]
fn a_malformed_config_is_refused_with_file_line_and_remedy_by_each_daemon() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    for name in DAEMONS {
        let file = dir.path().join(format!("{name}.toml"));
        // The key stands in the third line: the first is the kit's.
        let line = format!("{}:3", file.display());
        let unknown_key = "start_timeout_seconds = 2\nmax_frobs = 7\n";
        check(
            name,
            dir.path(),
            unknown_key,
            CONFIG,
            &[&line, "max_frobs", "to fix"],
        );
        check(
            name,
            dir.path(),
            "\nchain == 1\n",
            CONFIG,
            &[&line, "to fix"],
        );
    }
}

#[test]
fn a_config_that_is_not_there_is_named_by_each_daemon() {
    for name in DAEMONS {
        let output = std::process::Command::new(hh_tests::daemon::program(name))
            .args(["--config", "/nonexistent/file.toml"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(CONFIG), "{name}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("/nonexistent/file.toml"), "{name}: {words}");
    }
}

#[test]
fn hh_tp_without_a_node_names_its_url_and_ends_as_unavailable() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let _key = authority_key(dir.path(), "hh-tp");
    let url = format!("http://{NOBODY}");
    let config = format!(
        r#"{SHORT_START}
chain = "signet"
listen_address = "127.0.0.1:0"
data_dir = "{dir}/tp"
authority_secret_key = "file:{dir}/hh-tp.key"

[[nodes]]
rpc_url = "{url}"
rpc_cookie_file = "{dir}/cookie"
ipc_socket = "{dir}/node.sock"
"#,
        dir = dir.path().display()
    );
    std::fs::write(dir.path().join("cookie"), "__cookie__:none").unwrap();
    check("hh-tp", dir.path(), &config, UNAVAILABLE, &[&url]);
}

#[test]
fn hh_tp_on_a_node_of_another_chain_says_which_and_ends_as_misconfigured() {
    let node = BitcoinCore::start(Chain::Regtest);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let _key = authority_key(dir.path(), "hh-tp");
    let config = tp_config(dir.path(), &node, ([127, 0, 0, 1], 0).into());
    let config = config.replace(r#"chain = "regtest""#, r#"chain = "signet""#);
    check(
        "hh-tp",
        dir.path(),
        &config,
        CONFIG,
        &["regtest", "signet", &node.rpc_url()],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hh_pool_refuses_what_is_wrong_in_its_config_and_says_what_to_do() {
    let network = Network::start(Chain::Signet).await;
    let config = network.pool_config();
    network.pool.terminate();
    let run = |config: &str, status, words: &[&str]| {
        check("hh-pool", network.dir(), config, status, words);
    };

    // The reward script of another network: bcrt1 is regtest's.
    let address = hh_tests::bitcoin_core::anyone_can_spend(Chain::Signet).to_string();
    let regtest = hh_tests::bitcoin_core::anyone_can_spend(Chain::Regtest).to_string();
    let wrong = config.replace(&address, &regtest);
    run(
        &wrong,
        CONFIG,
        &["coinbase_reward_address", &regtest, "signet", "to fix"],
    );

    // A template provider with another key than the one that is pinned.
    let tp_key = network.tp_key.to_string();
    let wrong = config.replace(&tp_key, &network.pool_key.to_string());
    let wrong = format!("{SHORT_START}{wrong}");
    let tp = network.tp_address.to_string();
    run(&wrong, UNAVAILABLE, &[&tp, "authority"]);

    // A template provider that is not there.
    let wrong = format!("{SHORT_START}{}", config.replace(&tp, NOBODY));
    run(&wrong, UNAVAILABLE, &[NOBODY]);

    // A key that others can read.
    let key = network.dir().join("hh-pool.key");
    set_mode(&key, 0o644);
    run(&config, CONFIG, &["hh-pool.key", "chmod 600"]);
    set_mode(&key, 0o600);
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .expect("the file is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_that_pins_another_key_is_not_connected() {
    let network = Network::start(Chain::Signet).await;
    let error = Channel::open(network.pool_address, &network.tp_key, "wrong.key")
        .await
        .expect_err("the pool has another key");
    let words = format!("{:#}", anyhow::Error::from(error));
    assert!(words.contains("authority"), "{words}");
    assert!(network.pool.process().is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mining_goes_on_by_itself_after_the_node_was_away() {
    let mut network = Network::start(Chain::Signet).await;
    let mut channel = open(&network, "away.node").await;
    network.node.kill();
    // Work that is out stays good, and shares on it are taken.
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    network.node.restart();
    wait_for_new_tip(&mut network, &mut channel).await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    assert_eq!(channel.acknowledged.len(), 20, "{:?}", channel.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_do_not_notice_that_their_template_provider_changes_nodes() {
    let mut network = Network::start(Chain::Signet).await;
    let second = BitcoinCore::start(Chain::Signet);
    let config = network.tp_config() + &tp_node_config(&second);
    network.tp.write_config(&config);
    network.tp.restart();
    network.tp.wait_until_ready().await;
    let mut channel = open(&network, "two.nodes").await;
    wait_for_new_tip(&mut network, &mut channel).await;
    relay(&network.node, &second);
    let url = second.rpc_url();
    wait_until("both nodes are healthy", DEADLINE, async || {
        let nodes = tp_nodes(&network).await;
        let healthy = |node: &NodeStatus| node.condition == NodeCondition::Healthy;
        nodes.iter().all(healthy)
    })
    .await;

    network.node.kill();
    wait_until(
        "templates come from the second node",
        DEADLINE,
        async || tp_nodes(&network).await[1].active,
    )
    .await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    second.generate(1);
    wait_for_tip(&mut channel, second.tip()).await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();

    network.node.restart();
    relay(&second, &network.node);
    wait_until("the first node is gone back to", DEADLINE, async || {
        tp_nodes(&network).await[0].active
    })
    .await;
    wait_for_new_tip(&mut network, &mut channel).await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    assert_eq!(channel.acknowledged.len(), 30, "{:?}", channel.refused);
    assert_eq!(tp_nodes(&network).await[1].name, url);
}

async fn tp_nodes(network: &Network) -> Vec<NodeStatus> {
    let status = network
        .tp
        .template_provider()
        .await
        .status(within(CALL))
        .await;
    status.expect("hh-tp answers").nodes
}

/// Gives `to` the best chain of `from`, as peers would.
pub(crate) fn relay(from: &BitcoinCore, to: &BitcoinCore) {
    for height in 1..=from.height() {
        let hash = from.rpc().get_block_hash(height).expect("it has it");
        let block = from.rpc().get_block(&hash).expect("it has it");
        // An error also where it has the block, or a chain that is as long.
        to.rpc().submit_block(&block).ok();
    }
    assert_eq!(to.tip(), from.tip());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mining_goes_on_by_itself_after_the_template_provider_was_away() {
    let mut network = Network::start(Chain::Signet).await;
    let mut channel = open(&network, "away.tp").await;
    network.tp.kill();
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    network.tp.restart();
    network.tp.wait_until_ready().await;
    wait_for_new_tip(&mut network, &mut channel).await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    assert_eq!(channel.acknowledged.len(), 20, "{:?}", channel.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mining_goes_on_from_a_tip_that_is_days_old() {
    let mut network = Network::start_on(BitcoinCore::start_with_old_tip()).await;
    let mut channel = open(&network, "old.tip").await;
    wait_for_new_tip(&mut network, &mut channel).await;
    channel.submit(1).await.unwrap();
    channel.settle(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_starts_when_its_template_provider_comes_later() {
    let mut network = Network::start(Chain::Signet).await;
    network.tp.kill();
    network.pool.restart();
    network.pool.wait_for_log("template provider").await;
    network.tp.restart();
    network.pool.wait_until_ready().await;
    let mut channel = open(&network, "later.tp").await;
    channel.submit(1).await.unwrap();
    channel.settle(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_translator_waits_for_an_upstream_that_is_not_there() {
    let mut network = Network::start(Chain::Signet).await;
    network.pool.kill();
    let config = network.translator_config(&network.pool_key);
    let translator = Daemon::start("hh-translator", network.dir(), &config);
    let upstream = network.pool_address.to_string();
    translator.wait_for_log(&upstream).await;
    network.pool.restart();
    translator.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_translator_with_the_wrong_key_says_so_and_keeps_running() {
    let network = Network::start(Chain::Signet).await;
    let config = network.translator_config(&network.tp_key);
    let translator = Daemon::start("hh-translator", network.dir(), &config);
    let line = translator.wait_for_log("authority").await;
    assert!(line.contains(&network.pool_address.to_string()), "{line}");
    assert!(translator.process().is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_disturbs_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let network = Network::start(Chain::Signet).await;
    let (translator, sv1) = network.start_translator().await;
    let ports: [SocketAddr; 3] = [network.tp_address, network.pool_address, sv1];
    for address in ports {
        for _ in 0..20 {
            let garbage: Vec<u8> = (0..4096).map(|_| rand::random::<u8>()).collect();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // The daemon may close before it has read all of it.
            stream.write_all(&garbage).await.ok();
            stream.write_all(b"\n").await.ok();
            let mut answer = Vec::new();
            let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
            assert!(closed.is_ok(), "{address} keeps a connection of garbage");
        }
    }
    for daemon in [&network.tp, &network.pool, &translator] {
        assert!(daemon.process().is_running());
        assert!(
            !daemon.log().contains(r#""msg":"panic""#),
            "{}",
            daemon.log()
        );
    }
    let mut channel = open(&network, "after.garbage").await;
    channel.submit(1).await.unwrap();
    channel.settle(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_keep_no_miner_out_and_are_dropped() {
    const SILENT: usize = 1_000;
    let network = Network::start(Chain::Signet).await;
    let mut silent = Vec::with_capacity(SILENT);
    for _ in 0..SILENT {
        let stream = tokio::net::TcpStream::connect(network.pool_address).await;
        silent.push(stream.expect("the pool takes connections"));
    }
    let mut channel = open(&network, "among.silent").await;
    channel.submit(1).await.unwrap();
    channel.settle(0).await.unwrap();
    wait_until("the silent connections are closed", DEADLINE, async || {
        let mut byte = [0];
        silent.retain(|stream| {
            stream
                .try_read(&mut byte)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        silent.is_empty()
    })
    .await;
    channel.submit(1).await.unwrap();
    channel.settle(0).await.unwrap();
}

async fn open(network: &Network, identity: &str) -> Channel {
    Channel::open(network.pool_address, &network.pool_key, identity)
        .await
        .expect("the pool takes miners")
}

/// The node makes a block, and the miner is given work on it.
async fn wait_for_new_tip(network: &mut Network, channel: &mut Channel) {
    network.node.generate(1);
    wait_for_tip(channel, network.node.tip()).await;
}

async fn wait_for_tip(channel: &mut Channel, tip: bitcoin::BlockHash) {
    let given = async {
        while channel.prev_hash() != tip {
            channel
                .wait_for_new_block(channel.prev_hash())
                .await
                .expect("the pool is there");
        }
    };
    tokio::time::timeout(DEADLINE, given)
        .await
        .expect("the miner is given work on the new block");
}
