//! The wallet's handle: how a call gets to the node that runs, and the calls that are nothing but that.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Txid};
use hh_daemon::Tasks;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::lightning_types::payment::PaymentHash;
use ldk_node::{Node, NodeError};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use super::events::Reasons;
use super::keeper::{self, THREAD_NAME};
use super::running::{self, Running};
use super::{LdkConfig, StartError};
use crate::event::{Events, Source};
use crate::{
    Backend, Backup, Capabilities, Capability, ForwardPage, InvoiceRequest, NodeInfo, OfferRequest,
    PageCursor, PayError, Refusal, STOP_LIMIT, SendOnChain, WalletError,
};

/// The version that `Cargo.toml` pins.
const VERSION: &str = "ldk-node 0.7.1";
/// Calls read memory, or write to a local disk; one that connects to a peer waits for it up to 10 s.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// For peers' messages, the chain and the background work; the calls have threads beside these.
const WORKERS: usize = 2;
/// Whoever waits for an event has the node in hand for at most this long.
pub(super) const EVENT_WAIT: Duration = Duration::from_millis(250);

/// An embedded node. Cheap to clone; clones are the same node.
#[derive(Clone)]
pub struct LdkWallet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: LdkConfig,
    pub(super) node_id: PublicKey,
    pub(super) slot: RwLock<Slot>,
    /// Who has the one permit may start and stop the node.
    changes: Semaphore,
    /// Of payments whose call has not returned.
    pub(super) sending: Mutex<Vec<PaymentHash>>,
    /// Why payments failed, as far as events told: the node's records do not have it.
    pub(super) reasons: Mutex<Reasons>,
    pub(super) are_events_taken: AtomicBool,
    /// How often it has been started.
    lives: AtomicU64,
    threads: Option<Runtime>,
    /// Of the directory; none when the node has been stopped.
    lock: Mutex<Option<File>>,
}

impl Inner {
    fn threads(&self) -> &Handle {
        let threads = self.threads.as_ref();
        threads.expect("it is taken when this is dropped").handle()
    }
}

/// For who has not stopped it: the node has to end before its threads and its lock, and dropping either takes time.
impl Drop for Inner {
    fn drop(&mut self) {
        let slot = std::mem::replace(&mut self.slot, RwLock::new(Slot::Stopped));
        let threads = self.threads.take();
        let lock = std::mem::take(&mut self.lock);
        std::thread::spawn(move || {
            drop(slot);
            drop(threads);
            drop(lock);
        });
    }
}

/// The node, where there is one.
pub(super) enum Slot {
    Running(Running),
    /// Why it does not run; the keeper is about to start it again.
    Down(String),
    Stopped,
}

impl From<Arc<Inner>> for LdkWallet {
    fn from(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

impl fmt::Debug for LdkWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LdkWallet({})", self.inner.config.dir.display())
    }
}

impl LdkWallet {
    /// Starts it. A task of `tasks` keeps it running; [`Self::stop`] ends it, and has to be called before the process ends.
    ///
    /// # Errors
    /// It does not start; nothing of it is left then, and it can be tried again.
    pub async fn start(config: LdkConfig, tasks: &Tasks) -> Result<Self, WalletError> {
        let lock = running::lock(&config.dir)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name(THREAD_NAME)
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let is_deaf = Arc::new(AtomicBool::new(false));
        keeper::end_the_process_on_panic(Arc::clone(&is_deaf));
        let (sent, first) = (config.clone(), Arc::clone(&is_deaf));
        let started = threads
            .handle()
            .spawn_blocking(move || Running::start(&sent, 0, first))
            .await;
        let running = match started {
            Ok(Ok(running)) => running,
            failed => {
                // Not dropped here: that would wait, which an async function must not.
                threads.shutdown_background();
                return Err(match failed {
                    Ok(Err(error)) => error.into(),
                    _ => StartError::Node("its start panicked".to_owned()).into(),
                });
            }
        };
        let inner = Arc::new(Inner {
            config,
            node_id: running.node.node_id(),
            slot: RwLock::new(Slot::Running(running)),
            changes: Semaphore::new(1),
            sending: Mutex::default(),
            reasons: Mutex::default(),
            are_events_taken: AtomicBool::new(false),
            lives: AtomicU64::new(1),
            threads: Some(threads),
            lock: Mutex::new(Some(lock)),
        });
        let keeper = keeper::keep(Arc::downgrade(&inner), tasks.clone());
        tasks.spawn("lightning", async {
            keeper.await;
            Ok::<(), std::io::Error>(())
        });
        Ok(Self { inner })
    }

    /// Runs a call on the node's own threads. A caller that gives up waiting does not end the call.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl FnOnce(&Running) -> Result<T, WalletError> + Send + 'static,
    ) -> Result<T, WalletError> {
        let inner = Arc::clone(&self.inner);
        let task = self.inner.threads().spawn_blocking(move || {
            let slot = inner.slot.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Slot::Running(running) => work(running),
                Slot::Down(why) => Err(WalletError::Down {
                    backend: Backend::Ldk,
                    why: why.clone(),
                }),
                Slot::Stopped => Err(WalletError::Stopped(Backend::Ldk)),
            }
        });
        match tokio::time::timeout(CALL_LIMIT, task).await {
            Ok(Ok(result)) => result,
            // A panic there ends the process, so that nobody ever sees this.
            Ok(Err(error)) => Err(WalletError::Call {
                backend: Backend::Ldk,
                call,
                source: error.into(),
            }),
            Err(_elapsed) => Err(WalletError::TimedOut {
                backend: Backend::Ldk,
                call,
                seconds: CALL_LIMIT.as_secs(),
            }),
        }
    }

    /// As [`Self::call`], for one call of ldk-node.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl FnOnce(&Node) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, WalletError> {
        self.call(call, move |running| {
            work(&running.node).map_err(|error| failed(call, error))
        })
        .await
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            pays_offers: Err(
                "it pays an offer under a random id, by which a payment could not be looked up after a crash",
            ),
            makes_offers: Ok(()),
            rebalances: Err("it can't pay itself"),
            has_static_backup: Err(
                "its only backup is its whole directory, made while it is stopped, together with the seed",
            ),
            keeps_forwards: Err("it tells a forward once, as an event"),
            lists_outputs: Err("it tells what its outputs sum up to, not the outputs"),
        }
    }

    pub(crate) async fn info(&self) -> Result<NodeInfo, WalletError> {
        let network = self.inner.config.network;
        self.call("tell what it is", move |running| {
            let node = &running.node;
            let alias = node.node_alias().map(|alias| alias.to_string());
            Ok(NodeInfo {
                node_id: node.node_id(),
                alias: alias.unwrap_or_default(),
                network,
                block_height: node.status().current_best_block.height,
                is_synced: running.is_synced(),
                version: VERSION.to_owned(),
                backend: Backend::Ldk,
            })
        })
        .await
    }

    pub(crate) async fn new_address(&self) -> Result<Address, WalletError> {
        self.ask("make an address", |node| {
            node.onchain_payment().new_address()
        })
        .await
    }

    pub(crate) async fn invoice(
        &self,
        request: &InvoiceRequest,
    ) -> Result<Bolt11Invoice, WalletError> {
        const CALL: &str = "make an invoice";
        let bad = |why| bad_request(CALL, why);
        let description = request.description().map_err(bad)?;
        let expiry = request.expiry_seconds().map_err(bad)?;
        let amount = request.amount;
        self.ask(CALL, move |node| match amount {
            Some(amount) => node
                .bolt11_payment()
                .receive(amount.0, &description, expiry),
            None => node
                .bolt11_payment()
                .receive_variable_amount(&description, expiry),
        })
        .await
    }

    pub(crate) async fn offer(&self, request: &OfferRequest) -> Result<Offer, WalletError> {
        let OfferRequest {
            amount,
            description,
        } = request.clone();
        self.ask("make an offer", move |node| match amount {
            Some(amount) => node
                .bolt12_payment()
                .receive(amount.0, &description, None, None),
            None => node
                .bolt12_payment()
                .receive_variable_amount(&description, None),
        })
        .await
    }

    pub(crate) async fn connect(
        &self,
        peer: PublicKey,
        address: SocketAddress,
    ) -> Result<(), WalletError> {
        self.ask("connect to a peer", move |node| {
            node.connect(peer, address, true)
        })
        .await
    }

    pub(crate) async fn send_on_chain(&self, request: &SendOnChain) -> Result<Txid, PayError> {
        let SendOnChain {
            address,
            amount,
            fee_rate,
        } = request.clone();
        // Every error of ldk-node is from before it gives the transaction to Bitcoin Core.
        let sent = self
            .call("pay on the chain", move |running| {
                Ok(running.node.onchain_payment().send_to_address(
                    &address,
                    amount.to_sat(),
                    fee_rate,
                ))
            })
            .await;
        match sent {
            Ok(Ok(txid)) => Ok(txid),
            Ok(Err(error)) => Err(Refusal::NotTaken(error.to_string()).into()),
            Err(error) => Err(not_handed_over(error)),
        }
    }

    #[expect(clippy::unused_async, reason = "the other wallets have to ask")]
    pub(crate) async fn forwards(
        &self,
        _after: Option<&PageCursor>,
    ) -> Result<ForwardPage, WalletError> {
        let why = self.capabilities().keeps_forwards;
        Err(unsupported("tell past forwards", why))
    }

    #[expect(clippy::unused_async, reason = "the other wallets have to ask")]
    pub(crate) async fn backup(&self) -> Result<Backup, WalletError> {
        let why = self.capabilities().has_static_backup;
        Err(unsupported("give a backup of its channels", why))
    }

    pub(crate) fn events(&self) -> Result<Events, WalletError> {
        let taken = self.inner.are_events_taken.swap(true, Ordering::AcqRel);
        if taken {
            return Err(WalletError::EventsTaken(Backend::Ldk));
        }
        Ok(Events(Source::Ldk(super::LdkEvents::new(self.clone()))))
    }

    pub(crate) async fn stop(&self) -> Result<(), WalletError> {
        let stopping = async {
            let _permit = self.inner.changes.acquire().await;
            self.end(Slot::Stopped).await;
            let mut lock = self
                .inner
                .lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            drop(lock.take());
        };
        tokio::time::timeout(STOP_LIMIT, stopping)
            .await
            .map_err(|_elapsed| WalletError::TimedOut {
                backend: Backend::Ldk,
                call: "stop",
                seconds: STOP_LIMIT.as_secs(),
            })
    }

    /// Why it has to be started again, if it has to.
    pub(super) async fn trouble(&self) -> Option<String> {
        let inner = Arc::clone(&self.inner);
        let look = self.inner.threads().spawn_blocking(move || {
            let slot = inner.slot.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Slot::Stopped => None,
                Slot::Down(why) => Some(why.clone()),
                Slot::Running(running) if running.is_deaf.load(Ordering::Relaxed) => {
                    Some("it takes no more connections from peers".to_owned())
                }
                Slot::Running(running) => match inner.config.bitcoind.login() {
                    Ok(login) if login != running.login => {
                        Some("Bitcoin Core has a new cookie".to_owned())
                    }
                    // No cookie: Bitcoin Core is about to start, and makes one.
                    Ok(_) | Err(_) => None,
                },
            }
        });
        look.await.ok().flatten()
    }

    /// Stops the node if it runs, and starts it again.
    pub(super) async fn restart(&self, why: &str) -> Result<(), StartError> {
        let Ok(_permit) = self.inner.changes.acquire().await else {
            return Ok(());
        };
        if !self.end(Slot::Down(why.to_owned())).await {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let start = self.inner.threads().spawn_blocking(move || {
            let is_deaf = Arc::new(AtomicBool::new(false));
            keeper::end_the_process_on_panic(Arc::clone(&is_deaf));
            let generation = inner.lives.fetch_add(1, Ordering::Relaxed);
            let started = Running::start(&inner.config, generation, is_deaf);
            let mut slot = inner.slot.write().unwrap_or_else(PoisonError::into_inner);
            match started {
                Ok(running) => {
                    *slot = Slot::Running(running);
                    Ok(())
                }
                Err(error) => {
                    *slot = Slot::Down(hh_daemon::Chain(&error).to_string());
                    Err(error)
                }
            }
        });
        start.await.unwrap_or(Ok(()))
    }

    /// Puts `next` in the node's place, and ends the node if it runs. False where it has been stopped for good.
    async fn end(&self, next: Slot) -> bool {
        /// Between two looks whether who waits for an event has let go of the node.
        const LET_GO: Duration = Duration::from_millis(10);
        let inner = Arc::clone(&self.inner);
        let ended = self.inner.threads().spawn_blocking(move || {
            let mut slot = inner.slot.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*slot, Slot::Stopped) {
                return None;
            }
            let before = std::mem::replace(&mut *slot, next);
            drop(slot);
            let Slot::Running(running) = before else {
                return Some(None);
            };
            if let Err(error) = running.node.stop() {
                tracing::warn!(%error, "the Lightning wallet did not stop well");
            }
            Some(Some(running.node))
        });
        let Ok(Some(node)) = ended.await else {
            return false;
        };
        if let Some(node) = node {
            while Arc::strong_count(&node) > 1 {
                tokio::time::sleep(LET_GO).await;
            }
            let dropped = self.inner.threads().spawn_blocking(move || drop(node));
            dropped.await.ok();
        }
        true
    }
}

pub(super) fn failed(call: &'static str, error: NodeError) -> WalletError {
    WalletError::Call {
        backend: Backend::Ldk,
        call,
        source: error.into(),
    }
}

fn bad_request(call: &'static str, why: &'static str) -> WalletError {
    WalletError::BadRequest {
        backend: Backend::Ldk,
        call,
        why,
    }
}

pub(super) fn unsupported(call: &'static str, why: Capability) -> WalletError {
    WalletError::Unsupported {
        backend: Backend::Ldk,
        call,
        why: why.err().unwrap_or_default(),
    }
}

/// What a call that was to send money says where it had no answer of ldk-node's own.
pub(super) fn not_handed_over(error: WalletError) -> PayError {
    match error {
        // The node was not asked.
        WalletError::Down { .. } | WalletError::Stopped(_) => {
            Refusal::NotTaken(error.to_string()).into()
        }
        other => PayError::Unknown {
            backend: Backend::Ldk,
            source: other.into(),
        },
    }
}
