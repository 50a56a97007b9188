//! One connection to a node's mining IPC.
//!
//! Owns: which thread of the node runs a call, and its deadline; the schema has the calls themselves. Never: keeps templates or decides when to call.
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
use capnp::capability::Promise;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures::io::{BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::schema::{Brought, Coinbase, Create, Told};
use crate::node::IpcSchema;
use crate::source::{Solution, SourceError};

/// Cheap calls take microseconds; the node's lock may be held for seconds while it connects a block.
const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// `submitSolution` validates and connects a block.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(60);
/// Four times a full block.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    schema: IpcSchema,
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
    schema: IpcSchema,
    bring: NodeThread,
    header: NodeThread,
    coinbase: NodeThread,
    path: NodeThread,
}

/// A template with what miners need of it.
pub(super) struct Fetched {
    pub(super) client: block_template::Client,
    pub(super) parts: Parts,
    /// When the node said that there is one.
    pub(super) announced_at: Instant,
}

/// Header, coinbase and path of one template.
pub(super) struct Parts {
    /// 80 bytes with a placeholder merkle root.
    pub(super) header: Vec<u8>,
    pub(super) coinbase: Coinbase,
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
    /// To the socket at `path` of a node with this schema.
    pub(super) async fn open(path: &Path, schema: IpcSchema) -> Result<Self, SourceError> {
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
        match Self::set_up(schema, init, system.clone()).await {
            Ok(connection) => Ok(connection),
            Err(error) => {
                system.abort();
                Err(error)
            }
        }
    }

    async fn set_up(
        schema: IpcSchema,
        init: init::Client,
        system: AbortHandle,
    ) -> Result<Self, SourceError> {
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
        let made = schema.make_mining(&init, &submit.client);
        let mining = within("makeMining", CALL_DEADLINE, made).await?;
        Ok(Self {
            schema,
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
            schema: self.schema,
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
        let thread = &threads.bring.client;
        let Brought { template, answer } =
            self.schema.create_new_block(&self.mining, thread, create);
        let parts = threads.ask_parts(&template);
        let created = answer.await;
        let announced_at = Instant::now();
        let client = created
            .map_err(|source| SourceError::Call { call: CALL, source })?
            .ok_or(SourceError::ShuttingDown)?;
        Ok(Fetched {
            client,
            parts: parts.read().await?,
            announced_at,
        })
    }

    /// Ends a `createNewBlock` that waits. Best effort: the node also ends it when we are gone.
    pub(super) fn interrupt(&self) {
        self.schema.interrupt(&self.mining);
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

    pub(super) async fn submit_solution(
        &self,
        template: &block_template::Client,
        solution: &Solution,
    ) -> Result<Told, SourceError> {
        let _running = self.submit.acquire().await;
        let thread = &self.submit.client;
        let told = self.schema.submit_solution(template, thread, solution);
        within("submitSolution", SUBMIT_DEADLINE, told).await
    }

    /// Ends a `waitNext` on this template. Best effort, see [`Self::interrupt`].
    pub(super) fn interrupt_wait(&self, template: &block_template::Client) {
        self.schema.interrupt_wait(template);
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
        let timeout_ms = timeout.as_secs_f64() * 1000.0;
        let Brought {
            template: next,
            answer,
        } = self
            .schema
            .wait_next(template, &self.bring.client, timeout_ms, fee_threshold_sats);
        // They fail where the wait ends without a template, and nobody looks at them then.
        let parts = self.ask_parts(&next);
        let next = within("waitNext", timeout + CALL_DEADLINE, answer).await?;
        let announced_at = Instant::now();
        let Some(client) = next else {
            return Ok(None);
        };
        Ok(Some(Fetched {
            client,
            parts: parts.read().await?,
            announced_at,
        }))
    }

    fn ask_parts(&self, template: &block_template::Client) -> AskedParts {
        let mut header = template.get_block_header_request();
        self.header.set(header.get().get_context());
        let header = header.send().promise;
        AskedParts {
            header: Promise::from_future(
                async move { Ok(header.await?.get()?.get_result()?.to_vec()) },
            ),
            coinbase: self.schema.coinbase(template, &self.coinbase.client),
            path: self.schema.merkle_path(template, &self.path.client),
        }
    }
}

/// The small calls on a template, under way.
struct AskedParts {
    header: Promise<Vec<u8>, capnp::Error>,
    coinbase: Promise<Coinbase, capnp::Error>,
    path: Promise<Vec<Vec<u8>>, capnp::Error>,
}

impl AskedParts {
    async fn read(self) -> Result<Parts, SourceError> {
        let (header, coinbase, merkle_path) = within("getCoinbaseTx", CALL_DEADLINE, async {
            futures::try_join!(self.header, self.coinbase, self.path)
        })
        .await?;
        Ok(Parts {
            header,
            coinbase,
            merkle_path,
        })
    }
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
