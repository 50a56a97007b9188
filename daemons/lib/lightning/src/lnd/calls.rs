//! The wallet's handle, and the calls that are nothing but a message to and fro.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, FeeRate, Network, Txid};
use hh_daemon::{Secret, Tasks};
use hh_mining::Msat;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_invoice::Bolt11Invoice;
use prost::Message;

use super::link::{Link, LinkError, Pinned};
use super::message::{self, path};
use crate::event::{Events, Source};
use crate::{
    Backend, Backup, Capabilities, Forward, ForwardPage, InvoiceDetails, InvoiceRequest, NodeInfo,
    OfferRequest, PageCursor, PayError, SendOnChain, WalletError,
};

/// lnd answers from its database; opening a channel waits for the peer.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long lnd is to try to reach a peer.
const CONNECT_SECONDS: u64 = 15;
/// Between two looks whether a peer is there: a handshake takes some milliseconds.
const PEER_PAUSE: Duration = Duration::from_millis(50);
/// Entries of one page of the history.
pub(super) const PAGE: u32 = 500;
/// Its 0.21 took out calls and fields that older ones had instead of those we use.
const VERSION_MIN: (u32, u32) = (0, 21);

/// An lnd to use.
#[derive(Clone, Debug)]
pub struct LndConfig {
    /// `HOST:PORT` of its gRPC.
    pub address: String,
    /// Its `tls.cert`.
    pub certificate: PathBuf,
    /// In hexadecimal, as `lncli bakemacaroon` prints it: one that may do what is needed here, never the admin's.
    pub macaroon: Secret<String>,
    pub network: Network,
}

/// Why lnd can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LndError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("lnd is on chain {found:?}, the wallet is for {wanted}")]
    WrongChain { found: String, wanted: Network },
    #[error("lnd is version {found:?}; 0.21 is the oldest that is understood here")]
    TooOld { found: String },
}

impl LndError {
    pub(crate) fn is_config(&self) -> bool {
        match self {
            Self::Link(error) => error.is_config(),
            Self::WrongChain { .. } | Self::TooOld { .. } => true,
        }
    }
}

/// An lnd. Cheap to clone; clones are the same one.
#[derive(Clone)]
pub struct LndWallet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) link: Link,
    address: String,
    pub(super) network: Network,
    pub(super) node_id: PublicKey,
    pub(super) are_events_taken: AtomicBool,
    is_stopped: AtomicBool,
    /// Channels that its router was seen to know, by their short ids.
    pub(super) routable: Mutex<BTreeSet<u64>>,
}

impl fmt::Debug for LndWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LndWallet({})", self.inner.address)
    }
}

impl LndWallet {
    /// Asks lnd what it is. The connection is a task of `tasks`.
    ///
    /// # Errors
    /// It does not answer, is too old, or is on another chain.
    pub async fn start(config: LndConfig, tasks: &Tasks) -> Result<Self, WalletError> {
        let LndConfig {
            address,
            certificate,
            macaroon,
            network,
        } = config;
        let pinned = Pinned {
            address: address.clone(),
            certificate,
            macaroon,
        };
        let link = Link::new(pinned, tasks.clone()).map_err(LndError::from)?;
        let info: message::GetInfoResponse = link
            .unary(path::GET_INFO, message::Empty {}, CALL_LIMIT)
            .await
            .map_err(LndError::from)?;
        let wrong_chain = || {
            let found = info.chains.first();
            LndError::WrongChain {
                found: found.map(|chain| chain.network.clone()).unwrap_or_default(),
                wanted: network,
            }
        };
        if chain(&info) != Some(network) {
            return Err(wrong_chain().into());
        }
        if version(&info.version).is_none_or(|found| found < VERSION_MIN) {
            let found = info.version;
            return Err(LndError::TooOld { found }.into());
        }
        let node_id = node_id(&info.identity_pubkey)?;
        Ok(Self {
            inner: Arc::new(Inner {
                link,
                address,
                network,
                node_id,
                are_events_taken: AtomicBool::new(false),
                is_stopped: AtomicBool::new(false),
                routable: Mutex::default(),
            }),
        })
    }

    /// A call with one answer, whatever it asks for.
    pub(super) async fn ask<Q, A>(
        &self,
        call: &'static str,
        path: &'static str,
        message: Q,
    ) -> Result<A, WalletError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.check_running()?;
        let answered = self.inner.link.unary(path, message, CALL_LIMIT).await;
        answered.map_err(|error| failed(call, error))
    }

    pub(super) fn check_running(&self) -> Result<(), WalletError> {
        if self.inner.is_stopped.load(Ordering::Acquire) {
            return Err(WalletError::Stopped(Backend::Lnd));
        }
        Ok(())
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            pays_offers: Err("lnd knows no offers"),
            makes_offers: Err("lnd knows no offers"),
            rebalances: Ok(()),
            has_static_backup: Ok(()),
            keeps_forwards: Ok(()),
            lists_outputs: Ok(()),
        }
    }

    /// What it is now, which may be another one than at the start.
    pub(super) async fn get_info(&self) -> Result<message::GetInfoResponse, WalletError> {
        self.ask("tell what it is", path::GET_INFO, message::Empty {})
            .await
    }

    pub(crate) async fn info(&self) -> Result<NodeInfo, WalletError> {
        let info = self.get_info().await?;
        Ok(NodeInfo {
            node_id: node_id(&info.identity_pubkey)?,
            network: self.inner.network,
            block_height: info.block_height,
            is_synced: is_synced(&info),
            alias: info.alias,
            version: format!("lnd {}", info.version),
            backend: Backend::Lnd,
        })
    }

    pub(crate) async fn new_address(&self) -> Result<Address, WalletError> {
        let answer: message::NewAddressResponse = self
            .ask(
                "make an address",
                path::NEW_ADDRESS,
                message::NewAddressRequest {},
            )
            .await?;
        answer
            .address
            .parse::<Address<NetworkUnchecked>>()
            .ok()
            .and_then(|address| address.require_network(self.inner.network).ok())
            .ok_or_else(|| nonsense(format!("{:?} is no address", answer.address)))
    }

    pub(crate) async fn invoice(
        &self,
        request: &InvoiceRequest,
    ) -> Result<Bolt11Invoice, WalletError> {
        const CALL: &str = "make an invoice";
        let bad = |why| WalletError::BadRequest {
            backend: Backend::Lnd,
            call: CALL,
            why,
        };
        let (memo, description_hash) = match &request.details {
            InvoiceDetails::Text(text) => (text.clone(), Vec::new()),
            InvoiceDetails::Hash(hash) => (String::new(), hash.to_vec()),
        };
        // As the embedded node would take it, so that all wallets have the same limits.
        request.description().map_err(bad)?;
        let expiry = request.expiry_seconds().map_err(bad)?;
        let amount = request.amount.unwrap_or(Msat::ZERO);
        let message = message::Invoice {
            memo,
            description_hash,
            expiry: expiry.into(),
            private: true,
            value_msat: i64::try_from(amount.0)
                .map_err(|_too_large| bad("the amount is more than all the money there is"))?,
            ..message::Invoice::default()
        };
        let answer: message::AddInvoiceResponse =
            self.ask(CALL, path::ADD_INVOICE, message).await?;
        answer
            .payment_request
            .parse()
            .map_err(|error| nonsense(format!("its invoice: {error}")))
    }

    #[expect(clippy::unused_async, reason = "the other wallets have to ask")]
    pub(crate) async fn offer(&self, _request: &OfferRequest) -> Result<Offer, WalletError> {
        Err(WalletError::Unsupported {
            backend: Backend::Lnd,
            call: "make an offer",
            why: self.capabilities().makes_offers.err().unwrap_or_default(),
        })
    }

    pub(crate) async fn connect(
        &self,
        peer: PublicKey,
        address: SocketAddress,
    ) -> Result<(), WalletError> {
        let message = message::ConnectPeerRequest {
            addr: Some(message::LightningAddress {
                pubkey: peer.to_string(),
                host: address.to_string(),
            }),
            perm: true,
            timeout: CONNECT_SECONDS,
        };
        let connected: Result<message::Empty, _> = self
            .inner
            .link
            .unary(path::CONNECT_PEER, message, CALL_LIMIT)
            .await;
        match connected {
            Ok(_) => self.wait_for_peer(peer).await,
            Err(LinkError::Status { source, .. })
                if source.message().contains("already connected") =>
            {
                Ok(())
            }
            Err(error) => Err(failed("connect to a peer", error)),
        }
    }

    /// A connection that is to last is tried behind lnd's answer.
    async fn wait_for_peer(&self, peer: PublicKey) -> Result<(), WalletError> {
        const CALL: &str = "connect to a peer";
        let peer = peer.to_string();
        let waiting = async {
            loop {
                let online: message::ListPeersResponse =
                    self.ask(CALL, path::LIST_PEERS, message::Empty {}).await?;
                if online.peers.iter().any(|online| online.pub_key == peer) {
                    return Ok(());
                }
                tokio::time::sleep(PEER_PAUSE).await;
            }
        };
        let limit = Duration::from_secs(CONNECT_SECONDS);
        let waited = tokio::time::timeout(limit, waiting).await;
        waited.unwrap_or(Err(WalletError::TimedOut {
            backend: Backend::Lnd,
            call: CALL,
            seconds: CONNECT_SECONDS,
        }))
    }

    pub(crate) async fn send_on_chain(&self, request: &SendOnChain) -> Result<Txid, PayError> {
        let message = message::SendCoinsRequest {
            addr: request.address.to_string(),
            amount: i64::try_from(request.amount.to_sat())
                .map_err(|_too_large| crate::Refusal::Nothing)?,
            sat_per_vbyte: sat_per_vbyte(request.fee_rate),
        };
        let unknown = |source| PayError::Unknown {
            backend: Backend::Lnd,
            source,
        };
        self.check_running()
            .map_err(|error| crate::Refusal::NotTaken(error.to_string()))?;
        let answer: message::SendCoinsResponse = self
            .inner
            .link
            .unary(path::SEND_COINS, message, CALL_LIMIT)
            .await
            .map_err(|error| {
                if error.may_have_arrived() {
                    unknown(error.into())
                } else {
                    crate::Refusal::NotTaken(hh_daemon::Chain(&error).to_string()).into()
                }
            })?;
        answer
            .txid
            .parse()
            .map_err(|error: bitcoin::hex::HexToArrayError| unknown(error.into()))
    }

    pub(crate) async fn forwards(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<ForwardPage, WalletError> {
        let after = after.map_or(Ok(ForwardPlace::FIRST), ForwardPlace::parse)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let message = message::ForwardingHistoryRequest {
            start_time: after.start_s,
            // Not included; one more, for clocks that differ.
            end_time: now.unwrap_or_default().as_secs().saturating_add(60),
            index_offset: after.offset,
            num_max_events: PAGE,
        };
        let answer: message::ForwardingHistoryResponse = self
            .ask("tell past forwards", path::FORWARDING_HISTORY, message)
            .await?;
        let events = answer.forwarding_events;
        Ok(ForwardPage {
            next: after.next(&events).cursor(),
            forwards: events.iter().map(forward).collect(),
        })
    }

    pub(crate) async fn backup(&self) -> Result<Backup, WalletError> {
        let answer: message::ChanBackupSnapshot = self
            .ask(
                "give a backup of its channels",
                path::EXPORT_BACKUPS,
                message::Empty {},
            )
            .await?;
        let backup = answer.multi_chan_backup;
        backup
            .map(|backup| Backup {
                bytes: backup.multi_chan_backup,
            })
            .ok_or_else(|| nonsense("a backup without content".to_owned()))
    }

    pub(crate) fn events(&self) -> Result<Events, WalletError> {
        if self.inner.are_events_taken.swap(true, Ordering::AcqRel) {
            return Err(WalletError::EventsTaken(Backend::Lnd));
        }
        Ok(Events(Source::Lnd(Box::new(super::LndEvents::new(
            self.clone(),
        )))))
    }

    /// lnd goes on without us.
    #[expect(clippy::unused_async, reason = "the embedded node takes its time")]
    pub(crate) async fn stop(&self) -> Result<(), WalletError> {
        self.inner.is_stopped.store(true, Ordering::Release);
        Ok(())
    }
}

/// lnd lists forwards by their time in whole seconds. Where one second has more than a page, an offset within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ForwardPlace {
    start_s: u64,
    offset: u32,
}

impl ForwardPlace {
    /// Not 0, which is yesterday.
    const FIRST: Self = Self {
        start_s: 1,
        offset: 0,
    };

    fn parse(cursor: &PageCursor) -> Result<Self, WalletError> {
        let parts = cursor.0.split_once('+');
        let place = parts.and_then(|(start, offset)| {
            Some(Self {
                start_s: start.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        });
        place.ok_or(WalletError::BadRequest {
            backend: Backend::Lnd,
            call: "tell past forwards",
            why: "the place to go on from is none that it has told",
        })
    }

    fn cursor(self) -> PageCursor {
        PageCursor(format!("{}+{}", self.start_s, self.offset))
    }

    /// From the second of the last one on: others may have come in it since.
    fn next(self, events: &[message::ForwardingEvent]) -> Self {
        let Some(last) = events.last() else {
            return self;
        };
        let last_s = last.timestamp_ns / 1_000_000_000;
        let is_full = u32::try_from(events.len()).is_ok_and(|count| count >= PAGE);
        if last_s > self.start_s {
            Self {
                start_s: last_s,
                offset: 0,
            }
        } else if is_full {
            Self {
                start_s: self.start_s,
                offset: self.offset.saturating_add(PAGE),
            }
        } else {
            self
        }
    }
}

fn forward(event: &message::ForwardingEvent) -> Forward {
    let key = match event.incoming_htlc_id {
        Some(htlc) => format!("{}/{htlc}", event.chan_id_in),
        // From before lnd 0.20.
        None => format!("{}@{}", event.chan_id_in, event.timestamp_ns),
    };
    Forward {
        key,
        settled_at_s: event.timestamp_ns / 1_000_000_000,
        from_short_id: event.chan_id_in,
        to_short_id: event.chan_id_out,
        fee: Msat(event.fee_msat),
        amount: Msat(event.amt_out_msat),
    }
}

/// 0 is lnd's own estimate.
pub(super) fn sat_per_vbyte(rate: Option<FeeRate>) -> u64 {
    rate.map_or(0, FeeRate::to_sat_per_vb_ceil)
}

pub(super) fn is_synced(info: &message::GetInfoResponse) -> bool {
    info.synced_to_chain && info.wallet_synced
}

pub(super) fn node_id(text: &str) -> Result<PublicKey, WalletError> {
    text.parse()
        .map_err(|_error| nonsense(format!("{text:?} is no node")))
}

fn chain(info: &message::GetInfoResponse) -> Option<Network> {
    match info.chains.first()?.network.as_str() {
        "mainnet" => Some(Network::Bitcoin),
        "testnet" => Some(Network::Testnet),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

/// `0.21.0-beta commit=...`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn failed(call: &'static str, error: LinkError) -> WalletError {
    WalletError::Call {
        backend: Backend::Lnd,
        call,
        source: error.into(),
    }
}

pub(super) fn nonsense(what: String) -> WalletError {
    WalletError::Answer {
        backend: Backend::Lnd,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(timestamp_s: u64) -> message::ForwardingEvent {
        message::ForwardingEvent {
            timestamp_ns: timestamp_s * 1_000_000_000 + 7,
            ..message::ForwardingEvent::default()
        }
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(version("0.21.2-beta commit=v0.21.2-beta"), Some((0, 21)));
        assert_eq!(version("v0.9.1-beta"), Some((0, 9)));
        assert!(version("0.9.1-beta").unwrap() < VERSION_MIN);
        assert_eq!(version("beta"), None);
    }

    #[test]
    fn forwards_go_on_from_the_second_of_the_last() {
        let first = ForwardPlace::FIRST;
        assert_eq!(first.next(&[]), first);
        let next = first.next(&[event(5), event(9)]);
        assert_eq!(next.cursor(), PageCursor("9+0".to_owned()));
        assert_eq!(ForwardPlace::parse(&next.cursor()).unwrap(), next);
        // Nothing later, and not more than a page: the same again, to see what comes in that second.
        assert_eq!(next.next(&[event(9)]), next);
        let full = vec![event(9); PAGE as usize];
        assert_eq!(next.next(&full).cursor(), PageCursor("9+500".to_owned()));
    }
}
