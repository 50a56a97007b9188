//! One connection to a node's mining IPC, schema of Bitcoin Core 31.
//!
//! Owns: every Cap'n Proto call, each with a deadline. Never: keeps templates or decides when to call.
//!
//! A call names the node's thread that runs it, and a thread runs one call at a time: we never send it a second one. So
//! what may block (`waitNext`), what is large (`getBlock`), what must not wait (`submitSolution`) and the small calls that
//! are made at once have threads of their own, and a call under way is never given up, except with its class.
//!
//! The small calls on a template are sent before there is one (Cap'n Proto pipelining): the node runs them the moment
//! `waitNext` ends, without a round trip to us.

use std::path::Path;
use std::time::{Duration, Instant};

use bitcoin_capnp_types::init_capnp::init;
use bitcoin_capnp_types::mining_capnp::{block_template, mining};
use bitcoin_capnp_types::proxy_capnp::{context, thread, thread_map};
use capnp::capability::{Promise, Response};
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures::io::{BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::source::{Solution, SourceError};
use crate::template::Reservation;

/// Cheap calls take microseconds; the node's lock may be held for seconds while it connects a block.
const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// `submitSolution` validates and connects a block.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(60);
/// Four times a full block.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    mining: mining::Client,
    threads: thread_map::Client,
    bulk: NodeThread,
    submit: NodeThread,
    system: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.system.abort();
    }
}

/// A thread in the node that runs our calls, one at a time.
struct NodeThread {
    client: thread::Client,
    free: Semaphore,
}

impl NodeThread {
    async fn acquire(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.free
            .acquire()
            .await
            .expect("the semaphore is never closed")
    }

    fn set(&self, context: capnp::Result<context::Builder<'_>>) {
        if let Ok(mut context) = context {
            context.set_thread(self.client.clone());
        }
    }
}

/// The node's threads for a call that brings a template, and for those that read it. One template at a time.
pub(super) struct TemplateThreads {
    bring: NodeThread,
    header: NodeThread,
    coinbase: NodeThread,
    path: NodeThread,
}

/// What `createNewBlock` is to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Create {
    pub(super) reservation: Reservation,
    /// Else nothing but a coinbase.
    pub(super) use_mempool: bool,
    /// Waits for the end of the initial download.
    pub(super) cooldown: bool,
}

/// A template with what miners need of it.
pub(super) struct Fetched {
    pub(super) client: block_template::Client,
    pub(super) parts: Parts,
    /// When the node said that there is one.
    pub(super) announced_at: Instant,
}

/// A coinbase as the node wants it, header fields and path of one template.
pub(super) struct Parts {
    /// 80 bytes with a placeholder merkle root.
    pub(super) header: Vec<u8>,
    pub(super) coinbase_version: u32,
    pub(super) coinbase_sequence: u32,
    pub(super) script_sig_prefix: Vec<u8>,
    pub(super) witness: Vec<u8>,
    pub(super) value_remaining: i64,
    pub(super) required_outputs: Vec<Vec<u8>>,
    pub(super) lock_time: u32,
    pub(super) merkle_path: Vec<Vec<u8>>,
}

/// Runs a call with a deadline and names it in its errors.
async fn within<T>(
    call: &'static str,
    deadline: Duration,
    promise: impl Future<Output = capnp::Result<T>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout(deadline, promise).await {
        Ok(result) => result.map_err(|source| SourceError::Call { call, source }),
        Err(_elapsed) => Err(SourceError::TimedOut {
            call,
            seconds: deadline.as_secs(),
        }),
    }
}

impl Connection {
    pub(super) async fn open(path: &Path) -> Result<Self, SourceError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| SourceError::Connect {
                path: path.display().to_string(),
                source,
            })?;
        let (reader, writer) = stream.into_split();
        let mut limits = capnp::message::ReaderOptions::new();
        limits.traversal_limit_in_words(Some(BLOCK_BYTES_MAX / 8));
        let network = VatNetwork::new(
            BufReader::new(reader.compat()),
            BufWriter::new(writer.compat_write()),
            Side::Client,
            limits,
        );
        let mut system = RpcSystem::new(Box::new(network), None);
        let init: init::Client = system.bootstrap(Side::Server);
        let system = tokio::task::spawn_local(system).abort_handle();
        match Self::set_up(init, system.clone()).await {
            Ok(connection) => Ok(connection),
            Err(error) => {
                system.abort();
                Err(error)
            }
        }
    }

    async fn set_up(init: init::Client, system: AbortHandle) -> Result<Self, SourceError> {
        let constructed = within(
            "construct",
            CALL_DEADLINE,
            init.construct_request().send().promise,
        )
        .await?;
        let threads = constructed
            .get()
            .and_then(|results| results.get_thread_map())
            .map_err(|source| SourceError::Call {
                call: "construct",
                source,
            })?;
        let submit = make_thread(&threads, "hh-submit").await?;
        let mut request = init.make_mining_request();
        submit.set(request.get().get_context());
        let made = within("makeMining", CALL_DEADLINE, request.send().promise).await?;
        let mining = made
            .get()
            .and_then(|results| results.get_result())
            .map_err(|source| SourceError::Call {
                call: "makeMining",
                source,
            })?;
        Ok(Self {
            mining,
            bulk: make_thread(&threads, "hh-bulk").await?,
            submit,
            threads,
            system,
        })
    }

    /// Threads for one template at a time more.
    pub(super) async fn template_threads(&self) -> Result<TemplateThreads, SourceError> {
        Ok(TemplateThreads {
            bring: make_thread(&self.threads, "hh-template").await?,
            header: make_thread(&self.threads, "hh-header").await?,
            coinbase: make_thread(&self.threads, "hh-coinbase").await?,
            path: make_thread(&self.threads, "hh-path").await?,
        })
    }

    /// With `cooldown` it may take as long as the node's initial download, so this has no deadline; a lost connection ends it.
    pub(super) async fn create_new_block(
        &self,
        threads: &TemplateThreads,
        create: Create,
    ) -> Result<Fetched, SourceError> {
        const CALL: &str = "createNewBlock";
        let error = |source| SourceError::Call { call: CALL, source };
        let mut request = self.mining.create_new_block_request();
        threads.bring.set(request.get().get_context());
        request.get().set_cooldown(create.cooldown);
        let mut options = request.get().init_options();
        options.set_use_mempool(create.use_mempool);
        options.set_block_reserved_weight(create.reservation.weight());
        options.set_coinbase_output_max_additional_sigops(create.reservation.sigops());
        let sent = request.send();
        let parts = threads.ask_parts(&sent.pipeline.get_result());
        let response = sent.promise.await.map_err(error)?;
        let announced_at = Instant::now();
        let results = response.get().map_err(error)?;
        if !results.has_result() {
            return Err(SourceError::ShuttingDown);
        }
        let client = results.get_result().map_err(error)?;
        Ok(Fetched {
            client,
            parts: parts.read().await?,
            announced_at,
        })
    }

    /// Ends a `createNewBlock` that waits. Best effort: the node also ends it when we are gone.
    pub(super) fn interrupt(&self) {
        drop(self.mining.interrupt_request().send());
    }

    /// The serialized block, and the sum of its fees.
    pub(super) async fn block(
        &self,
        template: &block_template::Client,
    ) -> Result<(Vec<u8>, u64), SourceError> {
        let _running = self.bulk.acquire().await;
        let mut request = template.get_tx_fees_request();
        self.bulk.set(request.get().get_context());
        let fees = within("getTxFees", CALL_DEADLINE, request.send().promise).await?;
        let fees_sats = fees
            .get()
            .and_then(|results| results.get_result())
            .map_err(|source| SourceError::Call {
                call: "getTxFees",
                source,
            })?
            .iter()
            .filter_map(|fee| u64::try_from(fee).ok())
            .sum();
        let mut request = template.get_block_request();
        self.bulk.set(request.get().get_context());
        let block = within("getBlock", CALL_DEADLINE, request.send().promise).await?;
        let bytes = block
            .get()
            .and_then(|results| results.get_result())
            .map_err(|source| SourceError::Call {
                call: "getBlock",
                source,
            })?
            .to_vec();
        Ok((bytes, fees_sats))
    }

    /// True where the node processed the block or knew it.
    pub(super) async fn submit_solution(
        &self,
        template: &block_template::Client,
        solution: &Solution,
    ) -> Result<bool, SourceError> {
        let _running = self.submit.acquire().await;
        let mut request = template.submit_solution_request();
        self.submit.set(request.get().get_context());
        let mut params = request.get();
        params.set_version(solution.version);
        params.set_timestamp(solution.ntime);
        params.set_nonce(solution.nonce);
        params.set_coinbase(&solution.coinbase);
        let response = within("submitSolution", SUBMIT_DEADLINE, request.send().promise).await?;
        response
            .get()
            .map(|results| results.get_result())
            .map_err(|source| SourceError::Call {
                call: "submitSolution",
                source,
            })
    }

    /// Why the node would refuse this block on its tip.
    pub(super) async fn check_block(&self, block: &[u8]) -> Result<Option<String>, SourceError> {
        const CALL: &str = "checkBlock";
        let _running = self.submit.acquire().await;
        let mut request = self.mining.check_block_request();
        self.submit.set(request.get().get_context());
        request.get().set_block(block);
        let mut options = request.get().init_options();
        options.set_check_merkle_root(true);
        options.set_check_pow(true);
        let response = within(CALL, SUBMIT_DEADLINE, request.send().promise).await?;
        let read = || -> capnp::Result<Option<String>> {
            let results = response.get()?;
            if results.get_result() {
                return Ok(None);
            }
            Ok(Some(results.get_reason()?.to_string()?))
        };
        read().map_err(|source| SourceError::Call { call: CALL, source })
    }
}

impl TemplateThreads {
    /// Waits for a new tip, or for fees that are higher by `fee_threshold_sats`; `None` after `timeout`.
    pub(super) async fn wait_next(
        &self,
        template: &block_template::Client,
        timeout: Duration,
        fee_threshold_sats: i64,
    ) -> Result<Option<Fetched>, SourceError> {
        const CALL: &str = "waitNext";
        let error = |source| SourceError::Call { call: CALL, source };
        let mut request = template.wait_next_request();
        self.bring.set(request.get().get_context());
        let mut options = request.get().init_options();
        options.set_timeout(timeout.as_secs_f64() * 1000.0);
        options.set_fee_threshold(fee_threshold_sats);
        let sent = request.send();
        // They fail where the wait ends without a template, and nobody looks at them then.
        let parts = self.ask_parts(&sent.pipeline.get_result());
        let response = within(CALL, timeout + CALL_DEADLINE, sent.promise).await?;
        let announced_at = Instant::now();
        let results = response.get().map_err(error)?;
        if !results.has_result() {
            return Ok(None);
        }
        let client = results.get_result().map_err(error)?;
        Ok(Some(Fetched {
            client,
            parts: parts.read().await?,
            announced_at,
        }))
    }

    fn ask_parts(&self, template: &block_template::Client) -> AskedParts {
        let mut header = template.get_block_header_request();
        self.header.set(header.get().get_context());
        let mut coinbase = template.get_coinbase_tx_request();
        self.coinbase.set(coinbase.get().get_context());
        let mut path = template.get_coinbase_merkle_path_request();
        self.path.set(path.get().get_context());
        AskedParts {
            header: header.send().promise,
            coinbase: coinbase.send().promise,
            path: path.send().promise,
        }
    }
}

/// The small calls on a template, under way.
struct AskedParts {
    header: Promise<Response<block_template::get_block_header_results::Owned>, capnp::Error>,
    coinbase: Promise<Response<block_template::get_coinbase_tx_results::Owned>, capnp::Error>,
    path: Promise<Response<block_template::get_coinbase_merkle_path_results::Owned>, capnp::Error>,
}

impl AskedParts {
    async fn read(self) -> Result<Parts, SourceError> {
        const CALL: &str = "getCoinbaseTx";
        let (header, coinbase, path) = within(CALL, CALL_DEADLINE, async {
            futures::try_join!(self.header, self.coinbase, self.path)
        })
        .await?;
        let read = || -> capnp::Result<Parts> {
            let coinbase = coinbase.get()?.get_result()?;
            let outputs = coinbase.get_required_outputs()?;
            let path = path.get()?.get_result()?;
            Ok(Parts {
                header: header.get()?.get_result()?.to_vec(),
                coinbase_version: coinbase.get_version(),
                coinbase_sequence: coinbase.get_sequence(),
                script_sig_prefix: coinbase.get_script_sig_prefix()?.to_vec(),
                witness: coinbase.get_witness()?.to_vec(),
                value_remaining: coinbase.get_block_reward_remaining(),
                required_outputs: outputs
                    .iter()
                    .map(|output| output.map(<[u8]>::to_vec))
                    .collect::<capnp::Result<_>>()?,
                lock_time: coinbase.get_lock_time(),
                merkle_path: path
                    .iter()
                    .map(|node| node.map(<[u8]>::to_vec))
                    .collect::<capnp::Result<_>>()?,
            })
        };
        read().map_err(|source| SourceError::Call { call: CALL, source })
    }
}

/// Ends a `waitNext` on this template. Best effort, see [`Connection::interrupt`].
pub(super) fn interrupt_wait(template: &block_template::Client) {
    drop(template.interrupt_wait_request().send());
}

async fn make_thread(
    threads: &thread_map::Client,
    name: &'static str,
) -> Result<NodeThread, SourceError> {
    let mut request = threads.make_thread_request();
    request.get().set_name(name);
    let made = within("makeThread", CALL_DEADLINE, request.send().promise).await?;
    let client = made
        .get()
        .and_then(|results| results.get_result())
        .map_err(|source| SourceError::Call {
            call: "makeThread",
            source,
        })?;
    Ok(NodeThread {
        client,
        free: Semaphore::new(1),
    })
}
