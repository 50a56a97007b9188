//! The node's wallet: started, looked at every few seconds, and asked by whoever has a handle.
//!
//! It may be away, and the node mines on: what needs it says that it is. Its events are taken here, because an embedded node holds its
//! news until somebody has taken them. Nothing is paid by it but what the node's owner has consented to, each time.

mod book;
mod dues;
mod plan;
mod spend;

use crate::config::WalletConfig;
use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
pub(crate) use book::{Book, InvoiceRow, Payment};
pub(crate) use dues::Dues;
use hh_daemon::{Chain, Failure, Tasks};
use hh_lightning::config::Opening;
use hh_lightning::{
    Balances, Bolt11Invoice, Channel, Event, InvoiceDetails, InvoiceRequest, NodeInfo, Wallet,
    WalletError,
};
use hh_mining::Msat;
pub(crate) use plan::NoInvoice;
pub(crate) use spend::{Spend, SpendError, Spent};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two tries to start it: Bitcoin Core or lnd may be starting too.
const START_PAUSE: Duration = Duration::from_secs(5);

/// How often it is looked at: a channel that is lost is known soon, and three calls are cheap.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// After events that can't be taken.
const EVENTS_PAUSE: Duration = Duration::from_secs(5);

/// What it was when it was looked at last.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) info: NodeInfo,
    pub(crate) balances: Balances,
    /// Usable ones with hh-treasury's node.
    pub(crate) treasury_channels: u32,
    /// What the largest of these can bring in at once.
    pub(crate) receivable: Msat,
}

/// The last look, and why there was none since.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) seen: Option<Seen>,
    pub(crate) fault: Option<String>,
}

/// Why the wallet can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the node's wallet can't be used now: {0}")]
    Away(String),
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// The wallet, for those who ask it. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct WalletHandle {
    pub(crate) chain: Network,
    pub(crate) treasury: PublicKey,
    pub(crate) backend: &'static str,
    pub(crate) book: Book,
    pub(crate) state: watch::Receiver<State>,
    wallet: watch::Receiver<Option<Wallet>>,
}

/// The task.
pub(crate) struct WalletKeeper {
    opening: Opening,
    treasury: PublicKey,
    book: Book,
    tasks: Tasks,
    state: watch::Sender<State>,
    wallet: watch::Sender<Option<Wallet>>,
}

/// Both, for the wallet of this configuration, with its files in `data_dir`.
///
/// # Errors
/// A secret that can't be read, or a disk that refuses.
pub(crate) fn open(
    config: &WalletConfig,
    data_dir: &Path,
    tasks: &Tasks,
) -> Result<(WalletKeeper, WalletHandle), Failure> {
    // Services of this node may be of the same user, and are no owners of its money.
    hh_daemon::hide_memory()?;
    let dir = data_dir.join("ldk");
    let opening = config
        .lightning
        .opening(config.chain, dir, || config.bitcoind())?;
    let book = Book::open(&data_dir.join("wallet.db"))?;
    let (state, looked) = watch::channel(State::default());
    let (wallet, started) = watch::channel(None);
    let keeper = WalletKeeper {
        opening,
        treasury: config.treasury_node_id,
        book: book.clone(),
        tasks: tasks.clone(),
        state,
        wallet,
    };
    let handle = WalletHandle {
        chain: config.chain,
        treasury: config.treasury_node_id,
        backend: config.lightning.backend(),
        book,
        state: looked,
        wallet: started,
    };
    Ok((keeper, handle))
}

impl WalletKeeper {
    /// Starts the wallet, for as long as it takes, and looks at it until the agent stops.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        gauge(false);
        let Some(wallet) = stop.run_until_cancelled(self.start()).await else {
            return Ok(());
        };
        self.wallet.send_replace(Some(wallet.clone()));
        let both = async { tokio::join!(self.look(&wallet), self.take_events(&wallet)) };
        stop.run_until_cancelled(Box::pin(both)).await;
        // One that is killed may lose a channel to a close by force.
        if let Err(error) = wallet.stop().await {
            let error = Chain(&error).to_string();
            tracing::error!(error, "wallet not stopped cleanly");
        }
        Ok(())
    }

    async fn start(&self) -> Wallet {
        loop {
            match self.opening.start(&self.tasks).await {
                Ok(wallet) => return wallet,
                Err(error) => self.is_away(&error),
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    async fn look(&self, wallet: &Wallet) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match self.look_once(wallet).await {
                Ok(seen) => self.saw(seen),
                Err(error) => self.is_away(&error),
            }
        }
    }

    async fn look_once(&self, wallet: &Wallet) -> Result<Seen, WalletError> {
        let info = wallet.info().await?;
        let balances = wallet.balances().await?;
        let (treasury_channels, receivable) = usable(&wallet.channels().await?, &self.treasury);
        Ok(Seen {
            info,
            balances,
            treasury_channels,
            receivable,
        })
    }

    fn saw(&self, seen: Seen) {
        let is_usable = seen.treasury_channels > 0;
        gauge(is_usable);
        let before = self
            .state
            .borrow()
            .seen
            .as_ref()
            .map(|seen| seen.treasury_channels);
        let treasury = self.treasury;
        match (before, is_usable) {
            (None | Some(1..), false) => {
                tracing::warn!(%treasury, "no usable channel with hh-treasury: nothing can be paid to this node");
            }
            (None | Some(0), true) => {
                tracing::info!(%treasury, "a channel with hh-treasury can be used");
            }
            (Some(0), false) | (Some(1..), true) => {}
        }
        self.state.send_replace(State {
            seen: Some(seen),
            fault: None,
        });
    }

    /// What was seen before is kept, but for the channels: nobody knows whether they can be used.
    fn is_away(&self, error: &WalletError) {
        gauge(false);
        let fault = Chain(error).to_string();
        self.state.send_modify(|state| {
            if state.fault.as_ref() != Some(&fault) {
                tracing::warn!(error = fault, "the node's wallet does not answer");
            }
            if let Some(seen) = &mut state.seen {
                seen.treasury_channels = 0;
                seen.receivable = Msat::ZERO;
            }
            state.fault = Some(fault);
        });
    }

    async fn take_events(&self, wallet: &Wallet) {
        loop {
            if let Err(error) = self.take(wallet).await {
                let error = Chain(&error).to_string();
                tracing::debug!(error, "no events of the wallet");
            }
            tokio::time::sleep(EVENTS_PAUSE).await;
        }
    }

    async fn take(&self, wallet: &Wallet) -> Result<(), WalletError> {
        let mut events = wallet.events()?;
        loop {
            if let Event::Received { hash, amount } = events.next().await? {
                let hash = hex::encode(hash.0);
                tracing::info!(hash, amount_msat = amount.0, "the node's wallet was paid");
                while let Err(error) = self.book.received(hash.clone(), amount).await {
                    let error = Chain(&error).to_string();
                    tracing::error!(
                        error,
                        "that the wallet was paid is not written down; it is tried again"
                    );
                    tokio::time::sleep(EVENTS_PAUSE).await;
                }
            }
            events.handled().await?;
        }
    }
}

impl WalletHandle {
    /// A wallet that never starts.
    #[cfg(test)]
    pub(crate) fn of_test(dir: &Path) -> Self {
        let treasury = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
        Self {
            chain: Network::Regtest,
            treasury: treasury.parse().unwrap(),
            backend: "ldk-node",
            book: Book::open(&dir.join("wallet.db")).unwrap(),
            state: watch::channel(State::default()).1,
            wallet: watch::channel(None).1,
        }
    }

    /// One that has not started yet, for as long as the sender is kept.
    #[cfg(test)]
    pub(crate) fn of_test_starting(dir: &Path) -> (Self, watch::Sender<Option<Wallet>>) {
        let (wallet, started) = watch::channel(None);
        let handle = Self {
            wallet: started,
            ..Self::of_test(dir)
        };
        (handle, wallet)
    }

    /// Waits until it has started, or never will.
    pub(crate) async fn has_started(&self) {
        let mut wallet = self.wallet.clone();
        wallet.wait_for(Option::is_some).await.ok();
    }

    /// The wallet, once it has started.
    ///
    /// # Errors
    /// Why it has not.
    fn started(&self) -> Result<Wallet, AskError> {
        let wallet = self.wallet.borrow().clone();
        wallet.ok_or_else(|| {
            let fault = self.state.borrow().fault.clone();
            AskError::Away(fault.unwrap_or_else(|| "it is starting".to_owned()))
        })
    }

    /// A new invoice.
    ///
    /// # Errors
    /// The wallet is not there, or does not make it.
    pub(crate) async fn invoice(
        &self,
        amount: Msat,
        description: String,
        expiry: Duration,
    ) -> Result<Bolt11Invoice, AskError> {
        let request = InvoiceRequest {
            amount: Some(amount),
            details: InvoiceDetails::Text(description),
            expiry,
        };
        Ok(self.started()?.invoice(&request).await?)
    }

    /// What it has, in words for who asks from afar.
    ///
    /// # Errors
    /// Why it can't be said.
    pub(crate) fn in_words(&self) -> Result<String, AskError> {
        let state = self.state.borrow();
        let (seen, fault) = (state.seen.as_ref(), state.fault.clone());
        let Some(seen) = seen.filter(|_| fault.is_none()) else {
            let fault = fault.unwrap_or_else(|| "it is starting".to_owned());
            return Err(AskError::Away(fault));
        };
        Ok(format!(
            "node {} ({}), block {}, {}\non the chain {} sat\nin channels {} sat\nchannels with hh-treasury {}, which can bring {} sat at once",
            seen.info.node_id,
            self.backend,
            seen.info.block_height,
            if seen.info.is_synced {
                "in step"
            } else {
                "behind"
            },
            seen.balances.onchain_total.to_sat(),
            seen.balances.in_channels,
            seen.treasury_channels,
            seen.receivable,
        ))
    }
}

/// How many channels with `treasury` can be used, and what the largest can bring in.
fn usable(channels: &[Channel], treasury: &PublicKey) -> (u32, Msat) {
    let usable = channels
        .iter()
        .filter(|channel| channel.is_usable && channel.peer == *treasury);
    usable.fold((0, Msat::ZERO), |(count, most), channel| {
        (count + 1, most.max(channel.receivable))
    })
}

fn gauge(is_usable: bool) {
    let value = if is_usable { 1.0 } else { 0.0 };
    metrics::gauge!("hyperhash_agent_treasury_channel_usable").set(value);
}
