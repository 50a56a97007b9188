//! A node of another version, as far as we see it: mining IPC in the schema of 30 or 32 on a socket of its own, and JSON-RPC
//! that gives that version. Behind both is the real node.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Block, Transaction};
use bitcoin_capnp_types::init_capnp::init;
use bitcoin_capnp_types::mining_capnp::{block_template, mining};
use bitcoin_capnp_types::proxy_capnp::{context, thread, thread_map};
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures::io::{BufReader, BufWriter};
use hh_bitcoin::{Rpc, RpcAuth};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::node::Node;

mod v30;
mod v32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    V30,
    V32,
}

/// Lives as long as this does.
pub(crate) struct Bridge {
    pub(crate) socket: PathBuf,
    pub(crate) rpc: Rpc,
    _dir: tempfile::TempDir,
    _proxy: JoinSet<()>,
    _stop: DropGuard,
}

impl Bridge {
    /// One that says by RPC that it is of this version; 320000 is 32.0.
    pub(crate) async fn start(node: &Node, schema: Schema, version: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("node.sock");
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (to, stopped) = (node.socket(), stop.clone());
        std::thread::spawn(move || {
            let serving = async {
                let listener = UnixListener::from_std(listener).unwrap();
                stopped
                    .run_until_cancelled(serve(listener, &to, schema))
                    .await;
            };
            LocalSet::new().block_on(&runtime, serving);
        });
        let (proxy, rpc) = rpc_of_version(node, version).await;
        Self {
            socket,
            rpc,
            _dir: dir,
            _proxy: proxy,
            _stop: stop.drop_guard(),
        }
    }
}

async fn serve(listener: UnixListener, node: &Path, schema: Schema) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let real = Rc::new(Real::connect(node).await);
        let client = match schema {
            Schema::V30 => v30::init(real),
            Schema::V32 => v32::init(real),
        };
        let system = RpcSystem::new(Box::new(network(stream, Side::Server)), Some(client));
        tokio::task::spawn_local(async move { drop(system.await) });
    }
}

type Network = VatNetwork<BufReader<tokio_util::compat::Compat<tokio::net::unix::OwnedReadHalf>>>;

fn network(stream: UnixStream, side: Side) -> Network {
    let (reader, writer) = stream.into_split();
    VatNetwork::new(
        BufReader::new(reader.compat()),
        BufWriter::new(writer.compat_write()),
        side,
        capnp::message::ReaderOptions::default(),
    )
}

/// The real node's mining IPC.
struct Real {
    mining: mining::Client,
    threads: thread_map::Client,
}

/// The node's coinbase, in its words.
struct Coinbase {
    transaction: Transaction,
    value_remaining: i64,
    script_sig_prefix: Vec<u8>,
    witness: Vec<u8>,
    required_outputs: Vec<Vec<u8>>,
}

impl Real {
    async fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.unwrap();
        let mut system = RpcSystem::new(Box::new(network(stream, Side::Client)), None);
        let init: init::Client = system.bootstrap(Side::Server);
        tokio::task::spawn_local(async move { drop(system.await) });
        let constructed = init.construct_request().send().promise.await.unwrap();
        let threads = constructed.get().unwrap().get_thread_map().unwrap();
        let mut request = init.make_mining_request();
        let thread = thread(&threads).await.unwrap();
        request.get().get_context().unwrap().set_thread(thread);
        let made = request.send().promise.await.unwrap();
        let mining = made.get().unwrap().get_result().unwrap();
        Self { mining, threads }
    }

    /// A thread for each call: we are in no hurry.
    async fn run_on_new_thread(
        &self,
        context: capnp::Result<context::Builder<'_>>,
    ) -> capnp::Result<()> {
        context?.set_thread(thread(&self.threads).await?);
        Ok(())
    }

    async fn create(
        self: &Rc<Self>,
        use_mempool: bool,
        weight: u64,
        sigops: u64,
        cooldown: bool,
    ) -> capnp::Result<Template> {
        let mut request = self.mining.create_new_block_request();
        self.run_on_new_thread(request.get().get_context()).await?;
        request.get().set_cooldown(cooldown);
        let mut options = request.get().init_options();
        options.set_use_mempool(use_mempool);
        options.set_block_reserved_weight(weight);
        options.set_coinbase_output_max_additional_sigops(sigops);
        let response = request.send().promise.await?;
        let client = response.get()?.get_result()?;
        let real = Rc::clone(self);
        Ok(Template { real, client })
    }

    /// Empty where the block is good.
    async fn check(&self, block: &[u8]) -> capnp::Result<String> {
        let mut request = self.mining.check_block_request();
        self.run_on_new_thread(request.get().get_context()).await?;
        request.get().set_block(block);
        request.get().init_options();
        let response = request.send().promise.await?;
        Ok(response.get()?.get_reason()?.to_string()?)
    }
}

async fn thread(threads: &thread_map::Client) -> capnp::Result<thread::Client> {
    let made = threads.make_thread_request().send().promise.await?;
    made.get()?.get_result()
}

fn fill(mut list: capnp::data_list::Builder<'_>, values: &[Vec<u8>]) {
    for (n, value) in (0..).zip(values) {
        list.set(n, value);
    }
}

/// A template of the real node.
struct Template {
    real: Rc<Real>,
    client: block_template::Client,
}

impl Template {
    async fn header(&self) -> capnp::Result<Vec<u8>> {
        let mut request = self.client.get_block_header_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        Ok(request.send().promise.await?.get()?.get_result()?.to_vec())
    }

    async fn block(&self) -> capnp::Result<Vec<u8>> {
        let mut request = self.client.get_block_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        Ok(request.send().promise.await?.get()?.get_result()?.to_vec())
    }

    async fn fees(&self) -> capnp::Result<Vec<i64>> {
        let mut request = self.client.get_tx_fees_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        let response = request.send().promise.await?;
        Ok(response.get()?.get_result()?.iter().collect())
    }

    async fn merkle_path(&self) -> capnp::Result<Vec<Vec<u8>>> {
        let mut request = self.client.get_coinbase_merkle_path_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        let response = request.send().promise.await?;
        let path = response.get()?.get_result()?;
        path.iter().map(|node| node.map(<[u8]>::to_vec)).collect()
    }

    async fn coinbase(&self) -> capnp::Result<Coinbase> {
        let block: Block = deserialize(&self.block().await?).unwrap();
        let mut request = self.client.get_coinbase_tx_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        let response = request.send().promise.await?;
        let coinbase = response.get()?.get_result()?;
        let outputs = coinbase.get_required_outputs()?;
        Ok(Coinbase {
            transaction: block.txdata[0].clone(),
            value_remaining: coinbase.get_block_reward_remaining(),
            script_sig_prefix: coinbase.get_script_sig_prefix()?.to_vec(),
            witness: coinbase.get_witness()?.to_vec(),
            required_outputs: outputs
                .iter()
                .map(|output| output.map(<[u8]>::to_vec))
                .collect::<capnp::Result<_>>()?,
        })
    }

    async fn submit(
        &self,
        version: u32,
        timestamp: u32,
        nonce: u32,
        coinbase: &[u8],
    ) -> capnp::Result<bool> {
        let mut request = self.client.submit_solution_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        request.get().set_version(version);
        request.get().set_timestamp(timestamp);
        request.get().set_nonce(nonce);
        request.get().set_coinbase(coinbase);
        Ok(request.send().promise.await?.get()?.get_result())
    }

    /// What the real node, which has the schema of 31, does not say: why. Empty where the block is good.
    async fn reason(
        &self,
        version: u32,
        timestamp: u32,
        nonce: u32,
        coinbase: &[u8],
    ) -> capnp::Result<String> {
        let mut block: Block = deserialize(&self.block().await?).unwrap();
        block.txdata[0] = deserialize(coinbase).unwrap();
        block.header.version =
            bitcoin::block::Version::from_consensus(i32::from_ne_bytes(version.to_ne_bytes()));
        block.header.time = timestamp;
        block.header.nonce = nonce;
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        self.real.check(&serialize(&block)).await
    }

    async fn wait_next(&self, timeout: f64, fee_threshold: i64) -> capnp::Result<Option<Self>> {
        let mut request = self.client.wait_next_request();
        self.real
            .run_on_new_thread(request.get().get_context())
            .await?;
        let mut options = request.get().init_options();
        options.set_timeout(timeout);
        options.set_fee_threshold(fee_threshold);
        let response = request.send().promise.await?;
        let results = response.get()?;
        if !results.has_result() {
            return Ok(None);
        }
        let (real, client) = (Rc::clone(&self.real), results.get_result()?);
        Ok(Some(Self { real, client }))
    }

    fn interrupt_wait(&self) {
        drop(self.client.interrupt_wait_request().send());
    }
}

/// The node's JSON-RPC, but for its version.
async fn rpc_of_version(node: &Node, version: u32) -> (JoinSet<()>, Rpc) {
    let real = node.rpc().network_info().await.unwrap().version;
    let [from, to] = [real, version].map(|version| format!("\"version\":{version},").into_bytes());
    assert_eq!(from.len(), to.len(), "or Content-Length would be wrong");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let address = node.url().replace("http://", "");
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&address).await.unwrap();
            connections.spawn(pass_on(client, server, from.clone(), to.clone()));
        }
    });
    let rpc = Rpc::new(&url, RpcAuth::CookieFile(node.cookie_file())).unwrap();
    (accepting, rpc)
}

async fn pass_on(client: TcpStream, server: TcpStream, from: Vec<u8>, to: Vec<u8>) {
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let requests = async {
        drop(copy(&mut client_in, &mut server_out).await);
        drop(server_out.shutdown().await);
    };
    let answers = async {
        let mut chunk = vec![0; 65_536];
        while let Ok(read @ 1..) = server_in.read(&mut chunk).await {
            let answer = &mut chunk[..read];
            // A small answer comes in one piece.
            let found = answer.windows(from.len()).position(|window| window == from);
            if let Some(at) = found {
                answer[at..at + to.len()].copy_from_slice(&to);
            }
            if client_out.write_all(answer).await.is_err() {
                return;
            }
        }
        drop(client_out.shutdown().await);
    };
    tokio::join!(requests, answers);
}
