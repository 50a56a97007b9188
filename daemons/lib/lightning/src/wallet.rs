//! The one interface, and what it hands each call on to.

use std::error::Error;
use std::fmt;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Network, Txid};
use hh_mining::Msat;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_invoice::Bolt11Invoice;

use crate::cln::{ClnError, ClnWallet};
use crate::invoice::{InvoiceRequest, OfferRequest};
use crate::ldk::{LdkWallet, StartError};
use crate::lnd::{LndError, LndWallet};
use crate::offer::{FetchInvoice, FetchedInvoice, PayFetched};
use crate::payment::{PageCursor, PayError, PayRequest, PaymentPage, Rebalance, SendOnChain};
use crate::{
    Balances, Channel, ChannelFees, ChannelId, CloseChannel, Dispatch, Events, Lookup, OpenChannel,
    OpenedChannel, Peer, Refusal, WalletOutput, WalletTransaction,
};

/// What the wallet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// An ldk-node inside this process.
    Ldk,
    /// Over gRPC.
    Lnd,
    /// Core Lightning, over its socket.
    Cln,
}

impl Backend {
    /// As configurations and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ldk => "ldk",
            Self::Lnd => "lnd",
            Self::Cln => "cln",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ldk => "the embedded Lightning node",
            Self::Lnd => "lnd",
            Self::Cln => "Core Lightning",
        })
    }
}

/// What a wallet is, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub node_id: PublicKey,
    /// Empty where it has none.
    pub alias: String,
    pub network: Network,
    /// Up to which block it knows the chain.
    pub block_height: u32,
    /// In step with the chain, and ready for calls.
    pub is_synced: bool,
    pub version: String,
    pub backend: Backend,
}

/// Ok, or why the wallet can't do it.
pub type Capability = Result<(), &'static str>;

/// What not every wallet can do, said up front. A call for what it can't do is [`WalletError::Unsupported`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Fetch the invoice of an offer, so that its hash is known, and then pay it.
    pub pays_offers: Capability,
    /// Make offers.
    pub makes_offers: Capability,
    /// Move money from one channel of ours to another.
    pub rebalances: Capability,
    /// Give a file from which the money in channels can be had back.
    pub has_static_backup: Capability,
    /// Tell what was earned by forwarding, also of the past.
    pub keeps_forwards: Capability,
    /// Tell its outputs on the chain one by one.
    pub lists_outputs: Capability,
}

/// A payment of somebody else that went through us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The wallet's own name for it: the same forward has it each time.
    pub key: String,
    /// Seconds since 1970.
    pub settled_at_s: u64,
    /// As the gossip network names the channels.
    pub from_short_id: u64,
    pub to_short_id: u64,
    pub fee: Msat,
    /// What went out.
    pub amount: Msat,
}

/// Some forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardPage {
    pub forwards: Vec<Forward>,
    /// What to ask with for later ones. Some of those here may come again: they are known by their keys.
    pub next: PageCursor,
}

/// What brings back the money in channels when all else is lost. Not the rest of the wallet, and not its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Backup {
    /// In the wallet's own form.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backup({} bytes)", self.bytes.len())
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Lnd(#[from] LndError),
    #[error(transparent)]
    Cln(#[from] ClnError),
    #[error("{backend} could not {call}")]
    Call {
        backend: Backend,
        call: &'static str,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("{backend} did not {call} within {seconds} s; it may do so yet")]
    TimedOut {
        backend: Backend,
        call: &'static str,
        seconds: u64,
    },
    #[error("{backend} is down and comes back by itself: {why}")]
    Down { backend: Backend, why: String },
    #[error("{0} has been stopped")]
    Stopped(Backend),
    #[error(
        "{backend} is node {found}, and node {expected} was asked for: another wallet, or one restored from other keys"
    )]
    OtherWallet {
        backend: Backend,
        expected: Box<PublicKey>,
        found: Box<PublicKey>,
    },
    #[error("{backend} has no channel {id}")]
    UnknownChannel { backend: Backend, id: ChannelId },
    #[error("{backend} can't {call}: {why}")]
    Unsupported {
        backend: Backend,
        call: &'static str,
        why: &'static str,
    },
    #[error("could not ask {backend} to {call}: {why}")]
    BadRequest {
        backend: Backend,
        call: &'static str,
        why: &'static str,
    },
    #[error("the answer of {backend} makes no sense: {what}")]
    Answer { backend: Backend, what: String },
    #[error("somebody takes the events of {0} already")]
    EventsTaken(Backend),
}

impl WalletError {
    /// Whether only a change of the configuration can help.
    #[must_use]
    pub fn is_config(&self) -> bool {
        match self {
            Self::Start(error) => error.is_config(),
            Self::Lnd(error) => error.is_config(),
            Self::Cln(error) => error.is_config(),
            _ => false,
        }
    }
}

/// A wallet. Cheap to clone; clones are the same wallet.
#[derive(Clone, Debug)]
pub enum Wallet {
    Ldk(LdkWallet),
    Lnd(LndWallet),
    Cln(ClnWallet),
}

/// The same call of whichever wallet it is.
macro_rules! each {
    ($wallet:expr, $backend:ident => $call:expr) => {
        match $wallet {
            Wallet::Ldk($backend) => $call,
            Wallet::Lnd($backend) => $call,
            Wallet::Cln($backend) => $call,
        }
    };
}

impl Wallet {
    /// What it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::Ldk(_) => Backend::Ldk,
            Self::Lnd(_) => Backend::Lnd,
            Self::Cln(_) => Backend::Cln,
        }
    }

    /// What it can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        each!(self, wallet => wallet.capabilities())
    }

    /// What it is and how it is.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn info(&self) -> Result<NodeInfo, WalletError> {
        each!(self, wallet => wallet.info().await)
    }

    /// A new address of the wallet on the chain.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn new_address(&self) -> Result<Address, WalletError> {
        each!(self, wallet => wallet.new_address().await)
    }

    /// A new invoice of ours.
    ///
    /// # Errors
    /// The wallet does not answer, or the request makes no sense.
    pub async fn invoice(&self, request: &InvoiceRequest) -> Result<Bolt11Invoice, WalletError> {
        each!(self, wallet => wallet.invoice(request).await)
    }

    /// A new offer of ours, that can be paid again and again.
    ///
    /// # Errors
    /// The wallet does not answer, can't make offers, or the request makes no sense.
    pub async fn offer(&self, request: &OfferRequest) -> Result<Offer, WalletError> {
        each!(self, wallet => wallet.offer(request).await)
    }

    /// Hands a payment over, and returns as soon as the wallet has it. What comes of it is an event, and [`Self::lookup`]
    /// tells it at any time. The caller has written the payment hash down before; a hash is paid once, whatever came of it.
    ///
    /// # Errors
    /// [`PayError::Refused`] where certainly nothing was sent; [`PayError::Unknown`] for everything else.
    pub async fn pay(&self, request: &PayRequest) -> Result<(), PayError> {
        each!(self, wallet => wallet.pay(request).await)
    }

    /// Fetches the invoice of an offer, so that its hash is known before it is paid. Costs nothing.
    ///
    /// # Errors
    /// The payee or the wallet does not answer, the invoice is for something else, or the wallet can't.
    pub async fn fetch_invoice(
        &self,
        request: &FetchInvoice,
    ) -> Result<FetchedInvoice, WalletError> {
        match self {
            Self::Cln(wallet) => wallet.fetch_invoice(request).await,
            Self::Ldk(_) | Self::Lnd(_) => Err(WalletError::Unsupported {
                backend: self.backend(),
                call: "fetch the invoice of an offer",
                why: self.capabilities().pays_offers.err().unwrap_or_default(),
            }),
        }
    }

    /// As [`Self::pay`], for the fetched invoice of an offer.
    ///
    /// # Errors
    /// As [`Self::pay`]; [`PayError::Refused`] where the wallet can't.
    pub async fn pay_fetched(&self, request: &PayFetched) -> Result<(), PayError> {
        match self {
            Self::Cln(wallet) => wallet.pay_fetched(request).await,
            Self::Ldk(_) | Self::Lnd(_) => Err(PayError::from(Refusal::Unsupported {
                what: "pay the invoice of an offer",
                why: self.capabilities().pays_offers.err().unwrap_or_default(),
            })),
        }
    }

    /// Moves money from one channel of ours to one of another peer; handed over, told and looked up as a payment.
    ///
    /// # Errors
    /// As [`Self::pay`]; [`PayError::Refused`] where the wallet can't.
    pub async fn rebalance(&self, request: &Rebalance) -> Result<(), PayError> {
        match self {
            Self::Lnd(wallet) => wallet.rebalance(request).await,
            Self::Ldk(_) | Self::Cln(_) => Err(PayError::from(Refusal::Unsupported {
                what: "move money between its channels",
                why: self.capabilities().rebalances.err().unwrap_or_default(),
            })),
        }
    }

    /// What became of a payment that was handed over, or may have been.
    ///
    /// # Errors
    /// The wallet does not answer, or is not the one that was to pay. Neither says anything about the payment.
    pub async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, WalletError> {
        each!(self, wallet => wallet.lookup(dispatch).await)
    }

    /// The wallet's history of outgoing payments, from `after` on; each is there once. The order is the wallet's own.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn outgoing_payments(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<PaymentPage, WalletError> {
        each!(self, wallet => wallet.outgoing_payments(after).await)
    }

    /// All that it has.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn balances(&self) -> Result<Balances, WalletError> {
        each!(self, wallet => wallet.balances().await)
    }

    /// Its outputs on the chain.
    ///
    /// # Errors
    /// The wallet does not answer, or tells only what they sum up to.
    pub async fn outputs(&self) -> Result<Vec<WalletOutput>, WalletError> {
        each!(self, wallet => wallet.outputs().await)
    }

    /// Its transactions that are in a block of this height or a later one, or in none. One that is not among them may have been sent all
    /// the same.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn transactions(
        &self,
        from_height: u32,
    ) -> Result<Vec<WalletTransaction>, WalletError> {
        each!(self, wallet => wallet.transactions(from_height).await)
    }

    /// The channels that are not closed.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn channels(&self) -> Result<Vec<Channel>, WalletError> {
        each!(self, wallet => wallet.channels().await)
    }

    /// Connects to a peer, and stays connected.
    ///
    /// # Errors
    /// The peer or the wallet does not answer.
    pub async fn connect(
        &self,
        peer: PublicKey,
        address: SocketAddress,
    ) -> Result<(), WalletError> {
        each!(self, wallet => wallet.connect(peer, address).await)
    }

    /// The nodes that it is connected to, and those that it keeps in mind where it tells them.
    ///
    /// # Errors
    /// The wallet does not answer.
    pub async fn peers(&self) -> Result<Vec<Peer>, WalletError> {
        each!(self, wallet => wallet.peers().await)
    }

    /// Ends the connection to a peer. Channels with it can't be used until it is back.
    ///
    /// # Errors
    /// The wallet does not answer, is not connected to it, or refuses because of a channel.
    pub async fn disconnect(&self, peer: PublicKey) -> Result<(), WalletError> {
        each!(self, wallet => wallet.disconnect(peer).await)
    }

    /// Opens a channel, and returns when its funding transaction is made. It can be used some blocks later.
    ///
    /// # Errors
    /// The peer or the wallet refuses, or does not answer: then it may open yet.
    pub async fn open_channel(&self, request: &OpenChannel) -> Result<OpenedChannel, WalletError> {
        each!(self, wallet => wallet.open_channel(request).await)
    }

    /// Sets what routing out by a channel costs others; peers are told at once, the network in its time.
    ///
    /// # Errors
    /// There is no such channel, or the wallet does not answer.
    pub async fn set_fees(&self, fees: &ChannelFees) -> Result<(), WalletError> {
        each!(self, wallet => wallet.set_fees(fees).await)
    }

    /// Begins to close a channel. An event tells when it is closed.
    ///
    /// # Errors
    /// There is no such channel, or the wallet does not answer.
    pub async fn close_channel(&self, request: &CloseChannel) -> Result<(), WalletError> {
        each!(self, wallet => wallet.close_channel(request).await)
    }

    /// Pays on the chain, and never from the anchor reserve.
    ///
    /// # Errors
    /// [`PayError::Refused`] where certainly nothing was sent; [`PayError::Unknown`] for everything else.
    pub async fn send_on_chain(&self, request: &SendOnChain) -> Result<Txid, PayError> {
        each!(self, wallet => wallet.send_on_chain(request).await)
    }

    /// What was earned by forwarding, from `after` on.
    ///
    /// # Errors
    /// The wallet does not answer, or keeps no history of them: then [`crate::Event::Forwarded`] is all there is.
    pub async fn forwards(&self, after: Option<&PageCursor>) -> Result<ForwardPage, WalletError> {
        each!(self, wallet => wallet.forwards(after).await)
    }

    /// What brings back the money in channels. To be made again after each channel that was opened or closed.
    ///
    /// # Errors
    /// The wallet does not answer, or has no such thing.
    pub async fn backup(&self) -> Result<Backup, WalletError> {
        each!(self, wallet => wallet.backup().await)
    }

    /// What it tells by itself.
    ///
    /// # Errors
    /// Somebody takes them already: an event goes to one only.
    pub fn events(&self) -> Result<Events, WalletError> {
        each!(self, wallet => wallet.events())
    }

    /// Stops it. What is in flight is so still, and is told after the next start. All later calls are
    /// [`WalletError::Stopped`].
    ///
    /// # Errors
    /// It did not stop within [`crate::STOP_LIMIT`].
    pub async fn stop(&self) -> Result<(), WalletError> {
        each!(self, wallet => wallet.stop().await)
    }
}
