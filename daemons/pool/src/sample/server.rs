//! A pool on loopback for the tests of this crate: its sockets, sessions and share log are the real ones; there is no node
//! and no ledger. And a miner for it that does what a test says, message by message.

use crate::admission::Admission;
use crate::blocks::Blocks;
use crate::config::hyper_node::HyperNodeConfig;
use crate::config::{LimitsConfig, ReconnectConfig, VardiffConfig};
use crate::difficulty::{DifficultyBoard, DifficultyRange};
use crate::directory::{Clock, Directory, NewLane};
use crate::hyper_nodes::HyperNodes;
use crate::listener::{Door, Listener};
use crate::rejects::Rejects;
use crate::sample::{self, PATIENCE};
use crate::session::Shared;
use crate::share_log::{self, Record, Recovered, ShareLog};
use crate::work::WorkBoard;
use bitcoin::Network;
use hh_daemon::StateFile;
use hh_daemon::ban::AutoBan;
use hh_daemon::ban::BanBook;
use hh_daemon::{ProxyProtocol, Tasks};
use hh_mining::Target;
use hh_sv2::message::{
    OpenExtendedMiningChannel, Protocol, SubmitSharesExtended, SubmitSharesSuccess,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, client_setup};
use hh_sv2::{Authority, AuthorityPublicKey, AuthoritySecretKey, Connection, Limits, Message};
use hh_trust::{NodeId, PoolAuthority};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a test wants otherwise.
#[derive(Clone)]
pub(crate) struct Options {
    pub limits: LimitsConfig,
    pub vardiff: VardiffConfig,
    pub server_id: u16,
    /// nBits of the first tip; with those of regtest every second hash is a block.
    pub nbits: u32,
    pub auto_ban: AutoBan,
    pub reconnect_on_stop: Option<ReconnectConfig>,
    /// For a peer that does not read.
    pub write_deadline: Duration,
    pub proxy_protocol: ProxyProtocol,
    pub hyper_nodes: Vec<HyperNodeConfig>,
    pub private_nodes: BTreeMap<NodeId, BTreeSet<String>>,
    /// What operators have signed.
    pub node_directory: watch::Receiver<Arc<hh_trust::node_directory::Directory>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: LimitsConfig::default(),
            auto_ban: AutoBan::default(),
            reconnect_on_stop: None,
            write_deadline: hh_sv2::connection::WRITE_DEADLINE,
            proxy_protocol: ProxyProtocol::default(),
            hyper_nodes: Vec::new(),
            private_nodes: BTreeMap::new(),
            node_directory: watch::channel(Arc::default()).1,
            vardiff: VardiffConfig {
                // Any hash is a share.
                min_difficulty: 1e-12,
                ..VardiffConfig::default()
            },
            server_id: 0,
            nbits: sample::REGTEST_NBITS,
        }
    }
}

/// See the module. Its tasks end when it is dropped.
pub(crate) struct TestPool {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    pub admission: Arc<Admission>,
    pub difficulty: DifficultyBoard,
    pub tasks: Tasks,
    pub board: WorkBoard,
    pub dir: Arc<TempDir>,
    options: Options,
    key: AuthorityPublicKey,
}

impl TestPool {
    /// Waits until `expected` connections have ended for `reason`.
    pub(crate) async fn wait_for_disconnects(&self, reason: &str, expected: u64) {
        let lane = &self.shared.directory.lanes()[0];
        let ended = async || (lane.disconnects()[reason] == expected).then_some(());
        sample::wait_for(&format!("{expected} x {reason}"), ended).await;
    }

    /// A pool with one lane and work on one tip.
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    /// The same, on what an earlier one has left in `dir`.
    pub(crate) async fn start_in(dir: Arc<TempDir>, options: Options) -> Self {
        let mut board = sample::board(7);
        let template = sample::template(1);
        board.on_new_template(0, template, true, 0).unwrap();
        let tip = sample::tip_of(1, options.nbits);
        board.on_set_new_prev_hash(0, 1, tip, 0).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let tasks = Tasks::default();
        let clock = Clock::start();
        let file = StateFile::new(dir.path().join("bans.json"));
        let bans = Arc::new(BanBook::open(options.auto_ban.clone(), file, 0).unwrap());
        let stop = tasks.token().clone();
        let admission = Admission::new(&options.limits, Arc::clone(&bans), clock, stop.clone());
        let admission = Arc::new(admission);
        let file = StateFile::new(dir.path().join("vardiff.json"));
        let difficulty = DifficultyBoard::open(options.vardiff.clone(), file).unwrap();
        let lane = NewLane {
            name: "sv2".to_owned(),
            listen_address: address,
            difficulty: DifficultyRange::default(),
        };
        let (log, recovered) = open_log(dir.path(), options.server_id);
        let secret = AuthoritySecretKey::generate();
        let key = secret.public_key();
        let pool = PoolAuthority::from_bytes(key.to_bytes());
        let file = StateFile::new(dir.path().join("nodes.json"));
        let hyper_nodes = HyperNodes::open(pool, &options.hyper_nodes, file).unwrap();
        let hyper_nodes = hyper_nodes.with_private(&options.private_nodes);
        let hyper_nodes = hyper_nodes.beside(options.node_directory.clone());
        let shared = Arc::new(Shared {
            network: Network::Regtest,
            directory: Directory::new(clock, vec![lane]),
            log,
            prefixes: Mutex::new(crate::prefixes(options.server_id, &recovered)),
            blocks: Blocks::to_nobody(),
            rejects: Rejects::default(),
            bans,
            hyper_nodes: Arc::new(hyper_nodes),
            work: board.subscribe(),
            difficulty: difficulty.subscribe(),
            limits: options.limits.clone(),
            reconnect_on_stop: options.reconnect_on_stop.clone(),
            stop,
        });
        let door = door(&shared, &admission, secret, &options);
        let listener = Listener {
            socket,
            door,
            tasks: tasks.clone(),
        };
        tasks.spawn_session("listener", listener.run());
        let token = tasks.token().clone();
        let watching =
            crate::record_watch::watch(Arc::clone(&shared), Arc::clone(&admission), token);
        tasks.spawn_session("record watch", watching);
        Self {
            address,
            shared,
            admission,
            difficulty,
            tasks,
            board,
            dir,
            options,
            key,
        }
    }

    /// Its name in credentials.
    pub(crate) fn authority(&self) -> PoolAuthority {
        PoolAuthority::from_bytes(self.key.to_bytes())
    }

    /// Stops as the daemon does: shares that were taken are in the log.
    pub(crate) async fn stop(&self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
        self.shared.log.close().await;
    }

    /// Another process on the same data directory, after a clean stop.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await;
        Self::start_in(Arc::clone(&self.dir), self.options.clone()).await
    }

    /// Another process on what a `kill -9` leaves of the data directory.
    pub(crate) async fn restart_after_kill(self) -> Self {
        let left = Arc::new(tempfile::tempdir().unwrap());
        copy(self.dir.path(), left.path());
        self.stop().await;
        Self::start_in(left, self.options.clone()).await
    }

    /// Everything that is in the share log, after a stop.
    pub(crate) async fn logged(self) -> Vec<Record> {
        self.stop().await;
        let (log, recovered) = open_log(self.dir.path(), self.options.server_id);
        let entries = log.reader(recovered.first_seq).unwrap().read(usize::MAX);
        let records = entries.unwrap().into_iter().map(|entry| entry.record);
        let records = records.collect();
        log.close().await;
        records
    }

    /// Connects a miner, up to SetupConnection.Success.
    pub(crate) async fn connect(&self) -> TestMiner {
        self.connect_with(0).await
    }

    /// The same, with these flags of the Mining protocol.
    pub(crate) async fn connect_with(&self, flags: u32) -> TestMiner {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.set_up(stream, flags).await
    }

    /// Makes a miner of a connection.
    pub(crate) async fn set_up(&self, stream: TcpStream, flags: u32) -> TestMiner {
        let mut connection = Connection::initiate(stream, Some(&self.key), &Limits::CLIENT)
            .await
            .unwrap();
        let setup = ClientSetup {
            protocol: Protocol::MiningProtocol,
            flags,
            endpoint_host: String::new(),
            endpoint_port: 0,
            vendor: "test".to_owned(),
            hardware_version: String::new(),
            firmware: String::new(),
            device_id: String::new(),
        };
        client_setup(&mut connection, &setup, SETUP_DEADLINE)
            .await
            .unwrap();
        TestMiner { connection }
    }

    /// Connects a miner with one channel, and waits for its first job.
    pub(crate) async fn mine(&self, identity: &str) -> (TestMiner, TestChannel) {
        let mut miner = self.connect().await;
        let channel = miner.open(identity).await.unwrap();
        (miner, channel)
    }
}

/// What lets miners in.
fn door(
    shared: &Arc<Shared>,
    admission: &Arc<Admission>,
    secret: AuthoritySecretKey,
    options: &Options,
) -> Door {
    let validity = hh_sv2::authority::CERTIFICATE_VALIDITY;
    Door {
        lane: Arc::clone(&shared.directory.lanes()[0]),
        shared: Arc::clone(shared),
        authority: Arc::new(Authority::new(secret, validity)),
        admission: Arc::clone(admission),
        proxies: Arc::new(options.proxy_protocol.clone()),
        limits: Limits {
            write_deadline: options.write_deadline,
            ..crate::listener::CONNECTION_LIMITS
        },
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

fn open_log(dir: &Path, server_id: u16) -> (ShareLog, Recovered) {
    let identity = share_log::Identity {
        pool: "test".to_owned(),
        server_id,
    };
    let options = share_log::Options {
        segment_bytes: 1 << 18,
        commit_interval: Duration::ZERO,
        ..share_log::Options::default()
    };
    ShareLog::open(&dir.join("shares"), &identity, &options).unwrap()
}

/// Copies a directory and what is in it.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The client's end of a connection.
pub(crate) struct TestMiner {
    pub connection: Connection,
}

/// A channel as its miner knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestChannel {
    pub id: u32,
    pub job_id: u32,
    /// As it was opened with.
    pub target: Target,
    next_sequence_number: u32,
}

impl TestMiner {
    /// The next message; none when the pool has closed the connection.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        let received = tokio::time::timeout(PATIENCE, self.connection.recv()).await;
        received.expect("the pool says something").ok()
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.connection.queue(message).unwrap();
        self.connection.flush().await.unwrap();
    }

    /// Opens an extended channel and waits for its first job, or gives the pool's refusal.
    pub(crate) async fn open(&mut self, identity: &str) -> Result<TestChannel, String> {
        self.open_below(identity, Target::MAX).await
    }

    /// The same, for a miner that takes no easier target.
    pub(crate) async fn open_below(
        &mut self,
        identity: &str,
        max_target: Target,
    ) -> Result<TestChannel, String> {
        self.send(OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: identity.try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: max_target.to_le_bytes().into(),
            min_extranonce_size: 8,
        })
        .await;
        let mut channel = None;
        loop {
            match self.recv().await.expect("an answer") {
                Message::OpenExtendedMiningChannelSuccess(success) => {
                    channel = Some(TestChannel {
                        id: success.channel_id,
                        job_id: 0,
                        target: Target::from_le_bytes(success.target.to_array()),
                        next_sequence_number: 1,
                    });
                }
                Message::OpenMiningChannelError(error) => {
                    return Err(error.error_code.as_utf8_or_hex());
                }
                Message::SetNewPrevHash(tip) => {
                    if let Some(mut channel) = channel {
                        channel.job_id = tip.job_id;
                        return Ok(channel);
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends a share of `channel` that differs from all before.
    pub(crate) async fn submit(&mut self, channel: &mut TestChannel) {
        let sequence_number = channel.next_sequence_number;
        channel.next_sequence_number += 1;
        self.send(SubmitSharesExtended {
            channel_id: channel.id,
            sequence_number,
            job_id: channel.job_id,
            nonce: sequence_number,
            ntime: sample::TIP_TIME,
            version: 0x2000_0000,
            extranonce: vec![0; 8].try_into().unwrap(),
        })
        .await;
    }

    /// Waits for the next answer to a share, and passes over what else comes.
    pub(crate) async fn verdict(&mut self) -> Result<SubmitSharesSuccess, String> {
        loop {
            match self.recv().await.expect("an answer to a share") {
                Message::SubmitSharesSuccess(success) => return Ok(success),
                Message::SubmitSharesError(error) => {
                    return Err(error.error_code.as_utf8_or_hex());
                }
                _ => {}
            }
        }
    }
}
